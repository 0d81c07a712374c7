//! A node that moves from kube-proxy to `weft proxy` and back, under traffic from outside of it.
//!
//! Needs root, etcd and `scripts/peers`.

#[path = "../../weft/tests/proxy/traffic.rs"]
mod traffic;

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use host::netns::Namespace;
use lab::Signal;
use lab::flanneld::Binary;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use originals::{ControlPlane, KubeProxy, Mode, READY_LIMIT, User};
use serde_json::{Value, json};
use tests::places::Places;
use tests::wait::until_explained;
use traffic::{RATE, Traffic, echo};

const LIMIT: Duration = Duration::from_secs(90);

const PREFIX: &str = "weft-pmove-";

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 7, 1));

const TCP: &[&str] = &["10.96.0.20:90", "192.168.8.1:30090"];
const UDP: &[&str] = &["10.96.0.20:91", "192.168.8.1:30091"];

const FLAGS: &[&str] = &["--hostname-override=here", "--cluster-cidr=10.244.0.0/16"];

/// Beside the control plane: the node, what is behind it, and a client before it.
struct Testbed {
    control_plane: ControlPlane,
    node: Namespace,
    client: Namespace,
    _places: Places,
}

impl Testbed {
    fn new(tag: &str) -> Self {
        let roles = ["hub", "node", "client", "one", "two"];
        let (places, [hub, node, client, one, two]) = Places::make(PREFIX, tag, roles);
        println!("to look: nsenter --net=/run/netns/{}", places.names()[1]);
        let links = [("hub", "192.168.7"), ("client", "192.168.8"), ("one", "10.244.1"), ("two", "10.244.2")];
        for ((role, net), other) in links.into_iter().zip([&hub, &client, &one, &two]) {
            let peer = roles.iter().position(|name| *name == role).expect("a role");
            // The control plane, and every pod, has .1 where the node has .2; the client's side the other way round.
            let (here, there) = if role == "client" { (1, 2) } else { (2, 1) };
            sh(
                &node,
                &format!(
                    "ip link add {role} type veth peer name eth0 netns {}
                     ip addr add {net}.{here}/24 dev {role}; ip link set {role} up; ip link set lo up
                     echo 1 > /proc/sys/net/ipv4/ip_forward",
                    places.names()[peer]
                ),
            );
            let route = format!("ip route add default via {net}.{here}");
            sh(
                other,
                &format!(
                    "ip link set lo up; ip addr add {net}.{there}/24 dev eth0; ip link set eth0 up; {route}"
                ),
            );
        }
        sh(&node, "ip route add default via 192.168.8.2");
        echo("one", &one);
        echo("two", &two);
        let control_plane = ControlPlane::up(&hub, SERVER).unwrap_or_else(|error| panic!("{error}"));
        let testbed = Self { control_plane, node, client, _places: places };
        let admin = testbed.control_plane.admin().expect("a client");
        for object in objects() {
            admin.apply(&object).unwrap_or_else(|error| panic!("{error}"));
        }
        testbed
    }

    fn kube_proxy(&self, mode: Mode) -> KubeProxy {
        let proxy = KubeProxy::start(&self.node, mode, &self.control_plane.kubeconfig(User::Proxy), FLAGS);
        let proxy = proxy.unwrap_or_else(|error| panic!("{error}"));
        proxy.wait_ready(READY_LIMIT).unwrap_or_else(|error| panic!("{error}"));
        proxy
    }

    fn weft(&self, words: &[&str]) -> Command {
        let binary = Binary::beside_test().and_then(|binary| binary.program());
        let mut command = self.node.command(binary.unwrap_or_else(|error| panic!("{error}")));
        command.arg("proxy").args(words).args(["--conntrack-max-per-core=0", "--oom-score-adj=0"]);
        command.stdin(Stdio::null());
        command
    }

    /// Starts ours, and waits for its first complete pass.
    fn start(&self, mode: &str) -> Weft {
        let kubeconfig = format!("--kubeconfig={}", self.control_plane.kubeconfig(User::Proxy).display());
        let mut command = self.weft(&[&kubeconfig, &format!("--proxy-mode={mode}")]);
        let weft = Weft(command.args(FLAGS).spawn().expect("weft runs"));
        let ready = || {
            let found = lab_get(&self.node, 10249, "/readyz");
            (found == Some(200)).then_some(())
        };
        until_explained("weft proxy to be ready", LIMIT, ready, String::new);
        weft
    }

