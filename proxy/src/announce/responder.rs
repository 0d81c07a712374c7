//! Threads that answer on one interface: one for ARP, one for neighbour discovery.
//!
//! Plain threads: a neighbour must not wait for a pass over thousands of Services.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use host::packets::{Frames, bytes_are};
use proxy_core::announce::{self, Question, Schedule};
use proxy_core::names::Family;

use super::held::Held;
use super::interfaces::Interface;

/// How long a thread waits for a frame, and thereby for word of what it holds.
const TICK: Duration = Duration::from_millis(100);

/// Between two attempts on an interface that is down.
const RETRY: Duration = Duration::from_secs(1);

/// Longer than any question: the rest of a frame says nothing.
const FRAME: usize = 256;

/// Answers on an interface until it is dropped.
pub struct Responder {
    stop: Arc<AtomicBool>,
}

impl Responder {
    pub fn start(interface: &Interface, held: &Held) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for family in Family::BOTH {
            let answering = Answering {
                interface: interface.clone(),
                family,
                held: held.clone(),
                stop: Arc::clone(&stop),
                schedule: Schedule::default(),
                started: Instant::now(),
            };
            let name = format!("announce-{family}");
            if let Err(error) = thread::Builder::new().name(name).spawn(move || answering.run()) {
                tracing::error!(%error, interface = interface.name, "no thread that announces addresses");
            }
        }
        Self { stop }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

struct Answering {
    interface: Interface,
    family: Family,
    held: Held,
    stop: Arc<AtomicBool>,
    schedule: Schedule,
    started: Instant,
}

impl Answering {
    fn run(mut self) {
        let mut said = String::new();
        while !self.stop.load(Ordering::Acquire) {
            let Err(error) = self.answer(&mut said) else { return };
            let text = error.to_string();
            if said != text {
                let interface = &self.interface.name;
                tracing::warn!(%error, interface, family = %self.family, "addresses are not announced; trying again");
                said = text;
            }
            // All is said again to the neighbours once the interface is up.
            self.schedule = Schedule::default();
            thread::sleep(RETRY);
        }
    }

    /// Until it is told to stop.
    fn answer(&mut self, said: &mut String) -> io::Result<()> {
        // A request of ARP; a solicitation of ICMPv6.
        let (protocol, filter) = match self.family {
            Family::V4 => (announce::ARP, bytes_are(&[(21, 1)])),
            Family::V6 => (announce::IPV6, bytes_are(&[(20, 58), (54, 135)])),
        };
        let frames = Frames::open(self.interface.index, protocol, &filter)?;
        let mut groups = Groups::default();
        let mut buffer = [0; FRAME];
        while !self.stop.load(Ordering::Acquire) {
            let held = self.held();
            groups.follow(self.interface.index, &held)?;
            for address in self.schedule.due(self.started.elapsed(), &held) {
                for frame in announce::unasked(address, self.interface.mac) {
                    frames.write(&frame)?;
                }
                said.clear();
            }
            let question = frames.read(&mut buffer, TICK)?.and_then(Question::read);
            let others = question.filter(|question| question.asker() != self.interface.mac);
            if let Some(question) = others.filter(|question| self.held().contains(&question.address)) {
                frames.write(&announce::answer(&question, self.interface.mac))?;
            }
        }
        Ok(())
    }

    fn held(&self) -> BTreeSet<IpAddr> {
        let mut held = self.held.addresses();
        held.retain(|address| Family::of(*address) == self.family);
        held
    }
}

/// The groups in which solicitations are sent: neither an interface nor a switch lets through what nobody wants.
#[derive(Default)]
struct Groups {
    socket: Option<UdpSocket>,
    joined: BTreeSet<Ipv6Addr>,
}

impl Groups {
    fn follow(&mut self, index: u32, held: &BTreeSet<IpAddr>) -> io::Result<()> {
        let group = |address: &IpAddr| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(announce::solicited_node(*address)),
        };
        let wanted: BTreeSet<Ipv6Addr> = held.iter().filter_map(group).collect();
        if wanted == self.joined {
            return Ok(());
        }
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
        };
        let socket = self.socket.insert(socket);
        for group in wanted.difference(&self.joined) {
            socket.join_multicast_v6(group, index)?;
        }
        for group in self.joined.difference(&wanted) {
            // Gone with its interface, or left now.
            let _ = socket.leave_multicast_v6(group, index);
        }
        self.joined = wanted;
        Ok(())
    }
}
