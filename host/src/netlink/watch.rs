//! Word of changes, from the kernel's multicast groups.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, Socket, SocketAddr, TokioSocket};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::error::HostError;
use crate::netns::Namespace;

/// What may have changed. It only means "look again": several changes may come as one, and our own come too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// A link came, went or changed; its index.
    Link(u32),
    /// An address of this link.
    Address(u32),
    /// A route: where to, of which table, by which link where it has one next hop.
    Route { destination: IpNet, table: u32, dev: Option<u32> },
    /// A neighbour on this link.
    Neighbour(u32),
    /// An entry of this link's forwarding database: a VXLAN link, or the port of a bridge.
    Fdb(u32),
    /// Some changes were not heard of: look at everything.
    Lost,
}

/// Changes as they come. Dropping it stops the listening.
pub struct Watch {
    changes: mpsc::Receiver<Change>,
    task: AbortHandle,
}

/// `RTNLGRP_*` of `linux/rtnetlink.h`.
pub(super) const ALL: &[u32] = &[
    1,  // LINK
    3,  // NEIGH, FDB entries among them
    5,  // IPV4_IFADDR
    7,  // IPV4_ROUTE
    9,  // IPV6_IFADDR
    11, // IPV6_ROUTE
];

/// Those of addresses alone.
pub(super) const ADDRESSES: &[u32] = &[5, 9];

/// Room for some 10,000 routes that change at once. The kernel counts each message with its overhead, about 800 bytes.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Changes that wait for whoever listens; with more, they are told [`Change::Lost`] instead.
const QUEUE: usize = 1024;

/// Before another socket is opened in the place of one that broke.
const PAUSE: Duration = Duration::from_secs(1);

impl Watch {
    /// Listens to these groups in a namespace, on the current runtime.
    pub(super) fn open(home: Arc<Namespace>, groups: &'static [u32]) -> Result<Self, HostError> {
        let socket = subscribe(&home, groups)?;
        let (sender, changes) = mpsc::channel(QUEUE);
        let task = tokio::spawn(listen(home, groups, socket, sender)).abort_handle();
        Ok(Self { changes, task })
    }

    /// The next change; waits for one. `None` only when the runtime shuts down.
    ///
    /// Cancel safe: no change is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Change> {
        self.changes.recv().await
    }

    /// A change that is already here.
    pub fn ready(&mut self) -> Option<Change> {
        self.changes.try_recv().ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn subscribe(home: &Namespace, groups: &[u32]) -> Result<TokioSocket, HostError> {
    let runtime = Handle::current();
    let opened = home.run(|| {
        let _entered = runtime.enter();
        open_socket(groups)
    })?;
    opened.map_err(|e| HostError::io("subscribe to", "changes of the network", e))
}

fn open_socket(groups: &[u32]) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    enlarge(socket.socket_ref());
    let groups = groups.iter().fold(0, |mask, group| mask | 1 << (group - 1));
    socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
    Ok(socket)
}

/// Beyond the system's limit where we may, up to it where we may not.
fn enlarge(socket: &Socket) {
    let fd = socket.as_fd();
    if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        let _ = setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER);
    }
}

/// A socket that broke is replaced; what happened in between is lost.
async fn listen(
    home: Arc<Namespace>,
    groups: &'static [u32],
    mut socket: TokioSocket,
    changes: mpsc::Sender<Change>,
) {
    let mut buffer = Vec::with_capacity(64 << 10);
    loop {
        buffer.clear();
        let received = std::future::poll_fn(|context| socket.poll_recv_from(context, &mut buffer)).await;
        let heard = match received {
            Ok(sender) if sender.port_number() == 0 => changes_in(&buffer),
            Ok(_) => continue, // another process, not the kernel
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                empty(&socket, &mut buffer).await;
                vec![Change::Lost]
            }
            Err(error) => {
                tracing::warn!(%error, "the netlink socket for changes broke; opening another");
                socket = loop {
                    tokio::time::sleep(PAUSE).await;
                    if let Ok(socket) = subscribe(&home, groups) {
                        break socket;
                    }
                };
                vec![Change::Lost]
            }
        };
        for change in heard {
            match changes.try_send(change) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => return,
                // Nobody has to hear of every change, if they hear that there were more.
                Err(mpsc::error::TrySendError::Full(_)) => {
                    if let Ok(room) = room(&changes, &socket, &mut buffer).await {
                        room.send(Change::Lost);
                        break;
                    }
                    return;
                }
            }
        }
    }
}

/// Waits until there is room for one more change, and meanwhile throws away what the kernel tells: otherwise whoever
/// listens would meet an old change again after each look.
async fn room<'a>(
    changes: &'a mpsc::Sender<Change>,
    socket: &TokioSocket,
    buffer: &mut Vec<u8>,
) -> Result<mpsc::Permit<'a, Change>, mpsc::error::SendError<()>> {
    let mut reserved = std::pin::pin!(changes.reserve());
    loop {
        buffer.clear();
        let received = std::future::poll_fn(|context| socket.poll_recv_from(context, buffer));
        tokio::select! {
            biased;
            received = received => {
                // What is wrong with the socket shows again at the next read.
                if received.is_err_and(|error| error.raw_os_error() != Some(libc::ENOBUFS)) {
                    return reserved.await;
                }
            }
            permit = &mut reserved => return permit,
        }
    }
}

/// Reads all that waits. After an overrun the kernel tells nothing more until its queue has been emptied: a look
/// before that would miss what changes after it.
async fn empty(socket: &TokioSocket, buffer: &mut Vec<u8>) {
    loop {
        buffer.clear();
        let received = std::future::poll_fn(|context| socket.poll_recv_from(context, buffer));
        match futures::poll!(received) {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(e)) if e.raw_os_error() == Some(libc::ENOBUFS) => {}
            Poll::Ready(Err(_)) | Poll::Pending => return,
        }
    }
}

