//! iptables mode with the real tools, in both of their flavours.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::flows::Client;
use super::testbed::*;

const PROGRAMS: [&str; 2] = ["iptables", "ip6tables"];
const TABLES: [(&str, &[&str]); 5] = [
    ("raw", &["PREROUTING", "OUTPUT"]),
    ("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    ("security", &["INPUT", "FORWARD", "OUTPUT"]),
];

/// Looks often whether somebody took rules away.
const SHORT: &[&str] = &["--iptables-sync-period=300ms", "--iptables-min-sync-period=0s"];

/// A node whose kubelet uses one flavour of the tools.
struct Node {
    testbed: Testbed,
    flavour: &'static str,
}

impl Node {
    fn new(tag: &str, flavour: &'static str) -> Self {
        let node = Self { testbed: Testbed::new(&format!("{tag}-{flavour}")), flavour };
        for program in PROGRAMS {
            node.tool(program, "-t mangle -N KUBE-IPTABLES-HINT");
        }
        node
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.testbed.node.command(program);
        command.env("XTABLES_LOCKFILE", self.lock_file());
        command
    }

    /// The node's own: that of the machine is everybody's.
    fn lock_file(&self) -> std::path::PathBuf {
        self.testbed.directory.path().join("xtables.lock")
    }

    fn tool(&self, program: &str, words: &str) -> String {
        run(self.command(&format!("{program}-{}", self.flavour)).arg("-w").args(words.split(' ')))
    }

    fn save(&self, program: &str, flavour: &str) -> String {
        run(&mut self.command(&format!("{program}-{flavour}-save")))
    }

    fn proxy(&self, more: &[&str]) -> Command {
        let mut command = self.testbed.proxy(&[&["--proxy-mode=iptables"], more].concat());
        command.env("XTABLES_LOCKFILE", self.lock_file());
        command
    }

    fn start(&self, more: &[&str]) -> Proxy {
        self.testbed.start_command(self.proxy(more))
    }

    fn until_whole(&self, after: &str) {
        until(&format!("everything to be whole after {after:?}"), || {
            let found = self.testbed.tool(&["proxy", "diff", "--proxy-mode=iptables"]);
            if found.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&found.stdout).into()) }
        });
    }

    /// Rules and chains of somebody else, in every table and chain, and around what kubelet and we share.
    fn meddle(&self) {
        for program in PROGRAMS {
            let net = if program == "iptables" { "203.0.113.77/32" } else { "2001:db8:77::/48" };
            for (table, chains) in TABLES {
                self.tool(program, &format!("-t {table} -N SOMEBODYS"));
                self.tool(program, &format!("-t {table} -A SOMEBODYS -s {net} -m comment --comment theirs"));
                self.tool(program, &format!("-t {table} -N KUBE-ROUTER-SOMEBODYS"));
                for chain in chains {
                    self.tool(program, &format!("-t {table} -I {chain} -s {net} -j SOMEBODYS"));
                    self.tool(program, &format!("-t {table} -A {chain} -d {net} -j SOMEBODYS"));
                }
            }
            self.tool(program, "-t filter -N KUBE-FIREWALL");
            self.tool(program, &format!("-t filter -A KUBE-FIREWALL -s {net} -j DROP"));
        }
    }

    /// What [`Node::meddle`] did and the kernel has, in its order.
    fn theirs(&self) -> Vec<String> {
        let saved = PROGRAMS.map(|program| self.save(program, self.flavour));
        let words = ["*", "SOMEBODYS", "203.0.113.77", "2001:db8:77::", "HINT"];
        let lines = saved.iter().flat_map(|text| text.lines());
        lines.filter(|line| words.iter().any(|word| line.contains(word))).map(str::to_owned).collect()
    }
}

