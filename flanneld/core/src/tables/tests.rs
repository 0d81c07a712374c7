//! Convergence of the plan against a model of the kernel, and its order.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;

use super::*;
use crate::config::Vni;

/// Few distinct values, so that moves and swaps are common.
fn name() -> impl Strategy<Value = LinkName> {
    prop_oneof![Just("flannel.1"), Just("flannel.2")].prop_map(|n| n.parse().unwrap())
}

fn mac() -> impl Strategy<Value = Mac> {
    (0u8..3).prop_map(|n| Mac([2, 0, 0, 0, 0, n]))
}

fn ip() -> impl Strategy<Value = IpAddr> {
    (0u8..4).prop_map(|n| IpAddr::from([10, 0, n, 0]))
}

fn net() -> impl Strategy<Value = IpNet> {
    ip().prop_map(|ip| IpNet::new(ip, 24).unwrap())
}

fn link() -> impl Strategy<Value = Link> {
    (0u32..2, mac(), 0u32..2, any::<bool>()).prop_map(|(underlay, mac, mtu, up)| Link {
        kind: LinkKind::Vxlan(VxlanLink {
            vni: Vni::new(1).unwrap(),
            port: 8472,
            local: Ipv4Addr::LOCALHOST.into(),
            underlay,
            learning: false,
            gbp: false,
        }),
        mac: Some(mac),
        mtu: Some(1400 + mtu),
        up,
        alias: None,
    })
}

fn route() -> impl Strategy<Value = Route> {
    prop_oneof![
        (name(), ip()).prop_map(|(dev, via)| Route::Out { dev, via: Some(via), onlink: true }),
        Just(Route::Blackhole)
    ]
}

/// Tables in which everything hangs on a link that is there.
fn tables() -> impl Strategy<Value = Tables> {
    (
        btree_map(name(), link(), 0..3),
        btree_set((name(), net()), 0..4),
        btree_map(net().prop_map(RouteKey::new), route(), 0..4),
        btree_map((name(), ip()), mac(), 0..4),
        btree_map((name(), mac()), ip(), 0..4),
    )
        .prop_map(|(links, addresses, routes, neighbours, fdb)| {
            let mut tables = Tables { links, addresses, routes, neighbours, fdb };
            let names: Vec<LinkName> = tables.links.keys().cloned().collect();
            tables.addresses.retain(|(l, _)| names.contains(l));
            tables.neighbours.retain(|(l, _), _| names.contains(l));
            tables.fdb.retain(|(l, _), _| names.contains(l));
            tables.routes.retain(|_, r| !matches!(r, Route::Out { dev, .. } if !names.contains(dev)));
            tables
        })
}

/// What the kernel does with an operation.
fn run(kernel: &mut Tables, op: &Op) {
    match op.clone() {
        Op::DelLink(name) => {
            kernel.links.remove(&name);
            kernel.addresses.retain(|(l, _)| *l != name);
            kernel.neighbours.retain(|(l, _), _| *l != name);
            kernel.fdb.retain(|(l, _), _| *l != name);
            kernel.routes.retain(|_, r| !matches!(r, Route::Out { dev, .. } if *dev == name));
        }
        Op::AddLink(name, link) => assert!(kernel.links.insert(name, link).is_none(), "{op}: exists"),
        Op::SetLink(name, link) => {
            let have = kernel.links.get_mut(&name).unwrap_or_else(|| panic!("{op}: no such link"));
            assert_eq!(have.kind, link.kind, "{op}: a kind cannot change");
            *have = link;
        }
        Op::AddAddress(link, a) => assert!(kernel.addresses.insert((link, a)), "{op}: exists"),
        Op::DelAddress(link, a) => assert!(kernel.addresses.remove(&(link, a)), "{op}: not there"),
        Op::SetFdb(link, mac, ip) => drop(kernel.fdb.insert((link, mac), ip)),
        Op::DelFdb(link, mac, ip) => assert_eq!(kernel.fdb.remove(&(link, mac)), Some(ip), "{op}"),
        Op::SetNeighbour(link, ip, mac) => drop(kernel.neighbours.insert((link, ip), mac)),
        Op::DelNeighbour(link, ip) => assert!(kernel.neighbours.remove(&(link, ip)).is_some(), "{op}"),
        Op::AddRoute(key, _) if kernel.routes.contains_key(&key) => panic!("{op}: there is a route"),
        Op::AddRoute(key, route) | Op::SetRoute(key, route) => {
            if let Route::Out { dev, .. } = &route {
                assert!(kernel.links.contains_key(dev), "{op}: no such device");
            }
            kernel.routes.insert(key, route);
        }
        Op::DelRoute(key, route) => assert_eq!(kernel.routes.remove(&key), Some(route), "{op}"),
    }
}

