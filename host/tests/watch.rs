//! Word of changes. Needs root.

mod common;

use std::time::{Duration, Instant};

use common::{DEADLINE, Place, veth};
use host::command::{Invocation, Runner, System};
use host::netlink::{
    Address, Change, FdbEntry, LinkChange, Neighbour, NewLink, NewLinkKind, Route, VxlanLink, Watch, Write,
};

/// Waits for this change, over others.
async fn hears(watch: &mut Watch, want: Change) {
    let end = Instant::now() + DEADLINE;
    let mut others = Vec::new();
    while let Ok(change) = tokio::time::timeout_at(end.into(), watch.next()).await {
        let change = change.expect("the socket is fine");
        if change == want {
            return;
        }
        others.push(change);
    }
    panic!("waited {DEADLINE:?} for {want:?}, heard {others:?}");
}

#[tokio::test]
async fn every_kind_of_change_is_heard() {
    let place = Place::new("watch");
    let netlink = place.netlink().await;
    let mut watch = netlink.watch().unwrap();
    let link = veth(&netlink, "eth0", "eth1").await;
    hears(&mut watch, Change::Link(link.index)).await;
    let vxlan = VxlanLink { local: "192.0.2.1".parse().ok(), ..VxlanLink::new(1, 8472) };
    let vxlan = NewLink { up: true, ..NewLink::new("flannel.1", NewLinkKind::Vxlan(vxlan)) };
    let vxlan = netlink.create_link(&vxlan).await.unwrap();
    hears(&mut watch, Change::Link(vxlan)).await;

    let dev = link.index;
    let route = |text: &str| {
        let destination = text.parse().unwrap();
        Change::Route { destination, table: host::netlink::MAIN_TABLE, dev: Some(dev) }
    };
    let address = |text: &str| Address { no_dad: true, ..Address::new(dev, text.parse().unwrap()) };
    let to = |dst: &str| Route { dev: Some(dev), ..Route::new(dst.parse().unwrap()) };
    let neighbour = |ip: &str| Neighbour::permanent(vxlan, ip.parse().unwrap(), [2; 6]);
    let fdb = FdbEntry::permanent(vxlan, [2; 6], "192.0.2.7".parse().unwrap());
    let steps = [
        (Write::AddAddress(address("192.0.2.1/24")), Change::Address(dev)),
        (Write::DeleteAddress(address("192.0.2.1/24")), Change::Address(dev)),
        (Write::AddAddress(address("2001:db8::1/64")), Change::Address(dev)),
        (Write::DeleteAddress(address("2001:db8::1/64")), Change::Address(dev)),
        (Write::ReplaceRoute(to("10.1.1.0/24")), route("10.1.1.0/24")),
        (Write::DeleteRoute(to("10.1.1.0/24")), route("10.1.1.0/24")),
        (Write::ReplaceRoute(to("fd00:1::/64")), route("fd00:1::/64")),
        (Write::DeleteRoute(to("fd00:1::/64")), route("fd00:1::/64")),
        (Write::SetNeighbour(neighbour("10.1.2.0")), Change::Neighbour(vxlan)),
        (Write::DeleteNeighbour(neighbour("10.1.2.0")), Change::Neighbour(vxlan)),
        (Write::SetNeighbour(neighbour("fd00:2::")), Change::Neighbour(vxlan)),
        (Write::DeleteNeighbour(neighbour("fd00:2::")), Change::Neighbour(vxlan)),
        (Write::SetFdb(fdb.clone()), Change::Fdb(vxlan)),
        (Write::DeleteFdb(fdb), Change::Fdb(vxlan)),
        (Write::SetLink(dev, LinkChange { mtu: Some(1400), ..LinkChange::default() }), Change::Link(dev)),
        (Write::SetLink(dev, LinkChange::down()), Change::Link(dev)),
        (Write::DeleteLink(vxlan), Change::Link(vxlan)),
    ];
    for (write, want) in steps {
        // A fresh listener, so that no echo of the step before is taken for this one's.
        let mut watch = netlink.watch().unwrap();
        netlink.apply(std::slice::from_ref(&write)).await.remove(0).unwrap();
        println!("{} {write}", write.op());
        hears(&mut watch, want).await;
    }
}

