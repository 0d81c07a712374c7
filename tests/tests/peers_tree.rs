//! kube-proxy takes a node over from iptables mode, directly: the tree of chains goes with the rest.
//!
//! Needs root, etcd and `scripts/peers`.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::time::Duration;

use host::iptables::Saved;
use host::netns::Namespace;
use lab::Signal;
use lab::flanneld::Binary;
use nix::unistd::Pid;
use originals::{ControlPlane, KubeProxy, Mode, READY_LIMIT, User};
use serde_json::{Value, json};
use tests::wait::until_explained;

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 7, 1));
const FLAGS: &[&str] = &["--hostname-override=here", "--cluster-cidr=10.244.0.0/16"];
const LIMIT: Duration = Duration::from_secs(90);

/// Enough for a tree.
const SERVICES: u8 = 150;

/// What kube-proxy has no name for. Nothing may lead there when it has taken over.
const LEFT: [&str; 3] = ["KUBE-CLUSTER-IPS", "KUBE-NODEPORTS-REFUSED", "KUBE-REJECT"];

struct Places(Vec<String>);

impl Drop for Places {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Namespace::delete(name);
        }
    }
}

fn objects() -> Vec<Value> {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "here"},
                      "status": {"addresses": [{"type": "InternalIP", "address": "192.168.7.2"}]}});
    let of = |n: u8| {
        let (name, ip) = (format!("service-{n}"), format!("10.96.1.{n}"));
        [
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                   "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80, "targetPort": 8080}]}}),
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                   "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                   "endpoints": [{"addresses": ["10.244.1.1"]}, {"addresses": ["10.244.1.2"]}],
                   "ports": [{"name": "", "port": 8080, "protocol": "TCP"}]}),
        ]
    };
    // So many ports that their address has a chain of its own.
    let ports: Vec<Value> = (0..20).map(|n| json!({"name": format!("p{n}"), "port": 80 + n})).collect();
    let wide = [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "wide"},
               "spec": {"clusterIP": "10.96.2.1", "clusterIPs": ["10.96.2.1"], "ports": ports}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
               "metadata": {"name": "wide", "labels": {"kubernetes.io/service-name": "wide"}},
               "endpoints": [{"addresses": ["10.244.1.1"]}], "ports": ports}),
    ];
    [node].into_iter().chain((1..=SERVICES).flat_map(of)).chain(wide).collect()
}

fn saved(node: &Namespace) -> Saved {
    let output = node.command("iptables-save").output().expect("iptables-save runs");
    Saved::parse(&String::from_utf8_lossy(&output.stdout)).expect("what iptables-save prints")
}

fn chains<'a>(saved: &'a Saved, table: &str) -> Vec<&'a str> {
    let chains = saved.table(table).into_iter().flat_map(|table| &table.chains);
    chains.map(|chain| chain.name.as_str()).filter(|name| name.starts_with("KUBE-")).collect()
}

#[test]
fn kube_proxy_deletes_the_tree_when_it_takes_a_node_over() {
    let names = ["hub", "node"].map(|role| format!("weft-ptree-{role}-{}", Pid::this()));
    let _places = Places(names.to_vec());
    let [hub, node] = names.each_ref().map(|name| Namespace::create(name).expect("these tests need root"));
    let link = format!("link add eth0 type veth peer name eth0 netns {}", names[1]);
    for (place, words) in [
        (&hub, &[&link, "addr add 192.168.7.1/24 dev eth0", "link set eth0 up", "link set lo up"][..]),
        (&node, &["addr add 192.168.7.2/24 dev eth0", "link set eth0 up", "link set lo up"]),
    ] {
        for words in words {
            let done = place.command("ip").args(words.split(' ')).status().expect("ip runs");
            assert!(done.success(), "ip {words}");
        }
    }
    let control_plane = ControlPlane::up(&hub, SERVER).unwrap_or_else(|error| panic!("{error}"));
    control_plane.load(&objects()).unwrap_or_else(|error| panic!("{error}"));
    let kubeconfig = control_plane.kubeconfig(User::Proxy);
    let kube_proxy = || {
        let proxy = KubeProxy::start(&node, Mode::Iptables, &kubeconfig, FLAGS);
        let proxy = proxy.unwrap_or_else(|error| panic!("{error}"));
        proxy.wait_ready(READY_LIMIT).unwrap_or_else(|error| panic!("{error}"));
        proxy
    };
    let until = |what: &str, right: &dyn Fn(&Saved) -> bool| {
        let look = || right(&saved(&node)).then_some(());
        until_explained(what, LIMIT, look, || format!("{:#?}", chains(&saved(&node), "nat")));
    };
    let services = |saved: &Saved| {
        let all = chains(saved, "nat");
        let tree = all.iter().filter(|chain| chain.starts_with("KUBE-SVC-ENDS-IN-")).count();
        let services = all.iter().filter(|chain| chain.starts_with("KUBE-SVC-")).count() - tree;
        let endpoints = all.iter().filter(|chain| chain.starts_with("KUBE-SEP-")).count();
        (services, tree, endpoints)
    };
    // The API server's own Service has an endpoint too.
    let all = usize::from(SERVICES);

    let first = kube_proxy();
    until("kube-proxy's rules", &|saved| services(saved).2 >= 2 * all);
    first.stop(Signal::SIGTERM).unwrap_or_else(|error| panic!("{error}"));
    let before = saved(&node);

    let binary = Binary::beside_test().and_then(|binary| binary.program());
    let mut weft = node.command(binary.unwrap_or_else(|error| panic!("{error}")));
    weft.args(["proxy", "--proxy-mode=iptables", "--conntrack-max-per-core=0", "--oom-score-adj=0"]);
    weft.arg(format!("--kubeconfig={}", kubeconfig.display())).args(FLAGS).stdin(Stdio::null());
    let mut weft = weft.spawn().expect("weft runs");
    until(
        "the tree, a chain for the address of many ports, and none for an endpoint",
        &|saved| matches!(services(saved), (services, 17, 0) if services >= all + 20),
    );
    weft.kill().expect("it runs");
    weft.wait().expect("our own child");

    let _second = kube_proxy();
    until("kube-proxy's rules and no others", &|saved| {
        chains(saved, "nat") == chains(&before, "nat")
            && chains(saved, "filter")
                .iter()
                .all(|chain| LEFT.contains(chain) || chains(&before, "filter").contains(chain))
    });
    let after = saved(&node);
    for rule in after.tables.iter().flat_map(|table| &table.rules) {
        let leads = LEFT.iter().any(|left| rule.spec.ends_with(&format!("-j {left}")));
        assert!(!leads || LEFT.contains(&rule.chain.as_str()), "{rule}");
    }
}
