//! Round-trip times: one ICMP echo to each peer now and then, on a thread of its own.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use flanneld_core::packet::checksum;
use socket2::{Domain, Protocol, Socket, Type};

/// How long after the arrival of a peer it is probed: he has to hear of us as well.
const SETTLING: Duration = Duration::from_secs(1);
/// How long an answer may take before the probe counts as lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// RFC 792.
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_LEN: usize = 16;

/// What the probes of one peer showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerProbe {
    /// Of the last probe that was answered.
    pub round_trip: Option<Duration>,
    pub lost: u64,
}

/// Sends the probes until it is dropped.
#[derive(Debug)]
pub struct Prober {
    shared: Arc<Mutex<Shared>>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct Shared {
    /// By the peer's public address: the address to probe.
    targets: BTreeMap<IpAddr, IpAddr>,
    results: BTreeMap<IpAddr, PeerProbe>,
}

impl Prober {
    /// Probes every target once in `interval`.
    ///
    /// # Errors
    /// Without CAP_NET_RAW there is no raw socket.
    pub fn start(interval: Duration) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let weak = Arc::downgrade(&shared);
        let thread = std::thread::Builder::new().name("probe".to_owned()).spawn(move || {
            let mut round = Round { socket, id: std::process::id() as u16, sequence: 0 };
            while let Some(shared) = weak.upgrade() {
                let targets = lock(&shared).targets.clone();
                let seen = round.run(&targets);
                record(&mut lock(&shared), &targets, &seen);
                drop(shared);
                let parked = Instant::now();
                std::thread::park_timeout(interval);
                if parked.elapsed() < interval {
                    std::thread::sleep(SETTLING);
                }
            }
        })?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Replaces the targets: public address of a peer, address to probe. A new one does not wait for its turn.
    pub fn aim(&self, targets: BTreeMap<IpAddr, IpAddr>) {
        let mut shared = lock(&self.shared);
        if targets.keys().any(|peer| !shared.targets.contains_key(peer)) {
            self.thread.unpark();
        }
        shared.results.retain(|peer, _| targets.contains_key(peer));
        shared.targets = targets;
    }

    pub fn results(&self) -> BTreeMap<IpAddr, PeerProbe> {
        lock(&self.shared).results.clone()
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn record(shared: &mut Shared, sent: &BTreeMap<IpAddr, IpAddr>, seen: &BTreeMap<IpAddr, Duration>) {
    for peer in sent.keys().filter(|peer| shared.targets.contains_key(peer)) {
        let result = shared.results.entry(*peer).or_default();
        match seen.get(peer) {
            Some(time) => result.round_trip = Some(*time),
            None => result.lost += 1,
        }
    }
}

/// One probe of every target.
struct Round {
    socket: Socket,
    /// Tells our echoes from those of others: raw sockets see all of them.
    id: u16,
    sequence: u16,
}

impl Round {
    /// Sends to all, then collects answers until all are there or the last one's time is over.
    fn run(&mut self, targets: &BTreeMap<IpAddr, IpAddr>) -> BTreeMap<IpAddr, Duration> {
        let mut waiting = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for (peer, target) in targets {
            let IpAddr::V4(target) = *target else { continue };
            self.sequence = self.sequence.wrapping_add(1);
            let request = echo_request(self.id, self.sequence);
            let sent = Instant::now();
            if self.socket.send_to(&request, &SocketAddr::from((target, 0)).into()).is_ok() {
                waiting.insert((target, self.sequence), (*peer, sent));
            }
            // An answer that is there already should not wait behind the other probes.
            self.collect(&mut waiting, &mut seen, Duration::from_micros(200));
        }
        self.collect(&mut waiting, &mut seen, PATIENCE);
        seen
    }

    fn collect(
        &self,
        waiting: &mut BTreeMap<(Ipv4Addr, u16), (IpAddr, Instant)>,
        seen: &mut BTreeMap<IpAddr, Duration>,
        patience: Duration,
    ) {
        let start = Instant::now();
        let mut buffer = [0u8; 128];
        while !waiting.is_empty() {
            let left = patience.saturating_sub(start.elapsed());
            if left.is_zero() || self.socket.set_read_timeout(Some(left)).is_err() {
                return;
            }
            let Ok(length) = (&self.socket).read(&mut buffer) else { return };
            let Some(reply) = EchoReply::parse(&buffer[..length]).filter(|reply| reply.id == self.id) else {
                continue;
            };
            if let Some((peer, sent)) = waiting.remove(&(reply.from, reply.sequence)) {
                seen.insert(peer, sent.elapsed());
            }
        }
    }
}

fn echo_request(id: u16, sequence: u16) -> [u8; ECHO_LEN] {
    let mut packet = [0; ECHO_LEN];
    packet[0] = ECHO_REQUEST;
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[derive(Debug, PartialEq, Eq)]
struct EchoReply {
    from: Ipv4Addr,
    id: u16,
    sequence: u16,
}

impl EchoReply {
    /// Reads an IPv4 packet, as raw sockets deliver it.
    fn parse(packet: &[u8]) -> Option<Self> {
        let header = usize::from(packet.first()? & 0x0f) * 4;
        let from: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
        let icmp = packet.get(header..header + 8)?;
        let word = |at: usize| u16::from_be_bytes([icmp[at], icmp[at + 1]]);
        (icmp[0] == ECHO_REPLY).then(|| Self { from: from.into(), id: word(4), sequence: word(6) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_told_from_other_icmp() {
        let mut packet = vec![0u8; 20];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&[10, 5, 2, 0]);
        let mut reply = echo_request(7, 9).to_vec();
        reply[0] = ECHO_REPLY;
        packet.extend(reply);
        let parsed = EchoReply { from: [10, 5, 2, 0].into(), id: 7, sequence: 9 };
        assert_eq!(EchoReply::parse(&packet), Some(parsed));
        packet[20] = ECHO_REQUEST;
        assert_eq!(EchoReply::parse(&packet), None);
        for length in 0..packet.len() {
            let _ = EchoReply::parse(&packet[..length]);
        }
    }

    #[test]
    fn a_request_has_a_right_checksum() {
        assert_eq!(checksum(&echo_request(0xabcd, 1)), 0);
    }

    #[test]
    fn a_peer_that_went_has_no_results() {
        let peer = IpAddr::from([192, 0, 2, 2]);
        let mut shared = Shared { targets: [(peer, peer)].into(), ..Shared::default() };
        record(&mut shared, &[(peer, peer)].into(), &BTreeMap::new());
        assert_eq!(shared.results[&peer].lost, 1);
        // It went while the probe was under way.
        let mut shared = Shared::default();
        record(&mut shared, &[(peer, peer)].into(), &[(peer, Duration::from_millis(1))].into());
        assert!(shared.results.is_empty());
    }
}
