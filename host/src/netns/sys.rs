//! The one call about namespaces that needs `unsafe`: code that runs between fork and exec.
#![allow(unsafe_code)] // CommandExt::pre_exec: the closure must be async-signal-safe, see below.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};

use super::Sysfs;

/// Makes the child of `command` enter the network namespace `file` before it becomes its program.
pub(super) fn enter_on_spawn(command: &mut Command, file: Arc<OwnedFd>, sysfs: Sysfs) {
    // SAFETY: between fork and exec only system calls are made (setns, unshare, mount, open, statvfs); nix turns a
    // literal path into a C string on the stack, so nothing allocates and no lock is taken.
    unsafe {
        command.pre_exec(move || {
            setns(&*file, CloneFlags::CLONE_NEWNET)?;
            if sysfs == Sysfs::Remount { remount_sys() } else { Ok(()) }
        });
    }
}

/// What `ip netns exec` does about `/sys`: a private mount namespace with a sysfs of this network namespace. Unlike it,
/// everything below `/sys/fs` is carried over, because file systems with state are mounted there (bpf, cgroup).
fn remount_sys() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    // What we mount must not travel back; what the host mounts may still arrive.
    mount(Some("none"), "/", None::<&str>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&str>)?;
    let read_only = statvfs("/sys").is_ok_and(|s| s.flags().contains(FsFlags::ST_RDONLY));
    let flags = if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    let before = open("/sys/fs", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    mount(Some("sysfs"), "/sys", Some("sysfs"), flags, None::<&str>)?;
    let mut text = [0u8; 32];
    let before = proc_path(before.as_raw_fd(), &mut text);
    mount(Some(before), "/sys/fs", None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    Ok(())
}

/// `/proc/self/fd/NUMBER`, without allocating.
fn proc_path(fd: i32, text: &mut [u8; 32]) -> &str {
    const PREFIX: &[u8] = b"/proc/self/fd/";
    text[..PREFIX.len()].copy_from_slice(PREFIX);
    let mut digits = [0u8; 10];
    let mut rest = fd.unsigned_abs();
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let end = PREFIX.len() + digits.len() - at;
    text[PREFIX.len()..end].copy_from_slice(&digits[at..]);
    // Only ASCII was written.
    std::str::from_utf8(&text[..end]).unwrap_or("/proc/self/fd")
}

#[cfg(test)]
mod tests {
    use super::proc_path;

    #[test]
    fn descriptors_become_paths() {
        for (fd, want) in
            [(0, "/proc/self/fd/0"), (10, "/proc/self/fd/10"), (i32::MAX, "/proc/self/fd/2147483647")]
        {
            assert_eq!(proc_path(fd, &mut [0; 32]), want);
        }
    }
}
