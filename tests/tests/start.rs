//! Starts that cannot succeed: each ends with a message that names the cause and the remedy, with exit code 1, and
//! leaves nothing behind. And starts that can, although something is unusual.
//!
//! Needs root, etcd, and the `weft` that `cargo build -p weft` makes.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use lab::etcd::NetworkKeys;
use lab::flanneld::HEALTH_PORT;
use lab::spec::Backend;
use lab::{FlanneldOptions, Node, ScratchLab, Signal};
use tests::foreign::Foreign;
use tests::testbed::{bare, run_to_its_end, sh, start, up, warned, weft};
use tests::view::View;

const VXLAN: &str = r#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#;
const UDP: &str = r#"{"Network":"10.244.0.0/16","Backend":{"Type":"udp"}}"#;
const EBPF: &str = r#"{"Network":"10.244.0.0/16","Backend":{"Type":"udp","Datapath":"ebpf"}}"#;

/// One node on which nothing works.
struct Bench<'a> {
    lab: &'a ScratchLab,
    node: &'a Node,
}

impl Bench<'_> {
    fn config(&self, json: &str) {
        self.lab.etcd().put_network_config(json).unwrap();
    }

    /// The daemon ends with code 1 and one last line that has all these words; nothing of it is left.
    fn refuses(&self, options: FlanneldOptions, words: &[&str]) {
        let (status, log) = run_to_its_end(self.node, &options);
        let last = log.lines().last().unwrap_or_default();
        println!("{:?}: {last}", options.args);
        assert_eq!(status.code(), Some(1), "{log}");
        for word in words {
            assert!(last.contains(word), "{word:?} in {last:?}\n{log}");
        }
        assert_eq!(View::of(self.node).to_string(), "", "left behind by {:?}", options.args);
        assert!(self.node.subnet_env().is_none());
        let all = sh(self.node, "nft list tables; ls /run/weft 2>/dev/null");
        assert!(!all.contains("flannel"), "{all}");
    }
}

fn with(flags: &[&str]) -> FlanneldOptions {
    flags.iter().fold(weft(), |options, flag| options.arg(*flag))
}

