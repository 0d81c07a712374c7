//! Every pod to every pod, to every node, and back: does each kind of traffic get through?
//!
//! Begin at [`check`]. The probes are sockets of this process that were opened inside the namespaces; nothing is
//! started there.

pub(crate) mod probe;
mod report;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use host::netns::Namespace;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::error::LabError;
use crate::lab::Lab;

pub use report::render;

/// How many pairs are probed at the same time.
const AT_ONCE: usize = 16;

/// Bytes of a ping that is not meant to be large.
const SMALL: usize = 64;
/// How long a ping may take that is timed.
const PROMPT: Duration = Duration::from_millis(100);
/// After so many late ones a time is of no interest.
const GIVE_UP: usize = 5;

impl Lab {
    /// Every pod to every pod and node, and back, by every probe, once.
    ///
    /// # Errors
    /// The probes could not be made. A pair that does not get through is a result, not an error.
    pub fn check(&self) -> Result<Vec<PairResult>, LabError> {
        check(self)
    }

    /// [`Lab::check`], again and again until all get through or the limit is over; the last results. Peers hear of
    /// each other a moment after they are ready.
    ///
    /// # Errors
    /// As [`Lab::check`].
    pub fn check_within(&self, limit: Duration) -> Result<Vec<PairResult>, LabError> {
        let deadline = Instant::now() + limit;
        loop {
            let results = self.check()?;
            if Instant::now() >= deadline || results.iter().all(PairResult::passed) {
                return Ok(results);
            }
        }
    }
}

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// An ICMP echo of 64 bytes.
    Ping,
    /// 64 KiB there and back over one connection.
    Tcp,
    /// A datagram of 8000 bytes there and back: it travels in fragments.
    Udp,
    /// An ICMP echo as large as the pod's MTU, with "don't fragment".
    Mtu,
}

impl Probe {
    pub const ALL: [Self; 4] = [Self::Ping, Self::Tcp, Self::Udp, Self::Mtu];

    /// As tables name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Mtu => "mtu",
        }
    }
}

/// How a probe ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The answer came, after this many microseconds.
    Passed(u64),
    /// It did not, and why.
    Failed(String),
}

/// What got through from one end to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairResult {
    /// `n1-p1`, or `n1` for a node.
    pub from: String,
    pub to: String,
    /// The address that was tried: each pair is tried by each family that both ends have.
    pub address: IpAddr,
    /// All of [`Probe::ALL`], but no large datagram from a pod to a node by IPv6.
    pub probes: BTreeMap<Probe, Outcome>,
}

impl PairResult {
    /// Whether all of it got through.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// What did not get through, with the reason.
    pub fn failures(&self) -> impl Iterator<Item = (Probe, &str)> {
        self.probes.iter().filter_map(|(probe, outcome)| match outcome {
            Outcome::Failed(reason) => Some((*probe, reason.as_str())),
            Outcome::Passed(_) => None,
        })
    }

    /// The time of the ping, if it came back.
    pub fn round_trip(&self) -> Option<Duration> {
        match self.probes.get(&Probe::Ping) {
            Some(Outcome::Passed(micros)) => Some(Duration::from_micros(*micros)),
            _ => None,
        }
    }
}

/// A pod or a node.
#[derive(Clone, Debug)]
struct End {
    name: String,
    is_pod: bool,
    namespace: Namespace,
    addresses: Vec<IpAddr>,
    /// The largest packet that it may send into the pod network.
    mtu: Option<u32>,
}

/// One pair to try.
#[derive(Clone, Debug)]
struct Pair {
    from: End,
    to: End,
    address: IpAddr,
    mtu: u32,
}

impl Pair {
    /// From a pod to a node's IPv6 address, which the pod's node masquerades. The node answers a large datagram in
    /// fragments of the underlay's MTU, is told that they are too big for the pod, and believes from then on that the
    /// path to the pod's node is that narrow: a VXLAN tunnel over that path then has no room for full-sized packets
    /// (seen with kernel 6.18). So this datagram is not sent.
    fn leaves_the_overlay_by_ipv6(&self) -> bool {
        !self.to.is_pod && self.address.is_ipv6()
    }
}

