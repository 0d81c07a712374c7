//! The whole data path: TUN, socket, threads and packet programs, made, mended and removed together.

use super::choice::{Chosen, InUse, choose};
use super::counters::{NodeCounter, UdpCounters};
use super::error::UdpError;
use super::routes::SharedRoutes;
use super::shared::Shared;
use super::simple::Simple;
use super::socket;
use super::spec::UdpSpec;
use ebpf::EbpfError;
use ebpf::overlay::{Bridge, Overlay};
use host::HostError;
use host::tun::{self, Tun};
use ipnet::Ipv4Net;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::net::if_::if_nametoindex;
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use telemetry::logs::chain;

/// Where a BPF file system is mounted by convention; pins lie in a folder below.
const BPFFS: &str = "/sys/fs/bpf";
/// How often [`UdpPath::age`] is due. A peer that was swapped for one in user space is sent to from user space
/// after its first packet, or three of these after its last.
pub const AGING: Duration = Duration::from_secs(20);
/// How long an old holder may take to let go.
const RELEASE: Duration = Duration::from_millis(500);

/// A running data path. Dropping it ends the threads and leaves the TUN, and the programs with their maps, in place:
/// with `ebpf` they go on carrying packets.
pub struct UdpPath {
    spec: UdpSpec,
    chosen: Chosen,
    leases: BTreeMap<Ipv4Net, Ipv4Addr>,
    routes: Arc<SharedRoutes>,
    counters: Arc<NodeCounter>,
    parts: Parts,
}

/// What is made again when the TUN or the socket is lost.
struct Parts {
    /// Interface index of the TUN.
    index: u32,
    overlay: Option<Overlay>,
    threads: Simple,
}

/// Makes the data path where there is none, makes it again where `moved` says that `spec` has changed, or mends it.
/// True if something was done.
pub fn ensure(path: &mut Option<UdpPath>, spec: &UdpSpec, moved: bool) -> Result<bool, UdpError> {
    match path {
        Some(path) if !moved => path.heal(),
        _ => {
            // The old one lets go of the TUN and the port first.
            let leases = path.take().map(|old| old.leases);
            let new = path.insert(UdpPath::start(spec)?);
            leases.map_or(Ok(()), |leases| new.set_peers(&leases))?;
            Ok(true)
        }
    }
}

impl UdpPath {
    /// Makes the TUN or adopts it, binds the socket, attaches the packet programs where they are wanted and possible,
    /// and begins to move packets. There are no peers before [`Self::set_peers`], unless the programs still
    /// know those of before a restart.
    ///
    /// Interfaces are those of the calling thread's network namespace.
    pub fn start(spec: &UdpSpec) -> Result<Self, UdpError> {
        let (routes, counters) = (Arc::default(), Arc::default());
        let (chosen, parts) = make(spec, &routes, &counters)?;
        Ok(Self { spec: spec.clone(), chosen, leases: BTreeMap::new(), routes, counters, parts })
    }

    /// Makes the peers those of `leases`: subnet to public address, never our own lease. Packets in flight are not held up.
    pub fn set_peers(&mut self, leases: &BTreeMap<Ipv4Net, Ipv4Addr>) -> Result<(), UdpError> {
        if self.leases != *leases {
            self.routes.set(leases);
            self.leases.clone_from(leases);
        }
        if let Some(overlay) = &mut self.parts.overlay {
            overlay.set_peers(leases)?;
        }
        Ok(())
    }

    /// Whether TUN, threads and programs are all there.
    pub fn healthy(&mut self) -> bool {
        self.whole() && self.attached()
    }

    /// Mends what is broken: a TUN that somebody has deleted or a lost socket by making all again, programs that somebody has
    /// detached by attaching them. True if something was done. Counters of packets in user space go on.
    pub fn heal(&mut self) -> Result<bool, UdpError> {
        if !self.whole() {
            return self.make_anew().map(|()| true);
        }
        if self.attached() {
            return Ok(false);
        }
        tracing::warn!(device = self.spec.device, "attaching the packet programs again");
        let again = self.parts.overlay.as_mut().map_or(Ok(()), Overlay::reattach);
        if let Err(error) = again {
            // Their pins have gone, too, perhaps.
            tracing::warn!(error = chain(&error), "the packet programs cannot be attached as they are");
            self.make_anew()?;
        }
        Ok(true)
    }

    fn make_anew(&mut self) -> Result<(), UdpError> {
        tracing::warn!(device = self.spec.device, "making the udp data path again");
        // The old threads hold the port and the TUN.
        self.parts.threads.stop();
        let (chosen, parts) = make(&self.spec, &self.routes, &self.counters)?;
        (self.chosen, self.parts) = (chosen, parts);
        self.parts.overlay.as_mut().map_or(Ok(()), |overlay| overlay.set_peers(&self.leases).map(drop))?;
        Ok(())
    }

