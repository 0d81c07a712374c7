//! Links: every kind made, observed, changed, deleted. Needs root.

mod common;

use std::time::Duration;

use common::{Place, veth};
use host::netlink::{Address, LinkChange, LinkKind, Netlink, NewLink, NewLinkKind, Peer, VxlanLink};

#[tokio::test]
async fn a_vxlan_link_is_as_it_was_asked_for() {
    let place = Place::new("vxlan");
    let netlink = place.netlink().await;
    let underlay = veth(&netlink, "eth0", "eth1").await;
    let want = VxlanLink {
        local: "192.0.2.1".parse().ok(),
        dev: Some(underlay.index),
        gbp: true,
        ..VxlanLink::new(1, 8472)
    };
    let mut new = NewLink::new("flannel.1", NewLinkKind::Vxlan(want.clone()));
    new.mac = Some([0xc6, 0xd2, 0x32, 0x6f, 0x8f, 0x44]);
    new.mtu = Some(1450);
    new.up = true;
    new.tx_queue_len = Some(500);
    let index = netlink.create_link(&new).await.unwrap();
    let have = netlink.link(index).await.unwrap().unwrap();
    assert_eq!(have.kind, LinkKind::Vxlan(want));
    assert_eq!((have.name.as_str(), have.mac, have.mtu), ("flannel.1", new.mac, 1450));
    assert!(have.up && have.carrier && !have.loopback);
    // The kernel (6.18) tells the underlay of a VXLAN link in its parameters only.
    assert_eq!((have.link, have.tx_queue_len), (None, 500));
    let shown = place.ask("ip", &["-details", "link", "show", "flannel.1"]);
    for word in ["vxlan id 1 ", "local 192.0.2.1", "dev eth0", "dstport 8472", "nolearning", "gbp"] {
        assert!(shown.contains(word), "{word:?} in {shown}");
    }
    assert_eq!(netlink.create_link(&new).await.unwrap_err().errno(), Some(libc::EEXIST));
    netlink.delete_link(index).await.unwrap();
    assert_eq!(netlink.link(index).await.unwrap(), None);
    assert_eq!(netlink.link_by_name("flannel.1").await.unwrap(), None);
    assert_eq!(netlink.delete_link(index).await.unwrap_err().errno(), Some(libc::ENODEV));
}

#[tokio::test]
async fn a_vxlan_link_over_ipv6_that_learns() {
    let place = Place::new("vxlan6");
    let netlink = place.netlink().await;
    let underlay = veth(&netlink, "eth0", "eth1").await;
    let want = VxlanLink {
        local: "2001:db8::1".parse().ok(),
        dev: Some(underlay.index),
        learning: true,
        ..VxlanLink::new(4096, 4789)
    };
    let new = NewLink::new("flannel-v6.4096", NewLinkKind::Vxlan(want.clone()));
    let index = netlink.create_link(&new).await.unwrap();
    assert_eq!(netlink.link(index).await.unwrap().unwrap().kind, LinkKind::Vxlan(want));
}

#[tokio::test]
async fn a_refused_link_says_why() {
    let place = Place::new("refuse");
    let netlink = place.netlink().await;
    let vxlan = VxlanLink { local: "192.0.2.1".parse().ok(), dev: Some(4711), ..VxlanLink::new(1, 8472) };
    let error = netlink.create_link(&NewLink::new("flannel.1", NewLinkKind::Vxlan(vxlan))).await.unwrap_err();
    // The kernel's own words, in its extended acknowledgement.
    assert!(error.to_string().starts_with("create link flannel.1: "), "{error}");
    assert!(error.to_string().contains("(Invalid local interface"), "{error}");
    let long = NewLink::new("a-name-that-is-too-long", NewLinkKind::Bridge);
    assert!(netlink.create_link(&long).await.is_err());
    assert!(netlink.link_by_name("a-name-that-is-too-long").await.is_err());
}