/// Tries every pair, a few at a time. Blocks.
///
/// # Errors
/// Pods that are not connected, or a socket that cannot be made. What does not get through is a result.
pub fn check(lab: &Lab) -> Result<Vec<PairResult>, LabError> {
    let ends = ends(lab)?;
    let pairs = pairs(&ends);
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(LabError::io("start", "the probes"))?;
        runtime.block_on(all(&ends, pairs))
    };
    // A thread of its own, so that a caller inside an async runtime may call this as well.
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(results) => results,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

async fn all(ends: &[End], pairs: Vec<Pair>) -> Result<Vec<PairResult>, LabError> {
    let mut servers = BTreeMap::new();
    for end in ends {
        for &address in &end.addresses {
            servers.insert(address, probe::serve(&end.namespace, address).map_err(probe::cannot(&end.name))?);
        }
    }
    let times = round_trips(&pairs).await?;
    let servers = Arc::new(servers);
    let mut results = round(&servers, pairs.iter().cloned().zip(times)).await?;
    let failed: Vec<usize> = (0..results.len()).filter(|&i| !results[i].passed()).collect();
    // A few that fail among many may have met a busy machine; where much fails there is no doubt.
    if failed.len() * 4 < results.len() {
        let again = round(&servers, failed.iter().map(|&i| (pairs[i].clone(), None))).await?;
        for (i, result) in failed.into_iter().zip(again) {
            results[i] = result;
        }
    }
    Ok(results)
}

/// Tries pairs, a few at a time, except for the ping of those whose ping has been timed. The results are in the order
/// of the pairs.
async fn round(
    servers: &Arc<BTreeMap<IpAddr, probe::Ports>>,
    pairs: impl Iterator<Item = (Pair, Option<Duration>)>,
) -> Result<Vec<PairResult>, LabError> {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let start = |(pair, time): (Pair, Option<Duration>)| {
        let (servers, slots) = (Arc::clone(servers), Arc::clone(&slots));
        tokio::spawn(async move {
            // The semaphore is never closed; without a permit the pair would only be tried earlier.
            let _slot = slots.acquire().await;
            let ports = servers.get(&pair.address).copied().unwrap_or_default();
            try_pair(pair, ports, time).await
        })
    };
    let tasks: Vec<_> = pairs.map(start).collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        match task.await {
            Ok(result) => results.push(result?),
            Err(error) => {
                return Err(LabError::Protocol { what: "a probe".to_owned(), reason: error.to_string() });
            }
        }
    }
    Ok(results)
}

/// Times a ping of each pair while nothing else is going on. None where the answer is late: that pair is tried again,
/// with more patience, among the others. After [`GIVE_UP`] of them nothing more is timed.
async fn round_trips(pairs: &[Pair]) -> Result<Vec<Option<Duration>>, LabError> {
    let mut times = Vec::with_capacity(pairs.len());
    let mut late = 0;
    for pair in pairs {
        let mut best = None;
        if late < GIVE_UP {
            let socket = probe::open_ping(&pair.from.namespace, pair.address);
            let socket = socket.map_err(probe::cannot(&pair.from.name))?;
            // The first one may wait for a neighbour to be found.
            for _ in 0..2 {
                let time = tokio::time::timeout(PROMPT, probe::echo(&socket, pair.address, SMALL)).await;
                best = time.ok().and_then(Result::ok).into_iter().chain(best).min();
            }
            late += usize::from(best.is_none());
        }
        times.push(best);
    }
    Ok(times)
}

