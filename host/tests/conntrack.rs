//! Tracked connections: listed and deleted, with real flows in a namespace of their own. Needs root.

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use common::Place;
use host::conntrack::{Conntrack, Entry, Filter};
use nix::unistd::Pid;

const UDP: u8 = 17;

fn udp(ipv6: bool, port: Option<u16>) -> Filter {
    Filter { ipv6, protocol: UDP, port }
}

/// Sends from one port to another and waits for the datagram.
fn flow(to: SocketAddr) -> (UdpSocket, SocketAddr) {
    let server = UdpSocket::bind(to).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let client = UdpSocket::bind(SocketAddr::new(to.ip(), 0)).unwrap();
    client.send_to(b"weft", to).unwrap();
    server.recv(&mut [0; 16]).unwrap();
    let from = client.local_addr().unwrap();
    (client, from)
}

/// A place that tracks, since somebody asks for it.
async fn tracking(tag: &str) -> Place {
    let place = Place::new(tag);
    place.netlink().await;
    let rules = "table inet t { chain c { type filter hook input priority 0; ct state new counter; }; \
                 chain n { type nat hook output priority -100; udp dport 5300 redirect to :53; }; }";
    place.ask("nft", &[rules]);
    place
}

fn between(entries: &[Entry], client: SocketAddr, destination: &str) -> Option<Entry> {
    let destination: SocketAddr = destination.parse().unwrap();
    entries.iter().copied().find(|entry| (entry.client, entry.destination) == (client, destination))
}

#[tokio::test]
async fn flows_are_listed_by_protocol_family_and_port_and_deleted_one_by_one() {
    let place = tracking("ct").await;
    println!("test process {}", Pid::this());
    place
        .namespace
        .run(|| {
            let (_a, a) = flow("127.0.0.1:53".parse().unwrap());
            let (_b, b) = flow("127.0.0.1:54".parse().unwrap());
            let (_c, c) = flow("[::1]:53".parse().unwrap());
            let tcp = std::net::TcpListener::bind("127.0.0.1:53").unwrap();
            let _tcp = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
            let mut conntrack = Conntrack::connect().unwrap();

            let v4 = conntrack.list(udp(false, None)).unwrap();
            assert_eq!(v4.len(), 2, "{v4:?}");
            let first = between(&v4, a, "127.0.0.1:53").unwrap();
            assert_eq!((first.server, first.reply_to, first.zone), (first.destination, first.client, 0));
            let by_port = conntrack.list(udp(false, Some(54))).unwrap();
            assert_eq!(by_port.len(), 1, "{by_port:?}");
            assert!(between(&by_port, b, "127.0.0.1:54").is_some());
            let v6 = conntrack.list(udp(true, None)).unwrap();
            assert!(v6.len() == 1 && between(&v6, c, "[::1]:53").is_some(), "{v6:?}");

            assert!(conntrack.delete(&first).unwrap());
            assert!(!conntrack.delete(&first).unwrap(), "it is gone already");
            let left = conntrack.list(udp(false, None)).unwrap();
            assert!(left.len() == 1 && between(&left, b, "127.0.0.1:54").is_some(), "{left:?}");
            assert!(conntrack.delete(&v6[0]).unwrap());
        })
        .unwrap();
}

#[tokio::test]
async fn a_translated_flow_shows_who_answers_it() {
    let place = tracking("ctnat").await;
    place
        .namespace
        .run(|| {
            let server = UdpSocket::bind("127.0.0.1:53").unwrap();
            server.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.send_to(b"weft", "127.0.0.1:5300").unwrap();
            server.recv(&mut [0; 16]).unwrap();
            let entries = Conntrack::connect().unwrap().list(udp(false, Some(5300))).unwrap();
            let entry = between(&entries, client.local_addr().unwrap(), "127.0.0.1:5300").unwrap();
            assert_eq!(entry.server, "127.0.0.1:53".parse().unwrap());
        })
        .unwrap();
}

#[tokio::test]
async fn an_entry_whose_place_another_has_taken_stays() {
    let place = tracking("ctid").await;
    place
        .namespace
        .run(|| {
            let (_client, from) = flow("127.0.0.1:53".parse().unwrap());
            let mut conntrack = Conntrack::connect().unwrap();
            let entry = between(&conntrack.list(udp(false, None)).unwrap(), from, "127.0.0.1:53").unwrap();
            let other = Entry { id: entry.id.wrapping_add(1), ..entry };
            assert!(!conntrack.delete(&other).unwrap());
            assert_eq!(conntrack.list(udp(false, None)).unwrap().len(), 1);
        })
        .unwrap();
}
