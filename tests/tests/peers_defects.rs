//! Where the original has a defect and ours does not: both are put into the same place, and what each does is asserted.
//!
//! A test that fails on the original's side says that a newer original has mended something: then say so in
//! docs/behaviour/interop.md. Needs root, etcd, `cargo build -p weft` and `scripts/peers`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use lab::spec::Backend;
use lab::{FlanneldOptions, Node, ScratchLab, Signal};
use serde_json::json;
use tests::leases;
use tests::peers::{Race, knows, lease, original, until_knows};
use tests::testbed::{self, sh, up, weft};
use tests::view::View;
use tests::wait::{SOON, until, until_explained, until_true};

/// Two nodes without pods: n1 is for the original, n2 for ours.
fn side_by_side(prefix: &str, backend: Backend) -> (ScratchLab, [(&'static str, FlanneldOptions); 2]) {
    (up(&testbed::bare(prefix, backend)), [("n1", original()), ("n2", weft())])
}

#[test]
fn a_reservation_stays_one_with_ours_and_is_lost_with_the_original() {
    let (lab, sides) = side_by_side("pdres", Backend::HostGw);
    let granted: Vec<u64> = sides
        .iter()
        .zip(["10.244.77.0-24", "10.244.78.0-24"])
        .map(|((name, daemon), key)| {
            let node = lab.node(name);
            // A key without a lease: this subnet is this node's, however long it is away.
            leases::put(&lab, key, &leases::host_gw(&node.underlay().to_string()));
            testbed::start(node, daemon);
            assert_eq!(lease(&lab, node).0, key, "both take what is reserved for them");
            leases::etcd_lease(&lab, key)
        })
        .collect();
    assert_ne!(granted[0], 0, "the original's key now ends a day after the node does");
    assert_eq!(granted[1], 0, "ours has no end");
}

#[test]
fn deleting_flannel_1_ends_the_original_and_is_healed_by_ours() {
    let (lab, sides) = side_by_side("pddel", Backend::Vxlan);
    for (name, daemon) in &sides {
        testbed::start(lab.node(name), daemon);
    }
    let [theirs, ours] = ["n1", "n2"].map(|name| lab.node(name));
    let (key, value) = lease(&lab, ours);
    let (peer, _) = lease(&lab, theirs);
    let peer = tests::peers::subnet(&peer);
    until_knows(ours, &peer, &theirs.underlay().to_string(), [true; 3]);

    sh(theirs, "ip link delete flannel.1");
    let status = theirs.flanneld().wait_exit(SOON).unwrap().expect("this process started it");
    assert_eq!(status.code(), Some(2), "a panic of Go");
    assert!(theirs.log().contains("index out of range"), "{}", theirs.flanneld().log_tail(20));

    sh(ours, "ip link delete flannel.1");
    until_explained(
        "flannel.1 with its peer",
        SOON,
        || (knows(ours, &peer, &theirs.underlay().to_string()) == [true; 3]).then_some(()),
        || ours.log(),
    );
    assert_eq!(lease(&lab, ours), (key, value), "with the MAC that the peers know");
    assert!(ours.flanneld_pid().is_some());
}

#[test]
fn flushed_routes_stay_away_with_the_original_and_come_back_with_ours() {
    let (lab, sides) = side_by_side("pdflush", Backend::Vxlan);
    for (name, daemon) in &sides {
        testbed::start(lab.node(name), daemon);
    }
    let [theirs, ours] = ["n1", "n2"].map(|name| lab.node(name));
    for (node, peer) in [(theirs, ours), (ours, theirs)] {
        let subnet = tests::peers::subnet(&lease(&lab, peer).0);
        until_knows(node, &subnet, &peer.underlay().to_string(), [true; 3]);
    }
    for node in [theirs, ours] {
        sh(node, "ip route flush dev flannel.1");
    }
    let routes = |node: &Node| sh(node, "ip route show dev flannel.1 || true");
    until_explained(
        "the route to the peer",
        SOON,
        || (!routes(ours).is_empty()).then_some(()),
        || ours.log(),
    );
    // The original has had its second as well.
    assert_eq!(routes(theirs), "");
}

#[test]
fn a_lost_race_for_a_subnet_ends_the_original_and_is_run_again_by_ours() {
    let (lab, sides) = side_by_side("pdrace", Backend::HostGw);
    let lab = Arc::new(lab);
    for (name, daemon) in sides {
        let node = lab.node(name);
        let race = Race::against(&lab);
        let ours = daemon.binary.is_ours();
        let daemon = daemon.arg(format!("--etcd-endpoints={}", race.endpoint()));
        if ours {
            testbed::start(node, &daemon);
            let (key, _) = lease(&lab, node);
            assert_ne!(race.lost(), None, "somebody was faster");
            assert_ne!(race.lost(), Some(key), "another subnet");
        } else {
            let (status, log) = testbed::run_to_its_end(node, &daemon);
            assert_eq!(status.code(), Some(1), "{log}");
            assert_ne!(race.lost(), None, "somebody was faster");
            assert!(log.contains("subnet already exists"), "{log}");
        }
    }
}

/// Both daemons lose their watches while etcd forgets what they have not seen, so that they have to begin again.
fn compact_behind_their_backs(lab: &ScratchLab) {
    let ports = |state: &str| {
        for name in ["n1", "n2"] {
            let argv = ["ip", "link", "set", name, state];
            let ip = host::programs::inside(lab.hub(), argv);
            host::programs::run(&ip).and_then(lab::Output::ok).unwrap_or_else(|error| panic!("{error}"));
        }
    };
    lab.stop_etcd(Signal::SIGTERM).unwrap();
    ports("down");
    lab.start_etcd().unwrap();
    for at in 1..=20 {
        lab.etcd().put("/coreos.com/network/noise", &at.to_string()).unwrap();
    }
    let status = lab.etcdctl(["endpoint", "status", "--write-out=json"]).and_then(lab::Output::ok).unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let revision = status[0]["Status"]["header"]["revision"].as_u64().expect("a revision");
    lab.etcdctl(["compact".to_owned(), revision.to_string()]).and_then(lab::Output::ok).unwrap();
    ports("up");
}

#[test]
fn after_a_compaction_ours_follows_the_leases_and_the_original_never_does_again() {
    let (lab, sides) = side_by_side("pdcomp", Backend::Vxlan);
    for (name, daemon) in &sides {
        testbed::start(lab.node(name), daemon);
    }
    let [theirs, ours] = ["n1", "n2"].map(|name| lab.node(name));
    let own = |node: &Node| tests::peers::subnet(&lease(&lab, node).0);
    until_knows(ours, &own(theirs), &theirs.underlay().to_string(), [true; 3]);
    until_knows(theirs, &own(ours), &ours.underlay().to_string(), [true; 3]);
    let (before, from) = (View::of(ours), ours.log().len());
    compact_behind_their_backs(&lab);
    let key = "10.244.251.0-24";
    leases::put(&lab, key, &leases::vxlan("172.30.0.99", "02:00:00:00:00:99"));
    let known = |node: &Node| knows(node, "10.244.251.0/24", "172.30.0.99");
    until_explained("ours to watch again", SOON, || (known(ours) == [true; 3]).then_some(()), || ours.log());
    // It asks for what is gone, and asks for the same again, for ever.
    until_explained(
        "the original's complaints",
        SOON,
        || (theirs.log().matches("required revision has been compacted").count() > 6).then_some(()),
        || theirs.log(),
    );
    assert_eq!(known(theirs), [false; 3], "{}", theirs.flanneld().log_tail(5));
    leases::delete(&lab, key);
    until_knows(ours, "10.244.251.0/24", "172.30.0.99", [false; 3]);
    let after = View::of(ours);
    assert!(after == before, "{}", after.difference(&before));
    // The snapshot after a compaction holds our own lease, which is nobody's peer.
    let own = lease(&lab, ours).0;
    assert!(!ours.log()[from..].contains(&own), "{}", &ours.log()[from..]);
}

/// A folder of programs that put iptables off by half a second: the moment of writing is then easy to see.
fn slow_iptables(folder: &Path) -> String {
    let path = std::env::var("PATH").unwrap() + ":/usr/sbin:/sbin";
    for name in ["iptables-restore", "iptables-nft-restore", "iptables-legacy-restore"] {
        let real = path.split(':').map(|at| Path::new(at).join(name)).find(|file| file.is_file());
        let Some(real) = real else { continue };
        let script = format!("#!/bin/sh\nsleep 0.5\nexec {} \"$@\"\n", real.display());
        std::fs::write(folder.join(name), script).unwrap();
        std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    format!("{}:{path}", folder.display())
}

#[test]
fn rules_stand_before_subnet_env_with_ours_and_after_it_with_the_original() {
    let mut spec = testbed::bare("pdrule", Backend::HostGw);
    spec.network_config = Some(json!({ "EnableNFTables": false }));
    let (lab, folder) = (up(&spec), tempfile::tempdir().unwrap());
    let path = slow_iptables(folder.path());
    for (name, daemon, first) in [("n1", original(), false), ("n2", weft(), true)] {
        let node = lab.node(name);
        node.start_flanneld(&daemon.env("PATH", &path)).unwrap();
        until("subnet.env", || node.subnet_env());
        let rules = sh(node, "iptables-save -t nat");
        assert_eq!(
            rules.contains("--random-fully"),
            first,
            "{name}, at the moment of its subnet.env: {rules}"
        );
        until_true("the rules", || sh(node, "iptables-save -t nat").contains("--random-fully"));
    }
}

#[test]
fn a_deleted_lease_ends_the_original_and_is_taken_again_by_ours() {
    let (lab, sides) = side_by_side("pdown", Backend::HostGw);
    for (name, daemon) in &sides {
        let node = lab.node(name);
        testbed::start(node, daemon);
        let (key, value) = lease(&lab, node);
        leases::delete(&lab, &key);
        if daemon.binary.is_ours() {
            let again = until("the lease", || leases::of(&lab, &node.underlay().to_string()));
            assert_eq!(again, (key, value));
            assert!(node.flanneld_pid().is_some());
        } else {
            let status = node.flanneld().wait_exit(SOON).unwrap().expect("this process started it");
            assert_eq!(status.code(), Some(0), "as if somebody had asked it to end");
            assert_eq!(leases::of(&lab, &node.underlay().to_string()), None);
        }
    }
}
