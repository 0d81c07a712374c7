//! Masquerade and forward rules, by whichever tool: what becomes of packets, what is in the tables, what goes.
//!
//! Needs root, etcd, nft, both flavours of iptables, and the `weft` that `cargo build -p weft` makes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use host::netns::Namespace;
use lab::etcd::NetworkKeys;
use lab::spec::{Backend, Datapath};
use lab::{FlanneldOptions, Node, ScratchLab, Signal, Spec};
use tests::foreign::Foreign;
use tests::stream::address;
use tests::testbed::{assert_all_reach_all, said, sh, spec, start, up, warned, weft};
use tests::view::View;
use tests::wait::{SOON, until, until_explained, until_true};

/// The source that a datagram has when it arrives. `from` is the address that it is sent from.
fn seen(from: &Namespace, source: IpAddr, to: &Namespace, target: IpAddr) -> IpAddr {
    let bound = |namespace: &Namespace, ip| {
        namespace.run(|| UdpSocket::bind(SocketAddr::new(ip, 0)).unwrap()).unwrap()
    };
    let (receiver, sender) = (bound(to, target), bound(from, source));
    receiver.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    until_explained(
        "a datagram to arrive",
        SOON,
        || {
            sender.send_to(b"who am I?", receiver.local_addr().unwrap()).unwrap();
            receiver.recv_from(&mut [0; 16]).ok().map(|(_, from)| from.ip())
        },
        || format!("from {source} to {target}"),
    )
}

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The world outside, with a way to the pods of n1.
struct World<'a> {
    lab: &'a ScratchLab,
    outside: IpAddr,
}

impl<'a> World<'a> {
    fn around(lab: &'a ScratchLab) -> Self {
        let subnet =
            lab.node("n1").subnet_env().unwrap().get("FLANNEL_SUBNET").unwrap().replace(".1/24", ".0/24");
        let route = ["route", "replace", subnet.as_str(), "via", "172.30.0.11"];
        assert!(lab.hub().command("ip").args(route).status().unwrap().success());
        Self { lab, outside: Ipv4Addr::new(172, 30, 0, 1).into() }
    }

    fn pod(&self, name: &str) -> (&Namespace, IpAddr) {
        let pod = self.lab.pod(name);
        (pod.namespace(), address(pod))
    }

    /// Who the outside sees when a pod of n1 sends.
    fn source_of_pod(&self) -> IpAddr {
        seen(self.pod("n1-p1").0, ANY, self.lab.hub(), self.outside)
    }

    /// Between pods and from the outside nobody is hidden; from the host, whose address means nothing to a pod
    /// elsewhere, everybody is.
    fn assert_masquerade(&self) {
        let ((pod, ip), (far_pod, far_ip)) = (self.pod("n1-p1"), self.pod("n2-p1"));
        let underlay = IpAddr::from(self.lab.node("n1").underlay());
        assert_eq!(self.source_of_pod(), underlay, "from a pod to the outside");
        assert_eq!(seen(pod, ANY, far_pod, far_ip), ip, "from a pod to a pod elsewhere");
        assert_eq!(seen(far_pod, ANY, pod, ip), far_ip, "from a pod elsewhere");
        assert_eq!(seen(self.lab.hub(), self.outside, pod, ip), self.outside, "from the outside to a pod");
        let host = self.lab.node("n1").namespace();
        let own = sh(self.lab.node("n1"), "ip -o -4 address show dev flannel.1");
        let own = own.split_whitespace().nth(3).unwrap().trim_end_matches("/32").parse::<IpAddr>().unwrap();
        assert_eq!(seen(host, underlay, far_pod, far_ip), own, "from the host to a pod elsewhere");
    }
}

