//! A node's daemon goes from the original to ours and back, with traffic on.
//!
//! Needs root, etcd, `cargo build -p weft` and `scripts/peers`.

use lab::etcd::NetworkKeys;
use lab::spec::{Backend, Datapath};
use lab::{Node, ScratchLab, Spec};
use serde_json::json;
use tests::peers::{cleanup, lease, mixed, original, stop, subnet, swap, until_knows};
use tests::stream::{Stream, Tally};
use tests::testbed::{self, assert_all_reach_all, sh, up, weft};

/// Both nodes begin as originals; n2 stays one.
fn originals(prefix: &str, backend: Backend) -> ScratchLab {
    let lab = up(&mixed(prefix, backend, 2, &["n1", "n2"]));
    assert_all_reach_all(&lab);
    lab
}

fn stream(lab: &ScratchLab) -> Stream {
    Stream::between(lab.pod("n1-p1"), lab.pod("n2-p1"))
}

/// What the peer sees of the node: its lease, and what it made of that.
fn seen(lab: &ScratchLab) -> (String, String, String) {
    let (key, value) = lease(lab, lab.node("n1"));
    let tables = sh(
        lab.node("n2"),
        "ip route | grep -v docker0; ip neigh show nud permanent; bridge fdb | grep dst || true",
    );
    (key, value, tables)
}

/// Lines of the original's log about leases that go. (Each renewal is a lease that comes, also under the original.)
fn lost_leases(node: &Node) -> usize {
    node.log().lines().filter(|line| line.contains("ubnet removed")).count()
}

/// How often each of flannel's chains and tables is on a node: the jumps to the chains, and the tables of nftables.
fn rules(node: &Node) -> (usize, usize, usize) {
    let saved = sh(node, "iptables-save");
    let count = |words: &str| saved.lines().filter(|line| line.contains(words)).count();
    let tables = sh(node, "nft list tables");
    let own = tables.lines().filter(|line| *line == "table ip flannel-ipv4").count();
    (count("-j FLANNEL-POSTRTG"), count("-j FLANNEL-FWD"), own)
}

