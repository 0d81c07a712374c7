//! TUN devices. Needs root.

mod common;

use std::fs::File;
use std::io::{Read, Write as _};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::Instant;

use common::{DEADLINE, Place, until};
use host::HostError;
use host::netlink::{Address, Link, LinkChange, LinkKind, Netlink, TunLink};
use host::tun::{self, Options, Tun, VNET_HDR_LEN};
use nix::poll::{PollFd, PollFlags, poll};

fn persistent(vnet_hdr: bool) -> Options {
    Options { vnet_hdr, offload: vnet_hdr, persistent: true, ..Options::new("flannel0") }
}

fn open(place: &Place, options: &Options) -> Result<Tun, HostError> {
    place.namespace.run(|| Tun::open(options)).unwrap()
}

/// Waits until nobody holds it. A test in another thread may be between fork and exec, with a copy of our descriptor.
async fn released(netlink: &Netlink) -> Link {
    let free = async || netlink.link_by_name("flannel0").await.unwrap().filter(|link| !link.carrier);
    until("the last descriptor to close", free).await
}

async fn kind(netlink: &Netlink) -> Option<LinkKind> {
    netlink.link_by_name("flannel0").await.unwrap().map(|link| link.kind)
}

#[tokio::test]
async fn a_tun_goes_with_its_descriptor() {
    let place = Place::new("tun");
    let netlink = place.netlink().await;
    let tun = open(&place, &Options::new("flannel0")).unwrap();
    assert!(!tun.adopted());
    assert_eq!(tun.observe().unwrap(), TunLink::default());
    assert_eq!(kind(&netlink).await, Some(LinkKind::Tun(TunLink::default())));
    let index = place.namespace.run(|| tun.index().unwrap()).unwrap();
    assert_eq!(netlink.link(index).await.unwrap().unwrap().mac, None);
    drop(tun.into_fd());
    until("it to go", async || kind(&netlink).await.is_none().then_some(())).await;
}

#[tokio::test]
async fn a_persistent_tun_is_adopted_with_its_addresses() {
    let place = Place::new("adopt");
    let netlink = place.netlink().await;
    let want = TunLink { vnet_hdr: true, persistent: true, ..TunLink::default() };
    let first = open(&place, &persistent(true)).unwrap();
    assert_eq!((first.adopted(), first.observe().unwrap()), (false, want));
    let index = netlink.link_by_name("flannel0").await.unwrap().unwrap().index;
    let address = Address::new(index, "10.1.2.0/32".parse().unwrap());
    netlink.add_address(&address).await.unwrap();
    netlink.set_link(index, &LinkChange::up()).await.unwrap();
    assert!(netlink.link(index).await.unwrap().unwrap().carrier);
    drop(first);
    let left = released(&netlink).await;
    assert_eq!((left.kind, left.up, left.carrier), (LinkKind::Tun(want), true, false));

    let second = open(&place, &persistent(true)).unwrap();
    assert!(second.adopted());
    assert_eq!(place.namespace.run(|| second.index().unwrap()).unwrap(), index);
    assert!(netlink.addresses().await.unwrap().contains(&address));
    drop(second);
    released(&netlink).await;
    assert!(place.namespace.run(|| tun::remove("flannel0")).unwrap().unwrap());
    // A program that another test starts at this moment may still have our descriptors.
    until("it to go", async || kind(&netlink).await.is_none().then_some(())).await;
    assert!(!place.namespace.run(|| tun::remove("flannel0")).unwrap().unwrap(), "and once more");
}

/// Sends until a packet comes out. The kernel drops what comes in the moment after a TUN is adopted: its queue is
/// switched on by a worker, after the carrier.
fn packet_of(sender: &UdpSocket, tun: &mut File, skip: usize) -> Vec<u8> {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        sender.send_to(b"payload", "10.1.2.9:9").unwrap();
        let mut waiting = [PollFd::new(tun.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, 20u8).unwrap() == 0 {
            continue;
        }
        let mut buffer = [0; 2048];
        let length = tun.read(&mut buffer).unwrap();
        if buffer[skip] >> 4 == 4 {
            return buffer[..length].to_vec(); // not IPv6's router solicitations
        }
    }
    panic!("waited {DEADLINE:?} for a packet");
}

