//! The overlay's maps: leases in, counters out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues};
use ipnet::Ipv4Net;

use super::counters::{Counters, DropReason, PeerCounters, UserReason};
use crate::error::EbpfError;
use crate::layout::{CREDIT, Count, PortKey, State};
use crate::maps::{address, be, ignore_absent, map_error, take, write};

/// How many leases the maps hold (`OVERLAY_MAX_LEASES`).
pub const MAX_LEASES: usize = 32768;

/// How many MAC addresses behind the bridge the map holds (`OVERLAY_MAX_PORTS`); more take the bridge's way.
pub const MAX_PORTS: usize = 4096;

/// What [`super::Overlay::set_peers`] wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerDelta {
    pub added: usize,
    pub changed: usize,
    pub removed: usize,
}

pub struct Maps {
    peers: LpmTrie<MapData, u32, u32>,
    counts: PerCpuHashMap<MapData, u32, Count>,
    programmed: HashMap<MapData, u32, u32>,
    events: PerCpuArray<MapData, u64>,
    ports: HashMap<MapData, PortKey, u32>,
    state: Array<MapData, State>,
}

impl Maps {
    pub fn take(object: &mut Ebpf) -> Result<Self, EbpfError> {
        Ok(Self {
            peers: take(object, "peers")?,
            counts: take(object, "counts")?,
            programmed: take(object, "programmed")?,
            events: take(object, "events")?,
            ports: take(object, "ports")?,
            state: take(object, "state")?,
        })
    }

    pub fn state(&self) -> Result<State, EbpfError> {
        self.state.get(&0, 0).map_err(map_error("read", "state"))
    }

    pub fn set_state(&mut self, state: State) -> Result<(), EbpfError> {
        self.state.set(0, state, 0).map_err(map_error("write", "state"))
    }

    /// Makes the leases those of `want`, writing only differences. A lease that stays or changes its
    /// peer is never absent meanwhile.
    pub fn set_peers(&mut self, want: &BTreeMap<Ipv4Net, Ipv4Addr>) -> Result<PeerDelta, EbpfError> {
        if want.len() > MAX_LEASES {
            return Err(EbpfError::TooManyLeases { have: want.len(), max: MAX_LEASES });
        }
        // Two spellings of one network (host bits set) are one lease, as they are one key.
        let want: BTreeMap<Ipv4Net, Ipv4Addr> = want.iter().map(|(net, peer)| (net.trunc(), *peer)).collect();
        let have = self.peers()?;
        let mut delta = PeerDelta::default();

        // Leases that go make room first; who may send is known before anything arrives.
        for net in have.keys().filter(|net| !want.contains_key(net)) {
            self.peers
                .remove(&key(*net))
                .or_else(ignore_absent)
                .map_err(map_error("delete from", "peers"))?;
            delta.removed += 1;
        }
        let want_senders: BTreeSet<Ipv4Addr> = want.values().copied().collect();
        let have_senders = self.senders()?;
        for gone in have_senders.difference(&want_senders) {
            self.counts
                .remove(&be(*gone))
                .or_else(ignore_absent)
                .map_err(map_error("delete from", "counts"))?;
            self.programmed
                .remove(&be(*gone))
                .or_else(ignore_absent)
                .map_err(map_error("delete from", "programmed"))?;
        }
        for new in want_senders.difference(&have_senders) {
            self.credit(*new, 0)?;
            write("counts", || self.counts.insert(be(*new), zero_count()?, 0))?;
        }
        for (net, peer) in &want {
            match have.get(net) {
                Some(old) if old == peer => continue,
                Some(_) => delta.changed += 1,
                None => delta.added += 1,
            }
            write("peers", || self.peers.insert(&key(*net), be(*peer), 0))?;
        }
        Ok(delta)
    }

    /// Takes one credit from every peer that has any.
    pub fn age(&mut self) -> Result<(), EbpfError> {
        let credits: Vec<(u32, u32)> =
            self.programmed.iter().collect::<Result<_, _>>().map_err(map_error("read", "programmed"))?;
        // A packet that shows a peer meanwhile is followed by others.
        for (peer, credit) in credits.into_iter().filter(|(_, credit)| *credit > 0) {
            self.credit(address(peer), credit - 1)?;
        }
        Ok(())
    }

