//! The namespaces: a node between a client, two endpoints and an API server, each on a wire and a subnet of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use host::netns::Namespace;
use ipnet::{IpNet, Ipv4Net};

use super::objects::{ENDPOINTS, NODE_ADDRESS};
use super::servers::Server;
use crate::stale;
use host::programs::{STOP_LIMIT, wait_for};
use lab::name::LabName;
use lab::plan::{Port, Step};
use lab::state::{Lock, State};
use lab::wire::Wiring;
use lab::{LabError, down};

/// Where the API server listens.
pub const HUB: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 10);

/// The members of the lab, by names that it may have.
const NODE: &str = "n1";
const CLIENT_POD: &str = "n1-p1";
const ENDPOINT_PODS: [&str; 2] = ["n1-p2", "n1-p3"];
const API: &str = "hub";

/// Everybody around the node: a member, the node's link to it, and its address. The node has the first of the /24.
const AROUND: [(&str, &str, Ipv4Addr); 4] = [
    (CLIENT_POD, "client", CLIENT),
    (ENDPOINT_PODS[0], "endpoint1", ENDPOINTS[0]),
    (ENDPOINT_PODS[1], "endpoint2", ENDPOINTS[1]),
    (API, "api", HUB),
];

/// The namespaces and the endpoints in them. Removed when it is dropped.
pub struct Testbed {
    name: LabName,
    directory: PathBuf,
    pub client: Namespace,
    pub first_endpoint: Namespace,
    pub hub: Namespace,
    /// None until [`Testbed::new_node`].
    node: Option<Namespace>,
    _servers: [Server; 2],
    _lock: Lock,
}

impl Testbed {
    /// All but the node.
    pub fn make() -> Result<Self, LabError> {
        let name = stale::name()?;
        let state = State::of(&name);
        let lock = state.create()?;
        Self::build(&name, &state, lock).inspect_err(|_| remove(&name))
    }

    fn build(name: &LabName, state: &State, lock: Lock) -> Result<Self, LabError> {
        let mut wiring = Wiring::new()?;
        let netns = |member: &str| name.member_namespace(member);
        for (member, _, _) in AROUND {
            wiring.apply(&Step::Namespace(netns(member)))?;
        }
        let ports = ("net/ipv4/ip_local_port_range", "1024 65535");
        wiring.apply(&sysctl(netns(CLIENT_POD), ports))?;
        let open = |member: &str| Namespace::open(&netns(member));
        let servers =
            [Server::start(&open(ENDPOINT_PODS[0])?, b'1')?, Server::start(&open(ENDPOINT_PODS[1])?, b'2')?];
        Ok(Self {
            name: name.clone(),
            directory: state.directory().to_owned(),
            client: open(CLIENT_POD)?,
            first_endpoint: open(ENDPOINT_PODS[0])?,
            hub: open(API)?,
            node: None,
            _servers: servers,
            _lock: lock,
        })
    }

    /// For files that go with it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A node that nobody has used before, instead of the last one, of which nothing stays.
    pub fn new_node(&mut self) -> Result<Namespace, LabError> {
        let node = self.name.member_namespace(NODE);
        self.remove_node(&node)?;
        let mut wiring = Wiring::new()?;
        wiring.apply_all(&self.steps(&node))?;
        let namespace = Namespace::open(&node)?;
        self.node = Some(namespace.clone());
        Ok(namespace)
    }

    fn remove_node(&mut self, node: &str) -> Result<(), LabError> {
        let Some(namespace) = self.node.take() else { return Ok(()) };
        let gone = wait_for(std::time::Instant::now() + STOP_LIMIT, || {
            Ok::<_, LabError>(namespace.pids()?.is_empty().then_some(()))
        })?;
        gone.ok_or_else(|| LabError::NotReady {
            what: "the end of all programs on the node".to_owned(),
            waited: STOP_LIMIT,
            reason: format!("{:?} still run", namespace.pids().unwrap_or_default()),
        })?;
        drop(namespace);
        // The kernel takes a namespace's links away in its own time; the names of their other ends are needed now.
        let mut wiring = Wiring::new()?;
        for (member, _, _) in AROUND {
            wiring.remove_link(&self.name.member_namespace(member), "eth0")?;
        }
        Ok(Namespace::delete(node)?)
    }

    fn steps(&self, node: &str) -> Vec<Step> {
        let mut steps = vec![Step::Namespace(node.to_owned())];
        for setting in [
            ("net/ipv4/ip_forward", "1"),
            // Connections that were reset are forgotten before their ports come again.
            ("net/netfilter/nf_conntrack_tcp_timeout_close", "1"),
        ] {
            steps.push(sysctl(node.to_owned(), setting));
        }
        for (member, link, address) in AROUND {
            let netns = self.name.member_namespace(member);
            let subnet = Ipv4Net::new_assert(address, 24);
            let gateway = Ipv4Addr::from(u32::from(subnet.network()) + 1);
            debug_assert!(member != API || gateway == NODE_ADDRESS);
            let port = |netns: &str, name: &str| Port {
                netns: netns.to_owned(),
                name: name.to_owned(),
                bridge: None,
                hairpin: false,
            };
            let (a, b) = (port(node, link), port(&netns, "eth0"));
            let net = |ip| IpNet::V4(Ipv4Net::new_assert(ip, 24));
            steps.push(Step::Veth { a, b, mtu: 1500 });
            steps.push(Step::Address { netns: node.to_owned(), link: link.to_owned(), net: net(gateway) });
            steps.push(Step::Address { netns: netns.clone(), link: "eth0".to_owned(), net: net(address) });
            steps.push(Step::Default { netns, via: IpAddr::V4(gateway) });
        }
        steps
    }
}

fn sysctl(netns: String, (key, value): (&str, &str)) -> Step {
    Step::Sysctl { netns, key: key.to_owned(), value: value.to_owned() }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

fn remove(name: &LabName) {
    if let Err(error) = down::remove(name) {
        telemetry::note!("{error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_namespace_is_known_to_be_the_labs() {
        let name = LabName::new("bench1x0").unwrap();
        for member in AROUND.map(|(member, _, _)| member).into_iter().chain([NODE]) {
            let netns = name.member_namespace(member);
            assert_eq!(LabName::of_namespace(&netns), Some(name.clone()), "{netns}");
        }
    }
}
