//! Numbered datagrams between two places, in both directions: which of them arrive?

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use host::netns::Namespace;
use lab::Pod;
use nix::sys::socket::{setsockopt, sockopt};

/// Between two datagrams of one direction.
const PACE: Duration = Duration::from_millis(1);
/// How long the last datagram may be under way.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// A stream that flows.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    ways: Vec<Way>,
}

#[derive(Debug)]
struct Way {
    sent: Arc<AtomicU64>,
    arrived: Arc<AtomicU64>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<BTreeSet<u64>>,
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub sent: u64,
    pub lost: u64,
    /// The longest run of numbers that did not arrive.
    pub gap: u64,
}

impl Stream {
    /// Begins to send from each pod to the other, and returns when both directions flow.
    ///
    /// # Panics
    /// Nothing arrives.
    pub fn between(a: &Pod, b: &Pod) -> Self {
        let (ip_a, ip_b) = (address(a), address(b));
        let stop = Arc::new(AtomicBool::new(false));
        let ways = vec![
            Way::open(a.namespace(), b.namespace(), ip_b, &stop),
            Way::open(b.namespace(), a.namespace(), ip_a, &stop),
        ];
        let stream = Self { stop, ways };
        stream.wait_for_flow();
        stream
    }

    /// Waits until more has arrived than has been sent by now, each way.
    ///
    /// # Panics
    /// It does not.
    pub fn wait_for_flow(&self) {
        for way in &self.ways {
            let sent = way.sent.load(Ordering::Relaxed);
            crate::wait::until("datagrams to arrive", || {
                (way.arrived.load(Ordering::Relaxed) > sent).then_some(())
            });
        }
    }

    /// Ends it and counts, both ways together.
    ///
    /// # Panics
    /// One of its threads did.
    pub fn end(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let tallies = self.ways.into_iter().map(Way::end);
        tallies.fold(Tally::default(), |all, one| Tally {
            sent: all.sent + one.sent,
            lost: all.lost + one.lost,
            gap: all.gap.max(one.gap),
        })
    }
}

impl Way {
    fn open(from: &Namespace, to: &Namespace, ip: IpAddr, stop: &Arc<AtomicBool>) -> Self {
        let inside = |namespace: &Namespace, at: SocketAddr| {
            namespace.run(|| UdpSocket::bind(at)).expect("a namespace").expect("a socket")
        };
        let receiving = inside(to, (ip, 0).into());
        // A receiver that has to wait for the processor must not look like a loss.
        setsockopt(&receiving, sockopt::RcvBufForce, &(16 << 20)).expect("root");
        receiving.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let target = receiving.local_addr().expect("bound");
        let sending = inside(from, ([0, 0, 0, 0], 0).into());
        let (sent, arrived) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let sender = {
            let (stop, sent) = (Arc::clone(stop), Arc::clone(&sent));
            std::thread::spawn(move || {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    // A local refusal is a loss as any other: the number is used up.
                    let _ = sending.send_to(&u64::to_be_bytes(number), target);
                    number += 1;
                    sent.store(number, Ordering::Relaxed);
                    sleep(PACE);
                }
                number
            })
        };
        let receiver = {
            let (stop, arrived, sent) = (Arc::clone(stop), Arc::clone(&arrived), Arc::clone(&sent));
            std::thread::spawn(move || receive(&receiving, &stop, &arrived, &sent))
        };
        Self { sent, arrived, sender, receiver }
    }

    fn end(self) -> Tally {
        let sent = self.sender.join().expect("the sender");
        let numbers = self.receiver.join().expect("the receiver");
        let (mut lost, mut gap, mut run) = (0, 0, 0);
        for number in 0..sent {
            run = if numbers.contains(&number) { 0 } else { run + 1 };
            lost += u64::from(run > 0);
            gap = gap.max(run);
        }
        Tally { sent, lost, gap }
    }
}

fn receive(socket: &UdpSocket, stop: &AtomicBool, arrived: &AtomicU64, sent: &AtomicU64) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    let mut stopped: Option<Instant> = None;
    let mut buffer = [0; 16];
    loop {
        if let Ok(8) = socket.recv(&mut buffer) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&buffer[..8]);
            let number = u64::from_be_bytes(bytes);
            numbers.insert(number);
            arrived.fetch_max(number + 1, Ordering::Relaxed);
        }
        if stop.load(Ordering::Relaxed) {
            let since = *stopped.get_or_insert_with(Instant::now);
            // The sender's last number may come after the stop; the count is settled 50 ms later.
            let settled = since.elapsed() > Duration::from_millis(50);
            let complete = numbers.len() as u64 == sent.load(Ordering::Relaxed);
            if (settled && complete) || since.elapsed() > STRAGGLERS {
                return numbers;
            }
        }
    }
}

/// The IPv4 address of a pod on its node's subnet.
///
/// # Panics
/// It has none.
pub fn address(pod: &Pod) -> IpAddr {
    let text = pod.run(["ip", "-o", "-4", "address", "show", "dev", "eth0"]).expect("a pod with eth0");
    let net = text.split_whitespace().nth(3).and_then(|net| net.split('/').next());
    net.and_then(|ip| ip.parse().ok()).unwrap_or_else(|| panic!("an address in {text:?}"))
}
