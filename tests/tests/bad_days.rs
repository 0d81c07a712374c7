//! Days on which etcd is absent, dead, compacted or full of nonsense, and noise comes from the network.
//!
//! Needs root, etcd, and the `weft` that `cargo build -p weft` makes.

use std::fs;
use std::net::UdpSocket;
use std::time::Instant;

use lab::etcd::NetworkKeys;
use lab::spec::{Backend, Datapath};
use lab::{Node, Signal, Spec};
use tests::leases;
use tests::stream::Stream;
use tests::testbed::{READY, assert_all_reach_all, bare, metric, said, sh, spec, start, up, warned, weft};
use tests::view::View;
use tests::wait::{until, until_true};

#[test]
fn an_absent_etcd_and_an_unusable_configuration_are_waited_out() {
    let lab = up(&bare("badabs", Backend::Vxlan));
    let node = lab.node("n1");
    lab.stop_etcd(Signal::SIGTERM).unwrap();
    node.start_flanneld(&weft()).unwrap();
    let line = said(node, 0, "etcd cannot be reached");
    assert!(line.contains(lab.etcd().endpoint()) && line.contains("WARN"), "{line}");
    let not_yet = (503, "flanneld is not ready yet".to_owned());
    until_true("the health port", || node.get("/readyz").is_ok());
    let trimmed = |path| node.get(path).map(|(status, body)| (status, body.trim().to_owned())).unwrap();
    assert_eq!(trimmed("/readyz"), not_yet);
    assert_eq!(trimmed("/healthz"), (200, "flanneld is running".to_owned()));

    // The first one would read the configuration of the lab before it can be deleted.
    node.stop_flanneld(Signal::SIGTERM).unwrap();
    lab.start_etcd().unwrap();
    let good = lab.spec().network_config_json();
    let from = node.log().len();
    lab.etcdctl(["del", "/coreos.com/network/config"]).unwrap().ok().unwrap();
    node.start_flanneld(&weft()).unwrap();
    let line = said(node, from, "Did you create your config");
    assert!(line.contains("etcdctl put /coreos.com/network/config"), "{line}");
    for (config, cause, remedy) in [
        ("{", "/coreos.com/network/config", ""),
        (r#"{"Network":"10.244.0.0/29"}"#, "10.244.0.0/29", ""),
        (r#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlna"}}"#, "vxlna", "vxlan"),
        (r#"{"Network":"10.244.0.0/16","Backend":{"Type":"wireguard"}}"#, "wireguard", "udp"),
        (r#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","VNI":16777216}}"#, "16777216", "16777215"),
    ] {
        let from = node.log().len();
        lab.etcd().put_network_config(config).unwrap();
        let line = said(node, from, cause);
        assert!(line.contains("WARN") && line.contains(remedy), "{line}");
        assert_eq!(trimmed("/readyz"), not_yet);
    }
    assert_eq!(View::of(node).to_string(), "", "nothing is written before the configuration is known");
    assert!(node.subnet_env().is_none());
    lab.etcd().put_network_config(&good).unwrap();
    node.wait_ready(READY).unwrap();
    assert_eq!(trimmed("/readyz"), (200, "flanneld is ready".to_owned()));
}

#[test]
fn while_etcd_is_dead_packets_flow_and_afterwards_nodes_join() {
    let third = Spec { nodes: 3, ..spec("baddead", Backend::Vxlan) };
    let lab = up(&third);
    let (first, last) = (lab.node("n1"), lab.node("n3"));
    last.stop_flanneld(Signal::SIGTERM).unwrap();
    let (gone, _) = leases::of(&lab, "172.30.0.13").unwrap();
    leases::delete(&lab, &gone);
    until_true("the end of n3's route", || View::of(first).count("route") == 1);

    lab.stop_etcd(Signal::SIGKILL).unwrap();
    let stream = Stream::between(lab.pod("n1-p1"), lab.pod("n2-p1"));
    let from = first.log().len();
    said(first, from.saturating_sub(4096), "the watch of the leases is interrupted; traffic is not");
    let before = View::of(first);
    last.start_flanneld(&weft()).unwrap();
    stream.wait_for_flow();
    let tally = stream.end();
    assert_eq!(tally.lost, 0, "{tally:?}");
    // Repairs need no etcd.
    sh(first, "ip link del flannel.1");
    until_true("the repair", || View::of(first) == before);

    let back = Instant::now();
    lab.start_etcd().unwrap();
    let served = Instant::now();
    last.wait_ready(READY).unwrap();
    let env = last.subnet_env().unwrap();
    let subnet = env.get("FLANNEL_SUBNET").unwrap().replace(".1/24", ".0");
    for node in [first, lab.node("n2")] {
        until_true("the way to the new node", || View::of(node).has("route", &subnet));
    }
    println!("joined {:?} after etcd's start, {:?} after it served", back.elapsed(), served.elapsed());
    last.connect_pods().unwrap();
    assert_all_reach_all(&lab);
}

/// Originals publish their leases again only when they renew them, hours later (flannel issues 29 and 610).
#[test]
fn an_etcd_that_comes_back_empty_costs_no_peer() {
    let lab = up(&spec("badempty", Backend::Vxlan));
    let node = lab.node("n1");
    // Two that publish nothing again, and revisions that an empty etcd has not reached.
    for n in [231, 232] {
        let mac = format!("02:00:00:00:02:{}", n - 200);
        leases::put(&lab, &format!("10.244.{n}.0-24"), &leases::vxlan(&format!("172.30.0.{n}"), &mac));
    }
    for n in 0..20 {
        lab.etcd().put("/elsewhere", &n.to_string()).unwrap();
    }
    let all = |now: &View| now.has("route", "10.244.231.0") && now.has("route", "10.244.232.0");
    until_true("the silent peers", || all(&View::of(node)));
    let own = leases::of(&lab, "172.30.0.11").unwrap();
    let before = View::of(node);
    let from = node.log().len();
    let stream = Stream::between(lab.pod("n1-p1"), lab.pod("n2-p1"));

    lab.stop_etcd(Signal::SIGKILL).unwrap();
    lab.etcd().wipe().unwrap();
    lab.start_etcd().unwrap();
    let line = said(node, from, "is kept for 24 hours");
    assert!(line.contains("WARN") && line.contains("10.244.231.0-24, 10.244.232.0-24"), "{line}");
    // Those that run publish at once, under the keys that they had.
    assert_eq!(until("our own lease", || leases::of(&lab, "172.30.0.11")), own);
    until("the other's lease", || leases::of(&lab, "172.30.0.12"));
    said(node, from, "/coreos.com/network/config was deleted");
    assert_eq!(View::of(node), before, "no peer was lost");
    stream.wait_for_flow();
    let tally = stream.end();
    assert_eq!(tally.lost, 0, "{tally:?}");

    // One is another's now; one comes back at another place; what is deleted before our eyes goes at once.
    leases::put(&lab, "10.244.231.0-24", &leases::vxlan("172.30.0.233", "02:00:00:00:02:33"));
    leases::put(&lab, "10.244.234.0-24", &leases::vxlan("172.30.0.232", "02:00:00:00:02:32"));
    until_true("the new holders", || {
        let now = View::of(node);
        now.has("fdb", "dst 172.30.0.233")
            && !now.has("fdb", "dst 172.30.0.231")
            && now.has("route", "10.244.234.0")
            && !now.has("route", "10.244.232.0")
    });
    leases::delete(&lab, "10.244.234.0-24");
    until_true("the end of a deleted lease", || !View::of(node).has("route", "10.244.234.0"));
}

#[test]
fn a_configuration_that_changes_while_running_is_told_once_and_drops_nothing() {
    let lab = up(&spec("badconf", Backend::Vxlan));
    let node = lab.node("n1");
    let good = lab.spec().network_config_json();
    let before = View::of(node);
    let from = node.log().len();
    lab.etcd()
        .put_network_config(r#"{"Network":"10.99.0.0/16","Backend":{"Type":"vxlan","VNI":5}}"#)
        .unwrap();
    let line = warned(node, from, "the network configuration has changed");
    for part in ["10.244.0.0/16", "10.99.0.0/16", "VNI 5", "restart flanneld on every node"] {
        assert!(line.contains(part), "{part:?} in {line}");
    }
    lab.etcdctl(["del", "/coreos.com/network/config"]).unwrap().ok().unwrap();
    warned(node, from, "/coreos.com/network/config was deleted");
    lab.etcd().put_network_config("{").unwrap();
    warned(node, from, "has become unusable");
    lab.etcd().put_network_config(&good).unwrap();
    said(node, from, "is again the one that this daemon runs with");
    assert_eq!(node.log()[from..].matches("the network configuration has changed").count(), 1);
    assert_eq!(View::of(node), before);
    assert_all_reach_all(&lab);
}

/// A node that is cut off while leases come and go, and etcd forgets how they did.
#[test]
fn a_compaction_while_away_is_made_good() {
    let lab = up(&spec("badcomp", Backend::Vxlan));
    let node = lab.node("n1");
    leases::put(&lab, "10.244.231.0-24", &leases::vxlan("172.30.0.231", "02:00:00:00:00:31"));
    until_true("a third node", || View::of(node).has("route", "10.244.231.0"));
    let from = node.log().len();
    let hub = |script: &str| lab.hub().command("sh").args(["-ec", script]).status().unwrap();
    assert!(hub("ip link set n1 down").success());
    leases::delete(&lab, "10.244.231.0-24");
    leases::put(&lab, "10.244.232.0-24", &leases::vxlan("172.30.0.232", "02:00:00:00:00:32"));
    let status = lab.etcdctl(["endpoint", "status", "--write-out=json"]).unwrap().ok().unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let revision = status[0]["Status"]["header"]["revision"].as_u64().unwrap();
    lab.etcdctl(["compact".to_owned(), revision.to_string()]).unwrap().ok().unwrap();
    said(node, from, "the watch of the leases is interrupted");
    assert!(hub("ip link set n1 up").success());
    let up_again = Instant::now();
    until("what happened meanwhile", || {
        let now = View::of(node);
        (now.has("route", "10.244.232.0") && !now.has("route", "10.244.231.0")).then_some(())
    });
    println!("caught up {:?} after the link came back", up_again.elapsed());
    assert!(node.log()[from..].contains("compacted"), "{}", &node.log()[from..]);
    assert_all_reach_all(&lab);
}

/// Sum of a counter of `/proc/net/snmp`'s UDP lines.
fn receive_buffer_errors(node: &Node) -> f64 {
    let text = sh(node, "cat /proc/net/snmp");
    let mut lines = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names.split_whitespace().position(|name| name == "RcvbufErrors").unwrap();
    values.split_whitespace().nth(at).unwrap().parse().unwrap()
}

/// 10,000 datagrams of noise: half from a stranger, half from a peer.
fn noise_is_counted_and_harmless(datapath: Datapath, prefix: &str) {
    let lab = up(&Spec { datapath, ..spec(prefix, Backend::Udp) });
    assert_all_reach_all(&lab);
    let node = lab.node("n1");
    let counted = || metric(node, "dropped_packets_total") + receive_buffer_errors(node);
    let (before, view) = (counted(), View::of(node));
    let stream = Stream::between(lab.pod("n1-p1"), lab.pod("n2-p1"));
    for sender in [lab.hub(), lab.node("n2").namespace()] {
        let socket = sender.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
        // xorshift: any noise will do, but the same in every run.
        let mut state = 0x2545_f491_u32;
        let mut packet = [0_u8; 1400];
        for _ in 0..5000 {
            for byte in &mut packet {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                *byte = state as u8;
            }
            let length = 1 + state as usize % packet.len();
            socket.send_to(&packet[..length], (node.underlay(), 8285)).unwrap();
        }
    }
    until_true("all of it to be counted", || counted() - before >= 10_000.0);
    let after = counted() - before;
    stream.wait_for_flow();
    let tally = stream.end();
    println!(
        "{datapath}: {after} counted, of which {} by the socket; {tally:?}",
        receive_buffer_errors(node)
    );
    assert!(after <= 10_000.0 + tally.lost as f64, "{after} counted of 10000 and {tally:?}");
    if datapath == Datapath::Ebpf {
        assert_eq!(tally.lost, 0, "noise ends in the kernel, and takes nobody's place: {tally:?}");
    }
    assert_eq!(View::of(node), view);
    assert_all_reach_all(&lab);
}

#[test]
fn noise_is_counted_and_harmless_to_udp_simple() {
    noise_is_counted_and_harmless(Datapath::Simple, "badnois");
}

#[test]
fn noise_is_counted_and_harmless_to_udp_ebpf() {
    noise_is_counted_and_harmless(Datapath::Ebpf, "badnoie");
}

/// subnet.env is what others wait for: it never tells of a node that is not ready, and never half.
#[test]
fn subnet_env_comes_after_the_rules_and_the_tables() {
    let lab = up(&bare("badenv", Backend::Vxlan));
    let node = lab.node("n1");
    let path = node.directory().join("subnet.env");
    leases::put(&lab, "10.244.99.0-24", &leases::vxlan("172.30.0.99", "02:00:00:00:00:01"));
    node.start_flanneld(&weft()).unwrap();
    let text = until("subnet.env", || fs::read_to_string(&path).ok());
    let view = View::of(node);
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(view.has("route", "10.244.99.0") && view.has("nft", "masquerade"), "{view}");
    node.stop_flanneld(Signal::SIGKILL).unwrap();
    start(node, &weft());
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}
