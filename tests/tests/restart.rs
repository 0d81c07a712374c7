//! A restart of flanneld, clean or not: what stays, what is swept, and which packets are lost.
//!
//! Needs root, etcd, and the `weft` that `cargo build -p weft` makes.

use lab::etcd::{NetworkKeys, PREFIX};
use lab::spec::{Backend, Datapath};
use lab::{Node, ScratchLab, Signal, Spec};
use tests::foreign::Foreign;
use tests::leases;
use tests::stream::{Stream, Tally};
use tests::testbed::{assert_all_reach_all, sh, spec, start, up, weft, writes};
use tests::view::View;
use tests::wait::until_true;

/// Ends flanneld on a node and starts it again, three times under one stream of datagrams both ways.
fn restarted_under_traffic(lab: &ScratchLab, signal: Signal) -> Tally {
    let node = lab.node("n1");
    let stream = Stream::between(lab.pod("n1-p1"), lab.pod("n2-p1"));
    for _ in 0..3 {
        node.stop_flanneld(signal).unwrap();
        start(node, &weft());
        stream.wait_for_flow();
    }
    let tally = stream.end();
    println!("{} {signal}: {tally:?}", lab.spec().backend);
    tally
}

/// What others know a node by, and what its kernel knows its tunnel by.
fn identity(node: &Node) -> String {
    let links = sh(node, "ip -o link show | grep -E 'flannel|docker0' | sed 's/ mtu.*link/ link/'");
    node.subnet_env().unwrap().text + &links
}

fn loses_nothing(spec: &Spec) {
    let lab = up(spec);
    assert_all_reach_all(&lab);
    let node = lab.node("n1");
    let (is, view) = (identity(node), View::of(node));
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let tally = restarted_under_traffic(&lab, signal);
        assert_eq!(tally.lost, 0, "{signal}: {tally:?}");
        assert_eq!(identity(node), is, "after {signal}");
        assert_eq!(View::of(node), view, "after {signal}");
        assert_eq!(writes(node), 0.0, "a restart finds everything as it should be");
    }
    assert_all_reach_all(&lab);
}

#[test]
fn vxlan_loses_no_packet_in_a_restart() {
    loses_nothing(&spec("restvx", Backend::Vxlan));
}

#[test]
fn host_gw_loses_no_packet_in_a_restart() {
    loses_nothing(&spec("restgw", Backend::HostGw));
}

#[test]
fn udp_ebpf_loses_no_packet_in_a_restart() {
    loses_nothing(&Spec { datapath: Datapath::Ebpf, ..spec("restue", Backend::Udp) });
}

/// Nobody carries the packets while nobody runs; the TUN, its address and its route stay, so that they flow again as
/// soon as somebody does.
#[test]
fn udp_simple_recovers_with_the_daemon() {
    let lab = up(&Spec { datapath: Datapath::Simple, ..spec("restus", Backend::Udp) });
    assert_all_reach_all(&lab);
    let node = lab.node("n1");
    let is = identity(node);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        // Each time it waits until packets flow again, which nothing but the daemon has to do with.
        restarted_under_traffic(&lab, signal);
        assert_eq!(identity(node), is, "after {signal}");
    }
    assert_all_reach_all(&lab);
}