#[tokio::test]
async fn what_happens_between_watching_and_waiting_is_heard() {
    let place = Place::new("early");
    let netlink = place.netlink().await;
    let mut watch = netlink.watch().unwrap();
    place.ask("ip", &["link", "add", "early", "type", "bridge"]);
    let index = netlink.link_by_name("early").await.unwrap().unwrap().index;
    hears(&mut watch, Change::Link(index)).await;
}

#[tokio::test]
async fn changes_elsewhere_are_not_heard() {
    let (here, there) = (Place::new("here"), Place::new("there"));
    let (netlink, other) = (here.netlink().await, there.netlink().await);
    let mut watch = netlink.watch().unwrap();
    other.create_link(&NewLink::new("far", NewLinkKind::Bridge)).await.unwrap();
    other.create_link(&NewLink::new("farther", NewLinkKind::Bridge)).await.unwrap();
    // This namespace's next index is one that the other place has given out too: the mark is the neighbour entry of
    // `lo`, which only this place makes.
    let near = netlink.create_link(&NewLink::new("near", NewLinkKind::Bridge)).await.unwrap();
    hears(&mut watch, Change::Link(near)).await;
    while let Some(change) = watch.ready() {
        assert!(
            matches!(change, Change::Link(i) | Change::Neighbour(i) | Change::Fdb(i) if i == near),
            "{change:?}"
        );
    }
}

#[tokio::test]
async fn who_does_not_listen_hears_once_that_something_was_lost() {
    let place = Place::new("storm");
    let netlink = place.netlink().await;
    let dev = veth(&netlink, "eth0", "eth1").await.index;
    let mut watch = netlink.watch().unwrap();
    // Two kinds by turns, so that they are not told as one; more than the queue holds.
    let storm: Vec<Write> = (0..4000u32)
        .map(|i| {
            let [_, _, c, d] = i.to_be_bytes();
            if i % 2 == 0 {
                let dst = format!("10.{c}.{d}.0/24").parse().unwrap();
                Write::ReplaceRoute(Route { dev: Some(dev), ..Route::new(dst) })
            } else {
                Write::SetNeighbour(Neighbour::permanent(dev, [10, 9, c, d].into(), [2; 6]))
            }
        })
        .collect();
    for result in netlink.apply(&storm).await {
        result.unwrap();
    }
    hears(&mut watch, Change::Lost).await;
    // Nothing that is older follows, so that one look is enough.
    netlink.set_link(dev, &LinkChange::down()).await.unwrap();
    let next = tokio::time::timeout(DEADLINE, watch.next()).await.expect("it goes on");
    assert_eq!(next, Some(Change::Link(dev)));
}

#[tokio::test]
async fn more_than_the_kernel_can_keep_for_us_is_heard_of_as_lost() {
    let place = Place::new("overrun");
    let netlink = place.netlink().await;
    let dev = veth(&netlink, "eth0", "eth1").await.index;
    let mut watch = netlink.watch().unwrap();
    // This thread serves the socket, and is busy: 30,000 messages do not fit.
    let batch: String = (0..30_000u32)
        .map(|i| format!("route add {}/32 dev eth0\n", std::net::Ipv4Addr::from(0x0a00_0000 + i)))
        .collect();
    System.run(&Invocation::new("ip", ["-batch", "-"]).stdin(batch).inside(&place.namespace)).unwrap();
    let sockets = place.ask("cat", &["/proc/net/netlink"]);
    let dropped: Vec<&str> = sockets.lines().skip(1).filter_map(|l| l.split_whitespace().nth(8)).collect();
    assert!(dropped.iter().any(|n| *n != "0"), "{sockets}");
    hears(&mut watch, Change::Lost).await;
    // What was kept still comes, and while there is no room, more is lost.
    while tokio::time::timeout(Duration::from_millis(200), watch.next()).await.is_ok() {}
    netlink.set_link(dev, &LinkChange::down()).await.unwrap();
    hears(&mut watch, Change::Link(dev)).await; // and it goes on
}