/// flannel's rules, as its own tests expect them of `iptables -S` (e2e/rules.go).
fn flannels_rules(node: &Node) -> (String, String) {
    let pod = node.subnet_env().unwrap().get("FLANNEL_SUBNET").unwrap().replace(".1/24", ".0/24");
    let net = "10.244.0.0/16";
    let masq = "-m comment --comment \"flanneld masq\" -j";
    let fwd = "-m comment --comment \"flanneld forward\" -j";
    let nat = format!(
        "-N FLANNEL-POSTRTG\n\
         -A POSTROUTING {masq} FLANNEL-POSTRTG\n\
         -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 {masq} RETURN\n\
         -A FLANNEL-POSTRTG -s {pod} -d {net} {masq} RETURN\n\
         -A FLANNEL-POSTRTG -s {net} -d {pod} {masq} RETURN\n\
         -A FLANNEL-POSTRTG ! -s {net} -d {pod} {masq} RETURN\n\
         -A FLANNEL-POSTRTG -s {net} ! -d 224.0.0.0/4 {masq} MASQUERADE --random-fully\n\
         -A FLANNEL-POSTRTG ! -s {net} -d {net} {masq} MASQUERADE --random-fully\n"
    );
    let filter = format!(
        "-N FLANNEL-FWD\n\
         -A FORWARD {fwd} FLANNEL-FWD\n\
         -A FLANNEL-FWD -s {net} {fwd} ACCEPT\n\
         -A FLANNEL-FWD -d {net} {fwd} ACCEPT\n"
    );
    (nat, filter)
}

/// The lines of ours that a flavour shows.
fn shown(node: &Node, iptables: &str) -> (String, String) {
    let ours = |table: &str| sh(node, &format!("{iptables} -w -t {table} -S | grep FLANNEL || true"));
    (ours("nat"), ours("filter"))
}

fn restart(lab: &ScratchLab, options: &FlanneldOptions) {
    for node in lab.nodes() {
        node.stop_flanneld(Signal::SIGTERM).unwrap();
        start(node, options);
    }
}

/// Options under which plain `iptables` is the legacy flavour, as an administrator may choose it.
fn with_legacy(lab: &ScratchLab) -> FlanneldOptions {
    let folder = lab.node("n1").directory().join("legacy");
    std::fs::create_dir_all(&folder).unwrap();
    for program in ["iptables", "ip6tables"] {
        for part in ["", "-save", "-restore"] {
            let target = format!("/usr/sbin/{program}-legacy{part}");
            symlink(target, folder.join(format!("{program}{part}"))).unwrap();
        }
    }
    let path = std::env::var("PATH").unwrap_or_default();
    weft().env("PATH", format!("{}:/usr/sbin:/sbin:{path}", folder.display()))
}

#[test]
fn every_tool_masquerades_alike_and_leaves_nothing_to_the_next() {
    let lab = up(&spec("fwmasq", Backend::Vxlan));
    let node = lab.node("n1");
    let foreign = Foreign::plant(node);
    let (world, rules, none) = (World::around(&lab), flannels_rules(node), (String::new(), String::new()));
    let tables = || sh(node, "nft list tables");

    world.assert_masquerade();
    assert!(tables().contains("flannel-ipv4"));
    assert_eq!(shown(node, "iptables-nft"), none);

    // flannel's default, spelled out.
    let config = r#"{"Network":"10.244.0.0/16","EnableNFTables":false,"Backend":{"Type":"vxlan"}}"#;
    lab.etcd().put_network_config(config).unwrap();
    restart(&lab, &weft());
    assert_eq!(shown(node, "iptables-nft"), rules);
    assert!(!tables().contains("flannel-ipv4"), "{}", tables());
    world.assert_masquerade();
    let cut = Instant::now();
    sh(node, "iptables-nft -w -F FLANNEL-FWD; iptables-nft -w -t nat -D FLANNEL-POSTRTG 1");
    until_true("the chains", || shown(node, "iptables-nft") == rules);
    println!("iptables-nft repaired in {:?}", cut.elapsed());

    // The rules of one tool do not outlive the choice of another.
    restart(&lab, &weft().arg("--firewall=nftables"));
    assert_eq!(shown(node, "iptables-nft"), none);
    world.assert_masquerade();

    let legacy = with_legacy(&lab).arg("--iptables-resync=1");
    restart(&lab, &legacy);
    assert_eq!(shown(node, "iptables-legacy"), rules);
    assert_eq!(shown(node, "iptables-nft"), none);
    world.assert_masquerade();
    // The old tables tell nobody of their changes: they are looked at every --iptables-resync seconds.
    sh(node, "iptables-legacy -w -F FLANNEL-FWD");
    until_true("the chains", || shown(node, "iptables-legacy") == rules);

    restart(&lab, &weft().arg("--firewall=nftables"));
    assert_eq!(shown(node, "iptables-legacy"), none);
    world.assert_masquerade();
    foreign.assert_untouched("all tools in turn");
    assert_all_reach_all(&lab);
}

