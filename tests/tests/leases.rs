//! The lease of a node, and what becomes of it when others write to etcd.
//!
//! Needs root, etcd, and the `weft` that `cargo build -p weft` makes.

use lab::spec::Backend;
use lab::{Signal, Spec};
use serde_json::json;
use tests::leases;
use tests::stream::Stream;
use tests::testbed::{assert_all_reach_all, bare, metric, said, sh, spec, start, up, warned, weft};
use tests::view::View;
use tests::wait::{SOON, until, until_true};

/// The node's subnet as a key of etcd has it: `10.244.7.0-24`.
fn subnet_key(node: &lab::Node) -> String {
    let env = node.subnet_env().expect("a node that was ready");
    env.get("FLANNEL_SUBNET").expect("a subnet").replace(".1/", ".0-")
}

#[test]
fn a_deleted_lease_is_taken_again() {
    let lab = up(&spec("leasedel", Backend::Vxlan));
    let node = lab.node("n1");
    let (own, value) = leases::of(&lab, "172.30.0.11").unwrap();
    assert_eq!(own, subnet_key(node));
    let stream = Stream::between(lab.pod("n1-p1"), lab.pod("n2-p1"));
    let before = node.log().len();
    leases::delete(&lab, &own);
    said(node, before, "lease taken again");
    assert_eq!(until("the lease", || leases::of(&lab, "172.30.0.11")), (own.clone(), value));
    assert!(leases::etcd_lease(&lab, &own) > 0, "it ends with its node");
    stream.wait_for_flow();
    let tally = stream.end();
    // The peer takes the route away with the lease, and back: a moment, which is his right.
    println!("lease deleted: {tally:?}");
    // The next renewal is hours away: the deletion itself was heard of, and answered by one write.
    let log = node.log();
    assert_eq!(log[before..].matches("lease taken again").count(), 1, "{}", &log[before..]);
    assert!(node.flanneld_pid().is_some() && node.is_ready());
    assert_all_reach_all(&lab);
}

#[test]
fn a_lease_taken_over_by_another_ends_the_daemon_with_the_reason() {
    let lab = up(&spec("leasetak", Backend::Vxlan));
    let node = lab.node("n1");
    let (own, _) = leases::of(&lab, "172.30.0.11").unwrap();
    let view = View::of(node);
    leases::put(&lab, &own, &leases::vxlan("203.0.113.9", "02:00:00:00:00:99"));
    let status = node.flanneld().wait_exit(SOON).unwrap().unwrap();
    assert_eq!(status.code(), Some(1));
    let log = node.log();
    let words = log.lines().find(|line| line.contains("ERROR")).unwrap();
    for part in [&own[..], "203.0.113.9", "taken over", "--public-ip"] {
        assert!(words.contains(part), "{part:?} in {words:?}");
    }
    assert_eq!(View::of(node), view, "what a daemon leaves when it ends");
    // Started again, it takes another subnet, for its own is another's now.
    start(node, &weft());
    assert_ne!(subnet_key(node), own);
    assert_eq!(leases::of(&lab, "172.30.0.11").unwrap().0, subnet_key(node));
}

#[test]
fn a_reservation_stays_a_reservation() {
    let lab = up(&bare("leaseres", Backend::Vxlan));
    let node = lab.node("n1");
    leases::put(&lab, "10.244.177.0-24", &leases::udp("172.30.0.11"));
    for _ in 0..2 {
        start(node, &weft());
        assert_eq!(subnet_key(node), "10.244.177.0-24");
        assert_eq!(leases::etcd_lease(&lab, "10.244.177.0-24"), 0, "no time to live");
        let (_, value) = leases::of(&lab, "172.30.0.11").unwrap();
        assert!(value.contains("VtepMAC"), "the node's own data are in it: {value}");
        node.stop_flanneld(Signal::SIGTERM).unwrap();
    }
    assert_eq!(subnet_key(node), "10.244.177.0-24");
}