proptest! {
    #[test]
    fn converges_even_after_a_crash(start in tables(), want in tables(), cut in 0usize..24) {
        // A link that nobody wants any more is left to its owner: every link of the start stays.
        let mut want = want;
        for (name, link) in &start.links {
            want.links.entry(name.clone()).or_insert_with(|| link.clone());
        }
        let mut kernel = start;
        for op in plan(&want, &kernel).iter().take(cut) { run(&mut kernel, op); }
        for op in plan(&want, &kernel) { run(&mut kernel, &op); }
        prop_assert_eq!(&kernel, &want);
        prop_assert!(plan(&want, &kernel).is_empty());
    }
}

fn overlay(mac: u8) -> Tables {
    let dev = LinkName::vxlan(Vni::new(1).unwrap());
    let peer: IpNet = "10.5.2.0/24".parse().unwrap();
    let kind = LinkKind::Vxlan(VxlanLink {
        vni: Vni::new(1).unwrap(),
        port: 8472,
        local: IpAddr::from([192, 0, 2, 1]),
        underlay: 2,
        learning: false,
        gbp: false,
    });
    let link = Link { kind, mac: Some(Mac([2, 0, 0, 0, 0, 1])), mtu: Some(1450), up: true, alias: None };
    let mac = Mac([2, 0, 0, 0, 0, mac]);
    let mut tables = Tables::default();
    tables.links.insert(dev.clone(), link);
    tables.addresses.insert((dev.clone(), "10.5.1.0/32".parse().unwrap()));
    tables.neighbours.insert((dev.clone(), peer.addr()), mac);
    tables.fdb.insert((dev.clone(), mac), IpAddr::from([192, 0, 2, 2]));
    let route = Route::Out { dev, via: Some(peer.addr()), onlink: true };
    tables.routes.insert(RouteKey::new(peer), route);
    tables
}

fn printed(want: &Tables, have: &Tables) -> String {
    plan(want, have).iter().map(|op| format!("{op}\n")).collect()
}

#[test]
fn a_new_overlay_is_built_from_the_link_up_and_the_route_comes_last() {
    insta::assert_snapshot!(printed(&overlay(2), &Tables::default()), @r"
    link add flannel.1 type vxlan id 1 local 192.0.2.1 ifindex 2 dstport 8472 address 02:00:00:00:00:01 mtu 1450 up
    addr add 10.5.1.0/32 dev flannel.1
    fdb replace 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.2
    neigh replace 10.5.2.0 lladdr 02:00:00:00:00:02 dev flannel.1
    route add 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink
    ");
}

#[test]
fn a_peer_with_a_new_mac_never_meets_an_empty_fdb() {
    insta::assert_snapshot!(printed(&overlay(3), &overlay(2)), @r"
    fdb replace 02:00:00:00:00:03 dev flannel.1 dst 192.0.2.2
    neigh replace 10.5.2.0 lladdr 02:00:00:00:00:03 dev flannel.1
    fdb del 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.2
    ");
}

#[test]
fn a_link_born_otherwise_is_replaced_with_all_that_hung_on_it() {
    let mut have = overlay(2);
    let link = have.links.values_mut().next().unwrap();
    let LinkKind::Vxlan(vxlan) = &mut link.kind else { unreachable!() };
    vxlan.underlay = 7;
    insta::assert_snapshot!(printed(&overlay(2), &have), @r"
    link del flannel.1
    link add flannel.1 type vxlan id 1 local 192.0.2.1 ifindex 2 dstport 8472 address 02:00:00:00:00:01 mtu 1450 up
    addr add 10.5.1.0/32 dev flannel.1
    fdb replace 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.2
    neigh replace 10.5.2.0 lladdr 02:00:00:00:00:02 dev flannel.1
    route add 10.5.2.0/24 via 10.5.2.0 dev flannel.1 onlink
    ");
}

#[test]
fn a_changed_mac_of_our_end_point_is_set_back() {
    let mut have = overlay(2);
    have.links.values_mut().next().unwrap().mac = Some(Mac([2, 9, 9, 9, 9, 9]));
    insta::assert_snapshot!(printed(&overlay(2), &have), @r"link set flannel.1 to vxlan id 1 local 192.0.2.1 ifindex 2 dstport 8472 address 02:00:00:00:00:01 mtu 1450 up");
}

#[test]
fn a_link_of_another_type_under_our_name_is_a_conflict_and_not_a_victim() {
    let mut have = overlay(2);
    have.links.values_mut().next().unwrap().kind = LinkKind::Dummy;
    let found = conflicts(&overlay(2), &have);
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().starts_with("interface flannel.1 exists and is a dummy, not a vxlan"));
    assert!(plan(&overlay(2), &have).iter().all(|op| !matches!(op, Op::DelLink(_))));
}

#[test]
fn what_somebody_undid_is_a_repair_and_what_is_newly_wanted_is_not() {
    let count = |want: &Tables, have: &Tables, last: &Tables| repairs(&plan(want, have), last).len();
    let want = overlay(2);
    let mut have = want.clone();
    have.routes.clear();
    assert_eq!(count(&want, &have, &want), 1, "a route was deleted");
    assert_eq!(count(&want, &have, &Tables::default()), 0, "the first pass");
    assert_eq!(count(&overlay(3), &want, &want), 0, "the peer has another MAC");
    let mut have = want.clone();
    have.addresses.insert(("flannel.1".parse().unwrap(), "10.5.99.1/24".parse().unwrap()));
    assert_eq!(count(&want, &have, &want), 1, "an address was added");
    assert_eq!(count(&want, &Tables::default(), &want), 1, "the link was deleted, and all with it");
}

fn ownership() -> Ownership {
    Ownership {
        overlay_links: ["flannel.1".parse().unwrap()].into(),
        bridge: Some("docker0".parse().unwrap()),
        networks: vec!["10.5.0.0/16".parse().unwrap()],
    }
}

fn seen<'a>(destination: &str, dev: &'a LinkName, protocol: u8) -> SeenRoute<'a> {
    SeenRoute {
        destination: destination.parse().unwrap(),
        dev: Some(dev),
        via: None,
        onlink: false,
        protocol,
    }
}