/// Docker's daemon sets the policy of FORWARD to DROP, in whichever iptables it finds, and whenever it starts.
#[test]
fn dockers_policy_does_not_cut_pods_off() {
    for iptables in ["iptables-nft", "iptables-legacy"] {
        let lab = up(&spec("fwdock", Backend::Vxlan));
        assert_all_reach_all(&lab);
        let node = lab.node("n1");
        let foreign = Foreign::plant(node);
        restart(&lab, &weft().arg("--iptables-resync=1"));
        let policy = |policy: &str| {
            for node in lab.nodes() {
                sh(
                    node,
                    &format!(
                        "{iptables} -w -P FORWARD {policy}; {iptables} -w -N DOCKER 2>/dev/null || true"
                    ),
                );
            }
            Instant::now()
        };
        let filter = || shown(node, iptables).1;
        let since = policy("DROP");
        until_true("the accept beside the drop", || filter() == flannels_rules(node).1);
        println!("{iptables}: accepted {:?} after the drop", since.elapsed());
        assert_all_reach_all(&lab);
        // Whoever looks with the tool of the table sees rules that it understands.
        let saved = sh(node, &format!("{iptables}-save"));
        assert!(!saved.contains("incompatible"), "{saved}");

        // It is there at the start too, and a restart writes nothing.
        restart(&lab, &weft().arg("--iptables-resync=1"));
        assert_eq!(filter(), flannels_rules(node).1);
        assert_eq!(tests::testbed::metric(node, "firewall_writes_total"), 0.0);
        assert_all_reach_all(&lab);

        policy("ACCEPT");
        until_true("the end of the accept", || filter().is_empty());
        assert!(sh(node, &format!("{iptables} -w -S")).contains("-N DOCKER"));
        foreign.assert_untouched("Docker's policy");
        assert_all_reach_all(&lab);
    }
}

#[test]
fn what_is_not_asked_for_is_not_written() {
    let lab = up(&spec("fwoff", Backend::Vxlan));
    let node = lab.node("n1");
    let world = World::around(&lab);
    let pod = world.pod("n1-p1").1;

    restart(&lab, &weft().arg("--ip-masq=false"));
    let view = View::of(node);
    assert!(!view.has("nft", ""), "{view}");
    until_true("the pod's own address outside", || world.source_of_pod() == pod);
    assert!(node.subnet_env().unwrap().text.contains("FLANNEL_IPMASQ=false"));

    restart(&lab, &weft().arg("--iptables-forward-rules=false").arg("--ip-masq-fully-random-disable"));
    let view = View::of(node);
    assert!(view.has("nft", "masquerade") && !view.has("nft", "random"), "{view}");

    restart(&lab, &weft().arg("--iptables-forward-rules=false").arg("--ip-masq=false"));
    assert!(!View::of(node).has("nft", ""), "{}", View::of(node));
    assert_all_reach_all(&lab);
}