/// Offloads stay with a persistent TUN, and a reader without the header could not tell a segment from a packet.
#[tokio::test]
async fn who_adopts_gets_the_packets_that_he_asked_for() {
    let place = Place::new("offload");
    let netlink = place.netlink().await;
    drop(open(&place, &persistent(true)).unwrap());
    let index = netlink.link_by_name("flannel0").await.unwrap().unwrap().index;
    netlink.add_address(&Address::new(index, "10.1.2.1/24".parse().unwrap())).await.unwrap();
    netlink.set_link(index, &LinkChange::up()).await.unwrap();
    for vnet_hdr in [true, false, true] {
        released(&netlink).await;
        let tun = open(&place, &persistent(vnet_hdr)).unwrap();
        assert_eq!(tun.observe().unwrap().vnet_hdr, vnet_hdr);
        let sender = place.namespace.run(|| UdpSocket::bind("10.1.2.1:0").unwrap()).unwrap();
        let mut file = File::from(tun.into_fd());
        let skip = if vnet_hdr { VNET_HDR_LEN } else { 0 };
        let packet = packet_of(&sender, &mut file, skip);
        assert!(packet.ends_with(b"payload"));
        // VIRTIO_NET_HDR_F_NEEDS_CSUM: the kernel left the checksum to us, as it was allowed to.
        assert_eq!(vnet_hdr && packet[0] == 1, vnet_hdr);
        assert_eq!(packet.len(), skip + 20 + 8 + 7);

        // And back: an answer that the sender receives.
        let mut answer = packet[skip..].to_vec();
        let (from, to) = (packet[skip + 12..skip + 16].to_vec(), packet[skip + 16..skip + 20].to_vec());
        answer[12..16].copy_from_slice(&to);
        answer[16..20].copy_from_slice(&from);
        answer.swap(20, 22);
        answer.swap(21, 23);
        answer[26..28].fill(0); // no UDP checksum
        file.write_all(&[vec![0; skip], answer].concat()).unwrap();
        sender.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut text = [0; 16];
        assert_eq!(sender.recv(&mut text).unwrap(), 7);
    }
}

#[tokio::test]
async fn a_tun_that_somebody_holds_is_not_ours_to_take() {
    let place = Place::new("busy");
    let held = open(&place, &persistent(false)).unwrap();
    let error = open(&place, &persistent(false)).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EBUSY));
    let text = error.to_string();
    assert!(text.starts_with("open TUN flannel0: it is held by process "), "{text}");
    // Other tests' processes may hold a flannel0 of their own: the kernel does not say which.
    assert!(text.contains(&format!("process {} (", std::process::id())), "{text}");
    assert!(text.ends_with("; stop that process, or take another name"), "{text}");
    assert_eq!(
        place.namespace.run(|| tun::remove("flannel0")).unwrap().unwrap_err().errno(),
        Some(libc::EBUSY)
    );
    let netlink = place.netlink().await;
    let index = netlink.link_by_name("flannel0").await.unwrap().unwrap().index;
    netlink.set_link(index, &LinkChange::up()).await.unwrap();
    drop(held);
    released(&netlink).await;
    drop(open(&place, &Options::new("flannel0")).unwrap()); // adopted, and persistent no longer
    until("it to go", async || kind(&netlink).await.is_none().then_some(())).await;
}

#[tokio::test]
async fn what_is_no_tun_is_left_alone() {
    let place = Place::new("notun");
    place.ask("ip", &["link", "add", "flannel0", "type", "bridge"]);
    let before = place.ask("ip", &["-details", "link"]);
    for attempt in [
        open(&place, &persistent(false)).map(drop),
        place.namespace.run(|| tun::remove("flannel0").map(drop)).unwrap(),
    ] {
        let error = attempt.unwrap_err();
        assert!(error.to_string().contains("is no TUN of one queue; look at it"), "{error}");
    }
    assert_eq!(place.ask("ip", &["-details", "link"]), before);
    let error = open(&place, &Options::new("a-name-that-is-too-long")).unwrap_err();
    assert!(error.to_string().ends_with("use 1 to 15 letters and digits"), "{error}");
    let numbered = open(&place, &Options::new("flannel%d")).unwrap();
    assert_eq!(numbered.name(), "flannel1");
}
