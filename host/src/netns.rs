//! Network namespaces: named ones under `/run/netns`, as `ip netns` makes them, and the one we are in.
//!
//! Owns: the files under [`DIRECTORY`] that it creates, nothing inside a namespace. Begin at [`Namespace::create`].
//! Never: brings the loopback device up (the caller does, through [`crate::netlink::Netlink`]), changes the namespace
//! of the calling thread, deletes a namespace by itself when a value is dropped.
//!
//! A namespace made here is one for `ip netns exec NAME`, and the other way round.

mod sys;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::Pid;

use crate::error::HostError;

/// Where named network namespaces live: the directory of iproute2's `ip netns`.
pub const DIRECTORY: &str = "/run/netns";

/// `NSFS_MAGIC` of `linux/magic.h`: what a mounted namespace says its file system is.
const NSFS: FsType = FsType(libc::NSFS_MAGIC as _);

/// What `/sys` shows to a command that runs inside a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sysfs {
    /// The caller's `/sys`: cheap, but `/sys/class/net` lists the caller's devices, not the namespace's.
    #[default]
    Keep,
    /// A `/sys` of the namespace, in a mount namespace of the command's own, as `ip netns exec` does. What is mounted
    /// below `/sys/fs` (bpf, cgroup) stays visible.
    Remount,
}

/// A handle on one network namespace. Clones share it; the namespace lives at least as long as the last of them.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: Option<String>,
    file: Arc<OwnedFd>,
    device: u64,
    inode: u64,
}

impl Namespace {
    /// Makes a new, empty namespace called `name`: one path component, at most 255 bytes.
    ///
    /// Fails with `EEXIST` when the name is taken, be it by a namespace or by what a crash left: [`Namespace::delete`]
    /// clears both.
    pub fn create(name: &str) -> Result<Self, HostError> {
        let path = path_of(name)?;
        prepare_directory()?;
        let placeholder = OpenOptions::new().read(true).write(true).create_new(true).mode(0o000).open(&path);
        placeholder.map_err(|e| HostError::io("create network namespace", path.display(), e))?;
        let mounted = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some("/proc/thread-self/ns/net"), &path, Some("none"), MsFlags::MS_BIND, None::<&str>)
        });
        if let Err(errno) = mounted {
            let _ = fs::remove_file(&path);
            return Err(HostError::io("create network namespace", path.display(), errno));
        }
        Self::open(name)
    }

    /// Opens the namespace called `name`. `ENOENT` when there is none.
    pub fn open(name: &str) -> Result<Self, HostError> {
        let path = path_of(name)?;
        let mut namespace = Self::open_path(&path)?;
        namespace.name = Some(name.to_owned());
        Ok(namespace)
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, HostError> {
        Self::open_path(Path::new("/proc/thread-self/ns/net"))
    }

    /// The namespace of a process (of its main thread).
    pub fn of_process(pid: Pid) -> Result<Self, HostError> {
        Self::open_path(Path::new(&format!("/proc/{pid}/ns/net")))
    }

    fn open_path(path: &Path) -> Result<Self, HostError> {
        const OP: &str = "open network namespace";
        let file = File::open(path).map_err(|e| HostError::io(OP, path.display(), e))?;
        let kind = fstatfs(&file).map_err(|e| HostError::io(OP, path.display(), e))?.filesystem_type();
        if kind != NSFS {
            return Err(HostError::Refused {
                op: OP,
                object: path.display().to_string(),
                reason: "it is a plain file, left by a crash between its creation and the mount".to_owned(),
                advice: "delete it (ip netns delete NAME) and create it again".to_owned(),
                errno: libc::EINVAL,
            });
        }
        let metadata = file.metadata().map_err(|e| HostError::io(OP, path.display(), e))?;
        Ok(Self { name: None, file: Arc::new(file.into()), device: metadata.dev(), inode: metadata.ino() })
    }

    /// Whether something, a namespace or the remains of one, has this name.
    pub fn exists(name: &str) -> bool {
        path_of(name).is_ok_and(|path| path.symlink_metadata().is_ok())
    }

    /// Takes the name away; the namespace itself goes when nothing uses it any more. Says nothing when there is none.
    pub fn delete(name: &str) -> Result<(), HostError> {
        const OP: &str = "delete network namespace";
        let path = path_of(name)?;
        loop {
            match umount2(&path, MntFlags::MNT_DETACH) {
                Ok(()) => {} // it may have been mounted more than once
                Err(Errno::EINVAL | Errno::ENOENT) => break,
                Err(errno) => return Err(HostError::io(OP, path.display(), errno)),
            }
        }
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(HostError::io(OP, path.display(), e)),
            _ => Ok(()),
        }
    }

    /// The name it was created or opened by.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// `/run/netns/NAME`, where it has a name.
    pub fn path(&self) -> Option<PathBuf> {
        self.name.as_ref().map(|name| Path::new(DIRECTORY).join(name))
    }

    /// The number that `/proc/PID/ns/net` and `lsns` show for it.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Whether both are the same namespace, whatever their names.
    pub fn is(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Runs `work` inside, on a fresh thread that ends with it; a panic travels to the caller. Blocks.
    ///
    /// A socket keeps the namespace that it was opened in. Inside an async runtime, hand the runtime's handle in and
    /// enter it there before registering a socket; [`crate::netlink::Netlink::connect_in`] does so.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, HostError> {
        let here = Self::current()?;
        on_thread(|| {
            // No privilege is needed to stay where we are.
            if !self.is(&here) {
                setns(&*self.file, CloneFlags::CLONE_NEWNET)
                    .map_err(|e| HostError::io("enter network namespace", self.label(), e))?;
            }
            Ok(work())
        })
    }

    /// A command that will run inside; [`Sysfs::Keep`].
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_with(program, Sysfs::Keep)
    }

    /// A command that will run inside, with the `/sys` that it asks for.
    pub fn command_with(&self, program: impl AsRef<OsStr>, sysfs: Sysfs) -> Command {
        let mut command = Command::new(program);
        self.enter_on_spawn(&mut command, sysfs);
        command
    }

    /// Makes a command that somebody else has put together run inside.
    pub fn enter_on_spawn(&self, command: &mut Command, sysfs: Sysfs) {
        sys::enter_on_spawn(command, Arc::clone(&self.file), sysfs);
    }

    /// The processes that have at least one thread inside, in ascending order, the caller's own left out.
    /// Processes that end while it looks are left out too. Needs root to see everybody's.
    pub fn pids(&self) -> Result<Vec<Pid>, HostError> {
        let processes = fs::read_dir("/proc").map_err(|e| HostError::io("list processes in", "/proc", e))?;
        let mut found: Vec<Pid> = processes
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
            .filter(|pid| *pid != Pid::this() && self.holds_a_thread_of(*pid))
            .collect();
        found.sort();
        Ok(found)
    }

    fn holds_a_thread_of(&self, pid: Pid) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
        threads.flatten().any(|thread| {
            fs::metadata(thread.path().join("ns/net"))
                .is_ok_and(|m| (m.dev(), m.ino()) == (self.device, self.inode))
        })
    }

    fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("net:[{}]", self.inode))
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The names of all namespaces, and of what is left of them, in order.
pub fn list() -> Result<Vec<String>, HostError> {
    let entries = match fs::read_dir(DIRECTORY) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(HostError::io("list network namespaces in", DIRECTORY, e)),
    };
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn path_of(name: &str) -> Result<PathBuf, HostError> {
    let legal =
        !name.is_empty() && name.len() <= 255 && name != "." && name != ".." && !name.contains(['/', '\0']);
    if !legal {
        return Err(HostError::Refused {
            op: "name a network namespace",
            object: format!("{name:?}"),
            reason: "it is not a file name".to_owned(),
            advice: "use letters, digits and dashes, at most 255 bytes".to_owned(),
            errno: libc::EINVAL,
        });
    }
    Ok(Path::new(DIRECTORY).join(name))
}