/// The changes that one datagram tells of, without those that repeat the one before.
fn changes_in(mut datagram: &[u8]) -> Vec<Change> {
    let mut found: Vec<Change> = Vec::new();
    while !datagram.is_empty() {
        let Ok(message) = NetlinkBuffer::new_checked(datagram) else {
            found.push(Change::Lost);
            break;
        };
        if let Some(change) = change_of(message.message_type(), message.payload())
            && found.last() != Some(&change)
        {
            found.push(change);
        }
        let length = (message.length() as usize).next_multiple_of(4);
        datagram = datagram.get(length..).unwrap_or_default();
    }
    found
}

/// Only what tells whose it is is read: a storm of changes costs little.
fn change_of(kind: u16, payload: &[u8]) -> Option<Change> {
    // ifinfomsg, ifaddrmsg and ndmsg all have the link's index at the fifth byte.
    let index = || payload.get(4..8).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    match kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => Some(index().map_or(Change::Lost, Change::Link)),
        libc::RTM_NEWADDR | libc::RTM_DELADDR => Some(index().map_or(Change::Lost, Change::Address)),
        libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => {
            let is_fdb = payload.first() == Some(&(libc::AF_BRIDGE as u8));
            Some(index().map_or(Change::Lost, if is_fdb { Change::Fdb } else { Change::Neighbour }))
        }
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => Some(route(payload).unwrap_or(Change::Lost)),
        _ => None,
    }
}

/// Reads an `rtmsg`, and of its attributes those that tell routes apart.
fn route(payload: &[u8]) -> Option<Change> {
    /// `RTA_*` of `linux/rtnetlink.h`.
    const DST: u16 = 1;
    const OIF: u16 = 4;
    const TABLE: u16 = 15;
    let header = payload.get(..12)?;
    let (family, length) = (i32::from(header[0]), header[1]);
    let mut address = match family {
        libc::AF_INET => IpAddr::from([0; 4]),
        libc::AF_INET6 => IpAddr::from([0; 16]),
        // Of multicast routing, MPLS and the like: no table of ours.
        _ => return Some(Change::Route { destination: IpNet::default(), table: 0, dev: None }),
    };
    let (mut table, mut dev) = (u32::from(header[4]), None);
    for attribute in NlasIterator::new(&payload[12..]) {
        let attribute = attribute.ok()?;
        let number = || <[u8; 4]>::try_from(attribute.value()).ok().map(u32::from_ne_bytes);
        match attribute.kind() {
            DST => {
                let v4 = <[u8; 4]>::try_from(attribute.value()).map(IpAddr::from);
                address = v4.or_else(|_| <[u8; 16]>::try_from(attribute.value()).map(IpAddr::from)).ok()?;
            }
            OIF => dev = Some(number()?),
            TABLE => table = number()?,
            _ => {}
        }
    }
    Some(Change::Route { destination: IpNet::new(address, length).ok()?.trunc(), table, dev })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_datagram_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            changes_in(&bytes);
        }
    }

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = 16 + payload.len();
        let mut bytes = Vec::new();
        bytes.extend((length as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes.resize(length.next_multiple_of(4), 0);
        bytes
    }

    fn about(index: u32) -> Vec<u8> {
        [vec![0; 4], index.to_ne_bytes().to_vec()].concat()
    }

    /// A route of table 1000, which does not fit into the header's byte (`RT_TABLE_COMPAT`, 252).
    fn to_somewhere() -> Vec<u8> {
        let attribute =
            |kind: u16, value: [u8; 4]| [&8u16.to_ne_bytes()[..], &kind.to_ne_bytes(), &value].concat();
        let header = [libc::AF_INET as u8, 24, 0, 0, 252, 4, 0, 1, 0, 0, 0, 0];
        let table = attribute(15, 1000u32.to_ne_bytes());
        [&header[..], &table, &attribute(1, [10, 244, 3, 0]), &attribute(4, 5u32.to_ne_bytes())].concat()
    }

    #[test]
    fn a_datagram_tells_what_to_look_at() {
        let datagram = [
            message(libc::RTM_NEWLINK, &about(7)),
            message(libc::RTM_DELLINK, &about(7)),
            message(libc::RTM_NEWADDR, &about(8)),
            message(libc::RTM_DELNEIGH, &about(9)),
            message(libc::RTM_NEWNEIGH, &[&[libc::AF_BRIDGE as u8][..], &about(9)[1..]].concat()),
            message(libc::RTM_NEWROUTE, &to_somewhere()),
            message(libc::RTM_DELROUTE, &to_somewhere()),
            message(libc::RTM_NEWRULE, &[0; 12]),
        ];
        let destination = "10.244.3.0/24".parse().unwrap();
        let route = Change::Route { destination, table: 1000, dev: Some(5) };
        let want = [Change::Link(7), Change::Address(8), Change::Neighbour(9), Change::Fdb(9), route];
        assert_eq!(changes_in(&datagram.concat()), want);
    }

    #[test]
    fn what_cannot_be_read_is_lost() {
        assert_eq!(changes_in(&[1, 2, 3]), [Change::Lost]);
        assert_eq!(changes_in(&message(libc::RTM_NEWLINK, &[0; 3])), [Change::Lost]);
        assert_eq!(changes_in(&[]), []);
        let whole = message(libc::RTM_NEWLINK, &about(7));
        for cut in 1..whole.len() {
            assert_eq!(changes_in(&whole[..cut]), [Change::Lost], "{cut} bytes");
        }
    }
}
