//! SIGTERM while something blocks.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// More than the end may take, and less than the name server is waited for.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs `weft ARGUMENTS` in namespaces of its own where the name server takes every question and answers none.
fn without_names(arguments: &str, directory: &std::path::Path) -> Child {
    let resolv = directory.join("resolv.conf");
    std::fs::write(&resolv, "nameserver 192.0.2.1\noptions timeout:30 attempts:5\n").expect("written");
    let script = format!(
        "mount --bind {resolv} /etc/resolv.conf && mount -t tmpfs none /run && ip link set lo up && \
         ip link add silent type veth peer name other && ip link set other up && ip address add 192.0.2.2/24 dev silent && ip link set silent up && \
         ip neighbour replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev silent nud permanent && \
         exec {weft} {arguments}",
        resolv = resolv.display(),
        weft = env!("CARGO_BIN_EXE_weft"),
    );
    let log = std::fs::File::create(directory.join("log")).expect("a log");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "sh", "-c", &script]).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("unshare runs")
}

/// Gone with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ends_while_the_name_server_is_silent(arguments: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon(without_names(arguments, directory.path()));
    let log = || std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
    let sockets = format!("/proc/{}/net/udp", daemon.0.id());
    // 192.0.2.1, port 53.
    until(&format!("a question to the name server; the log is in {}", directory.path().display()), || {
        std::fs::read_to_string(&sockets).is_ok_and(|text| text.contains("010200C0:0035"))
    });
    kill(Pid::from_raw(daemon.0.id() as i32), Signal::SIGTERM).expect("it runs");
    let mut status = None;
    until(&format!("the end, after:\n{}", log()), || {
        status = daemon.0.try_wait().expect("a child of ours");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", log());
    assert!(!log().contains("panicked"), "{}", log());
}

#[test]
fn flanneld_ends_although_the_name_server_does_not_answer() {
    ends_while_the_name_server_is_silent(
        "flanneld --etcd-endpoints=http://etcd.example:2379 --subnet-file=/run/subnet.env",
    );
}

#[test]
fn the_proxy_ends_although_the_name_server_does_not_answer() {
    ends_while_the_name_server_is_silent("proxy --master=http://api.example:8080 --hostname-override=n1");
}