/// The data paths of the udp backend follow each other on a node without a trace of the former.
#[test]
fn the_udp_data_path_can_be_changed_by_a_restart() {
    let lab = up(&Spec { datapath: Datapath::Ebpf, ..spec("restch", Backend::Udp) });
    for datapath in ["simple", "ebpf"] {
        let config =
            format!(r#"{{"Network":"10.244.0.0/16","Backend":{{"Type":"udp","Datapath":"{datapath}"}}}}"#);
        lab.etcd().put_network_config(&config).unwrap();
        for node in lab.nodes() {
            node.stop_flanneld(Signal::SIGTERM).unwrap();
            start(node, &weft());
            let metrics = node.metrics().unwrap();
            let info = format!(r#"datapath_info{{backend="udp",datapath="{datapath}"}} 1"#);
            assert!(metrics.contains(&info), "{metrics}");
        }
        assert_all_reach_all(&lab);
    }
}

/// Peers that left while nobody watched, and routes that an original left, go at the start; foreign ones stay.
#[test]
fn what_is_stale_goes_at_the_start_and_what_is_foreign_stays() {
    let lab = up(&spec("reststal", Backend::Vxlan));
    let node = lab.node("n1");
    leases::put(&lab, "10.244.201.0-24", &leases::vxlan("172.30.0.201", "02:00:00:00:02:01"));
    until_true("the third node's route", || View::of(node).has("route", "10.244.201.0"));
    node.stop_flanneld(Signal::SIGKILL).unwrap();

    leases::delete(&lab, "10.244.201.0-24");
    let foreign = Foreign::plant(node);
    // Flannel marks its routes by nothing but the link.
    sh(
        node,
        "ip route add 10.244.202.0/24 via 10.244.202.0 dev flannel.1 onlink
         bridge fdb add 02:00:00:00:02:02 dev flannel.1 dst 172.30.0.202
         ip neighbour add 10.244.202.0 lladdr 02:00:00:00:02:02 dev flannel.1 nud permanent
         ip link set flannel.1 mtu 1400",
    );
    start(node, &weft());
    let view = View::of(node);
    let all = sh(node, "ip route show; bridge fdb show dev flannel.1; ip neighbour show dev flannel.1");
    for gone in ["10.244.201", "10.244.202", "172.30.0.201", "172.30.0.202"] {
        assert!(!all.contains(gone), "{gone} in:\n{all}");
    }
    assert_eq!((view.count("route"), view.count("fdb"), view.count("neighbour")), (1, 1, 1), "{view}");
    foreign.assert_untouched("a start over ruins");
    assert_all_reach_all(&lab);
}

/// Killed at many points of its start and of a sync, it converges all the same.
#[test]
fn a_kill_at_any_point_of_a_sync_is_made_good_by_the_next_start() {
    let lab = up(&spec("restkill", Backend::Vxlan));
    let node = lab.node("n1");
    for n in 0..40 {
        let (ip, mac) = (format!("172.30.1.{n}"), format!("02:00:00:00:03:{n:02x}"));
        leases::put(&lab, &format!("10.244.{}.0-24", 150 + n), &leases::vxlan(&ip, &mac));
    }
    until_true("all routes", || View::of(node).count("route") == 41);
    let (view, foreign) = (View::of(node), Foreign::plant(node));
    for n in 0..8 {
        node.stop_flanneld(Signal::SIGKILL).unwrap();
        sh(node, "ip link del flannel.1 || true; nft delete table ip flannel-ipv4 || true");
        node.start_flanneld(&weft()).unwrap();
        // The kill comes when so much of the tables is there, or when all is, if it was faster than the look.
        until_true("a part of the tables", || {
            let now = View::of(node);
            now.count("route") + now.count("fdb") + now.count("neighbour") >= n * 15 || now == view
        });
    }
    node.stop_flanneld(Signal::SIGKILL).unwrap();
    start(node, &weft());
    let now = View::of(node);
    assert!(now == view, "{}", now.difference(&view));
    foreign.assert_untouched("kills");
    assert_all_reach_all(&lab);
}

/// The configuration in etcd names another network than before: addresses, routes, neighbours and rules of the former
/// one go, so that the host speaks to pods by an address of today's network.
#[test]
fn a_changed_network_leaves_nothing_of_the_former() {
    for backend in [Backend::Vxlan, Backend::HostGw] {
        let lab = up(&Spec { pods: 0, ..spec("restnet", backend) });
        let kind = lab.spec().backend.to_string();
        for node in ["n1", "n2"] {
            lab.node(node).stop_flanneld(Signal::SIGTERM).unwrap();
        }
        let config = format!(r#"{{"Network":"10.99.0.0/16","Backend":{{"Type":"{kind}"}}}}"#);
        lab.etcd().put(&format!("{PREFIX}/config"), &config).unwrap();
        for node in ["n1", "n2"] {
            start(lab.node(node), &weft());
        }
        let node = lab.node("n1");
        until_true("the route to the other node", || View::of(node).has("route", "10.99."));
        let all = sh(
            node,
            "ip -o -4 address show; ip route show; ip neighbour show nud permanent; nft list ruleset",
        );
        assert!(!all.contains("10.244."), "{all}");
        assert!(all.contains("10.99."), "{all}");
    }
}