#[test]
fn the_previous_subnet_is_taken_again_if_nobody_has_it() {
    let lab = up(&bare("leaseprv", Backend::Vxlan));
    let node = lab.node("n1");
    start(node, &weft());
    let (before, mac) =
        (subnet_key(node), sh(node, "cat /sys/class/net/flannel.1/address || ip -o link show flannel.1"));
    node.stop_flanneld(Signal::SIGTERM).unwrap();
    leases::delete(&lab, &before);
    start(node, &weft());
    assert_eq!(subnet_key(node), before);
    assert_eq!(sh(node, "cat /sys/class/net/flannel.1/address || ip -o link show flannel.1"), mac);

    node.stop_flanneld(Signal::SIGTERM).unwrap();
    leases::put(&lab, &before, &leases::vxlan("172.30.0.77", "02:00:00:00:00:77"));
    start(node, &weft());
    assert_ne!(subnet_key(node), before);
    let view = View::of(node);
    let old = before.replace("-24", "");
    assert!(view.has("route", &old) && !view.has("address", &format!("{old}/32")), "{view}");
}

/// A node that got another address while flanneld did not run (DHCP), or that was moved to another interface.
#[test]
fn a_lease_under_a_former_address_is_taken_back() {
    let lab = up(&bare("leasefor", Backend::Vxlan));
    let node = lab.node("n1");
    start(node, &weft());
    let (own, value) = leases::of(&lab, "172.30.0.11").unwrap();
    let move_to = |address: &str| {
        node.stop_flanneld(Signal::SIGTERM).unwrap();
        let dev = sh(node, "ip -o -4 addr show to 172.30.0.0/24 | awk '{print $2}'").trim().to_owned();
        sh(node, &format!("ip -4 addr flush dev {dev}; ip addr add {address}/24 dev {dev}"));
    };
    move_to("172.30.0.111");
    // The default route went with the address.
    let options = weft().arg("--iface=172.30.0.111");
    start(node, &options);
    assert_eq!(subnet_key(node), own);
    assert!(node.log().contains("which we held at 172.30.0.11"), "{}", node.log());
    let moved = value.replace("172.30.0.11", "172.30.0.111");
    assert_eq!(leases::of(&lab, "172.30.0.111"), Some((own.clone(), moved)));
    assert_eq!(leases::of(&lab, "172.30.0.11"), None);
    assert_eq!(View::of(node).count("route"), 0, "no way to ourselves");

    // Somebody else has it by now, even with our MAC: then it is his.
    node.stop_flanneld(Signal::SIGTERM).unwrap();
    let (_, value) = leases::of(&lab, "172.30.0.111").unwrap();
    leases::put(&lab, &own, &value.replace("172.30.0.111", "172.30.0.99"));
    start(node, &options);
    assert_ne!(subnet_key(node), own);
    assert_eq!(leases::of(&lab, "172.30.0.99").unwrap().0, own);
}

#[test]
fn two_nodes_race_for_the_last_free_subnet() {
    // 10.244.1.0, .2.0 and .3.0: the first subnet of a network is never used.
    let network = json!({ "Network": "10.244.0.0/22", "SubnetLen": 24 });
    let lab = up(&Spec { network_config: Some(network), ..bare("leaserac", Backend::Vxlan) });
    leases::put(&lab, "10.244.1.0-24", &leases::vxlan("172.30.0.101", "02:00:00:00:01:01"));
    leases::put(&lab, "10.244.2.0-24", &leases::vxlan("172.30.0.102", "02:00:00:00:01:02"));
    let nodes = [lab.node("n1"), lab.node("n2")];
    for node in nodes {
        node.start_flanneld(&weft()).unwrap();
    }
    let ended = |node: &lab::Node| node.flanneld().exit().is_some();
    until_true("a winner and a loser", || {
        nodes.iter().any(|node| node.is_ready()) && nodes.iter().any(|node| ended(node))
    });
    let (loser, winner) = if ended(nodes[0]) { (nodes[0], nodes[1]) } else { (nodes[1], nodes[0]) };
    assert_eq!(subnet_key(winner), "10.244.3.0-24");
    assert_eq!(loser.flanneld().exit().unwrap().code(), Some(1));
    let log = loser.log();
    let words = log.lines().find(|line| line.contains("ERROR")).unwrap();
    for part in ["172.30.0.101", &winner.underlay().to_string(), "a larger network"] {
        assert!(words.contains(part), "{part:?} in {words:?}");
    }
    assert_eq!(View::of(loser).to_string(), "", "nothing is left behind");

    // One that went makes room for the next one.
    leases::delete(&lab, "10.244.1.0-24");
    start(loser, &weft());
    assert_eq!(subnet_key(loser), "10.244.1.0-24");
}

