//! Each backend's wanted tables for a small cluster, as the plan that builds them from nothing.

use super::*;
use crate::network_id::NetworkId;
use crate::tables::{LinkName, plan};

fn node(subnets: &str) -> Node {
    Node {
        id: NetworkId::default(),
        tun: LinkName::tun(0),
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
    insta::assert_snapshot!(printed(&config, &node("10.5.1.0-24"), &peers, &View::default()), @r#"
    link add flannel.1 type vxlan id 1 local 192.0.2.1 ifindex 2 dstport 8472 address 02:00:00:00:00:01 mtu 1450 up alias "flanneld /coreos.com/network"
    addr add 10.5.1.0/32 dev flannel.1
    fdb replace 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.2
    neigh replace 10.5.2.0 lladdr 02:00:00:00:00:02 dev flannel.1
    route add 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink
    "#);
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
    insta::assert_snapshot!(printed(&config, &node, &peers, &View::default()), @r#"
    link add flannel-v6.1 type vxlan id 1 local 2001:db8::1 ifindex 2 dstport 8472 address 02:00:00:00:06:01 mtu 1430 up alias "flanneld /coreos.com/network"
    link add flannel.1 type vxlan id 1 local 192.0.2.1 ifindex 2 dstport 8472 address 02:00:00:00:00:01 mtu 1450 up alias "flanneld /coreos.com/network"
    addr add fd00:5:0:1::/128 dev flannel-v6.1
    addr add 10.5.1.0/32 dev flannel.1
    fdb replace 02:00:00:00:06:02 dev flannel-v6.1 dst 2001:db8::2
    fdb replace 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.2
    neigh replace fd00:5:0:2:: lladdr 02:00:00:00:06:02 dev flannel-v6.1
    neigh replace 10.5.2.0 lladdr 02:00:00:00:00:02 dev flannel.1
    route add 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink
    route add fd00:5:0:2::/64 via fd00:5:0:2:: dev flannel-v6.1 onlink
    "#);
    assert_eq!(pod_mtu(&config, &node.underlay), 1430);
}

#[test]
fn direct_routing_takes_the_tunnel_only_through_a_gateway() {
    let config = config(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","DirectRouting":true}}"#);
    let far = VXLAN_PEER.replace("192.0.2.2", "198.51.100.3").replace("00:02", "00:03");
    let peers = [lease("10.5.2.0-24", VXLAN_PEER), lease("10.5.3.0-24", &far)];
    let view = View { direct: [IpAddr::from([192, 0, 2, 2])].into(), ..View::default() };
    let text = printed(&config, &node("10.5.1.0-24"), &peers, &view);
    assert!(text.contains("route add 10.5.2.0/24 via 192.0.2.2 dev eth0\n"), "{text}");
    assert!(text.contains("route add 10.5.3.0/24 via 10.5.3.0 dev flannel.1 onlink\n"), "{text}");
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
    route add 10.5.2.0/24 via 192.0.2.2 dev eth0
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
    insta::assert_snapshot!(printed(&config, &node, &peers, &View::default()), @r#"
    link add docker0 type bridge mtu 1472 up
    link add flannel0 type tun mtu 1472 up alias "flanneld /coreos.com/network"
    addr add 10.5.1.1/24 dev docker0
    addr add 10.5.1.0/32 dev flannel0
    route add 10.5.0.0/16 dev flannel0
    route add 10.5.1.0/24 metric 4096 blackhole
    udp 10.5.2.0/24 -> 192.0.2.2
    udp 10.5.3.0/24 -> 192.0.2.2
    "#);
}

#[test]
fn one_bad_lease_does_not_hurt_the_others() {
    let config = config(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}"#);
    let bad = r#"{"PublicIP":"192.0.2.9","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"?"}}"#;
    let peers = [lease("10.5.9.0-24", bad), lease("10.5.2.0-24", VXLAN_PEER)];
    let text = printed(&config, &node("10.5.1.0-24"), &peers, &View::default());
    assert!(text.contains("route add 10.5.2.0/24"), "{text}");
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

fn foreign(destination: &str, metric: u32, protocol: u8, route: Option<Route>) -> (IpNet, ForeignRoute) {
    let text = format!("{destination} by hand");
    (destination.parse().unwrap(), ForeignRoute { metric, route, protocol, text })
}

fn among(foreign: impl IntoIterator<Item = (IpNet, ForeignRoute)>) -> View {
    let mut view = View::default();
    for (destination, route) in foreign {
        view.foreign.entry(destination).or_default().push(route);
    }
    view
}

fn vxlan() -> NetworkConfig {
    config(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}"#)
}

#[test]
fn a_lease_whose_route_somebody_else_has_made_is_left_out_with_the_route() {
    let peers = [lease("10.5.2.0-24", VXLAN_PEER)];
    for (metric, protocol, route) in [(0, 4, None), (0, 2, None), (0, 3, Some(Route::Blackhole))] {
        let view = among([foreign("10.5.2.0/24", metric, protocol, route)]);
        let text = printed(&vxlan(), &node("10.5.1.0-24"), &peers, &view);
        assert!(
            text.contains("ignored 10.5.2.0-24: another program's route leads there: 10.5.2.0/24 by hand"),
            "{text}"
        );
        for entry in ["route add 10.5.2", "fdb", "neigh"] {
            assert!(!text.contains(entry), "{text}");
        }
    }
}

#[test]
fn a_route_of_another_that_yields_to_ours_or_leads_elsewhere_is_in_nobodys_way() {
    let peers = [lease("10.5.2.0-24", VXLAN_PEER)];
    let view = among([foreign("10.5.2.0/24", 100, 4, None), foreign("10.5.0.0/16", 0, 4, None)]);
    let text = printed(&vxlan(), &node("10.5.1.0-24"), &peers, &view);
    assert!(text.contains("route add 10.5.2.0/24"), "{text}");
}

#[test]
fn the_originals_route_becomes_ours_and_an_operators_equal_one_stays_his() {
    let config = config(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}"#);
    let peer = lease("10.5.2.0-24", r#"{"PublicIP":"192.0.2.2","PublicIPv6":null,"BackendType":"host-gw"}"#);
    let peers = || [(&peer.0, &peer.1)];
    let route = Route::Out { dev: "eth0".parse().unwrap(), via: Some([192, 0, 2, 2].into()), onlink: false };
    let key = RouteKey::new("10.5.2.0/24".parse().unwrap());
    let made_by = |protocol| {
        let view = among([foreign("10.5.2.0/24", 0, protocol, Some(route.clone()))]);
        wanted(&config, &node("10.5.1.0-24"), peers(), &view).unwrap()
    };
    assert!(made_by(3).adopted.contains(&key) && made_by(3).tables.routes.contains_key(&key));
    assert!(made_by(4).tables.routes.is_empty() && made_by(4).ignored.is_empty());
}

#[test]
fn a_lease_outside_of_the_network_or_over_what_the_node_needs_is_refused() {
    let config = config(r#"{"Network":"10.0.0.0/8","Backend":{"Type":"vxlan"}}"#);
    let node = node("10.5.1.0-24");
    let guarded = |ip: [u8; 4], what: &str| (IpAddr::from(ip), what.to_owned());
    let view = View {
        guarded: [guarded([10, 7, 0, 1], "the default gateway"), guarded([10, 8, 0, 9], "etcd")].into(),
        underlay: vec!["10.6.0.0/24".parse().unwrap()],
        ..View::default()
    };
    let near = VXLAN_PEER.replace("192.0.2.2", "10.9.0.2");
    let known = [
        ("172.16.0.0-12", VXLAN_PEER, "it lies outside of the network 10.0.0.0/8"),
        ("10.6.0.0-24", VXLAN_PEER, "it covers the underlay's own network 10.6.0.0/24"),
        ("10.6.0.0-16", VXLAN_PEER, "it covers the underlay's own network 10.6.0.0/24"),
        ("10.7.0.0-24", VXLAN_PEER, "it covers the default gateway (10.7.0.1)"),
        ("10.8.0.0-16", VXLAN_PEER, "it covers etcd (10.8.0.9)"),
        ("10.9.0.0-24", near.as_str(), "it covers the address of a peer (10.9.0.2)"),
    ];
    for (subnet, attrs, why) in known {
        let peers = [lease(subnet, attrs), lease("10.5.2.0-24", VXLAN_PEER)];
        let text = printed(&config, &node, &peers, &view);
        assert!(text.contains(&format!("ignored {subnet}: ")) && text.contains(why), "{subnet}: {text}");
        let subnet = subnet.replace('-', "/");
        assert!(!text.contains(&format!("route add {subnet}")), "{text}");
        assert!(text.contains("route add 10.5.2.0/24"), "{text}");
    }
}

#[test]
fn the_nodes_own_route_gives_way_to_anothers_and_says_so() {
    let view = among([foreign("10.5.0.0/16", 0, 2, None)]);
    let config = config(r#"{"Network":"10.5.0.0/16"}"#);
    let wanted = wanted(&config, &node("10.5.1.0-24"), [], &view).unwrap();
    assert!(wanted.tables.routes.is_empty());
    assert_eq!(wanted.blocked.len(), 1);
}

#[test]
fn a_blackhole_stands_behind_the_bridges_route() {
    let node = Node { blackhole: true, ..node("10.5.1.0-24") };
    let view = among([foreign("10.5.1.0/24", 0, 2, None)]);
    let text = printed(&vxlan(), &node, &[], &view);
    assert!(text.contains("route add 10.5.1.0/24 metric 4096 blackhole"), "{text}");
}

#[test]
fn peers_with_one_mac_are_told_together() {
    let second = VXLAN_PEER.replace("192.0.2.2", "192.0.2.3");
    let peers = [lease("10.5.2.0-24", VXLAN_PEER), lease("10.5.3.0-24", &second)];
    let peers = peers.iter().map(|(subnets, attrs)| (subnets, attrs));
    let wanted = wanted(&vxlan(), &node("10.5.1.0-24"), peers, &View::default()).unwrap();
    let (mac, holders) = wanted.shared_macs.into_iter().next().unwrap();
    assert_eq!(mac, Mac([2, 0, 0, 0, 0, 2]));
    assert_eq!(holders, [IpAddr::from([192, 0, 2, 2]), IpAddr::from([192, 0, 2, 3])].into());
}

#[test]
fn of_a_lease_with_two_families_both_are_used_or_none() {
    let config = config(
        r#"{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"fd00:5::/48","Backend":{"Type":"vxlan"}}"#,
    );
    let attrs = VXLAN_PEER.replace(r#""PublicIPv6":null"#, r#""PublicIPv6":"2001:db8::2""#);
    let peers = [lease("10.5.2.0-24&fd00:5:0:2::-64", &attrs)];
    let text = printed(&config, &node("10.5.1.0-24&fd00:5:0:1::-64"), &peers, &View::default());
    assert!(text.contains("ignored") && !text.contains("10.5.2.0/24"), "{text}");
}

fn tun(name: &str, alias: Option<&str>, address: Option<[u8; 4]>) -> SeenTun {
    SeenTun {
        name: name.to_owned(),
        tun: true,
        alias: alias.map(str::to_owned),
        addresses: address.into_iter().map(IpAddr::from).collect(),
    }
}

#[test]
fn the_tun_is_ours_or_the_next_that_is_free() {
    let (default, two) = (NetworkId::default(), NetworkId::of_etcd_prefix("/two"));
    let network = ["10.5.0.0/16".parse().unwrap()];
    let choose = |seen: &[SeenTun], id: &NetworkId| choose_tun(seen, id, &network).to_string();
    assert_eq!(choose(&[], &default), "flannel0");
    assert_eq!(choose(&[], &two), "flannel0");
    let first = tun("flannel0", Some("flanneld /coreos.com/network"), Some([10, 6, 1, 0]));
    let second = tun("flannel1", Some("flanneld /two"), None);
    assert_eq!(choose(std::slice::from_ref(&first), &default), "flannel0");
    assert_eq!(choose(std::slice::from_ref(&first), &two), "flannel1");
    assert_eq!(choose(&[first.clone(), second.clone()], &two), "flannel1");
    assert_eq!(choose(&[second], &default), "flannel0");
    // Of the original, or of an earlier release.
    assert_eq!(choose(&[tun("flannel0", None, Some([10, 5, 1, 0]))], &two), "flannel0");
    assert_eq!(choose(&[tun("flannel0", None, Some([10, 6, 1, 0]))], &default), "flannel1");
    assert_eq!(choose(&[tun("flannel0", None, None)], &default), "flannel0");
    assert_eq!(choose(&[tun("flannel0", None, None)], &two), "flannel1");
    // What is no TUN is reported as being in the way, as for every other link of the default network.
    let bridge = SeenTun { tun: false, ..tun("flannel0", None, None) };
    assert_eq!(choose(&[bridge], &default), "flannel0");
    // A VXLAN link's name is of another kind.
    assert_eq!(choose(&[tun("flannel.1", None, None), first], &two), "flannel1");
}
