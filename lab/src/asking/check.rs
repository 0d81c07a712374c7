//! From every pod and every node: the Service to try, by its ClusterIPs and by the node port of every node.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use host::netns::Namespace;
use serde::Serialize;

use super::ask::{Target, Transport, ask};
use crate::error::LabError;
use crate::lab::Lab;
use crate::services::{NODE_PORT, PORT, WEB, cluster_ips};

/// How many pods and nodes ask at the same time.
const AT_ONCE: usize = 16;
/// How often a ClusterIP is asked from each place, to see several endpoints answer.
const BY_CLUSTER_IP: u32 = 8;
/// How often each node port is asked from each place.
const BY_NODE_PORT: u32 = 2;

/// After so many frontends without an answer a place asks at no other: each may take seconds.
const GIVE_UP: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrontendKind {
    ClusterIp,
    NodePort,
}

/// One way to the Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Frontend {
    pub kind: FrontendKind,
    #[serde(flatten)]
    pub target: Target,
}

/// What came of asking at one frontend from one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// `n1-p1`, or `n1` for a node.
    pub from: String,
    /// The asker's own address.
    pub source: IpAddr,
    pub frontend: Frontend,
    /// How often each pod answered.
    pub answers: BTreeMap<String, u32>,
    /// Why there was no answer, for each that did not come.
    pub failures: Vec<String>,
}

impl Asked {
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    pub fn answered(&self) -> u32 {
        self.answers.values().sum()
    }

    pub fn asked(&self) -> u32 {
        self.answered() + u32::try_from(self.failures.len()).unwrap_or(u32::MAX)
    }
}

/// A pod or a node that asks.
#[derive(Debug)]
pub(super) struct Asker {
    pub name: String,
    pub namespace: Namespace,
    /// One of each family.
    pub addresses: Vec<IpAddr>,
}

impl Asker {
    /// Its address of the family of `to`.
    pub fn source(&self, to: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().find(|ip| ip.is_ipv4() == to.is_ipv4()).copied()
    }
}

impl Lab {
    /// The Service to try, asked from every pod and node by each of its addresses; empty without proxies or pods.
    ///
    /// # Errors
    /// Pods that are not connected. What nobody answers is a result, not an error.
    pub fn check_services(&self) -> Result<Vec<Asked>, LabError> {
        check(self)
    }

    /// [`Lab::check_services`], again and again until all is answered or the limit is over; the last results.
    ///
    /// # Errors
    /// As [`Lab::check_services`].
    pub fn check_services_within(&self, limit: Duration) -> Result<Vec<Asked>, LabError> {
        let deadline = Instant::now() + limit;
        loop {
            let results = self.check_services()?;
            if Instant::now() >= deadline || results.iter().all(Asked::passed) {
                return Ok(results);
            }
        }
    }
}

/// Asks from everywhere, a few places at a time. Blocks. Nothing where the lab has no proxy, no pod, or no file of the
/// Service any more.
///
/// # Errors
/// Pods that are not connected. What nobody answers is a result.
pub fn check(lab: &Lab) -> Result<Vec<Asked>, LabError> {
    let Some(services) = lab.services() else { return Ok(Vec::new()) };
    if !services.directory().join(WEB).exists() {
        return Ok(Vec::new());
    }
    let (askers, frontends) = (askers(lab)?, frontends(lab));
    let next = AtomicUsize::new(0);
    let found: Mutex<BTreeMap<usize, Vec<Asked>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(askers.len()) {
            scope.spawn(|| {
                while let Some((at, asker)) = claim(&next, &askers) {
                    let results = from_one(asker, &frontends);
                    found.lock().unwrap_or_else(PoisonError::into_inner).insert(at, results);
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(found.into_values().flatten().collect())
}

fn claim<'a, T>(next: &AtomicUsize, all: &'a [T]) -> Option<(usize, &'a T)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    all.get(at).map(|one| (at, one))
}

fn from_one(asker: &Asker, frontends: &[Frontend]) -> Vec<Asked> {
    let ask_all = || {
        let known = frontends
            .iter()
            .filter_map(|frontend| Some((*frontend, asker.source(frontend.target.address.ip())?)));
        let mut failed = 0;
        let all = known.map(|(frontend, source)| at_frontend(&asker.name, source, frontend));
        let until_given_up = all.take_while(|asked| {
            failed += usize::from(!asked.passed());
            failed <= GIVE_UP
        });
        until_given_up.collect()
    };
    asker.namespace.run(ask_all).unwrap_or_else(|error| {
        // The namespace has gone: then nothing can be asked from there.
        let failed = |frontend: &Frontend| Asked {
            from: asker.name.clone(),
            source: frontend.target.address.ip(),
            frontend: *frontend,
            answers: BTreeMap::new(),
            failures: vec![error.to_string()],
        };
        frontends.iter().map(failed).collect()
    })
}

/// Asks several times; after a failure once more at most, for it may take seconds.
fn at_frontend(from: &str, source: IpAddr, frontend: Frontend) -> Asked {
    let mut asked =
        Asked { from: from.to_owned(), source, frontend, answers: BTreeMap::new(), failures: Vec::new() };
    let times = match frontend.kind {
        FrontendKind::ClusterIp => BY_CLUSTER_IP,
        FrontendKind::NodePort => BY_NODE_PORT,
    };
    for _ in 0..times {
        match ask(frontend.target) {
            Ok(answer) => *asked.answers.entry(answer.pod).or_default() += 1,
            Err(reason) => asked.failures.push(reason),
        }
        if asked.failures.len() > 1 {
            break;
        }
    }
    asked
}

/// Pods, then nodes.
pub(super) fn askers(lab: &Lab) -> Result<Vec<Asker>, LabError> {
    let (mut pods, mut nodes) = (Vec::new(), Vec::new());
    for node in lab.nodes() {
        nodes.push(Asker {
            name: node.name().to_owned(),
            namespace: node.namespace().clone(),
            addresses: node.addresses(),
        });
        for pod in node.pods() {
            pods.push(Asker {
                name: pod.name().to_owned(),
                namespace: pod.namespace().clone(),
                addresses: node.pod_addresses(pod)?,
            });
        }
    }
    pods.append(&mut nodes);
    Ok(pods)
}

/// ClusterIPs, then the nodes in order; TCP and UDP of each.
fn frontends(lab: &Lab) -> Vec<Frontend> {
    let inner =
        cluster_ips(lab.spec()).into_iter().map(|ip| (FrontendKind::ClusterIp, SocketAddr::new(ip, PORT)));
    let nodes = lab.nodes().iter().flat_map(|node| node.addresses());
    let outer = nodes.map(|ip| (FrontendKind::NodePort, SocketAddr::new(ip, NODE_PORT)));
    let both = |(kind, address)| {
        Transport::BOTH.map(|transport| Frontend { kind, target: Target { address, transport } })
    };
    inner.chain(outer).flat_map(both).collect()
}
