//! flannel's udp overlay in the kernel: its programs, their maps, and what outlives the daemon.
//!
//! Begin at [`Overlay`]; [`probe()`] says beforehand whether this machine can run it.
//! Never: decides which lease exists, opens the tun or the socket, knows flanneld's configuration.

mod counters;
mod maps;
mod probe;
mod programs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use ipnet::Ipv4Net;

use crate::error::{EbpfError, Unsupported};
use crate::hook::{Hook, HookKind, interface_name, program_id};
use crate::layout::{Config, LAYOUT, State};
use crate::maps::be;
use crate::pins;
use crate::sys;
use maps::{Maps, pinned_state};
use programs::{DECAP, ENCAP, OBJECT, PORTS};

pub use counters::{Counters, DropReason, PeerCounters, UserReason};
pub use maps::{MAX_LEASES, PeerDelta};
pub use probe::probe;

/// For tests that run one program on one packet: the object and the layouts of its maps.
#[doc(hidden)]
pub mod raw {
    pub use crate::layout::{Config, State};

    pub static ELF: &[u8] = super::OBJECT.elf;
}

/// Link types (ARPHRD_*) of an underlay, and how much MAC header their packets have.
const ETHER: u16 = 1;
const LOOPBACK: u16 = 772;
const NONE: u16 = 0xfffe;

/// What the overlay is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Interface index of flannel0, a layer 3 TUN. It should have TUN_F_CSUM (TUNSETOFFLOAD): without
    /// it the kernel leaves UDP segments of the node's own programs without a checksum to complete, and
    /// then loses them when their headers move (6.18). Packets of pods are not concerned.
    pub tun: u32,
    /// Interface index on which the peers' packets arrive.
    pub underlay: u32,
    /// Our address there: source of what we send, destination of what we take.
    pub local: Ipv4Addr,
    /// UDP port, ours and the peers'.
    pub port: u16,
    /// Refuse an inner source that is not in the sender's lease.
    pub check_source: bool,
    /// A folder of our own on a BPF file system.
    pub pin_dir: PathBuf,
}

/// The bridge of the node's pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its interface index.
    pub index: u32,
    /// Interface index of the port behind which a MAC address is; without the host's own addresses.
    pub ports: BTreeMap<[u8; 6], u32>,
}

/// The running overlay. Dropping it leaves programs, links and maps in place and at work.
pub struct Overlay {
    spec: Spec,
    kind: HookKind,
    object: Ebpf,
    maps: Maps,
    /// Where [`PORTS`] belongs, if anywhere.
    bridge: Option<u32>,
}

impl Overlay {
    /// Loads and attaches the programs.
    ///
    /// What is pinned in `spec.pin_dir` with the same layout and for the same interfaces is taken over:
    /// maps stay, programs are replaced in one step, no packet is lost. Anything else there is removed
    /// first. Until the first [`Self::set_peers`] on new maps every packet goes to user space.
    /// Interfaces are looked up in the calling thread's network namespace.
    pub fn open(spec: &Spec) -> Result<Self, EbpfError> {
        let kind = HookKind::best(&interface_name(spec.underlay)?);
        Self::open_with(spec, kind)
    }

    /// [`Self::open`] with a kind of hook that the caller chooses.
    pub fn open_with(spec: &Spec, kind: HookKind) -> Result<Self, EbpfError> {
        let config = config(spec)?;
        pins::create(&spec.pin_dir)?;
        let fresh = State { layout: LAYOUT, tun: spec.tun, underlay: spec.underlay, ready: 0, bridge: 0 };
        let have = pinned_state(&spec.pin_dir);
        let take_over = have.is_some_and(|have| State { ready: 0, bridge: 0, ..have } == fresh);
        if !take_over {
            detach_and_unpin(&spec.pin_dir)?;
            pins::create(&spec.pin_dir)?;
        }
        let mut object = OBJECT.load(&config, Some(&spec.pin_dir))?;
        let mut maps = Maps::take(&mut object)?;
        if !take_over {
            maps.set_state(fresh)?;
        }
        let mut overlay = Self { spec: spec.clone(), kind, object, maps, bridge: None };
        overlay.reattach()?;
        if let Some(have) = have.filter(|have| take_over && have.bridge != 0) {
            overlay.bridge = Some(have.bridge);
            // Gone with its interface, perhaps; then there is nothing to replace.
            match interface_name(have.bridge) {
                Ok(_) => overlay.attach_ports(have.bridge)?,
                Err(_) => overlay.sync_bridge(None)?,
            }
        }
        tracing::debug!(?kind, take_over, pin_dir = %spec.pin_dir.display(), "overlay programs attached");
        Ok(overlay)
    }

    /// What it was opened with.
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// How its programs are attached.
    pub const fn kind(&self) -> HookKind {
        self.kind
    }

    /// Makes the peers' leases (inner network to public address) those of `want`, writing only
    /// differences. Never hand in our own lease. From now on unknown senders are dropped.
    pub fn set_peers(&mut self, want: &BTreeMap<Ipv4Net, Ipv4Addr>) -> Result<PeerDelta, EbpfError> {
        let delta = self.maps.set_peers(want)?;
        let state = self.maps.state()?;
        if state.ready == 0 {
            self.maps.set_state(State { ready: 1, ..state })?;
        }
        Ok(delta)
    }

    /// Lets a little of the trust in silent peers go; to be called every 20 seconds or so. A peer counts as one
    /// with these programs from the first packet that shows it, and for three of these calls after the last;
    /// to every other peer user space sends (`c/overlay/maps.h`, `programmed`, says why).
    pub fn age(&mut self) -> Result<(), EbpfError> {
        self.maps.age()
    }