    fn cleanup(&self, mode: &str) {
        let output = self.weft(&["--cleanup", &format!("--proxy-mode={mode}")]).output().expect("weft runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn tables(&self) -> String {
        sh(&self.node, "nft list tables")
    }

    fn iptables(&self) -> String {
        sh(&self.node, "iptables-save; ip6tables-save; iptables-legacy-save; ip6tables-legacy-save")
    }

    /// Waits until the rules that are there look like this.
    fn until_rules(&self, what: &str, mut look: impl FnMut(&str, &str) -> bool) {
        let right = || look(&self.tables(), &self.iptables()).then_some(());
        until_explained(what, LIMIT, right, || format!("{}\n{}", self.tables(), self.iptables()));
    }
}

struct Weft(Child);

impl Weft {
    fn end(mut self) {
        kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM).expect("it runs");
        assert_eq!(self.0.wait().expect("our own child").code(), Some(0));
    }
}

impl Drop for Weft {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Status of an answer at the node's loopback.
fn lab_get(node: &Namespace, port: u16, path: &str) -> Option<u16> {
    let program = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3 && head -1 <&3"
    );
    let output = node.command("bash").args(["-c", &program]).output().expect("bash is there");
    String::from_utf8_lossy(&output.stdout).split(' ').nth(1)?.parse().ok()
}

fn sh(place: &Namespace, script: &str) -> String {
    let output = place.command("sh").args(["-ec", script]).output().expect("sh is there");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn objects() -> [Value; 3] {
    let endpoint = |ip: &str| json!({"addresses": [ip], "nodeName": "here", "conditions": {"ready": true}});
    [
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "here"},
               "spec": {"podCIDR": "10.244.0.0/16", "podCIDRs": ["10.244.0.0/16"]},
               "status": {"addresses": [{"type": "InternalIP", "address": "192.168.8.1"}]}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "talk"},
               "spec": {"type": "NodePort", "clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"], "ports": [
                   {"name": "talk", "port": 90, "targetPort": 9090, "nodePort": 30090, "protocol": "TCP"},
                   {"name": "ping", "port": 91, "targetPort": 9091, "nodePort": 30091, "protocol": "UDP"}]}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
               "metadata": {"name": "talk-1", "labels": {"kubernetes.io/service-name": "talk"}},
               "addressType": "IPv4", "endpoints": [endpoint("10.244.1.1"), endpoint("10.244.2.1")],
               "ports": [{"name": "talk", "port": 9090, "protocol": "TCP"},
                         {"name": "ping", "port": 9091, "protocol": "UDP"}]}),
    ]
}

/// The way there, and the way back by Weft's nftables mode, which shares nothing with kube-proxy.
fn there_and_back(tag: &str, original: Mode) {
    let testbed = Testbed::new(tag);
    let mut kube_proxy = testbed.kube_proxy(original);
    let traffic = Traffic::start(&testbed.client, TCP, UDP);
    for first in ["iptables", "nftables"] {
        kube_proxy.stop(Signal::SIGTERM).unwrap_or_else(|error| panic!("{error}"));
        drop(kube_proxy);
        let mut weft = testbed.start(first);
        testbed.until_rules("weft to serve alone", |tables, iptables| {
            let nftables = tables.contains("weft-proxy") && !iptables.contains("KUBE-SVC-");
            let alone = if first == "nftables" { nftables } else { !tables.contains("weft-proxy") };
            alone && !tables.contains("kube-proxy")
        });
        traffic.flow();
        if first != "nftables" {
            weft.end();
            weft = testbed.start("nftables");
            testbed.until_rules("the iptables rules to go", |_, iptables| !iptables.contains("KUBE-S"));
            traffic.flow();
        }
        weft.end();
        kube_proxy = testbed.kube_proxy(original);
        testbed.cleanup("nftables");
        testbed.until_rules("kube-proxy to serve alone", |tables, iptables| {
            let serves = match original {
                Mode::Nftables => tables.contains("kube-proxy") && !iptables.contains("KUBE-SVC-"),
                Mode::Iptables => iptables.contains("KUBE-SVC-"),
            };
            let ours = ["KUBE-CLUSTER-IPS", "KUBE-NODEPORTS-REFUSED", "KUBE-REJECT"];
            serves && !tables.contains("weft-proxy") && !ours.iter().any(|chain| iptables.contains(chain))
        });
        traffic.flow();
    }
    let tally = traffic.end();
    println!("{original}: {} connections, {} questions", tally.connections, tally.questions);
    assert_eq!(tally.failures, Vec::<String>::new(), "of {} connections", tally.connections);
    assert!(tally.connections >= 6 * RATE as usize && tally.questions > 100, "{tally:?}");
}

#[test]
fn a_node_moves_from_kube_proxys_iptables_mode_and_back_without_a_failure() {
    there_and_back("ipt", Mode::Iptables);
}

#[test]
fn a_node_moves_from_kube_proxys_nftables_mode_and_back_without_a_failure() {
    there_and_back("nft", Mode::Nftables);
}