    /// The peers with credit.
    pub fn trusted(&self) -> Result<BTreeSet<Ipv4Addr>, EbpfError> {
        let credits = self.programmed.iter().map(|entry| entry.map_err(map_error("read", "programmed")));
        credits
            .filter_map(|entry| match entry {
                Ok((_, 0)) => None,
                Ok((peer, _)) => Some(Ok(address(peer))),
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    /// Says of all peers that they have the programs.
    pub fn vouch(&mut self) -> Result<(), EbpfError> {
        self.senders()?.into_iter().try_for_each(|peer| self.credit(peer, CREDIT))
    }

    fn credit(&mut self, peer: Ipv4Addr, credit: u32) -> Result<(), EbpfError> {
        write("programmed", || self.programmed.insert(be(peer), credit, 0))
    }

    /// Makes the addresses behind the bridge's ports those of `want`, as far as the map holds them.
    pub fn set_ports(&mut self, want: &BTreeMap<[u8; 6], u32>) -> Result<(), EbpfError> {
        let want: BTreeMap<PortKey, u32> =
            want.iter().take(MAX_PORTS).map(|(mac, port)| (port_key(*mac), *port)).collect();
        let have: BTreeMap<PortKey, u32> =
            self.ports.iter().collect::<Result<_, _>>().map_err(map_error("read", "ports"))?;
        for gone in have.keys().filter(|mac| !want.contains_key(*mac)) {
            self.ports.remove(gone).or_else(ignore_absent).map_err(map_error("delete from", "ports"))?;
        }
        for (mac, port) in want.iter().filter(|(mac, port)| have.get(*mac) != Some(*port)) {
            write("ports", || self.ports.insert(mac, port, 0))?;
        }
        Ok(())
    }

    /// The leases as they are in the map.
    pub fn peers(&self) -> Result<BTreeMap<Ipv4Net, Ipv4Addr>, EbpfError> {
        self.peers
            .iter()
            .map(|entry| {
                let (key, peer) = entry.map_err(map_error("read", "peers"))?;
                let len = u8::try_from(key.prefix_len()).unwrap_or(32).min(32);
                Ok((Ipv4Net::new_assert(address(key.data()), len), address(peer)))
            })
            .collect()
    }

    pub fn counters(&self) -> Result<Counters, EbpfError> {
        let mut counters = Counters::default();
        for entry in self.counts.iter() {
            let (peer, counts) = entry.map_err(map_error("read", "counts"))?;
            counters.peers.insert(address(peer), sum(&counts));
        }
        for reason in DropReason::ALL {
            counters.drops.insert(*reason, self.events_of(*reason as u32)?);
        }
        for reason in UserReason::ALL {
            counters.to_user.insert(*reason, self.events_of(*reason as u32)?);
        }
        Ok(counters)
    }

    fn senders(&self) -> Result<BTreeSet<Ipv4Addr>, EbpfError> {
        self.counts.keys().map(|key| key.map(address).map_err(map_error("read", "counts"))).collect()
    }

    fn events_of(&self, index: u32) -> Result<u64, EbpfError> {
        let counts = self.events.get(&index, 0).map_err(map_error("read", "events"))?;
        Ok(counts.iter().sum())
    }
}

fn sum(counts: &PerCpuValues<Count>) -> PeerCounters {
    counts.iter().fold(PeerCounters::default(), |all, one| PeerCounters {
        tx_packets: all.tx_packets + one.tx_packets,
        tx_bytes: all.tx_bytes + one.tx_bytes,
        rx_packets: all.rx_packets + one.rx_packets,
        rx_bytes: all.rx_bytes + one.rx_bytes,
    })
}

fn zero_count() -> Result<PerCpuValues<Count>, MapError> {
    let cpus = aya::util::nr_cpus().map_err(|(_, source)| source)?;
    Ok(PerCpuValues::try_from(vec![Count::default(); cpus])?)
}

fn port_key([a, b, c, d, e, f]: [u8; 6]) -> PortKey {
    [a, b, c, d, e, f, 0, 0]
}

fn key(net: Ipv4Net) -> Key<u32> {
    Key::new(u32::from(net.prefix_len()), be(net.network()))
}

/// The pinned state, if there is one that can be read.
pub fn pinned_state(pin_dir: &Path) -> Option<State> {
    let map = MapData::from_pin(pin_dir.join("state")).ok()?;
    let map = Array::<_, State>::try_from(aya::maps::Map::Array(map)).ok()?;
    map.get(&0, 0).ok()
}