/// Once the daemon has come to rest: the original writes its rules in the background.
fn until_rules(node: &Node, want: (usize, usize, usize)) {
    let mut found = (0, 0, 0);
    let end = std::time::Instant::now() + tests::wait::SOON;
    while std::time::Instant::now() < end {
        found = rules(node);
        if found == want {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!(
        "{found:?} and not {want:?} (jumps to POSTRTG and FWD, own tables): {}",
        sh(node, "nft list ruleset")
    );
}

/// There and back without the loss of a packet, and without the peer's notice.
fn hitless(prefix: &str, backend: Backend, nftables: Option<bool>, rules: [(usize, usize, usize); 2]) {
    let network_config = nftables.map(|on| json!({ "EnableNFTables": on }));
    let lab = up(&Spec { network_config, ..mixed(prefix, backend, 2, &["n1", "n2"]) });
    assert_all_reach_all(&lab);
    let (node, [theirs, ours]) = (lab.node("n1"), rules);
    until_rules(node, theirs);
    let before = seen(&lab);
    // The alias, by which ours tells networks apart, is not the original's.
    let link = || {
        let shown = "ip -o link show flannel.1 2>/dev/null";
        sh(node, &format!("{shown} | sed 's/ *qlen.*//; s/\\\\.*link/ link/; s/\\\\ *alias.*//' || true"))
    };
    let (first_link, env) = (link(), node.subnet_env());

    let flow = stream(&lab);
    for _ in 0..2 {
        swap(node, &weft());
        flow.wait_for_flow();
        until_rules(node, ours);
        assert_eq!(seen(&lab), before, "under ours");
        assert_eq!(node.subnet_env(), env, "under ours");
        assert_eq!(link(), first_link, "the same link, with its MAC and its number");

        swap(node, &original());
        flow.wait_for_flow();
        until_rules(node, theirs);
        assert_eq!(seen(&lab), before, "under the original again");
        assert_eq!(link(), first_link, "the same link, with its MAC and its number");
    }
    let Tally { sent, lost, .. } = flow.end();
    assert!(lost == 0, "{lost} of {sent} datagrams were lost");
    assert_eq!(lost_leases(lab.node("n2")), 0, "{}", lab.node("n2").log());
    assert_all_reach_all(&lab);
}

/// The rules of the original, in iptables; ours, in a table of its own, which takes those away.
const IPTABLES_THEN_NFTABLES: [(usize, usize, usize); 2] = [(1, 1, 0), (0, 0, 1)];

#[test]
fn a_vxlan_node_goes_to_ours_and_back_without_a_lost_packet() {
    hitless("psvx", Backend::Vxlan, None, IPTABLES_THEN_NFTABLES);
}

#[test]
fn a_host_gw_node_goes_to_ours_and_back_without_a_lost_packet() {
    hitless("psgw", Backend::HostGw, None, IPTABLES_THEN_NFTABLES);
}

#[test]
fn both_keep_their_rules_in_iptables_where_the_configuration_says_so() {
    hitless("psip", Backend::Vxlan, Some(false), [(1, 1, 0), (1, 1, 0)]);
}

#[test]
fn both_keep_their_rules_in_one_nftables_table_where_the_configuration_says_so() {
    hitless("psnf", Backend::HostGw, Some(true), [(0, 0, 1), (0, 0, 1)]);
}

#[test]
fn the_rule_that_hides_the_last_one_of_the_original_is_put_right() {
    let spec = mixed("psr4", Backend::HostGw, 2, &["n1"]);
    let lab = up(&Spec { network_config: Some(json!({ "EnableNFTables": true })), ..spec });
    let listed = |name: &str| {
        let (key, _) = lease(&lab, lab.node(name));
        let rules = sh(lab.node(name), "nft -s list chain ip flannel-ipv4 postrtg");
        rules.replace(" counter", "").replace(&subnet(&key), "POD").replace("10.244.0.0/16", "NET")
    };
    let (theirs, ours) = (listed("n1"), listed("n2"));
    let only = |here: &str, there: &str| -> Vec<String> {
        let rules = here
            .lines()
            .map(str::trim)
            .filter(|line| line.ends_with("return") || line.contains("masquerade"));
        rules.filter(|line| !there.contains(line)).map(str::to_owned).collect()
    };
    // The original's returns for whatever goes to another node, so that nothing is left for the last rule; and its test
    // of the mark is for one bit alone, where kube-proxy may have set others.
    assert_eq!(
        only(&theirs, &ours),
        ["meta mark 0x00004000 return", "ip saddr != POD ip daddr NET return"],
        "{theirs}"
    );
    assert_eq!(
        only(&ours, &theirs),
        ["meta mark & 0x00004000 != 0x00000000 return", "ip saddr != NET ip daddr POD return"],
        "{ours}"
    );
}

/// How much of a stream a change of the node's daemon loses.
fn outage(lab: &ScratchLab, change: impl FnOnce(&Node)) -> Tally {
    let flow = stream(lab);
    change(lab.node("n1"));
    flow.wait_for_flow();
    flow.end()
}

#[test]
fn a_udp_node_goes_to_ours_and_back_in_no_more_than_a_restart_of_the_original() {
    for (prefix, datapath) in [("psue", Datapath::Ebpf), ("psus", Datapath::Simple)] {
        let lab = originals(prefix, Backend::Udp);
        let spec = Spec { datapath, ..lab.spec().clone() };
        // The original does not know the word, and does not mind it.
        lab.etcd().put_network_config(&spec.network_config_json()).unwrap();
        // What the kernel does for others at the same time, such as taking down whole namespaces, holds anybody up for
        // seconds: once in three times the comparison must hold.
        let held = (0..3).any(|_| is_no_longer_than_a_restart(&lab, datapath));
        assert!(held, "{datapath}: ours is longer away than the original, three times");
        assert_all_reach_all(&lab);
    }
}

fn is_no_longer_than_a_restart(lab: &ScratchLab, datapath: Datapath) -> bool {
    let (before, node) = (seen(lab), lab.node("n1"));
    let restart = outage(lab, |node| swap(node, &original()));
    assert!(restart.gap > 0, "the original's TUN goes with it: {restart:?}");
    let there = outage(lab, |node| swap(node, &weft()));
    assert_eq!(seen(lab), before, "under ours, {datapath}");
    until_rules(node, (0, 0, 1));
    let ours = outage(lab, |node| swap(node, &weft()));
    let back = outage(lab, |node| {
        stop(node);
        cleanup(node);
        assert_eq!(
            sh(node, "ip -o link | grep flannel || true"),
            "",
            "the original wants to make flannel0 itself"
        );
        testbed::start(node, &original());
    });
    assert_eq!(seen(lab), before, "under the original again, {datapath}");
    until_rules(node, (1, 1, 0));
    println!(
        "{datapath}: original to itself {restart:?}, to ours {there:?}, ours to itself {ours:?}, back {back:?}"
    );
    // A datagram a millisecond. Ours loads programs and waits for etcd; a busy machine may double all of it. To an
    // original ours sends from user space, so that its own restart is felt there as well.
    let bound = 2 * restart.gap + 1500;
    [there, ours, back].iter().all(|change| change.gap < bound)
}

#[test]
fn a_node_that_comes_back_as_ours_takes_the_subnet_of_the_original() {
    let lab = originals("psub", Backend::Vxlan);
    let node = lab.node("n1");
    let (key, value) = lease(&lab, node);
    // The lease ran out, and the host has booted: only subnet.env says what it was.
    stop(node);
    tests::leases::delete(&lab, &key);
    sh(node, "ip link delete flannel.1");
    testbed::start(node, &weft());
    let (again, new) = lease(&lab, node);
    assert_eq!(again, key, "the subnet of subnet.env");
    assert_ne!(new, value, "a new end point has a new MAC");
    until_knows(lab.node("n2"), &subnet(&key), &node.underlay().to_string(), [true; 3]);
    // And the other way round.
    stop(node);
    tests::leases::delete(&lab, &key);
    sh(node, "ip link delete flannel.1");
    testbed::start(node, &original());
    assert_eq!(lease(&lab, node).0, key, "the subnet of our subnet.env");
    until_knows(lab.node("n2"), &subnet(&key), &node.underlay().to_string(), [true; 3]);
    assert_all_reach_all(&lab);
}
