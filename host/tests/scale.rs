//! Many routes, and many leases at once. Needs root. `--nocapture` shows how long each step took.

mod common;

use std::time::{Duration, Instant};

use common::{Place, veth};
use host::netlink::{FdbEntry, Neighbour, Netlink, NewLink, NewLinkKind, Route, VxlanLink, Write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_leases_arrive_at_once() {
    let place = Place::new("leases");
    let netlink = place.netlink().await;
    let vxlan = VxlanLink { local: "192.0.2.1".parse().ok(), ..VxlanLink::new(1, 8472) };
    let vxlan = NewLink { up: true, ..NewLink::new("flannel.1", NewLinkKind::Vxlan(vxlan)) };
    let dev = netlink.create_link(&vxlan).await.unwrap();
    let leases: Vec<(u8, u8)> = (0..500u16).map(|i| ((i / 250) as u8, (i % 250) as u8)).collect();
    let mut writes = Vec::new();
    for &(c, d) in &leases {
        let (mac, vtep) = ([2, 0, 0, 0, c, d], [10, c, d, 0].into());
        writes.push(Write::SetFdb(FdbEntry::permanent(dev, mac, [192, 0, 2 + c, d].into())));
        writes.push(Write::SetNeighbour(Neighbour::permanent(dev, vtep, mac)));
        let dst = ipnet::IpNet::new(vtep, 24).unwrap();
        writes.push(Write::ReplaceRoute(Route {
            via: Some(vtep),
            dev: Some(dev),
            onlink: true,
            ..Route::new(dst)
        }));
    }
    let begin = Instant::now();
    let results = netlink.apply(&writes).await;
    let took = begin.elapsed();
    println!("{} writes for {} leases: {took:?}", writes.len(), leases.len());
    assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|r| r.is_err()));
    let begin = Instant::now();
    assert_eq!(netlink.fdb(dev).await.unwrap().len(), 500);
    assert_eq!(netlink.neighbours(dev).await.unwrap().iter().filter(|n| n.permanent).count(), 500);
    println!("observed in {:?}", begin.elapsed());
}

/// Writes, and again what the kernel did not answer in time: it holds its network lock for seconds while it takes down
/// namespaces of others. A route that is gone already was deleted by a write without an answer.
async fn until_answered(netlink: &Netlink, writes: &[Write]) {
    let end = Instant::now() + common::DEADLINE * 4;
    let mut left = writes.to_vec();
    while !left.is_empty() {
        let results = netlink.apply(&left).await;
        let failed =
            left.iter().zip(&results).filter_map(|(write, result)| Some((write, result.as_ref().err()?)));
        let failed: Vec<_> = failed.filter(|(_, error)| error.errno() != Some(libc::ESRCH)).collect();
        for (write, error) in &failed {
            assert!(error.errno().is_none() && Instant::now() < end, "{write}: {error}");
        }
        left = failed.into_iter().map(|(write, _)| write.clone()).collect();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_routes_are_made_listed_and_deleted() {
    let place = Place::new("routes10k");
    let netlink = place.netlink().await;
    let dev = veth(&netlink, "eth0", "eth1").await.index;
    let routes: Vec<Route> = (0..10_000u32)
        .map(|i| {
            let dst = ipnet::IpNet::new(std::net::Ipv4Addr::from(0x0a00_0000 + (i << 8)).into(), 24).unwrap();
            Route { dev: Some(dev), ..Route::new(dst) }
        })
        .collect();
    let step = |what: &str, begin: Instant| println!("{what} 10,000 routes: {:?}", begin.elapsed());
    let begin = Instant::now();
    let writes: Vec<Write> = routes.iter().cloned().map(Write::ReplaceRoute).collect();
    until_answered(&netlink, &writes).await;
    step("make", begin);
    let begin = Instant::now();
    let mut have = netlink.routes().await.unwrap();
    step("list", begin);
    // One socket dumps one table at a time, also after somebody stopped waiting for one.
    let (links, again, addresses) =
        tokio::try_join!(netlink.links(), netlink.routes(), netlink.addresses()).unwrap();
    assert!(links.len() == 3 && again.len() >= 10_000 && !addresses.is_empty());
    for patience in [0, 100, 300, 1000, 3000] {
        let _ = tokio::time::timeout(Duration::from_micros(patience), netlink.routes()).await;
        assert_eq!(netlink.links().await.unwrap().len(), 3);
    }
    have.retain(|r| r.protocol == 4);
    assert_eq!(have.len(), routes.len());
    let begin = Instant::now();
    let writes: Vec<Write> = routes.into_iter().map(Write::DeleteRoute).collect();
    until_answered(&netlink, &writes).await;
    step("delete", begin);
    assert!(netlink.routes().await.unwrap().iter().all(|r| r.protocol != 4));
}