    fn whole(&self) -> bool {
        let there = if_nametoindex(self.spec.device.as_str()) == Ok(self.parts.index);
        // Programs whose maps are no longer pinned still carry packets, but not over the next restart.
        let pinned = self.parts.overlay.as_ref().is_none_or(Overlay::pinned);
        there && pinned && self.parts.threads.running()
    }

    fn attached(&mut self) -> bool {
        self.parts.overlay.as_mut().is_none_or(|overlay| {
            overlay.attached().unwrap_or_else(|error| {
                tracing::debug!(%error, "cannot see whether the packet programs are attached");
                false
            })
        })
    }

    /// What has been counted: in user space since the start, by the packet programs since their maps were made.
    pub fn counters(&self) -> UdpCounters {
        let mut counters = UdpCounters {
            peers: self.routes.counts(),
            drops: self.counters.drops(),
            icmp_sent: self.counters.icmp_sent.load(Relaxed),
            icmp_suppressed: self.counters.icmp_suppressed.load(Relaxed),
            to_user: BTreeMap::new(),
        };
        match self.parts.overlay.as_ref().map(Overlay::counters) {
            Some(Ok(kernel)) => counters.add(&kernel),
            Some(Err(error)) => tracing::warn!(%error, "cannot read the counters of the packet programs"),
            None => {}
        }
        counters
    }

    /// Tells the packet programs where the pods' bridge is, and which pod is behind which of its ports; to be called
    /// after each look, since pods come and go. Without it pods get the same packets, at less throughput.
    pub fn sync_bridge(&mut self, bridge: Option<&Bridge>) {
        if let Some(Err(error)) = self.parts.overlay.as_mut().map(|overlay| overlay.sync_bridge(bridge)) {
            tracing::debug!(error = chain(&error), "packets reach the pods' bridge in segments");
        }
    }

    /// Whether [`UdpPath::sync_bridge`] does anything.
    pub fn follows_bridge(&self) -> bool {
        self.parts.overlay.is_some()
    }

    /// Lets a little of the trust in silent peers go (see [`Overlay::age`]); to be called every [`AGING`].
    pub fn age(&mut self) {
        if let Some(Err(error)) = self.parts.overlay.as_mut().map(Overlay::age) {
            tracing::debug!(error = chain(&error), "silent peers stay trusted");
        }
    }

    /// The data path in use, and why it is that one.
    pub fn datapath(&self) -> &Chosen {
        &self.chosen
    }

    /// What it was made from.
    pub fn spec(&self) -> &UdpSpec {
        &self.spec
    }

    /// Removes the programs and maps that a data path leaves pinned. That nothing is there is no error.
    pub fn remove_pins(pin_dir: &Path) -> Result<(), UdpError> {
        Ok(ebpf::overlay::detach_and_unpin(pin_dir)?)
    }

    /// Removes the TUN that a data path leaves behind. That it is not there is no error; that a running flanneld still
    /// has it is one.
    pub fn remove_tun(device: &str) -> Result<(), UdpError> {
        tun::remove(device).map(drop).map_err(UdpError::Tun)
    }
}

impl fmt::Debug for UdpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpPath")
            .field("spec", &self.spec)
            .field("chosen", &self.chosen)
            .field("tun", &self.parts.index)
            .field("leases", &self.leases.len())
            .finish_non_exhaustive()
    }
}