/// The bridge stays, for pods hang on it, and so do the lease and subnet.env: a daemon that starts again has its
/// subnet back.
#[test]
fn cleanup_removes_all_of_ours_and_nothing_else() {
    let testbeds = [
        spec("fwclean", Backend::Vxlan),
        spec("fwclean", Backend::HostGw),
        Spec { datapath: Datapath::Ebpf, ..spec("fwclean", Backend::Udp) },
    ];
    for testbed in testbeds {
        let lab = up(&testbed);
        let node = lab.node("n1");
        let foreign = Foreign::plant(node);
        for iptables in ["iptables-nft", "iptables-legacy"] {
            sh(node, &format!("{iptables} -w -P FORWARD DROP; {iptables} -w -A FORWARD -i lo -j ACCEPT"));
        }
        restart(&lab, &weft().arg("--iptables-resync=1"));
        let env = node.subnet_env().unwrap().text;
        node.stop_flanneld(Signal::SIGTERM).unwrap();
        let program = weft().binary.program().unwrap().display().to_string();
        let pins = node.directory().join("bpf/flanneld");
        let pin_flag = format!("--bpf-pin-dir={}", pins.display());
        for _ in 0..2 {
            node.run([program.as_str(), "flanneld", "--cleanup", &pin_flag]).unwrap();
        }
        let left = View::of(node).to_string();
        let bridge = |line: &&str| !line.contains("docker0");
        assert_eq!(left.lines().filter(bridge).collect::<Vec<_>>(), [""; 0], "{} leaves", testbed.backend);
        assert_eq!(left.lines().count(), 3, "the bridge: {left}");
        assert!(!pins.exists(), "pins");
        for iptables in ["iptables-nft", "iptables-legacy"] {
            assert_eq!(shown(node, iptables), (String::new(), String::new()), "{iptables}");
            let rest = sh(node, &format!("{iptables} -w -S FORWARD"));
            assert!(
                rest.contains("-P FORWARD DROP") && rest.contains("-A FORWARD -i lo -j ACCEPT"),
                "{rest}"
            );
        }
        foreign.assert_untouched("the cleanup");
        assert_eq!(node.subnet_env().unwrap().text, env);
        start(node, &weft());
        assert_eq!(node.subnet_env().unwrap().text, env, "the subnet is still this node's");
        until("both ways", || lab.check().unwrap().iter().all(|pair| pair.passed()).then_some(()));
    }
}

/// An accept in our table does not override what another's table drops: whoever runs it has to be told.
#[test]
fn a_rule_of_another_that_cuts_pods_off_is_named_with_the_remedy() {
    let lab = up(&spec("fwcut", Backend::Vxlan));
    let node = lab.node("n1");
    let cases = [
        ("table inet mine { chain passing { type filter hook forward priority 0; policy drop; }; }", "its policy to drop"),
        (
            "table inet mine { chain passing { type filter hook forward priority 10; policy accept;
             ct state established,related accept; iifname lo accept; jump zones; reject with icmpx admin-prohibited; };
             chain zones { iifname eth7 ip saddr 203.0.113.0/24 accept; tcp dport 22 accept; }; }",
            "by the rule `reject",
        ),
    ];
    for (ruleset, what) in cases {
        let from = node.log().len();
        sh(node, &format!("nft -f - <<'END'\n{}\nEND", chains_first(ruleset)));
        let line = warned(node, from, what);
        assert!(
            line.contains("table inet mine") && line.contains("nft insert rule inet mine passing"),
            "{line}"
        );
        // The remedy is one, as it is written.
        let (_, remedy) = line.split_once("for example: ").unwrap_or_else(|| panic!("no remedy: {line}"));
        sh(node, remedy);
        said(node, from, "no rule of another cuts the pods off any more");
        assert_all_reach_all(&lab);
        sh(node, "nft delete table inet mine");
    }
    let from = node.log().len();
    sh(node, "iptables-nft -A FORWARD -j REJECT --reject-with icmp-host-prohibited");
    let line = warned(node, from, "table ip filter");
    assert!(line.contains("nft insert rule ip filter FORWARD ip saddr 10.244.0.0/16 accept"), "{line}");
    // Said once, however often others change their tables.
    for n in 0..5 {
        sh(node, &format!("nft add table inet other{n}; nft delete table inet other{n}"));
    }
    sh(node, "iptables-nft -D FORWARD -j REJECT --reject-with icmp-host-prohibited");
    said(node, from, "no rule of another cuts the pods off any more");
    let said = node.log()[from..].lines().filter(|line| line.contains("table ip filter")).count();
    assert_eq!(said, 1, "{}", node.log());
}

/// nft wants a chain to be there before a rule jumps to it.
fn chains_first(ruleset: &str) -> String {
    if ruleset.contains("zones") {
        format!("table inet mine {{ chain zones {{ }}; }}\n{ruleset}")
    } else {
        ruleset.to_owned()
    }
}
