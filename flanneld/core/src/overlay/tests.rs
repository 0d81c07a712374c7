//! Each backend's wanted tables for a small cluster, as the plan that builds them from nothing.

use super::*;
use crate::tables::plan;

fn node(subnets: &str) -> Node {
    Node {
        underlay: Underlay {
            name: "eth0".parse().unwrap(),
            index: 2,
            mtu: 1500,
            ip: Some([192, 0, 2, 1].into()),
            ipv6: Some("2001:db8::1".parse().unwrap()),
            local: [IpAddr::from([192, 0, 2, 1]), "2001:db8::1".parse().unwrap()].into(),
        },
        public_ip: [192, 0, 2, 1].into(),
        public_ipv6: Some("2001:db8::1".parse().unwrap()),
        subnets: subnets.parse().unwrap(),
        vtep: Some(Mac([2, 0, 0, 0, 0, 1])),
        vtep_v6: Some(Mac([2, 0, 0, 0, 6, 1])),
        bridge: None,
        blackhole: false,
    }
}

type Lease = (Subnets, LeaseAttrs);

fn lease(subnets: &str, attrs: &str) -> Lease {
    (subnets.parse().unwrap(), LeaseAttrs::from_json(attrs).unwrap())
}

fn config(json: &str) -> NetworkConfig {
    NetworkConfig::parse(json).unwrap()
}

fn printed(config: &NetworkConfig, node: &Node, peers: &[Lease], view: &View) -> String {
    let peers = peers.iter().map(|(subnets, attrs)| (subnets, attrs));
    let wanted = wanted(config, node, peers, view).unwrap();
    let ops = plan(&wanted.tables, &Tables::default()).into_iter().map(|op| format!("{op}\n"));
    let udp = wanted.udp_peers.iter().map(|(subnet, peer)| format!("udp {subnet} -> {peer}\n"));
    let ignored = wanted.ignored.iter().map(|(subnets, why)| format!("ignored {subnets}: {why}\n"));
    ops.chain(udp).chain(ignored).collect()
}

const VXLAN_PEER: &str = r#"{"PublicIP":"192.0.2.2","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:02"}}"#;

#[test]
fn vxlan_has_a_neighbour_an_fdb_entry_and_a_route_for_each_peer() {
    let config = config(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}"#);
    let peers = [lease("10.5.2.0-24", VXLAN_PEER)];
    insta::assert_snapshot!(printed(&config, &node("10.5.1.0-24"), &peers, &View::default()), @r"
    link add flannel.1 type vxlan id 1 local 192.0.2.1 ifindex 2 dstport 8472 address 02:00:00:00:00:01 mtu 1450 up
    addr add 10.5.1.0/32 dev flannel.1
    fdb replace 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.2
    neigh replace 10.5.2.0 lladdr 02:00:00:00:00:02 dev flannel.1
    route replace 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink
    ");
}

#[test]
fn vxlan_over_ipv6_leaves_70_bytes_for_its_headers() {
    let config = config(
        r#"{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48","Backend":{"Type":"vxlan"}}"#,
    );
    let attrs = r#"{"PublicIP":"192.0.2.2","PublicIPv6":"2001:db8::2","BackendType":"vxlan",
        "BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:02"},"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:06:02"}}"#;
    let peers = [lease("10.5.2.0-24&fd00:5:0:2::-64", attrs)];
    let node = node("10.5.1.0-24&fd00:5:0:1::-64");
    insta::assert_snapshot!(printed(&config, &node, &peers, &View::default()), @r"
    link add flannel-v6.1 type vxlan id 1 local 2001:db8::1 ifindex 2 dstport 8472 address 02:00:00:00:06:01 mtu 1430 up
    link add flannel.1 type vxlan id 1 local 192.0.2.1 ifindex 2 dstport 8472 address 02:00:00:00:00:01 mtu 1450 up
    addr add fd00:5:0:1::/128 dev flannel-v6.1
    addr add 10.5.1.0/32 dev flannel.1
    fdb replace 02:00:00:00:06:02 dev flannel-v6.1 dst 2001:db8::2
    fdb replace 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.2
    neigh replace fd00:5:0:2:: lladdr 02:00:00:00:06:02 dev flannel-v6.1
    neigh replace 10.5.2.0 lladdr 02:00:00:00:00:02 dev flannel.1
    route replace 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink
    route replace fd00:5:0:2::/64 via fd00:5:0:2:: dev flannel-v6.1 onlink
    ");
    assert_eq!(pod_mtu(&config, &node.underlay), 1430);
}