async fn try_pair(pair: Pair, ports: probe::Ports, time: Option<Duration>) -> Result<PairResult, LabError> {
    let sockets = probe::Sockets::open(&pair.from.namespace, pair.address);
    let sockets = sockets.map_err(probe::cannot(&pair.from.name))?;
    let large = pair.mtu as usize;
    let ping = async {
        match time {
            Some(time) => Ok(time),
            None => probe::echo(&sockets.ping, pair.address, SMALL).await,
        }
    };
    let udp = async {
        match pair.leaves_the_overlay_by_ipv6() {
            true => None,
            false => Some(probe::udp(sockets.udp, (pair.address, ports.udp).into()).await),
        }
    };
    let (ping, tcp, udp, mtu) = tokio::join!(
        ping,
        probe::tcp(sockets.tcp, (pair.address, ports.tcp).into()),
        udp,
        probe::echo(&sockets.large_ping, pair.address, large),
    );
    let outcome = |result: Result<Duration, String>| match result {
        Ok(time) => Outcome::Passed(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        Err(reason) => Outcome::Failed(reason),
    };
    let results = Probe::ALL.into_iter().zip([Some(ping), Some(tcp), udp, Some(mtu)]);
    let probes = results.filter_map(|(probe, result)| Some((probe, outcome(result?)))).collect();
    Ok(PairResult { from: pair.from.name, to: pair.to.name, address: pair.address, probes })
}

/// Nodes, then pods.
fn ends(lab: &Lab) -> Result<Vec<End>, LabError> {
    let mut nodes = Vec::new();
    let mut pods = Vec::new();
    for node in lab.nodes() {
        nodes.push(End {
            name: node.name().to_owned(),
            is_pod: false,
            namespace: node.namespace().clone(),
            addresses: node.addresses(),
            mtu: None,
        });
        for pod in node.pods() {
            pods.push(End {
                name: pod.name().to_owned(),
                is_pod: true,
                namespace: pod.namespace().clone(),
                addresses: node.pod_addresses(pod)?,
                mtu: node.pods_network().map(|network| network.mtu),
            });
        }
    }
    nodes.append(&mut pods);
    Ok(nodes)
}

/// Everybody to everybody, by every family that both have; nodes among themselves need no overlay and are left out.
fn pairs(ends: &[End]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for from in ends {
        for to in ends.iter().filter(|to| to.name != from.name && (to.is_pod || from.is_pod)) {
            let mtu = from.mtu.into_iter().chain(to.mtu).min().unwrap_or(1280);
            let families = to
                .addresses
                .iter()
                .filter(|to| from.addresses.iter().any(|from| from.is_ipv4() == to.is_ipv4()));
            pairs.extend(families.map(|&address| Pair { from: from.clone(), to: to.clone(), address, mtu }));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(name: &str, is_pod: bool, addresses: &[&str], mtu: Option<u32>) -> End {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        End { name: name.to_owned(), is_pod, namespace: Namespace::current().unwrap(), addresses, mtu }
    }

    #[test]
    fn pods_meet_everybody_by_both_families_and_nodes_meet_pods() {
        let ends = [
            end("n1", false, &["172.30.0.11"], None),
            end("n2", false, &["172.30.0.12"], None),
            end("n1-p1", true, &["10.0.0.2", "fd00::2"], Some(1450)),
            end("n2-p1", true, &["10.0.1.2", "fd00:1::2"], Some(1472)),
        ];
        let text: Vec<String> = pairs(&ends)
            .iter()
            .map(|pair| format!("{} {} {} {}", pair.from.name, pair.to.name, pair.address, pair.mtu))
            .collect();
        assert_eq!(
            text,
            [
                "n1 n1-p1 10.0.0.2 1450",
                "n1 n2-p1 10.0.1.2 1472",
                "n2 n1-p1 10.0.0.2 1450",
                "n2 n2-p1 10.0.1.2 1472",
                "n1-p1 n1 172.30.0.11 1450",
                "n1-p1 n2 172.30.0.12 1450",
                "n1-p1 n2-p1 10.0.1.2 1450",
                "n1-p1 n2-p1 fd00:1::2 1450",
                "n2-p1 n1 172.30.0.11 1472",
                "n2-p1 n2 172.30.0.12 1472",
                "n2-p1 n1-p1 10.0.0.2 1450",
                "n2-p1 n1-p1 fd00::2 1450",
            ]
        );
    }
}