#[tokio::test]
async fn a_bridge_with_a_port() {
    let place = Place::new("bridge");
    let netlink = place.netlink().await;
    let mut new = NewLink::new("docker0", NewLinkKind::Bridge);
    new.mac = Some([0x02, 0x42, 1, 2, 3, 4]);
    new.up = true;
    let bridge = netlink.create_link(&new).await.unwrap();
    let have = netlink.link(bridge).await.unwrap().unwrap();
    assert_eq!((have.kind, have.up, have.carrier, have.mac), (LinkKind::Bridge, true, false, new.mac));
    let port = veth(&netlink, "veth0", "veth1").await;
    let enslave = LinkChange { master: Some(Some(bridge)), ..LinkChange::default() };
    netlink.set_link(port.index, &enslave).await.unwrap();
    assert_eq!(netlink.link(port.index).await.unwrap().unwrap().master, Some(bridge));
    assert!(netlink.link(bridge).await.unwrap().unwrap().carrier);
    let is_hairpin = || {
        let told =
            place.namespace.command("bridge").args(["-d", "link", "show", "dev", "veth0"]).output().unwrap();
        String::from_utf8_lossy(&told.stdout).contains("hairpin on")
    };
    assert!(!is_hairpin());
    netlink.set_hairpin(port.index, true).await.unwrap();
    assert!(is_hairpin());
    netlink.set_hairpin(port.index, false).await.unwrap();
    assert!(!is_hairpin());
    let release = LinkChange { master: Some(None), ..LinkChange::default() };
    netlink.set_link(port.index, &release).await.unwrap();
    assert_eq!(netlink.link(port.index).await.unwrap().unwrap().master, None);
    let born =
        NewLink { master: Some(bridge), ..NewLink::new("veth2", NewLinkKind::Veth(Peer::new("veth3"))) };
    let born = netlink.create_link(&born).await.unwrap();
    assert_eq!(netlink.link(born).await.unwrap().unwrap().master, Some(bridge), "a port from the start");
}

#[tokio::test]
async fn a_veth_pair_across_two_namespaces() {
    let (here, there) = (Place::new("pair-a"), Place::new("pair-b"));
    let (netlink, other) = (here.netlink().await, there.netlink().await);
    let mut peer = Peer::new("eth0").inside(&there.namespace);
    peer.mac = Some([2, 0, 0, 0, 0, 2]);
    peer.mtu = Some(9000);
    peer.up = true;
    let new = NewLink { up: true, mtu: Some(9000), ..NewLink::new("node1", NewLinkKind::Veth(peer)) };
    let near = netlink.create_link(&new).await.unwrap();
    let far = other.link_by_name("eth0").await.unwrap().unwrap();
    assert_eq!((far.kind, far.mtu, far.up, far.carrier), (LinkKind::Veth, 9000, true, true));
    assert_eq!((far.mac, far.link, far.link_elsewhere), (Some([2, 0, 0, 0, 0, 2]), Some(near), true));
    assert_eq!(netlink.link_by_name("eth0").await.unwrap(), None);
    let nowhere =
        NewLink { namespace: Some(there.namespace.clone()), ..NewLink::new("br9", NewLinkKind::Bridge) };
    let index = netlink.create_link(&nowhere).await.unwrap();
    assert_eq!(other.link(index).await.unwrap().unwrap().name, "br9", "made from here, over there");
}

