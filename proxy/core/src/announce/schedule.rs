//! When an address is announced though nobody asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// How often, after a node has become the one that announces an address: a frame may be lost.
const TIMES: u8 = 5;

/// Between two of them: Linux believes no other MAC address within a second of the last one (`locktime` of
/// `net/ipv4/neigh`).
const PAUSE: Duration = Duration::from_millis(1_100);

/// What was announced on one interface.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// How often, and when next.
    sent: BTreeMap<IpAddr, (u8, Duration)>,
}

impl Schedule {
    /// The addresses of `held` that are to be announced now. An address that was not held meanwhile begins again.
    pub fn due(&mut self, now: Duration, held: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
        self.sent.retain(|address, _| held.contains(address));
        let mut due = Vec::new();
        for address in held {
            let (times, next) = self.sent.entry(*address).or_insert((0, now));
            if *times < TIMES && now >= *next {
                *times += 1;
                *next = now + PAUSE;
                due.push(*address);
            }
        }
        due
    }
}
