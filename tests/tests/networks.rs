//! Several networks on one host, flannel's documented multi-network: a daemon for each `--etcd-prefix`, and none of them
//! touches what belongs to another.
//!
//! Needs root, etcd, and the `weft` that `cargo build -p weft` makes.

use std::path::PathBuf;

use lab::spec::{Backend, Datapath};
use lab::{Node, ScratchLab, Signal, Spec};
use tests::foreign::Foreign;
use tests::testbed::{assert_all_reach_all, sh, spec, start, up, weft, writes};
use tests::view::View;
use tests::wait::{SOON, until_explained};

const PREFIX: &str = "/two";

/// The daemon of a second network on a node. Ends with the value.
struct Second<'a> {
    node: &'a Node,
    flags: String,
    pid: Option<String>,
}

impl<'a> Second<'a> {
    fn start(lab: &'a ScratchLab, config: &str, flags: &str) -> Self {
        lab.etcd().put(&format!("{PREFIX}/config"), config).unwrap();
        let node = lab.node("n1");
        let flags = format!(
            "--etcd-endpoints=http://172.30.0.1:2379 --etcd-prefix={PREFIX} --subnet-file={} {flags}",
            file(node, "two.env").display()
        );
        let mut second = Self { node, flags, pid: None };
        second.begin();
        second
    }

    fn begin(&mut self) {
        let _ = std::fs::remove_file(file(self.node, "two.env"));
        let command = format!("{} >>{} 2>&1 & echo $!", self.command(""), self.log().display());
        self.pid = Some(sh(self.node, &command).trim().to_owned());
        until_explained(
            "the second daemon's subnet.env",
            SOON,
            || file(self.node, "two.env").exists().then_some(()),
            || std::fs::read_to_string(self.log()).unwrap_or_default(),
        );
    }

    fn command(&self, more: &str) -> String {
        format!("{} flanneld {} {more}", weft().binary.program().unwrap().display(), self.flags)
    }

    fn log(&self) -> PathBuf {
        file(self.node, "two.log")
    }

    fn end(&mut self, signal: &str) {
        if let Some(pid) = self.pid.take() {
            let gone = format!("kill -{signal} {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.02; done");
            let _ = self.node.run(["sh", "-c", gone.as_str()]);
        }
    }
}

impl Drop for Second<'_> {
    fn drop(&mut self) {
        self.end("KILL");
    }
}

fn file(node: &Node, name: &str) -> PathBuf {
    node.directory().join(name)
}

fn until(node: &Node, what: &str, script: &str, holds: impl Fn(&str) -> bool) {
    let look = || node.run(["sh", "-c", script]).unwrap_or_default();
    until_explained(what, SOON, || holds(&look()).then_some(()), look);
}

#[test]
fn two_networks_on_one_host_touch_nothing_of_one_another() {
    let lab = up(&spec("nettwo", Backend::Vxlan));
    let node = lab.node("n1");
    assert_all_reach_all(&lab);
    let (foreign, alone) = (Foreign::plant(node), View::of(node));
    for firewall in ["nftables", "iptables"] {
        let config = r#"{"Network":"10.245.0.0/16","Backend":{"Type":"vxlan","VNI":2}}"#;
        let before = writes(node);
        let mut second = Second::start(&lab, config, &format!("--ip-masq --firewall={firewall}"));
        let rules = match firewall {
            "nftables" => "nft list ruleset | grep -c 'table ip flannel-ipv4'",
            _ => "iptables-save | grep -c '^:FLANNEL-.*-'",
        };
        until(node, "both daemons' rules", rules, |count| count.trim() == "2");
        until(node, "the second tunnel", "ip -o address show dev flannel.2", |text| text.contains("10.245."));
        // What the second repairs is none of the first's business.
        sh(node, "ip address flush dev flannel.2");
        until(node, "the second's repair", "ip -o -4 address show dev flannel.2", |text| {
            text.contains("10.245.")
        });
        assert_eq!(writes(node), before, "the first writes:\n{}", node.flanneld().log_tail(20));

        second.end("TERM");
        sh(node, &second.command("--cleanup"));
        let left = sh(
            node,
            "ip -o link show; ip route show proto 87; nft list tables; iptables-save; iptables-legacy-save",
        );
        for gone in ["flannel.2", "10.245.", "flannel-ipv4-", "FLANNEL-POSTRTG-", "FLANNEL-FWD-"] {
            assert!(!left.contains(gone), "{gone} is left:\n{left}");
        }
        let now = View::of(node);
        assert!(now == alone, "{}", now.difference(&alone));
        assert_eq!(writes(node), before, "the first writes:\n{}", node.flanneld().log_tail(20));
        foreign.assert_untouched("the cleanup of a second network");
        assert_all_reach_all(&lab);
    }
}

#[test]
fn two_udp_networks_on_one_host_have_a_tun_each() {
    for datapath in [Datapath::Ebpf, Datapath::Simple] {
        let lab = up(&Spec { datapath, ..spec("netudp", Backend::Udp) });
        let node = lab.node("n1");
        let tun = "ip -o -4 address show dev flannel1";
        let pins = file(node, "bpf/two");
        let config = format!(
            r#"{{"Network":"10.245.0.0/16","Backend":{{"Type":"udp","Port":8290,"Datapath":"{datapath}"}}}}"#
        );
        let mut second = Second::start(&lab, &config, &format!("--bpf-pin-dir={}", pins.display()));
        until(node, "the second TUN", tun, |text| text.contains("10.245."));
        assert_all_reach_all(&lab);
        // Each finds its own again.
        second.end("KILL");
        node.stop_flanneld(Signal::SIGKILL).unwrap();
        second.begin();
        start(node, &weft());
        until(node, "the second TUN", tun, |text| text.contains("10.245."));
        let links = sh(node, "ip -o link show");
        assert!(links.contains("flannel0") && !links.contains("flannel2"), "{links}");
        assert_all_reach_all(&lab);

        second.end("TERM");
        sh(node, &second.command("--cleanup"));
        let links = sh(node, "ip -o link show");
        assert!(links.contains("flannel0") && !links.contains("flannel1"), "{links}");
        assert!(!pins.exists());
        assert_all_reach_all(&lab);
    }
}
