//! One packet at a time, in each direction. Nothing here blocks.

use super::limit::Limit;
use super::routes::RoutesReader;
use super::shared::Shared;
use flanneld_core::packet::{DropReason, Inbound, Offload, Outbound, Peer, VNET_HEADER, inbound, outbound};
use nix::errno::Errno;
use nix::unistd::{read, write};
use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// The longest IPv4 packet, in bytes.
const PACKET_MAX: usize = 65_535;

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A packet was taken, whatever became of it.
    Moved,
    /// There was none.
    Idle,
}

/// From the TUN to the underlay.
pub(super) struct Egress {
    shared: Arc<Shared>,
    routes: RoutesReader,
    limit: Limit,
    buffer: Vec<u8>,
    segment: Vec<u8>,
}

impl Egress {
    pub fn new(shared: Arc<Shared>) -> Self {
        let routes = RoutesReader::new(shared.routes.clone());
        let segment = if shared.vnet_hdr { vec![0; PACKET_MAX] } else { Vec::new() };
        Self {
            shared,
            routes,
            limit: Limit::new(Instant::now()),
            buffer: vec![0; VNET_HEADER + PACKET_MAX],
            segment,
        }
    }

    /// Moves one packet. An error means that the TUN is gone.
    pub fn step(&mut self) -> io::Result<Step> {
        let len = match read(&self.shared.tun, &mut self.buffer) {
            Ok(len) => len,
            Err(Errno::EAGAIN) => return Ok(Step::Idle),
            Err(Errno::EINTR) => return Ok(Step::Moved),
            // The kernel has taken a packet off the queue that its virtio header has no words for, or no memory.
            Err(Errno::EINVAL | Errno::ENOMEM | Errno::ENOBUFS) => {
                self.shared.counters.dropped(DropReason::BadOffload);
                return Ok(Step::Moved);
            }
            Err(errno) => return Err(errno.into()),
        };
        if let Err(reason) = self.forward(len) {
            self.shared.counters.dropped(reason);
        }
        Ok(Step::Moved)
    }

    fn forward(&mut self, len: usize) -> Result<(), DropReason> {
        let shared = &*self.shared;
        let read = &mut self.buffer[..len];
        let (offload, packet) =
            if shared.vnet_hdr { Offload::split(read)? } else { (Offload::default(), read) };
        let routes = self.routes.get();
        let (peer, len) = match outbound(packet, &routes.table, shared.tun_address) {
            Outbound::Send { peer, len } => (peer, len),
            Outbound::Drop(reason) => return Err(reason),
            Outbound::Answer { reason, icmp } => {
                if self.limit.allow(Instant::now()) {
                    shared.answer(icmp.bytes());
                } else {
                    shared.counters.icmp_suppressed.fetch_add(1, Relaxed);
                }
                return Err(reason);
            }
        };
        let counter = &routes.counters[peer.index];
        let packet = &mut packet[..len];
        if !offload.is_super() {
            offload.finish_checksum(packet)?;
            shared.send(packet, peer)?;
            counter.sent(len);
            return Ok(());
        }
        let mut segments = offload.segments(packet)?;
        while let Some(len) = segments.next_into(&mut self.segment) {
            let len = len?;
            match shared.send(&self.segment[..len], peer) {
                Ok(()) => counter.sent(len),
                Err(reason) => shared.counters.dropped(reason),
            }
        }
        Ok(())
    }
}

/// From the underlay to the TUN.
pub(super) struct Ingress {
    shared: Arc<Shared>,
    routes: RoutesReader,
    /// Room for a virtio header that stays zero, for a packet of the TUN's MTU, and for one byte that tells a longer one.
    buffer: Vec<u8>,
}

impl Ingress {
    pub fn new(shared: Arc<Shared>) -> Self {
        let routes = RoutesReader::new(shared.routes.clone());
        let buffer = vec![0; VNET_HEADER + shared.mtu + 1];
        Self { shared, routes, buffer }
    }

    /// Moves one packet. An error means that the socket or the TUN is gone.
    pub fn step(&mut self) -> io::Result<Step> {
        let (len, from) = match self.shared.socket.recv_from(&mut self.buffer[VNET_HEADER..]) {
            Ok(received) => received,
            Err(error) => return after_receive(error),
        };
        let IpAddr::V4(from) = from.ip() else { return Ok(Step::Moved) };
        let shared = &*self.shared;
        let routes = self.routes.get();
        if len > shared.mtu {
            // The sender comes first here, too: a stranger is a stranger, whatever it sent.
            let stranger = routes.table.sender(from).is_none();
            shared.counters.dropped(if stranger { DropReason::UnknownSender } else { DropReason::Oversized });
            return Ok(Step::Moved);
        }
        let packet = &mut self.buffer[VNET_HEADER..VNET_HEADER + len];
        match inbound(packet, from, &routes.table, shared.check_source) {
            Inbound::Drop(reason) => shared.counters.dropped(reason),
            Inbound::Deliver { peer, len } => {
                let start = if shared.vnet_hdr { 0 } else { VNET_HEADER };
                match write(&shared.tun, &self.buffer[start..VNET_HEADER + len]) {
                    Ok(_) => routes.counters[peer.index].received(len),
                    // Somebody has deleted the TUN.
                    Err(Errno::EBADFD) => return Err(Errno::EBADFD.into()),
                    // It is down (EIO), full (EAGAIN), or dislikes this one packet.
                    Err(_) => shared.counters.dropped(DropReason::DeliverFailed),
                }
            }
        }
        Ok(Step::Moved)
    }
}

impl Shared {
    fn send(&self, packet: &[u8], peer: Peer) -> Result<(), DropReason> {
        match self.socket.send_to(packet, SocketAddrV4::new(peer.address, self.port)) {
            Ok(_) => Ok(()),
            // No room (EAGAIN, ENOBUFS), no way (ENETUNREACH, EHOSTUNREACH, EPERM of a firewall), no address (EINVAL):
            // flannel drops the packet as well, and the next one may pass.
            Err(_) => Err(DropReason::SendFailed),
        }
    }

    fn answer(&self, icmp: &[u8]) {
        let mut framed = [0; VNET_HEADER + flanneld_core::packet::ICMP_MAX];
        let end = VNET_HEADER + icmp.len();
        framed[VNET_HEADER..end].copy_from_slice(icmp);
        let start = if self.vnet_hdr { 0 } else { VNET_HEADER };
        match write(&self.tun, &framed[start..end]) {
            Ok(_) => self.counters.icmp_sent.fetch_add(1, Relaxed),
            Err(_) => self.counters.icmp_suppressed.fetch_add(1, Relaxed),
        };
    }
}

/// Sorts an error of the socket: nothing there, news of an earlier packet's fate, or the socket lost.
fn after_receive(error: io::Error) -> io::Result<Step> {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Ok(Step::Idle),
        // Each is told once and then forgotten by the kernel.
        Some(
            libc::EINTR
            | libc::ECONNREFUSED
            | libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::EMSGSIZE
            | libc::EPROTO
            | libc::ENOPROTOOPT,
        ) => Ok(Step::Moved),
        _ => Err(error),
    }
}