fn reached_and_changed(flavour: &'static str, other: &str) {
    let node = Node::new("iptreach", flavour);
    let _proxy = node.start(&[]);
    let testbed = &node.testbed;
    for address in [CLUSTER_IP, NODE_PORT, CLUSTER_IP_V6, NODE_PORT_V6] {
        testbed.until_answered_by(address, &["one", "two"]);
    }
    testbed.endpoints(&["one"]);
    let clients = [CLUSTER_IP_UDP, "192.168.0.1:30053"].map(|to| Client::new(testbed, to));
    clients.iter().for_each(|client| client.until("one"));
    // A pod that is its own endpoint gets the answer: only a masqueraded question has one.
    until("a pod to reach itself", || match testbed.pods[0].run(|| connect(CLUSTER_IP)).unwrap() {
        Ok(found) if found == "one" => Ok(()),
        found => Err(format!("{found:?}")),
    });
    testbed.endpoints(&["two"]);
    clients.iter().for_each(|client| client.until("two"));
    for address in [CLUSTER_IP, NODE_PORT, CLUSTER_IP_V6, NODE_PORT_V6] {
        testbed.until_answered_by(address, &["two"]);
    }
    testbed.endpoints(&[]);
    testbed.until_answered_by(CLUSTER_IP, &["Connection refused (os error 111)"]);
    testbed.endpoints(&["one"]);
    testbed.until_answered_by(CLUSTER_IP, &["one"]);
    assert!(node.save("iptables", flavour).contains("KUBE-SVC-"));
    assert!(!node.save("iptables", other).contains("KUBE-SVC-"), "the flavour that kubelet does not use");
}

#[test]
fn services_are_reached_and_changed_by_the_nft_flavour() {
    reached_and_changed("nft", "legacy");
}

#[test]
fn services_are_reached_and_changed_by_the_legacy_flavour() {
    reached_and_changed("legacy", "nft");
}

fn repaired(flavour: &'static str) {
    let node = Node::new("iptmend", flavour);
    let _proxy = node.start(SHORT);
    node.testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    for damage in [
        "-t nat -F",
        "-t filter -F",
        "-t nat -F KUBE-SERVICES",
        "-t nat -F KUBE-MARK-MASQ",
        "-t nat -D PREROUTING 1",
        "-t mangle -F KUBE-PROXY-CANARY",
    ] {
        PROGRAMS.into_iter().for_each(|program| _ = node.tool(program, damage));
        node.until_whole(damage);
        node.testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
        node.testbed.until_answered_by(NODE_PORT_V6, &["one", "two"]);
    }
    // Chains can be deleted when nothing leads to them.
    node.tool("iptables", "-t nat -F");
    node.tool("iptables", "-t nat -X");
    node.until_whole("-X");
    node.testbed.endpoints(&["two"]);
    node.testbed.until_answered_by(CLUSTER_IP, &["two"]);
}

#[test]
fn nft_rules_that_somebody_removes_come_back() {
    repaired("nft");
}

#[test]
fn legacy_rules_that_somebody_removes_come_back() {
    repaired("legacy");
}

fn others_are_left_alone(flavour: &'static str) {
    let node = Node::new("iptthem", flavour);
    node.meddle();
    let before = node.theirs();
    assert!(before.len() > 2 * 5 * 8, "{before:#?}");
    let unchanged = |after: &str| assert_eq!(node.theirs(), before, "{after}");
    let proxy = node.start(SHORT);
    node.testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    unchanged("the start");
    node.testbed.endpoints(&["two"]);
    node.testbed.until_answered_by(CLUSTER_IP, &["two"]);
    unchanged("a change");
    node.tool("iptables", "-t nat -F KUBE-SERVICES");
    node.until_whole("a flush");
    unchanged("a repair");
    assert_eq!(proxy.end(Signal::SIGTERM), Some(0));
    run(&mut node.proxy(&["--cleanup"]));
    unchanged("the removal");
    for program in PROGRAMS {
        let left = node.save(program, flavour);
        assert!(!left.contains("KUBE-SERVICES") && !left.contains("KUBE-SVC-"), "{left}");
    }
}

#[test]
fn rules_of_others_stay_in_every_table_of_the_nft_flavour() {
    others_are_left_alone("nft");
}

#[test]
fn rules_of_others_stay_in_every_table_of_the_legacy_flavour() {
    others_are_left_alone("legacy");
}

/// Somebody's `iptables` that does not come to an end.
#[test]
fn a_lock_that_is_held_for_10_seconds_is_told_of_and_waited_for() {
    let node = Node::new("iptlock", "legacy");
    let _proxy = node.start(&[]);
    node.testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    let file = File::options().create(true).append(true).open(node.lock_file()).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    node.testbed.endpoints(&["two"]);
    until("the lock to be told of", || {
        let log = node.testbed.log();
        if log.contains("holding the xtables lock") { Ok(()) } else { Err(log) }
    });
    // As before, however often it has been in vain.
    for _ in 0..20 {
        node.testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    }
    drop(lock);
    node.testbed.until_answered_by(CLUSTER_IP, &["two"]);
    node.until_whole("the lock");
}

