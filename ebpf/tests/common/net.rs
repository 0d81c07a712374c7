//! Namespaces: a mount namespace and a network namespace for the test's thread, more by name.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

/// Moves this thread into a mount and a network namespace of its own, with an empty `/run/netns` and a
/// BPF file system at the returned path. Everything is gone when the thread ends.
pub fn enter_private() -> PathBuf {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .expect("these tests need root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF)");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
    std::fs::create_dir_all("/run/netns").expect("/run/netns");
    mount(Some("tmpfs"), "/run/netns", Some("tmpfs"), MsFlags::empty(), none).expect("tmpfs");
    let bpffs = PathBuf::from("/run/netns/.bpf");
    ebpf::ensure_bpffs(&bpffs).expect("a BPF file system");
    let thread = nix::unistd::gettid();
    let (pid, task) = (std::process::id(), thread);
    println!(
        "to look inside: nsenter --mount=/proc/{pid}/task/{task}/ns/mnt --net=/proc/{pid}/task/{task}/ns/net"
    );
    run("ip link set lo up");
    bpffs
}

/// Runs a command (split at spaces) in this thread's namespaces; it must succeed.
pub fn run(command: &str) -> String {
    let output = output(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// The same inside a named namespace.
pub fn run_in(namespace: &str, command: &str) -> String {
    run(&format!("ip netns exec {namespace} {command}"))
}

pub fn output(command: &str) -> Output {
    let mut words = command.split_whitespace();
    Command::new(words.next().expect("a command")).args(words).output().expect(command)
}

/// Calls `what` on a thread inside the named network namespace.
pub fn inside<T: Send>(namespace: &str, what: impl FnOnce() -> T + Send) -> T {
    let path = Path::new("/run/netns").join(namespace);
    thread::scope(|scope| {
        scope
            .spawn(move || {
                let file = File::open(&path).expect("the namespace's file");
                setns(file, CloneFlags::CLONE_NEWNET).expect("setns");
                what()
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

pub fn sysctl(name: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{}", name.replace('.', "/")), value).expect(name);
}

pub fn ifindex(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).expect(name)
}

/// Asks until the answer is yes.
pub fn wait_for(what: &str, limit: Duration, mut yes: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !yes() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