#[test]
fn only_marked_or_tunnelled_routes_are_ours() {
    let ours = ownership();
    let (inside, outside) = ("10.5.3.0/24", "10.6.3.0/24");
    let (flannel, eth): (LinkName, LinkName) = ("flannel.1".parse().unwrap(), "eth0".parse().unwrap());
    assert!(ours.route(&seen(inside, &eth, PROTOCOL)), "host-gw route of ours");
    assert!(ours.route(&seen(inside, &flannel, 3)), "the original's route through flannel.1");
    assert!(ours.route(&seen(outside, &flannel, PROTOCOL)), "ours, of whatever network it was");
    let onlink = |via| SeenRoute { via: Some(via), onlink: true, ..seen(outside, &flannel, 3) };
    assert!(ours.route(&onlink([10, 6, 3, 0].into())), "the original's, of another network");
    assert!(!ours.route(&onlink([10, 6, 3, 1].into())), "an operator's route through our link");
    assert!(!ours.route(&seen(inside, &eth, 3)), "an operator's static route");
    assert!(!ours.route(&seen(outside, &eth, PROTOCOL)), "another Weft daemon's network");
    assert!(!ours.route(&seen(outside, &flannel, 3)), "an operator's route through our link");
    assert!(!ours.route(&seen(inside, &flannel, 2)), "the kernel's own");
}

#[test]
fn only_addresses_of_our_making_on_our_links_are_ours() {
    let ours = ownership();
    let (flannel, docker): (LinkName, LinkName) = ("flannel.1".parse().unwrap(), "docker0".parse().unwrap());
    let eth: LinkName = "eth0".parse().unwrap();
    let address = |link: &LinkName, text: &str| ours.address(link, &text.parse().unwrap());
    assert!(address(&flannel, "10.5.1.0/32"));
    assert!(address(&flannel, "10.6.1.0/32"), "of a former network");
    assert!(address(&flannel, "10.5.7.1/24"), "of our network, whoever put it there");
    assert!(address(&docker, "10.5.1.1/24"));
    assert!(!address(&flannel, "10.6.1.1/24"), "somebody's network on our tunnel");
    assert!(!address(&docker, "172.17.0.1/16"), "Docker's own default");
    assert!(!address(&docker, "192.0.2.77/32"), "somebody's, on the shared bridge");
    assert!(!address(&flannel, "fe80::1/64"));
    assert!(!address(&flannel, "fe80::1/128"));
    assert!(!address(&eth, "10.5.1.0/32"));
}

#[test]
fn neighbours_of_whatever_network_on_our_tunnel_are_ours() {
    let ours = ownership();
    let (flannel, docker): (LinkName, LinkName) = ("flannel.1".parse().unwrap(), "docker0".parse().unwrap());
    assert!(ours.neighbour(&flannel, [10, 6, 3, 0].into()));
    assert!(!ours.neighbour(&docker, [10, 5, 3, 0].into()));
    assert!(!ours.neighbour(&flannel, "ff02::1".parse().unwrap()));
}