#[test]
fn direct_routing_takes_the_tunnel_only_through_a_gateway() {
    let config = config(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","DirectRouting":true}}"#);
    let far = VXLAN_PEER.replace("192.0.2.2", "198.51.100.3").replace("00:02", "00:03");
    let peers = [lease("10.5.2.0-24", VXLAN_PEER), lease("10.5.3.0-24", &far)];
    let view = View { direct: [IpAddr::from([192, 0, 2, 2])].into() };
    let text = printed(&config, &node("10.5.1.0-24"), &peers, &view);
    assert!(text.contains("route replace 10.5.2.0/24 via 192.0.2.2 dev eth0\n"), "{text}");
    assert!(text.contains("route replace 10.5.3.0/24 via 10.5.3.0 dev flannel.1 onlink\n"), "{text}");
    assert!(!text.contains("neigh replace 10.5.2.0"), "{text}");
}

#[test]
fn behind_nat_the_tunnel_starts_at_the_interfaces_own_address() {
    let config = config(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}"#);
    let node = Node { public_ip: [203, 0, 113, 9].into(), ..node("10.5.1.0-24") };
    let text = printed(&config, &node, &[], &View::default());
    assert!(text.contains("local 192.0.2.1 "), "{text}");
}

#[test]
fn host_gw_routes_by_the_peers_on_the_underlay() {
    let config = config(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}"#);
    let peer = r#"{"PublicIP":"192.0.2.2","PublicIPv6":null,"BackendType":"host-gw"}"#;
    let peers = [lease("10.5.2.0-24", peer), lease("10.5.3.0-24", VXLAN_PEER)];
    insta::assert_snapshot!(printed(&config, &node("10.5.1.0-24"), &peers, &View::default()), @r#"
    route replace 10.5.2.0/24 via 192.0.2.2 dev eth0
    ignored 10.5.3.0-24: its node runs backend "vxlan"
    "#);
}

#[test]
fn udp_routes_the_network_to_its_tun_and_takes_every_lease() {
    let config = config(r#"{"Network":"10.5.0.0/16"}"#);
    let peers = [
        lease("10.5.2.0-24", r#"{"PublicIP":"192.0.2.2","PublicIPv6":null}"#),
        lease("10.5.3.0-24", VXLAN_PEER),
    ];
    let node = Node { bridge: Some("docker0".parse().unwrap()), blackhole: true, ..node("10.5.1.0-24") };
    insta::assert_snapshot!(printed(&config, &node, &peers, &View::default()), @r"
    link add docker0 type bridge mtu 1472 up
    link add flannel0 type tun mtu 1472 up
    addr add 10.5.1.1/24 dev docker0
    addr add 10.5.1.0/32 dev flannel0
    route replace 10.5.0.0/16 dev flannel0
    route replace 10.5.1.0/24 metric 4096 blackhole
    udp 10.5.2.0/24 -> 192.0.2.2
    udp 10.5.3.0/24 -> 192.0.2.2
    ");
}

#[test]
fn one_bad_lease_does_not_hurt_the_others() {
    let config = config(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}"#);
    let bad = r#"{"PublicIP":"192.0.2.9","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"?"}}"#;
    let peers = [lease("10.5.9.0-24", bad), lease("10.5.2.0-24", VXLAN_PEER)];
    let text = printed(&config, &node("10.5.1.0-24"), &peers, &View::default());
    assert!(text.contains("route replace 10.5.2.0/24"), "{text}");
    assert!(text.contains("ignored 10.5.9.0-24: its backend data are unusable"), "{text}");
}

#[test]
fn alloc_wants_nothing_of_the_kernel() {
    let config = config(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"alloc"}}"#);
    assert_eq!(
        printed(&config, &node("10.5.1.0-24"), &[lease("10.5.2.0-24", VXLAN_PEER)], &View::default()),
        ""
    );
}

#[test]
fn an_underlay_too_narrow_for_the_families_in_use_is_noticed() {
    let v4 = config(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}"#);
    let both = config(
        r#"{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48","Backend":{"Type":"vxlan"}}"#,
    );
    let narrow = Underlay { mtu: 1320, ..node("10.5.1.0-24").underlay };
    assert!(!too_small(&v4, &narrow));
    assert!(too_small(&both, &narrow));
}
