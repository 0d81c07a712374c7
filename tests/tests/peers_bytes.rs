//! One node, first under the original and then under ours: what is left in etcd, in files and in the kernel is
//! compared line by line, and every difference is named here.
//!
//! Needs root, etcd, `cargo build -p weft` and `scripts/peers`.

use lab::flanneld::FlanneldOptions;
use lab::spec::{Backend, Datapath};
use lab::{Node, Spec};
use tests::peers::{Trace, lease, mixed, original, stop, subnet, until_knows, with_iptables};
use tests::testbed::{self, sh, up, weft};

/// Removes all that a daemon leaves on a node but its lease, so that the next one makes everything itself.
const WIPE: &str = r#"
for link in flannel.1 flannel-v6.1 flannel0; do ip link delete $link 2>/dev/null || true; done
ip route show | grep '^10.244.* via' | while read route; do ip route delete ${route% onlink*}; done
for tool in iptables ip6tables; do for table in nat filter; do $tool -t $table -F; $tool -t $table -X; done; done
nft list tables | grep flannel | while read table; do nft delete $table; done
"#;

/// The trace of a node under a daemon, with a peer that is an original.
fn trace(lab: &lab::ScratchLab, node: &Node, daemon: &FlanneldOptions, known: [bool; 3]) -> Trace {
    let peer = lab.node("n2");
    testbed::start(node, daemon);
    let (key, _) = lease(lab, peer);
    until_knows(node, &subnet(&key), &peer.underlay().to_string(), known);
    // The original writes its rules in the background, after the file that says that it is ready.
    tests::wait::until_true("the rules", || {
        let rules = sh(node, "iptables-save; ip6tables-save");
        let families = if lab.spec().ipv6 { 2 } else { 1 };
        rules.matches("--random-fully").count() == 2 * families
            && rules.matches("FLANNEL-FWD -d").count() == families
    });
    let trace = Trace::of(lab, node);
    stop(node);
    sh(node, WIPE);
    std::fs::remove_file(node.directory().join("subnet.env")).unwrap();
    trace
}

/// Both traces of n1. It has no pods and no bridge, so that nothing is there but the daemon's own.
fn traces(spec: Spec, known: [bool; 3]) -> (Trace, Trace, String) {
    let lab = up(&Spec { pods: 0, flanneld: None, flanneld_on: [].into(), ..with_iptables(spec) });
    testbed::start(lab.node("n2"), &original());
    let node = lab.node("n1");
    let theirs = trace(&lab, node, &original(), known);
    // The lab's --bridge is ours alone.
    let ours = trace(&lab, node, &weft().arg("--bridge="), known);
    let (peer, _) = lease(&lab, lab.node("n2"));
    (theirs, ours, subnet(&peer))
}

#[track_caller]
fn assert_difference(theirs: &Trace, ours: &Trace, want: &[&str]) {
    let mut want: Vec<_> = want.iter().map(|line| (*line).to_owned()).collect();
    let mut found = theirs.difference(ours);
    want.sort();
    found.sort();
    assert!(found == want, "found {found:#?}\nwanted {want:#?}\n\nthe original:\n{theirs}\nours:\n{ours}");
}

