//! Routes, neighbours and FDB entries: made, replaced, observed, deleted, with strangers beside them. Needs root.

mod common;

use std::collections::BTreeMap;
use std::net::IpAddr;

use common::{Place, veth};
use host::netlink::{
    Address, FdbEntry, Neighbour, Netlink, NewLink, NewLinkKind, Route, RouteKind, Scope, VxlanLink, Write,
};

/// A place with an underlay link that has 192.0.2.1/24 and 2001:db8::1/64, and its index.
async fn underlay(tag: &str) -> (Place, Netlink, u32) {
    let place = Place::new(tag);
    let netlink = place.netlink().await;
    let index = veth(&netlink, "eth0", "eth1").await.index;
    for net in ["192.0.2.1/24", "2001:db8::1/64"] {
        let mut address = Address::new(index, net.parse().unwrap());
        address.no_dad = true;
        netlink.add_address(&address).await.unwrap();
    }
    (place, netlink, index)
}

async fn vxlan(netlink: &Netlink, local: &str) -> u32 {
    let parameters = VxlanLink { local: local.parse().ok(), ..VxlanLink::new(1, 8472) };
    let new = NewLink { up: true, ..NewLink::new("flannel.1", NewLinkKind::Vxlan(parameters)) };
    netlink.create_link(&new).await.unwrap()
}

fn route(dst: &str, via: Option<&str>, dev: u32) -> Route {
    let via: Option<IpAddr> = via.map(|ip| ip.parse().unwrap());
    Route { via, dev: Some(dev), protocol: 30, ..Route::new(dst.parse().unwrap()) }
}

#[tokio::test]
async fn routes_of_every_kind_are_observed_as_they_were_made() {
    let (place, netlink, dev) = underlay("routes").await;
    let ours = [
        route("10.1.1.0/24", Some("192.0.2.7"), dev),
        Route { onlink: true, ..route("10.1.2.0/24", Some("10.99.0.1"), dev) },
        Route { metric: 42, ..route("10.1.2.0/24", Some("192.0.2.8"), dev) },
        Route { scope: Scope::Link, ..route("10.1.3.0/24", None, dev) },
        Route { src: "192.0.2.1".parse().ok(), ..route("0.0.0.0/0", Some("192.0.2.9"), dev) },
        Route { dev: None, kind: RouteKind::Blackhole, ..route("10.1.4.0/24", None, 0) },
        route("10.1.5.0/24", Some("2001:db8::7"), dev),
        Route { metric: 1024, ..route("fd00:1::/64", Some("2001:db8::7"), dev) },
        Route { metric: 1024, onlink: true, ..route("fd00:2::/64", Some("fd00:99::1"), dev) },
        Route { metric: 1024, dev: None, kind: RouteKind::Blackhole, ..route("fd00:4::/64", None, 0) },
    ];
    for route in &ours {
        netlink.replace_route(route).await.unwrap();
        netlink.replace_route(route).await.unwrap(); // and nothing happens
    }
    let have = netlink.routes().await.unwrap();
    let mine: Vec<&Route> = have.iter().filter(|r| r.protocol == 30).collect();
    assert_eq!(mine.len(), ours.len(), "{mine:?}");
    for route in &ours {
        assert!(mine.contains(&route), "{route} in {mine:?}");
    }
    assert!(have.iter().any(|r| r.dst.to_string() == "192.0.2.0/24" && r.protocol == 2), "the kernel's own");
    assert!(have.iter().all(|r| r.table == 254));
    assert!(place.ask("ip", &["route"]).contains("10.1.2.0/24 via 10.99.0.1 dev eth0 proto 30 onlink"));
    for route in &ours {
        netlink.delete_route(route).await.unwrap();
        assert_eq!(netlink.delete_route(route).await.unwrap_err().errno(), Some(libc::ESRCH), "{route}");
    }
    assert!(netlink.routes().await.unwrap().iter().all(|r| r.protocol != 30));
}

#[tokio::test]
async fn a_replaced_route_is_one_route() {
    let (_place, netlink, dev) = underlay("replace").await;
    for (dst, one, two) in
        [("10.1.1.0/24", "192.0.2.7", "192.0.2.8"), ("fd00:1::/64", "2001:db8::7", "2001:db8::8")]
    {
        netlink.replace_route(&route(dst, Some(one), dev)).await.unwrap();
        netlink.replace_route(&route(dst, Some(two), dev)).await.unwrap();
        let have = netlink.routes().await.unwrap();
        let gateways: Vec<_> = have.iter().filter(|r| r.dst.to_string() == dst).map(|r| r.via).collect();
        assert_eq!(gateways, [two.parse().ok()]);
        let results = netlink.apply(&[Write::AddRoute(route(dst, Some(two), dev))]).await;
        assert_eq!(results[0].as_ref().unwrap_err().errno(), Some(libc::EEXIST));
    }
}

