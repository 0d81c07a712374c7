//! The library as tests and the benchmark use it. Needs root, etcd, and the `weft` that `cargo build -p weft` makes.

use std::time::Duration;

use lab::etcd::NetworkKeys;
use lab::flanneld::Binary;
use lab::plan::PodNetwork;
use lab::spec::{Backend, Topology};
use lab::{FlanneldOptions, ScratchLab, Signal, Spec};

const LIMIT: Duration = Duration::from_secs(90);

fn weft() -> Option<FlanneldOptions> {
    Some(FlanneldOptions { binary: Binary::beside_test().unwrap(), ..FlanneldOptions::default() })
}

fn failures(lab: &ScratchLab) -> Vec<String> {
    let results = lab.check_within(LIMIT).unwrap();
    assert!(!results.is_empty());
    results.iter().filter(|result| !result.passed()).map(|result| format!("{result:?}")).collect()
}

/// One life of a lab: daemons and etcd stop and start again, and what they say can be read.
#[test]
fn a_lab_can_be_looked_at_and_treated_badly() {
    let spec = Spec {
        nodes: 2,
        pods: 1,
        backend: Backend::Vxlan,
        flanneld: weft(),
        ..ScratchLab::spec("lib").unwrap()
    };
    let lab = ScratchLab::up(&spec).unwrap();
    assert_eq!(failures(&lab), [""; 0]);

    let node = lab.node("n1");
    let first = node.subnet_env().unwrap();
    assert!(
        first.text.starts_with("FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244."),
        "{}",
        first.text
    );
    assert_eq!(first.pod_network().unwrap().mtu, 1450);
    assert!(node.run(["ip", "route"]).unwrap().contains("flannel.1"));
    assert!(node.metrics().unwrap().contains("weft_flanneld_"));
    assert_eq!(lab.etcd().leases().unwrap().len(), 2);
    let answer = lab.pod("n1-p1").exec(["false"], LIMIT).unwrap();
    assert_eq!(answer.status.code(), Some(1));

    let pid = node.flanneld_pid().unwrap();
    let status = node.stop_flanneld(Signal::SIGTERM).unwrap().unwrap();
    assert!(status.success(), "{status}: {}", node.log());
    assert_eq!(node.flanneld_pid(), None);
    assert!(!node.is_ready());
    let again = node.start_flanneld(&weft().unwrap()).unwrap();
    assert_ne!(pid, again);
    assert_eq!(node.wait_ready(LIMIT).unwrap(), first, "the same subnet after a restart");

    lab.stop_etcd(Signal::SIGKILL).unwrap();
    assert!(!lab.etcd().is_healthy());
    assert_eq!(failures(&lab), [""; 0], "without etcd");
    lab.start_etcd().unwrap();
    assert_eq!(lab.etcd().leases().unwrap().len(), 2, "its data outlives it");

    let found = lab::Lab::open(&spec.name).unwrap();
    assert_eq!(found.spec(), &spec);
    assert_eq!(found.node("n1").flanneld_pid(), Some(again));
    let status = lab::status::observe(&found).unwrap();
    assert!(status.nodes.iter().all(|node| node.ready && node.datapath.is_some()), "{status:?}");
    assert!(status.leases.iter().all(|lease| lease.node.is_some()), "{status:?}");
}

/// Two labs with the same addresses do not meet; one wire joins two nodes, with nothing but what the test puts there.
#[test]
fn labs_without_daemons_stand_side_by_side() {
    let bare = |prefix| Spec {
        nodes: 2,
        pods: 1,
        topology: Topology::Direct,
        flanneld: None,
        etcd: false,
        ..ScratchLab::spec(prefix).unwrap()
    };
    let labs = [ScratchLab::up(&bare("left")).unwrap(), ScratchLab::up(&bare("right")).unwrap()];
    for lab in &labs {
        for (node, gateway, peer) in [("n1", "10.244.1.1/24", "n2"), ("n2", "10.244.2.1/24", "n1")] {
            let network = PodNetwork { gateway: gateway.parse().unwrap(), gateway_ipv6: None, mtu: 1500 };
            lab.node(node).connect_pods_to(&network).unwrap();
            let (net, via) = (network.gateway.trunc().to_string(), lab.node(node).underlay().to_string());
            lab.node(peer).run(["ip", "route", "add", &net, "via", &via]).unwrap();
        }
        assert_eq!(failures(lab), [""; 0]);
        assert!(lab.node("n1").flanneld_options().is_none());
    }
    labs[0].down().unwrap();
    assert!(lab::Lab::open(&labs[0].spec().name).is_err());
    assert_eq!(failures(&labs[1]), [""; 0], "after the other one went");
}

/// A daemon that cannot start gives its reason, and the half-made lab goes away.
#[test]
fn what_cannot_start_says_why_and_leaves_nothing() {
    let options = weft().map(|options| options.arg("--public-ip=192.0.2.1").arg("--no-such-flag"));
    let spec = Spec { nodes: 1, pods: 0, flanneld: options, ..ScratchLab::spec("bad").unwrap() };
    let error = ScratchLab::up(&spec).unwrap_err().to_string();
    assert!(error.contains("flanneld on n1 ended") && error.contains("no-such-flag"), "{error}");
    assert!(!lab::state::list().unwrap().contains(&spec.name));
}

/// Inside an async runtime everything works as well.
#[tokio::test]
async fn the_library_may_be_called_from_async_code() {
    let spec = Spec { nodes: 1, pods: 2, flanneld: weft(), ..ScratchLab::spec("async").unwrap() };
    let lab = ScratchLab::up(&spec).unwrap();
    assert_eq!(failures(&lab), [""; 0]);
}