/// Chooses the data path and makes its parts. The TUN is opened for the choice, as the programs need it.
fn make(
    spec: &UdpSpec,
    routes: &Arc<SharedRoutes>,
    counters: &Arc<NodeCounter>,
) -> Result<(Chosen, Parts), UdpError> {
    // First what fails most often, and disturbs nobody when it does.
    let socket =
        patiently(|| socket::bind(spec.endpoint()), |error| error.kind() == std::io::ErrorKind::AddrInUse)
            .map_err(|source| UdpError::Socket { local: spec.endpoint(), source })?;

    let mut tried = None;
    let chosen = choose(
        spec.datapath,
        || {
            tried = Some(with_programs(spec)?);
            Ok(())
        },
        describe,
    )
    .map_err(|error| match error {
        Attempt::Tun(error) => UdpError::Tun(error),
        Attempt::Ebpf(error) => UdpError::Unsupported(error),
    })?;
    let (tun, overlay) = match tried {
        Some((tun, overlay)) => (tun, Some(overlay)),
        None => (without_programs(spec)?, None),
    };

    if overlay.is_some() {
        // Peers take this for the mark of a node with the programs, whichever way a packet takes here.
        host::sockets::leave_checksum_out(&socket)
            .map_err(|source| UdpError::Socket { local: spec.endpoint(), source })?;
    }
    let index = tun.index().map_err(UdpError::Tun)?;
    hear_ourselves(&spec.device);
    let threads = Simple::start(Shared {
        tun: nonblocking(tun.into_fd())?,
        socket,
        vnet_hdr: chosen.datapath == InUse::Ebpf,
        tun_address: spec.tun_address(),
        mtu: spec.mtu as usize,
        port: spec.port,
        check_source: spec.check_source,
        routes: routes.clone(),
        counters: counters.clone(),
    })
    .map_err(UdpError::Threads)?;
    tracing::info!(datapath = %chosen.datapath, why = chosen.why, device = spec.device, local = %spec.endpoint(), "udp data path");
    Ok((chosen, Parts { index, overlay, threads }))
}

/// Why the packet programs do not run.
enum Attempt {
    Tun(HostError),
    Ebpf(EbpfError),
}

fn describe(attempt: &Attempt) -> String {
    match attempt {
        Attempt::Tun(error) => chain(error),
        Attempt::Ebpf(error) => chain(error),
    }
}

/// The TUN hands over segments unsplit, and the programs sit before it.
fn with_programs(spec: &UdpSpec) -> Result<(Tun, Overlay), Attempt> {
    let open = || -> Result<_, EbpfError> {
        ebpf::overlay::probe()?;
        let below = Path::new(BPFFS);
        let mount =
            if spec.pin_dir.starts_with(below) { below } else { spec.pin_dir.parent().unwrap_or(below) };
        ebpf::ensure_bpffs(mount)
    };
    open().map_err(Attempt::Ebpf)?;
    let tun = open_tun(&tun::Options {
        vnet_hdr: true,
        offload: true,
        persistent: true,
        ..tun::Options::new(&spec.device)
    })
    .map_err(Attempt::Tun)?;
    let overlay = ebpf::overlay::Spec {
        tun: tun.index().map_err(Attempt::Tun)?,
        underlay: spec.underlay,
        local: spec.local,
        port: spec.port,
        check_source: spec.check_source,
        pin_dir: spec.pin_dir.clone(),
    };
    Ok((
        tun,
        patiently(|| Overlay::open(&overlay), |error| matches!(error, EbpfError::Program { .. }))
            .map_err(Attempt::Ebpf)?,
    ))
}

/// Tries again for a while what an old holder stands in the way of: the kernel lets go of a program some time after its
/// pin was removed, and a child of ours, between fork and exec, has our old TUN and socket.
fn patiently<T, E>(mut attempt: impl FnMut() -> Result<T, E>, held: impl Fn(&E) -> bool) -> Result<T, E> {
    let end = Instant::now() + RELEASE;
    loop {
        match attempt() {
            Err(error) if held(&error) && Instant::now() < end => std::thread::sleep(RELEASE / 50),
            done => return done,
        }
    }
}

fn open_tun(options: &tun::Options) -> Result<Tun, HostError> {
    patiently(|| Tun::open(options), |error| error.errno() == Some(libc::EBUSY))
}

/// A plain TUN, as flannel has it. Programs of an earlier run would go on with leases that nobody renews.
fn without_programs(spec: &UdpSpec) -> Result<Tun, UdpError> {
    if let Err(error) = ebpf::overlay::detach_and_unpin(&spec.pin_dir) {
        tracing::warn!(error = chain(&error), pin_dir = %spec.pin_dir.display(), "packet programs of an earlier run may still be attached");
    }
    open_tun(&tun::Options { persistent: true, ..tun::Options::new(&spec.device) }).map_err(UdpError::Tun)
}

/// Our ICMP errors come out of the TUN with the TUN's own address as their source, as flannel's do. The kernel takes a
/// packet from one of its own addresses for a forgery and drops it, flannel's errors included (seen on 6.18),
/// unless the interface may. What peers forge is dropped before it gets there.
fn hear_ourselves(device: &str) {
    let key = format!("net/ipv4/conf/{device}/accept_local");
    if let Err(error) = host::sysctl::ensure(&key, "1") {
        tracing::warn!(
            error = chain(&error),
            "pods will not hear of unreachable destinations: set {key} to 1"
        );
    }
}

fn nonblocking(fd: OwnedFd) -> Result<OwnedFd, UdpError> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|errno| UdpError::Threads(errno.into()))?;
    Ok(fd)
}