/// Makes [`DIRECTORY`] a shared mount of its own, as iproute2 does, so that a namespace that is unmounted in one mount
/// namespace goes away in all of them.
fn prepare_directory() -> Result<(), HostError> {
    const OP: &str = "prepare";
    let fail = |e: io::Error| HostError::io(OP, DIRECTORY, e);
    fs::DirBuilder::new().recursive(true).mode(0o755).create(DIRECTORY).map_err(fail)?;
    let directory = File::open(DIRECTORY).map_err(fail)?;
    // iproute2 takes the same lock, so that two of us do not mount it twice.
    let _lock = Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, e)| fail(e.into()))?;
    let share =
        || mount(Some(""), DIRECTORY, Some("none"), MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    match share() {
        Err(Errno::EINVAL) => {} // not a mount point yet
        other => return other.map_err(|e| fail(e.into())),
    }
    mount(Some(DIRECTORY), DIRECTORY, Some("none"), MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .and_then(|()| share())
        .map_err(|e| fail(e.into()))
}

/// Runs `work` on a thread of its own, because what it does to that thread's namespaces cannot be undone safely.
fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_single_path_components() {
        assert_eq!(path_of("weft-a").unwrap(), Path::new("/run/netns/weft-a"));
        for bad in ["", ".", "..", "a/b", "/a", "a\0b", &"x".repeat(256)] {
            let error = path_of(bad).unwrap_err();
            assert_eq!(error.errno(), Some(libc::EINVAL), "{bad:?}");
        }
    }

    #[test]
    fn a_panic_inside_reaches_the_caller() {
        let here = Namespace::current().unwrap();
        let caught = std::panic::catch_unwind(|| here.run(|| panic!("inside")));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "inside");
    }

    #[test]
    fn running_where_we_are_needs_no_privilege_and_returns_the_value() {
        let here = Namespace::current().unwrap();
        let inside = here.run(|| Namespace::current().unwrap().inode()).unwrap();
        assert_eq!(inside, here.inode());
    }
}