#[test]
fn bad_leases_are_left_out_and_good_ones_used() {
    let lab = up(&spec("leasebad", Backend::Vxlan));
    let node = lab.node("n1");
    let (own, _) = leases::of(&lab, "172.30.0.11").unwrap();
    let view = View::of(node);
    let cut = own.replace(".0-24", ".128-25");
    let bad = [
        ("10.244.210.0-24", r#"{"PublicIP":"#.to_owned(), "10.244.210.0-24"),
        ("10.244.211.0-24", leases::vxlan("172.30.0.211", "no mac"), "10.244.211.0-24"),
        ("10.244.212.0-24", leases::host_gw("172.30.0.212"), "host-gw"),
        ("not-a-subnet", leases::vxlan("172.30.0.213", "02:00:00:00:00:13"), "not-a-subnet"),
        (cut.as_str(), leases::vxlan("172.30.0.214", "02:00:00:00:00:14"), cut.as_str()),
        ("10.244.215.0-24", leases::vxlan("172.30.0.11", "02:00:00:00:00:15"), "10.244.215.0-24"),
    ];
    let before = node.log().len();
    for (subnet, value, _) in &bad {
        leases::put(&lab, subnet, value);
    }
    leases::put(&lab, "10.244.220.0-24", &leases::vxlan("172.30.0.220", "02:00:00:00:00:20"));
    until_true("the good one's route", || View::of(node).has("route", "10.244.220.0"));
    for (_, _, words) in &bad {
        warned(node, before, words);
    }
    let now = View::of(node);
    let new = now.difference(&view);
    assert_eq!(new.lines().count(), 3, "a route, a neighbour and an FDB entry for the good one: {new}");
    assert_all_reach_all(&lab);

    // A bad one that becomes good is used; a good one that becomes bad is not.
    leases::put(&lab, "10.244.210.0-24", &leases::vxlan("172.30.0.210", "02:00:00:00:00:10"));
    leases::put(&lab, "10.244.220.0-24", "{}");
    until_true("the change of roles", || {
        let now = View::of(node);
        now.has("route", "10.244.210.0") && !now.has("route", "10.244.220.0")
    });
    assert!(node.flanneld_pid().is_some());
}

#[test]
fn a_lease_is_renewed_before_it_ends() {
    let lab = up(&bare("leaseren", Backend::Vxlan));
    let node = lab.node("n1");
    start(node, &weft().arg("--subnet-lease-ttl=3"));
    let own = subnet_key(node);
    let first = leases::etcd_lease(&lab, &own);
    until_true("two renewals", || metric(node, "lease_renewals_total") >= 2.0);
    assert_ne!(leases::etcd_lease(&lab, &own), first, "each renewal is an etcd lease of its own");
    assert_eq!(subnet_key(node), own);
    // Nobody has seen it gone: that would have been a warning.
    assert!(!node.log().contains("our lease is gone"), "{}", node.log());
}

/// A peer that moves (a new machine, a new MAC) takes its subnet with it.
#[test]
fn a_changed_lease_of_a_peer_is_followed() {
    let lab = up(&bare("leasechg", Backend::Vxlan));
    let node = lab.node("n1");
    leases::put(&lab, "10.244.99.0-24", &leases::vxlan("172.30.0.99", "02:00:00:00:00:01"));
    start(node, &weft());
    assert!(View::of(node).has("fdb", "02:00:00:00:00:01 dst 172.30.0.99"), "{}", View::of(node));
    leases::put(&lab, "10.244.99.0-24", &leases::vxlan("172.30.0.98", "02:00:00:00:00:02"));
    until_true("the new entries alone", || {
        let now = View::of(node);
        now.has("fdb", "02:00:00:00:00:02 dst 172.30.0.98")
            && now.has("neighbour", "02:00:00:00:00:02")
            && now.count("fdb") == 1
            && now.count("route") == 1
    });
    leases::delete(&lab, "10.244.99.0-24");
    until_true("nothing of the peer", || {
        let now = View::of(node);
        now.count("fdb") + now.count("neighbour") + now.count("route") == 0
    });
}