    /// The peers that count as having these programs now.
    pub fn trusted(&self) -> Result<BTreeSet<Ipv4Addr>, EbpfError> {
        self.maps.trusted()
    }

    /// Trusts all peers now, unseen: for tests and measurements of the programs without a socket beside them.
    pub fn vouch(&mut self) -> Result<(), EbpfError> {
        self.maps.vouch()
    }

    /// Names the bridge of the node's pods, and which of them is behind which port: call it again
    /// whenever the bridge's forwarding table has changed (RTNLGRP_NEIGH, PF_BRIDGE). TCP packets that
    /// come unsplit from a virtual underlay then reach their pod unsplit; `c/overlay/ports.h` says why that is
    /// not so otherwise. Leaving it out costs throughput there and nothing else. `None` undoes it.
    pub fn sync_bridge(&mut self, bridge: Option<&Bridge>) -> Result<(), EbpfError> {
        let index = bridge.map(|bridge| bridge.index);
        if self.bridge != index {
            if let Some(old) = self.bridge.take() {
                self.ports_hook(old).detach(&self.spec.pin_dir)?;
            }
            let state = self.maps.state()?;
            self.maps.set_state(State { bridge: index.unwrap_or(0), ..state })?;
        }
        let Some(bridge) = bridge else {
            return self.maps.set_ports(&BTreeMap::new());
        };
        self.maps.set_ports(&bridge.ports)?;
        self.attach_ports(bridge.index)
    }

    fn attach_ports(&mut self, bridge: u32) -> Result<(), EbpfError> {
        let hook = self.ports_hook(bridge);
        let id = program_id(&mut self.object, hook.program)?;
        if !hook.is_attached(id, &self.spec.pin_dir)? {
            hook.attach(&mut self.object, &self.spec.pin_dir)?;
        }
        self.bridge = Some(bridge);
        Ok(())
    }

    /// The peers' leases as the kernel has them.
    pub fn peers(&self) -> Result<BTreeMap<Ipv4Net, Ipv4Addr>, EbpfError> {
        self.maps.peers()
    }

    /// Everything counted so far. Survives a restart.
    pub fn counters(&self) -> Result<Counters, EbpfError> {
        self.maps.counters()
    }

    /// Whether every program is where it belongs.
    pub fn attached(&mut self) -> Result<bool, EbpfError> {
        for hook in self.hooks() {
            let id = program_id(&mut self.object, hook.program)?;
            if !hook.is_attached(id, &self.spec.pin_dir)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether its maps are where the next daemon looks for them.
    pub fn pinned(&self) -> bool {
        OBJECT.maps.iter().all(|map| self.spec.pin_dir.join(map).exists())
    }

    /// Attaches what is not attached, and replaces what is.
    pub fn reattach(&mut self) -> Result<(), EbpfError> {
        for hook in self.hooks() {
            hook.attach(&mut self.object, &self.spec.pin_dir)?;
        }
        Ok(())
    }

    fn hooks(&self) -> Vec<Hook> {
        hooks(self.kind, self.spec.tun, self.spec.underlay, self.bridge)
    }

    const fn ports_hook(&self, bridge: u32) -> Hook {
        Hook { kind: self.kind, program: PORTS, ifindex: bridge }
    }
}

/// Detaches all programs and removes every pin of ours, then the folder when it is empty. Objects of
/// others stay, the clsact qdiscs too. That nothing is there is no error.
pub fn detach_and_unpin(pin_dir: &Path) -> Result<(), EbpfError> {
    if let Some(state) = pinned_state(pin_dir) {
        let bridge = (state.bridge != 0).then_some(state.bridge);
        for hook in hooks(HookKind::Tcx, state.tun, state.underlay, bridge) {
            hook.detach(pin_dir)?;
        }
    }
    for program in OBJECT.programs {
        pins::remove_link(pin_dir, *program)?;
    }
    for map in OBJECT.maps {
        pins::remove(&pin_dir.join(map))?;
    }
    // Somebody else's pin in there keeps the folder; that is theirs to say.
    let _ = fs::remove_dir(pin_dir);
    Ok(())
}

/// Decapsulation begins after encapsulation, so that what it lets in can be answered.
fn hooks(kind: HookKind, tun: u32, underlay: u32, bridge: Option<u32>) -> Vec<Hook> {
    let places = [(ENCAP, Some(tun)), (DECAP, Some(underlay)), (PORTS, bridge)];
    let hook = |(program, place): (_, Option<u32>)| Some(Hook { kind, program, ifindex: place? });
    places.into_iter().filter_map(hook).collect()
}

fn config(spec: &Spec) -> Result<Config, EbpfError> {
    let mac_len = |index| {
        let name = interface_name(index)?;
        let link_type = sys::link_type(&name).map_err(|source| EbpfError::Interface {
            op: "read the link type of",
            index,
            source,
        })?;
        match link_type {
            ETHER | LOOPBACK => Ok(14),
            NONE => Ok(0),
            _ => Err(EbpfError::from(Unsupported::LinkType { name, link_type })),
        }
    };
    Ok(Config {
        tun: spec.tun,
        underlay: spec.underlay,
        local_be: be(spec.local),
        port_be: spec.port.to_be(),
        check_source: spec.check_source.into(),
        tun_mac_len: mac_len(spec.tun)?,
        underlay_mac_len: mac_len(spec.underlay)?,
        pad: [0; 3],
    })
}