#[tokio::test]
async fn everything_about_a_link_can_change() {
    let (here, there) = (Place::new("change-a"), Place::new("change-b"));
    let (netlink, other) = (here.netlink().await, there.netlink().await);
    let link = veth(&netlink, "old", "peer").await;
    netlink.set_link(link.index, &LinkChange::down()).await.unwrap();
    let change = LinkChange {
        name: Some("new".to_owned()),
        mtu: Some(1400),
        mac: Some([2, 1, 1, 1, 1, 1]),
        alias: Some("made by a test".to_owned()),
        tx_queue_len: Some(77),
        up: Some(true),
        ..LinkChange::default()
    };
    netlink.set_link(link.index, &change).await.unwrap();
    let have = netlink.link(link.index).await.unwrap().unwrap();
    assert_eq!((have.name.as_str(), have.mtu, have.mac), ("new", 1400, change.mac));
    assert_eq!((have.alias, have.tx_queue_len, have.up), (change.alias, 77, true));
    let away = LinkChange { namespace: Some(there.namespace.clone()), ..LinkChange::default() };
    netlink.set_link(link.index, &away).await.unwrap();
    assert_eq!(netlink.link_by_name("new").await.unwrap(), None);
    let moved = other.link_by_name("new").await.unwrap().unwrap();
    assert!(!moved.up && moved.link_elsewhere);
    let error = netlink.set_link(4711, &LinkChange::up()).await.unwrap_err();
    assert_eq!(error.to_string(), "set link 4711 up: No such device (os error 19)");
}

#[tokio::test]
async fn all_links_are_listed_and_lo_is_known() {
    let place = Place::new("list");
    let netlink = place.netlink().await;
    veth(&netlink, "a", "b").await;
    let links = netlink.links().await.unwrap();
    let names: Vec<&str> = links.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["lo", "b", "a"]);
    assert!(links[0].loopback && links[0].up && links[0].mac.is_none());
    assert_eq!(links[0].kind, LinkKind::Other(String::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_survives_links_that_come_and_go() {
    let place = Place::new("churn");
    let netlink = place.netlink().await;
    for i in 0..60 {
        veth(&netlink, &format!("a{i}"), &format!("b{i}")).await;
    }
    let churn = tokio::spawn({
        let place = Netlink::connect_in(&place.namespace).unwrap();
        async move {
            loop {
                let index = place.create_link(&NewLink::new("churn", NewLinkKind::Bridge)).await.unwrap();
                place.delete_link(index).await.unwrap();
                // Busier than any node, and yet a dump fits in between now and then.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    for _ in 0..50 {
        let mut names: Vec<String> = netlink.links().await.unwrap().into_iter().map(|l| l.name).collect();
        names.retain(|n| n != "churn");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 121, "lo and 60 pairs");
    }
    churn.abort();
}

#[tokio::test]
async fn addresses_with_their_flags() {
    let place = Place::new("address");
    let netlink = place.netlink().await;
    let link = veth(&netlink, "eth0", "eth1").await;
    let mut wanted = Vec::new();
    for text in ["10.1.2.0/32", "10.1.3.1/24", "fd00:1::1/64"] {
        let mut address = Address::new(link.index, text.parse().unwrap());
        address.no_dad = text.contains(':');
        netlink.add_address(&address).await.unwrap();
        wanted.push(address);
    }
    let mut quiet = Address::new(link.index, "10.9.0.1/16".parse().unwrap());
    quiet.no_prefix_route = true;
    netlink.add_address(&quiet).await.unwrap();
    wanted.push(quiet.clone());
    let have = netlink.addresses().await.unwrap();
    for address in &wanted {
        assert!(have.contains(address), "{address} in {have:?}");
    }
    assert!(have.iter().any(|a| a.net.to_string() == "127.0.0.1/8"), "lo's own");
    let routes = netlink.routes().await.unwrap();
    assert!(routes.iter().all(|r| r.dst != quiet.net.trunc()), "no route for it: {routes:?}");
    assert!(place.ask("ip", &["addr", "show", "eth0"]).contains("10.1.3.1/24 brd 10.1.3.255 scope global"));
    assert_eq!(netlink.add_address(&wanted[0]).await.unwrap_err().errno(), Some(libc::EEXIST));
    for address in &wanted {
        netlink.delete_address(address).await.unwrap();
        let gone = netlink.delete_address(address).await.unwrap_err();
        assert_eq!(gone.errno(), Some(libc::EADDRNOTAVAIL), "{gone}");
    }
    assert!(!netlink.addresses().await.unwrap().iter().any(|a| wanted.contains(a)));
}