#[test]
fn a_start_that_cannot_succeed_says_why_and_leaves_nothing() {
    let lab = up(&bare("startno", Backend::Vxlan));
    let node = lab.node("n1");
    let bench = Bench { lab: &lab, node };

    // Flags. What cannot be read at all is code 2, by custom.
    let (status, log) = run_to_its_end(node, &with(&["--etcd-endpoint=http://x"]));
    assert!(status.code() == Some(2) && log.contains("did you mean -etcd-endpoints?"), "{status}: {log}");
    bench.refuses(with(&["--healthz-port=70000"]), &["healthz-port", "70000", "65535"]);
    bench.refuses(with(&["--public-ip=nonsense"]), &["public-ip", "nonsense", "IPv4"]);
    bench.refuses(with(&["--kube-subnet-mgr"]), &["kube-subnet-mgr", "etcd"]);
    bench.refuses(with(&["--subnet-lease-renew-margin=1440"]), &["subnet-lease-renew-margin", "1439"]);

    // The interface.
    sh(
        node,
        "ip link add bare0 type bridge; ip link set bare0 up
         ip link add small0 type bridge; ip address add 192.0.2.1/24 dev small0; ip link set small0 mtu 68 up",
    );
    bench.refuses(with(&["--iface=nope0"]), &["nope0", "there is no such interface", "eth0 (172.30.0.11"]);
    bench.refuses(with(&["--iface=192.0.2.77"]), &["192.0.2.77", "no interface has this address"]);
    bench.refuses(with(&["--iface=bare0"]), &["bare0", "no usable IPv4 address", "--iface"]);
    bench.refuses(with(&["--iface=small0"]), &["small0", "MTU of 68", "vxlan", "--iface"]);
    bench.refuses(with(&["--iface-regex=nope.*"]), &["nope.*", "eth0"]);
    bench.refuses(with(&["--public-ip=203.0.113.7"]), &["203.0.113.7", "NAT", "--iface"]);
    sh(node, "ip link del bare0; ip link del small0");

    // Ports.
    let listening =
        |port| node.namespace().run(move || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
    let taken = listening(HEALTH_PORT).unwrap();
    bench.refuses(weft(), &["127.0.0.1:8286", "another process has this port"]);
    drop(taken);
    bench.config(UDP);
    let taken = node.namespace().run(|| UdpSocket::bind(("0.0.0.0", 8285)).unwrap()).unwrap();
    bench.refuses(weft(), &["172.30.0.11:8285", "another program listens there", "Backend.Port"]);
    drop(taken);

    // Files.
    bench.config(VXLAN);
    bench.refuses(
        with(&["--subnet-file=/proc/nowhere/subnet.env"]),
        &["cannot write /proc/nowhere/subnet.env"],
    );
    bench.refuses(with(&["--cni-conf=/proc/nowhere/x.conflist"]), &["cannot write /proc/nowhere/x.conflist"]);
    bench.refuses(
        with(&["--etcd-cafile=/nowhere.pem", "--etcd-endpoints=https://172.30.0.1:2379"]),
        &["/nowhere.pem"],
    );
    bench.config(EBPF);
    bench.refuses(with(&["--bpf-pin-dir=/proc/nowhere/pins"]), &["ebpf", "/proc/nowhere"]);
}

/// Everything that a start could change: links, addresses, routes and rules of this node, and the leases.
fn everything(lab: &ScratchLab, node: &Node) -> String {
    let kernel = sh(
        node,
        "ip -d -o link show | sed 's/[a-z_]*timer *[0-9.]*//g'; ip -o address show | sed 's/ tentative//'
         ip route show table all | grep -v '^ff00\\|^fe80'; ip neigh show nud permanent; nft list ruleset
         ls /run/weft 2>/dev/null || true",
    );
    let leases = lab.etcd().leases().unwrap_or_else(|error| panic!("{error}"));
    format!("{kernel}{leases:?}")
}

#[test]
fn a_start_that_would_cut_the_node_off_is_refused_and_changes_nothing() {
    let lab = up(&bare("startcut", Backend::Vxlan));
    let node = lab.node("n1");
    sh(
        node,
        "ip link add br9 type bridge; ip address add 192.0.2.9/24 dev br9; ip link set br9 up
         ip link add link br9 name br9.5 type macvlan; ip address add 192.0.3.9/24 dev br9.5; ip link set br9.5 up
         ip link add flannel.9 type vxlan id 9 dstport 8472 dev eth0; ip address add 10.9.0.0/32 dev flannel.9
         ip link set flannel.9 up; ip link add cni0 type bridge; ip address add 10.9.0.1/24 dev cni0; ip link set cni0 up
         ip address add 203.0.113.9/32 dev lo",
    );
    std::fs::create_dir(node.directory().join("folder")).unwrap();
    let folder = format!("--subnet-file={}", node.directory().join("folder").display());
    let with_mtu = VXLAN.replace("\"vxlan\"", "\"vxlan\",\"MTU\":9000");
    let host_gw = VXLAN.replace("vxlan", "host-gw");
    let covering = VXLAN.replace("10.244.0.0/16", "172.16.0.0/12");
    let cases: &[(&str, &[&str], &[&str])] = &[
        // The pods' bridge.
        (VXLAN, &["--iface=br9", "--bridge=br9"], &["--bridge br9", "carries the overlay", "MTU"]),
        (VXLAN, &["--iface=br9.5", "--bridge=br9"], &["--bridge br9", "br9.5", "pass through it"]),
        (VXLAN, &["--bridge=eth0"], &["--bridge eth0", "carries the overlay"]),
        (VXLAN, &["--iface=br9", "--bridge=eth0"], &["eth0", "is a veth, not a bridge"]),
        (VXLAN, &["--bridge=lo"], &["lo", "not a bridge"]),
        (VXLAN, &["--bridge=flannel.1"], &["--bridge flannel.1", "tunnel"]),
        (VXLAN, &["--bridge=flannel.9"], &["flannel.9", "is a vxlan, not a bridge"]),
        // The interface.
        (VXLAN, &["--iface=lo"], &["lo", "loopback", "--iface"]),
        (VXLAN, &["--iface=203.0.113.9"], &["lo", "loopback", "--public-ip"]),
        (VXLAN, &["--iface-can-reach=172.30.0.11"], &["lo", "loopback"]),
        (VXLAN, &["--iface=flannel.9"], &["flannel.9", "tunnel"]),
        (VXLAN, &["--iface=cni0"], &["cni0", "bridge of this host's pods"]),
        (VXLAN, &["--iface-regex=^10\\.9\\."], &["matches no address and no interface that could carry"]),
        (&with_mtu, &[], &["Backend.MTU is 9000", "eth0", "1500"]),
        // The public address.
        (VXLAN, &["--iface=eth0", "--public-ip=127.0.0.1"], &["--public-ip 127.0.0.1", "itself"]),
        (VXLAN, &["--iface=eth0", "--public-ip=0.0.0.0"], &["--public-ip 0.0.0.0", "no host has it"]),
        (VXLAN, &["--iface=eth0", "--public-ip=224.0.0.9"], &["224.0.0.9", "multicast"]),
        (VXLAN, &["--iface=eth0", "--public-ip=169.254.1.2"], &["169.254.1.2", "link-local"]),
        (VXLAN, &["--iface=eth0", "--public-ip=172.30.0.255"], &["172.30.0.255", "broadcast"]),
        (
            VXLAN,
            &["--iface=eth0", "--public-ip=10.244.3.4"],
            &["public address, 10.244.3.4", "10.244.0.0/16"],
        ),
        (&host_gw, &["--iface=eth0", "--public-ip=198.51.100.7"], &["host-gw", "198.51.100.7", "eth0"]),
        // The network, and files.
        (&covering, &[], &["172.30.0.11", "172.16.0.0/12", "SubnetMin"]),
        (VXLAN, &[&folder], &["cannot write", "folder"]),
    ];
    let before = everything(&lab, node);
    for (config, flags, words) in cases {
        lab.etcd().put_network_config(config).unwrap();
        let (status, log) = run_to_its_end(node, &with(flags));
        let last = log.lines().last().unwrap_or_default();
        println!("{flags:?}: {last}");
        assert_eq!(status.code(), Some(1), "{flags:?}: {log}");
        for word in *words {
            assert!(last.contains(word), "{word:?} in {last:?}");
        }
        assert_eq!(everything(&lab, node), before, "{flags:?}");
    }
    assert!(node.subnet_env().is_none());
}

/// Somebody else's link under one of our names is not ours to touch.
#[test]
fn a_foreign_link_under_our_name_is_named_and_left_alone() {
    let lab = up(&bare("startfor", Backend::Vxlan));
    let node = lab.node("n1");
    for (config, name, kind, flag) in [
        (VXLAN, "flannel.1", "bridge", None),
        (UDP, "flannel0", "bridge", None),
        (VXLAN, "weft0", "veth", Some("--bridge=weft0")),
    ] {
        lab.etcd().put_network_config(config).unwrap();
        sh(node, &format!("ip link add {name} type {kind}; ip link set {name} up"));
        let look = || {
            sh(
                node,
                &format!(
                    "ip -d -o link show {name} | sed 's/[a-z_]*timer *[0-9.]*//g'; ip -o address show {name} | sed 's/ tentative//'"
                ),
            )
        };
        let was = look();
        let flags: Vec<&str> = flag.into_iter().collect();
        let (status, log) = run_to_its_end(node, &with(&flags));
        let last = log.lines().last().unwrap();
        println!("{last}");
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(last.contains(name) && last.contains(kind) && last.contains("delete or rename"), "{last}");
        assert_eq!(look(), was);
        sh(node, &format!("ip link del {name}"));
        assert_eq!(View::of(node).to_string(), "");
    }
}

/// What is unusual and works all the same, with a warning where one is due.
#[test]
fn a_start_under_odd_conditions_works() {
    let lab = up(&bare("startodd", Backend::Vxlan));
    let node = lab.node("n1");
    let foreign = Foreign::plant(node);
    // Docker was here before, and keeps its address beside ours.
    sh(node, "ip link add docker0 type bridge; ip address add 172.17.0.1/16 dev docker0");

    // Behind NAT: the public address is on no interface of this host.
    start(node, &with(&["--iface=eth0", "--public-ip=203.0.113.7"]));
    let (_, value) = tests::leases::of(&lab, "203.0.113.7").unwrap();
    assert!(value.contains(r#""PublicIP":"203.0.113.7""#), "{value}");
    assert!(View::of(node).has("vxlan", "local 172.30.0.11"), "{}", View::of(node));
    node.stop_flanneld(Signal::SIGTERM).unwrap();

    // Without forwarding no pod reaches anybody: said, not done.
    sh(node, "sysctl -qw net.ipv4.ip_forward=0");
    let from = node.log().len();
    start(node, &weft());
    assert!(warned(node, from, "ip_forward").contains("sysctl -w net.ipv4.ip_forward=1"));
    assert_eq!(sh(node, "sysctl -n net.ipv4.ip_forward").trim(), "0");
    sh(node, "sysctl -qw net.ipv4.ip_forward=1");
    node.stop_flanneld(Signal::SIGTERM).unwrap();

    // `auto` takes the simple data path where programs cannot be pinned, and says why.
    sh(node, "ip link del flannel.1");
    lab.etcd().put_network_config(UDP).unwrap();
    start(node, &with(&["--bpf-pin-dir=/proc/nowhere/pins"]));
    let metrics = node.metrics().unwrap();
    assert!(metrics.contains(r#"datapath="simple""#), "{metrics}");
    assert!(node.log()[from..].contains("ebpf cannot be had here"), "{}", node.log());
    node.stop_flanneld(Signal::SIGTERM).unwrap();
    let addresses = sh(node, "ip -o -4 address show dev docker0");
    assert!(addresses.contains("172.17.0.1/16") && addresses.contains("10.244."), "{addresses}");
    foreign.assert_untouched("odd starts");
}

/// Root in name alone: the capability is missing, and its name is in the message.
#[test]
fn without_the_capability_the_message_names_it() {
    let lab = up(&bare("startcap", Backend::Vxlan));
    let node = lab.node("n1");
    let program = weft().binary.program().unwrap().display().to_string();
    for config in [VXLAN, UDP] {
        lab.etcd().put_network_config(config).unwrap();
        let env = node.directory().join("subnet.env");
        let words = [
            "setpriv".to_owned(),
            "--bounding-set=-net_admin,-sys_admin,-bpf".to_owned(),
            "--inh-caps=-net_admin,-sys_admin,-bpf".to_owned(),
            program.clone(),
            "flanneld".to_owned(),
            format!("--etcd-endpoints={}", lab.etcd().endpoint()),
            format!("--subnet-file={}", env.display()),
        ];
        let output = node.exec(words, tests::wait::SOON).unwrap();
        let last = output.stderr.lines().chain(output.stdout.lines()).last().unwrap_or_default().to_owned();
        println!("{last}");
        assert_eq!(output.status.code(), Some(1), "{}{}", output.stdout, output.stderr);
        assert!(last.contains("CAP_NET_ADMIN"), "{last}");
        assert!(!env.exists());
        assert_eq!(View::of(node).to_string(), "");
    }
}