#[test]
fn vxlan_leaves_what_the_original_leaves() {
    let (theirs, ours, peer) = traces(mixed("pbvx", Backend::Vxlan, 2, &[]), [true; 3]);
    for words in
        ["10.244.", r#"","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":""#]
    {
        assert!(theirs.has("etcd: ", words), "{words}: {theirs}");
    }
    for (table, words) in [
        ("link flannel.1: mtu: ", "1450"),
        ("link flannel.1: linkinfo: info_data: id: ", "1"),
        ("link flannel.1: linkinfo: info_data: local: ", "172.30.0.11"),
        ("link flannel.1: linkinfo: info_data: link: ", "eth0"),
        ("link flannel.1: linkinfo: info_data: port: ", "8472"),
        ("link flannel.1: linkinfo: info_data: learning: ", "false"),
        ("address: ", "/32 scope global flannel.1"),
        ("neighbour flannel.1: ", "PERMANENT"),
        ("fdb flannel.1: ", "dst 172.30.0.12 self permanent"),
        ("subnet.env: ", "FLANNEL_MTU=1450"),
        ("iptables-save nat: ", "--random-fully"),
    ] {
        assert!(theirs.has(table, words), "{table}{words}: {theirs}");
    }
    let gateway = peer.split('/').next().unwrap();
    assert_difference(
        &theirs,
        &ours,
        &[
            &format!("- route: unicast {peer} via {gateway} dev flannel.1 proto boot scope global onlink"),
            &format!("+ route: unicast {peer} via {gateway} dev flannel.1 proto 87 scope global onlink"),
            "+ link flannel.1: ifalias: \"flanneld /coreos.com/network\"",
            "+ link flannel.1: txqlen: 1000",
        ],
    );
}

#[test]
fn dual_stack_vxlan_leaves_what_the_original_leaves_but_an_mtu_that_fits() {
    let spec = Spec { ipv6: true, ..mixed("pbv6", Backend::Vxlan, 2, &[]) };
    let (theirs, ours, _) = traces(spec, [true; 3]);
    assert!(
        theirs.has("etcd: ", r#""PublicIPv6":"fd30::11","BackendType":"vxlan","BackendData":"#),
        "{theirs}"
    );
    assert!(theirs.has("etcd: ", r#","BackendV6Data":{"VNI":1,"VtepMAC":""#), "{theirs}");
    assert!(theirs.has("accept_ra: ", "0"), "{theirs}");
    let routes = |line: &String| line.contains("route: ");
    let (routes, rest): (Vec<_>, Vec<_>) = theirs.difference(&ours).into_iter().partition(routes);
    let marked = |line: &str| line.replace("proto boot", "proto 87").replacen('-', "+", 1);
    let (gone, come) = routes.split_at(routes.len() / 2);
    assert_eq!(gone.len(), 2, "a route to the peer in each family: {routes:#?}");
    assert_eq!(
        gone.iter().map(|line| marked(line)).collect::<Vec<_>>(),
        come,
        "the mark is the only difference"
    );
    assert_eq!(
        rest,
        [
            "- subnet.env: 4 \"FLANNEL_MTU=1450\\n\"",
            "+ link flannel-v6.1: ifalias: \"flanneld /coreos.com/network\"",
            "+ link flannel-v6.1: txqlen: 1000",
            "+ link flannel.1: ifalias: \"flanneld /coreos.com/network\"",
            "+ link flannel.1: txqlen: 1000",
            "+ subnet.env: 4 \"FLANNEL_MTU=1430\\n\"",
        ],
    );
}

#[test]
fn host_gw_leaves_what_the_original_leaves() {
    let (theirs, ours, peer) = traces(mixed("pbgw", Backend::HostGw, 2, &[]), [true, false, false]);
    assert!(
        theirs.has("etcd: ", r#"{"PublicIP":"172.30.0.11","PublicIPv6":null,"BackendType":"host-gw"}"#),
        "{theirs}"
    );
    assert!(theirs.has("subnet.env: ", "FLANNEL_MTU=1500"), "{theirs}");
    assert_difference(
        &theirs,
        &ours,
        &[
            &format!("- route: unicast {peer} via 172.30.0.12 dev eth0 proto boot scope global"),
            &format!("+ route: unicast {peer} via 172.30.0.12 dev eth0 proto 87 scope global"),
        ],
    );
}

#[test]
fn udp_leaves_what_the_original_leaves_but_a_device_that_stays() {
    for datapath in [Datapath::Ebpf, Datapath::Simple] {
        let spec = Spec { datapath, ..mixed("pbud", Backend::Udp, 2, &[]) };
        let (theirs, ours, _) = traces(spec, [false; 3]);
        assert!(theirs.has("etcd: ", r#" {"PublicIP":"172.30.0.11","PublicIPv6":null}"#), "{theirs}");
        for (table, words) in [
            ("link flannel0: mtu: ", "1472"),
            ("address: ", "/32 scope global flannel0"),
            ("route: ", "10.244.0.0/16 dev flannel0"),
            ("subnet.env: ", "FLANNEL_MTU=1472"),
        ] {
            assert!(theirs.has(table, words), "{table}{words}: {theirs}");
        }
        let mut want = vec![
            "- link flannel0: linkinfo: info_data: persist: false",
            "- route: unicast 10.244.0.0/16 dev flannel0 proto boot scope global",
            "+ link flannel0: ifalias: \"flanneld /coreos.com/network\"",
            "+ link flannel0: linkinfo: info_data: persist: true",
            "+ route: unicast 10.244.0.0/16 dev flannel0 proto 87 scope global",
        ];
        if datapath == Datapath::Ebpf {
            want.push("- link flannel0: linkinfo: info_data: vnet_hdr: false");
            want.push("+ link flannel0: linkinfo: info_data: vnet_hdr: true");
        }
        assert_difference(&theirs, &ours, &want);
    }
}