#[tokio::test]
async fn a_route_with_a_gateway_and_one_without_replace_each_other() {
    let (_place, netlink, dev) = underlay("replace6").await;
    for (dst, via) in [("10.1.1.0/24", "192.0.2.7"), ("fd00:1::/64", "2001:db8::7")] {
        for want in [route(dst, Some(via), dev), route(dst, None, dev), route(dst, Some(via), dev)] {
            netlink.replace_route(&want).await.unwrap();
            let have = netlink.routes().await.unwrap();
            let gateways: Vec<_> = have.iter().filter(|r| r.dst == want.dst).map(|r| r.via).collect();
            assert_eq!(gateways, [want.via]);
        }
    }
}

#[tokio::test]
async fn deleting_ours_leaves_a_strangers_route_to_the_same_place() {
    let (place, netlink, dev) = underlay("stranger").await;
    for dst in ["10.1.1.0/24", "10.1.2.0/24"] {
        place.ask("ip", &["route", "add", dst, "via", "192.0.2.7", "metric", "5"]);
    }
    place.ask(
        "ip",
        &["neigh", "add", "192.0.2.7", "lladdr", "02:00:00:00:00:07", "dev", "eth0", "nud", "permanent"],
    );
    let before = (place.ask("ip", &["route"]), place.ask("ip", &["neigh"]), place.ask("ip", &["addr"]));
    // Same destination, another metric; and one that only looks like it.
    let ours = Route { metric: 9, ..route("10.1.1.0/24", Some("192.0.2.7"), dev) };
    netlink.replace_route(&ours).await.unwrap();
    netlink.delete_route(&ours).await.unwrap();
    let never = route("10.1.2.0/24", Some("192.0.2.7"), dev);
    assert_eq!(netlink.delete_route(&never).await.unwrap_err().errno(), Some(libc::ESRCH));
    let neighbour = Neighbour::permanent(dev, "192.0.2.8".parse().unwrap(), [2, 0, 0, 0, 0, 8]);
    netlink.set_neighbour(&neighbour).await.unwrap();
    netlink.delete_neighbour(&neighbour).await.unwrap();
    let shown = place.ask("ip", &["neigh"]);
    assert!(shown.contains("192.0.2.7 dev eth0 lladdr 02:00:00:00:00:07 PERMANENT"), "{shown}");
    assert_eq!((place.ask("ip", &["route"]), place.ask("ip", &["addr"])), (before.0, before.2));
}

#[tokio::test]
async fn a_refused_route_says_why_and_the_others_are_made() {
    let (_place, netlink, dev) = underlay("batch").await;
    let writes = [
        Write::ReplaceRoute(route("10.1.1.0/24", Some("192.0.2.7"), dev)),
        Write::ReplaceRoute(route("10.1.2.0/24", Some("10.99.0.1"), dev)), // not onlink
        Write::DeleteRoute(route("10.1.3.0/24", None, dev)),
        Write::ReplaceRoute(route("10.1.4.0/24", Some("192.0.2.7"), dev)),
    ];
    let results = netlink.apply(&writes).await;
    let errors: Vec<Option<i32>> = results.iter().map(|r| r.as_ref().err().and_then(|e| e.errno())).collect();
    assert_eq!(errors, [None, Some(libc::ENETUNREACH), Some(libc::ESRCH), None]);
    let text = results[1].as_ref().unwrap_err().to_string();
    assert!(text.starts_with("replace route 10.1.2.0/24 via 10.99.0.1 dev"), "{text}");
    assert!(text.contains("(Nexthop has invalid gateway)"), "{text}");
    let made = netlink.routes().await.unwrap().iter().filter(|r| r.protocol == 30).count();
    assert_eq!(made, 2);
}

#[tokio::test]
async fn neighbours_are_set_replaced_and_deleted() {
    let (_place, netlink, underlay) = underlay("neigh").await;
    let index = vxlan(&netlink, "192.0.2.1").await;
    for ip in ["10.1.2.0", "fd00:1::"] {
        let ip: IpAddr = ip.parse().unwrap();
        let first = Neighbour::permanent(index, ip, [2, 0, 0, 0, 0, 1]);
        let second = Neighbour::permanent(index, ip, [2, 0, 0, 0, 0, 2]);
        let elsewhere = Neighbour::permanent(underlay, ip, [2, 0, 0, 0, 0, 3]);
        for neighbour in [&first, &second, &second, &elsewhere] {
            netlink.set_neighbour(neighbour).await.unwrap();
        }
        let have = netlink.neighbours(index).await.unwrap();
        assert!(have.contains(&second) && !have.contains(&first) && !have.contains(&elsewhere), "{have:?}");
        netlink.delete_neighbour(&second).await.unwrap();
        assert!(!netlink.neighbours(index).await.unwrap().iter().any(|n| n.ip == ip && n.permanent));
        assert!(netlink.neighbours(underlay).await.unwrap().contains(&elsewhere));
        let gone = netlink.delete_neighbour(&second).await.unwrap_err();
        assert_eq!(gone.errno(), Some(libc::ENOENT), "{gone}");
    }
}

