//! Services of a lab: a directory of objects that feeds the proxies of all nodes, and one Service to try, which
//! every pod answers.
//!
//! Owns: `services/` in the lab's directory, where the user's own files may lie beside the lab's ([`NODES`] and
//! [`WEB`]), and the process that answers in the pods. Begin at [`Services`]. Who asks them is [`crate::asking`].

mod listing;
mod objects;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use host::netns::Namespace;

use crate::error::LabError;
use crate::name::LabName;
use crate::node::{Node, Pod};
use crate::spec::Spec;
use host::programs::Daemon;
use host::programs::{self, wait_for};

pub use listing::{Listing, ServiceLine};

/// The Service to try, as `NAMESPACE/NAME`.
pub const SERVICE: &str = "lab/web";
/// Its port, TCP and UDP, at its ClusterIP.
pub const PORT: u16 = 80;
/// Its port, TCP and UDP, at every node.
pub const NODE_PORT: u16 = 30080;
/// Where every pod answers, TCP and UDP, with its name.
pub const ANSWER_PORT: u16 = 8080;

/// The lab's file of Nodes and the range of ClusterIPs.
pub const NODES: &str = "nodes.yaml";
/// The lab's file of the Service to try.
pub const WEB: &str = "web.yaml";

/// How long the pods may take until they answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The services of a lab that has proxies.
#[derive(Debug)]
pub struct Services {
    directory: PathBuf,
    answers: Daemon,
}

impl Services {
    pub(crate) fn new(hub: Namespace, state: &Path, directory: PathBuf) -> Self {
        Self { answers: Daemon::new("the pods' answers".to_owned(), hub, state, "answers"), directory }
    }

    /// The directory that feeds the proxies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The process that answers in the pods.
    pub fn answers(&self) -> &Daemon {
        &self.answers
    }

    /// Writes the lab's own objects, for the pods as they are connected now. Files of others stay.
    pub(crate) fn write(&self, spec: &Spec, nodes: &[Node]) -> Result<(), LabError> {
        fs::create_dir_all(&self.directory).map_err(LabError::io("create", &self.directory))?;
        let nodes = nodes.iter().map(member).collect::<Result<Vec<_>, _>>()?;
        self.put(NODES, &objects::nodes(&spec.service_networks(), &nodes))?;
        if spec.pods > 0 {
            self.put(WEB, &objects::web(&cluster_ips(spec), &nodes))?;
        }
        Ok(())
    }

    /// Into place in one piece, since proxies are watching.
    fn put(&self, name: &str, text: &str) -> Result<(), LabError> {
        let (aside, path) = (self.directory.join(format!(".{name}.new")), self.directory.join(name));
        fs::write(&aside, text).map_err(LabError::io("write", &aside))?;
        fs::rename(&aside, &path).map_err(LabError::io("write", &path))
    }

    /// Starts the answers, unless they are there, and waits until every pod gives one.
    pub(crate) fn answer<'a>(
        &self,
        lab: &LabName,
        pods: impl Iterator<Item = &'a Pod>,
        program: &Path,
    ) -> Result<(), LabError> {
        if self.answers.pid().is_none() {
            let name = format!("--name={lab}");
            self.answers.start(program, &["lab".into(), "answer".into(), name.into()], &[])?;
        }
        let here = SocketAddr::from(([127, 0, 0, 1], ANSWER_PORT));
        let deadline = Instant::now() + ANSWER_LIMIT;
        for pod in pods {
            wait_for(deadline, || match programs::get(pod.namespace(), here, "/") {
                Ok(_) => Ok(Some(())),
                Err(_) if self.answers.pid().is_none() => Err(LabError::from(self.answers.died())),
                Err(_) => Ok(None),
            })?
            .ok_or_else(|| LabError::NotReady {
                what: format!("the answer of {}", pod.name()),
                waited: ANSWER_LIMIT,
                reason: format!("the end of the log:\n{}", self.answers.log_tail(10)),
            })?;
        }
        Ok(())
    }
}

/// The addresses of the Service to try: the tenth of each range.
pub fn cluster_ips(spec: &Spec) -> Vec<IpAddr> {
    let tenth = |net: ipnet::IpNet| match net.network() {
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) + 10).into()),
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) + 0x10).into()),
    };
    spec.service_networks().into_iter().map(tenth).collect()
}

/// A node with its pods, as objects tell of them.
fn member(node: &Node) -> Result<objects::Member, LabError> {
    let network = node.pods_network();
    let mut pods = Vec::new();
    for pod in node.pods() {
        if let Some(network) = &network {
            let addresses = network.addresses(pod.plan().index)?.iter().map(|net| net.addr()).collect();
            pods.push((pod.name().to_owned(), addresses));
        }
    }
    Ok(objects::Member {
        name: node.name().to_owned(),
        addresses: node.addresses(),
        pod_networks: network.map(|network| network.gateways()).unwrap_or_default(),
        pods,
    })
}