#[test]
fn a_lock_held_at_the_start_is_waited_for() {
    let node = Node::new("iptearly", "legacy");
    let file = File::options().create(true).append(true).open(node.lock_file()).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    let _proxy = node.testbed.spawn_command(node.proxy(&[]));
    until("the lock to be told of", || {
        let log = node.testbed.log();
        if log.contains("could not be written") && log.contains("fuser -v") { Ok(()) } else { Err(log) }
    });
    drop(lock);
    node.testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
}

/// The other flavour has no lock.
#[test]
fn a_held_lock_is_no_business_of_the_nft_flavour() {
    let node = Node::new("iptfree", "nft");
    let _proxy = node.start(&[]);
    let file = File::options().create(true).append(true).open(node.lock_file()).unwrap();
    let _lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    node.testbed.endpoints(&["two"]);
    node.testbed.until_answered_by(CLUSTER_IP, &["two"]);
}

/// The `iptables-restore` that a proxy runs now. Looks at few files: a restore is soon over.
fn restores(proxy: &Proxy) -> Option<Pid> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let read =
        |pid: i32, file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let parent = format!("PPid:\t{}\n", proxy.pid());
    pids.find(|&pid| read(pid, "cmdline").contains("-restore") && read(pid, "status").contains(&parent))
        .map(Pid::from_raw)
}

/// Gives a running proxy something to restore until it is seen at it, however fast it is.
fn caught(testbed: &Testbed, proxy: &Proxy) {
    let mut change = [&["one"][..], &["two"], &["one", "two"]].into_iter().cycle();
    until("a restore", || {
        testbed.endpoints(change.next().expect("it has no end"));
        match (0..50).find_map(|_| restores(proxy)) {
            Some(_) => Ok(()),
            None => Err("none was seen".to_owned()),
        }
    });
}

fn killed_while_restoring(flavour: &'static str) {
    let node = Node::new("iptkill", flavour);
    let ports = json!([{ "name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP" }]);
    let targets = json!([{ "name": "http", "port": 8080, "protocol": "TCP" }]);
    for n in 0..150 {
        let name = format!("more-{n}");
        let directory = node.testbed.directory.path();
        write(directory, &format!("{name}.json"), &service(&name, 100 + n, json!({ "ports": ports })));
        write(directory, &format!("{name}-slices.json"), &slices(&name, &["one"], targets.clone()));
    }
    for wait in [0, 2, 5, 10, 20] {
        let proxy = node.testbed.spawn(&["--proxy-mode=iptables", "--iptables-min-sync-period=0s"]);
        caught(&node.testbed, &proxy);
        std::thread::sleep(Duration::from_millis(wait));
        // The program too, if it is still there: as when the machine's memory ends.
        if let Some(restore) = restores(&proxy) {
            let _ = kill(restore, Signal::SIGKILL);
        }
        assert_eq!(proxy.end(Signal::SIGKILL), None);
    }
    node.testbed.endpoints(&["two"]);
    let _proxy = node.start(&[]);
    node.until_whole("all that killing");
    node.testbed.until_answered_by(CLUSTER_IP, &["two"]);
    node.testbed.until_answered_by("10.96.0.249:80", &["one"]);
}

#[test]
fn a_proxy_killed_while_it_restores_leaves_nothing_that_the_next_does_not_mend_in_the_nft_flavour() {
    killed_while_restoring("nft");
}

#[test]
fn a_proxy_killed_while_it_restores_leaves_nothing_that_the_next_does_not_mend_in_the_legacy_flavour() {
    killed_while_restoring("legacy");
}

#[test]
fn without_iptables_its_package_is_named() {
    let testbed = Testbed::new("iptnone");
    let empty = tempfile::tempdir().unwrap();
    let output = testbed.proxy(&["--proxy-mode=iptables"]).env("PATH", empty.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("iptables: no such program in PATH") && said.contains("apt-get install iptables"),
        "{said}"
    );
}

#[test]
fn connections_are_counted_in_iptables_mode() {
    let node = Node::new("iptcount", "nft");
    let _proxy = node.start(&[]);
    node.testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    node.testbed.until_answered_by(NODE_PORT, &["one", "two"]);
    until("connections to be counted", || {
        let (_, text) = super::daemon::get(&node.testbed, 10249, "/metrics");
        let name = "weft_proxy_service_connections_total{namespace=\"default\",service=\"web\",port=\"http\"";
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains("IPv4"));
        let count: f64 = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        if count >= 32.0 { Ok(()) } else { Err(format!("{count}: {text}")) }
    });
}
