//! What other modes and kube-proxy left in a kernel, when a proxy comes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::testbed::*;

/// What kube-proxy's ipvs mode writes, and what kubelet does beside it.
const IPVS: &str = r#"*filter
:KUBE-FIREWALL - [0:0]
:KUBE-IPVS-FILTER - [0:0]
:KUBE-IPVS-OUT-FILTER - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-NODE-PORT - [0:0]
-A INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
-A INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT
-A INPUT -j KUBE-FIREWALL
-A OUTPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -j DROP
-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -d 10.96.0.0/16 -j REJECT
COMMIT
*nat
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-LOAD-BALANCER - [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-LOAD-BALANCER
COMMIT
"#;

/// What kube-proxy's iptables mode writes for one service, whose endpoint is nobody.
const IPTABLES: &str = r#"*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-DEADDEADDEADDEAD - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.77/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-DEADDEADDEADDEAD
-A KUBE-SVC-DEADDEADDEADDEAD -p tcp -j DNAT --to-destination 10.244.1.99:80
COMMIT
"#;

fn restore(testbed: &Testbed, flavour: &str, text: &str) {
    let path = testbed.directory.path().join("rules");
    std::fs::write(&path, text).unwrap();
    run(testbed.node.command(format!("iptables-{flavour}-restore")).args(["-w", "--noflush"]).arg(path));
}

fn saved(testbed: &Testbed, flavour: &str) -> String {
    run(&mut testbed.node.command(format!("iptables-{flavour}-save")))
}

fn ip(testbed: &Testbed, words: &str) -> String {
    run(testbed.node.command("ip").args(words.split(' ')))
}

fn until_said(testbed: &Testbed, words: &[&str]) {
    until(&format!("the log to say {words:?}"), || {
        let log = testbed.log();
        if log.lines().any(|line| words.iter().all(|word| line.contains(word))) { Ok(()) } else { Err(log) }
    });
}

/// A directory of programs, to stand in PATH.
struct Programs(PathBuf);

impl Programs {
    fn new(testbed: &Testbed) -> Self {
        let path = testbed.directory.path().join("bin.d");
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, script: &str) {
        let path = self.0.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn before_all(&self) -> String {
        format!("{}:{}", self.0.display(), std::env::var("PATH").unwrap())
    }
}

fn ipvs_leftovers(mode: &str) {
    let testbed = Testbed::new(&format!("ipvs-{mode}"));
    // This kernel need not have links of kind dummy: the name counts.
    ip(&testbed, "link add kube-ipvs0 type bridge");
    ip(&testbed, "address add 10.96.0.77/32 dev kube-ipvs0");
    restore(&testbed, "nft", IPVS);
    let proxy = testbed.start_with(&[&format!("--proxy-mode={mode}")]);
    until("ipvs' link and chains to go", || {
        let (links, rules) = (ip(&testbed, "link"), saved(&testbed, "nft"));
        let left = ["KUBE-IPVS", "KUBE-NODE-PORT ", "KUBE-LOAD-BALANCER"];
        let left: Vec<_> = left.iter().filter(|chain| rules.contains(**chain)).collect();
        if left.is_empty() && !links.contains("kube-ipvs0") {
            Ok(())
        } else {
            Err(format!("{left:?} {links}"))
        }
    });
    until_said(&testbed, &["link kube-ipvs0 (kube-proxy's) removed"]);
    let rules = saved(&testbed, "nft");
    for kubelets in [":KUBE-KUBELET-CANARY", "-A INPUT -j KUBE-FIREWALL", "-A KUBE-FIREWALL ! -s 127.0.0.0/8"]
    {
        assert!(rules.contains(kubelets), "{kubelets} in {rules}");
    }
    testbed.until_answered_by(CLUSTER_IP, &["one", "two"]);
    assert_eq!(proxy.end(Signal::SIGTERM), Some(0));
}

#[test]
fn leftovers_of_ipvs_mode_are_named_and_removed_in_nftables_mode() {
    ipvs_leftovers("nftables");
}

#[test]
fn leftovers_of_ipvs_mode_are_named_and_removed_in_iptables_mode() {
    ipvs_leftovers("iptables");
}

#[test]
fn cleanup_removes_leftovers_of_ipvs_mode() {
    let testbed = Testbed::new("ipvs-clean");
    ip(&testbed, "link add kube-ipvs0 type bridge");
    restore(&testbed, "nft", IPVS);
    run(&mut testbed.proxy(&["--cleanup"]));
    assert!(!ip(&testbed, "link").contains("kube-ipvs0"));
    let rules = saved(&testbed, "nft");
    let chains: Vec<_> = rules.lines().filter(|line| line.starts_with(":KUBE")).collect();
    assert_eq!(
        chains,
        [":KUBE-FIREWALL - [0:0]", ":KUBE-KUBELET-CANARY - [0:0]", ":KUBE-KUBELET-CANARY - [0:0]"]
    );
}

/// Legacy rules can be read by their program alone.
#[test]
fn rules_that_could_not_be_looked_at_are_told_of_and_removed_later() {
    let testbed = Testbed::new("unseen");
    restore(&testbed, "legacy", IPTABLES);
    let programs = Programs::new(&testbed);
    let fails = "echo 'no memory for a table' >&2; exit 1";
    programs.put("iptables-legacy-save", fails);
    let mut proxy = testbed.proxy(&[]);
    proxy.env("PATH", programs.before_all());
    let _proxy = testbed.start_command(proxy);
    until_said(&testbed, &["KUBE- chains of iptables-legacy", "no memory for a table", "by hand"]);
    let mut cleanup = testbed.proxy(&["--cleanup", "--proxy-mode=iptables"]);
    let output = cleanup.env("PATH", programs.before_all()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no memory for a table"), "{said}");
    assert!(saved(&testbed, "legacy").contains("KUBE-SVC-DEAD"));
    std::fs::remove_file(programs.path().join("iptables-legacy-save")).unwrap();
    until("kube-proxy's rules to go", || {
        let rules = saved(&testbed, "legacy");
        if rules.contains("KUBE-") { Err(rules) } else { Ok(()) }
    });
    until_said(&testbed, &["KUBE- chains of iptables-legacy", "removed"]);
    let log = testbed.log();
    assert_eq!(log.matches("no memory for a table; ").count(), 1, "{log}");
}

#[test]
fn rules_of_legacy_without_its_program_are_told_of_with_its_package() {
    let testbed = Testbed::new("unseen-none");
    restore(&testbed, "legacy", IPTABLES);
    let programs = Programs::new(&testbed);
    let mut proxy = testbed.proxy(&[]);
    proxy.env("PATH", programs.path());
    let _proxy = testbed.start_command(proxy);
    until_said(
        &testbed,
        &["KUBE- chains of iptables-legacy", "no such program", "apt-get install iptables", "nat"],
    );
}

/// The nft flavour's chains are nf_tables': no program is asked, and none can fail.
#[test]
fn chains_of_the_nft_flavour_go_without_any_program() {
    let testbed = Testbed::new("unseen-nft");
    restore(&testbed, "nft", IPTABLES);
    // A base chain for which iptables has no words.
    testbed.nft("add chain ip nat odd { type nat hook prerouting priority -90 ; }");
    testbed.nft("add rule ip nat odd ip daddr 10.96.0.0/16 jump KUBE-SERVICES");
    testbed.nft("add rule ip nat odd ip daddr 203.0.113.1 accept");
    let programs = Programs::new(&testbed);
    let mut proxy = testbed.proxy(&[]);
    proxy.env("PATH", programs.path());
    let _proxy = testbed.start_command(proxy);
    until("kube-proxy's rules to go", || {
        let rules = testbed.nft("list table ip nat");
        if rules.contains("KUBE-") { Err(rules) } else { Ok(()) }
    });
    let rules = testbed.nft("list table ip nat");
    assert!(rules.contains("ip daddr 203.0.113.1 accept"), "{rules}");
    until_said(&testbed, &["KUBE- chains of iptables-nft", "removed"]);
}