#[tokio::test]
async fn fdb_entries_are_set_replaced_and_deleted() {
    for (tag, local, one, two) in [
        ("fdb4", "192.0.2.1", "192.0.2.7", "192.0.2.8"),
        ("fdb6", "2001:db8::1", "2001:db8::7", "2001:db8::8"),
    ] {
        let (place, netlink, _) = underlay(tag).await;
        let index = vxlan(&netlink, local).await;
        let mac = [2, 0, 0, 0, 0, 1];
        let first = FdbEntry::permanent(index, mac, one.parse().unwrap());
        let second = FdbEntry::permanent(index, mac, two.parse().unwrap());
        let other = FdbEntry::permanent(index, [2, 0, 0, 0, 0, 9], one.parse().unwrap());
        for entry in [&first, &other, &second, &second] {
            netlink.set_fdb(entry).await.unwrap();
        }
        let mut have = netlink.fdb(index).await.unwrap();
        have.sort_by_key(|e| e.mac);
        assert_eq!(have, [second.clone(), other.clone()], "a MAC address has one destination");
        let shown = place.ask("bridge", &["fdb", "show", "dev", "flannel.1"]);
        assert!(shown.contains(&format!("02:00:00:00:00:01 dst {two} self permanent")), "{shown}");
        netlink.delete_fdb(&first).await.unwrap();
        assert_eq!(netlink.fdb(index).await.unwrap().len(), 2, "it has another destination: nothing happens");
        netlink.delete_fdb(&second).await.unwrap();
        assert_eq!(netlink.fdb(index).await.unwrap(), [other]);
        let gone = netlink.delete_fdb(&second).await.unwrap_err();
        assert_eq!(gone.errno(), Some(libc::ENOENT), "{gone}");
    }
}

#[tokio::test]
async fn entries_of_a_bridge_are_nobodys_vteps() {
    let place = Place::new("fdbbr");
    let netlink = place.netlink().await;
    let bridge = NewLink { up: true, ..NewLink::new("cni0", NewLinkKind::Bridge) };
    let bridge = netlink.create_link(&bridge).await.unwrap();
    assert_eq!(netlink.fdb(bridge).await.unwrap(), []);
}

#[tokio::test]
async fn the_way_to_an_address() {
    let (_place, netlink, dev) = underlay("path").await;
    netlink.replace_route(&route("10.1.1.0/24", Some("192.0.2.7"), dev)).await.unwrap();
    let path = netlink.route_to("10.1.1.9".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(
        (path.dev, path.via, path.src, path.local),
        (dev, "192.0.2.7".parse().ok(), "192.0.2.1".parse().ok(), false)
    );
    let near = netlink.route_to("2001:db8::2".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((near.dev, near.via, near.src), (dev, None, "2001:db8::1".parse().ok()));
    assert!(netlink.route_to("192.0.2.1".parse().unwrap()).await.unwrap().unwrap().local);
    for nowhere in ["198.51.100.1", "2001:db8:9::1"] {
        assert_eq!(netlink.route_to(nowhere.parse().unwrap()).await.unwrap(), None, "{nowhere}");
    }
}

#[tokio::test]
async fn an_empty_namespace_has_no_routes() {
    let place = Place::new("empty");
    let netlink = Netlink::connect_in(&place.namespace).unwrap();
    assert_eq!(netlink.routes().await.unwrap(), []);
}

#[tokio::test]
async fn a_bridge_tells_who_is_behind_which_port() {
    let place = Place::new("bridge");
    let netlink = place.netlink().await;
    let bridge = netlink.create_link(&NewLink::new("cni0", NewLinkKind::Bridge)).await.unwrap();
    let other = netlink.create_link(&NewLink::new("cni1", NewLinkKind::Bridge)).await.unwrap();
    let port = veth(&netlink, "p0", "p1").await.index;
    place.ask("ip", &["link", "set", "p0", "master", "cni0", "up"]);
    assert_eq!(netlink.bridge_ports(bridge).await.unwrap(), BTreeMap::new(), "none of its own addresses");
    place.ask("bridge", &["fdb", "add", "02:00:00:00:00:aa", "dev", "p0", "master", "static"]);
    let aa = ([2, 0, 0, 0, 0, 0xaa], port);
    assert_eq!(netlink.bridge_ports(bridge).await.unwrap(), BTreeMap::from([aa]));
    assert_eq!(netlink.bridge_ports(other).await.unwrap(), BTreeMap::new());
    place.ask("bridge", &["fdb", "del", "02:00:00:00:00:aa", "dev", "p0", "master"]);
    assert_eq!(netlink.bridge_ports(bridge).await.unwrap(), BTreeMap::new());
}
