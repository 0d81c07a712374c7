//! UDP flows that lead nowhere any more are deleted from the kernel's tracking.
//!
//! Owns: asking the kernel for no more entries than may be stale. Which are, [`proxy_core::conntrack`] says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use host::conntrack::{Conntrack, Filter};
use host::error::HostError;
use proxy_core::conntrack::{Flow, StaleFlows};
use proxy_core::names::{Family, Protocol};
use proxy_core::table::{FrontendAddress, NodeView};

use crate::error::chain;

/// Deletes stale flows, and says once when it cannot.
#[derive(Debug)]
pub struct Sweeper {
    connect: fn() -> Result<Conntrack, HostError>,
    /// What was said last, so that a failure that stays is said once.
    said: String,
}

/// A look for stale flows that failed; the flows that were in question still are.
#[derive(Debug)]
pub struct NotSwept;

impl Default for Sweeper {
    fn default() -> Self {
        Self { connect: Conntrack::connect, said: String::new() }
    }
}

impl Sweeper {
    /// Deletes the stale flows of a family and takes them off the list; returns how many, or `None` where nobody had to
    /// look. `local`: this node's addresses; without them flows to node ports stay on the list.
    ///
    /// # Errors
    /// The kernel did not show its flows, or did not delete one; the list is as before.
    pub fn sweep(
        &mut self,
        stale_flows: &mut StaleFlows,
        family: Family,
        node: &NodeView,
        local: Option<&BTreeSet<IpAddr>>,
    ) -> Result<Option<u64>, NotSwept> {
        let Some((filter, node_ports)) = question(stale_flows, family) else { return Ok(None) };
        let is_local = |ip: IpAddr| ip.is_loopback() || local.is_some_and(|local| local.contains(&ip));
        let outcome =
            (self.connect)().and_then(|kernel| delete_stale(kernel, stale_flows, filter, node, is_local));
        match outcome {
            Ok(deleted) => {
                if node_ports && local.is_none() {
                    stale_flows.forget_all_but_node_ports(family);
                } else {
                    stale_flows.forget(family);
                }
                if !std::mem::take(&mut self.said).is_empty() {
                    tracing::info!("the kernel shows its UDP flows again");
                }
                if deleted > 0 {
                    tracing::info!(%family, deleted, "UDP flows to what is gone are deleted");
                }
                Ok(Some(deleted))
            }
            Err(error) => {
                let error = chain(&error);
                if error != self.said {
                    tracing::warn!(
                        error,
                        "UDP clients may keep sending to endpoints that are gone, until their flows can be deleted; \
                         trying again"
                    );
                    self.said = error;
                }
                Err(NotSwept)
            }
        }
    }
}

/// What to ask the kernel, and whether an answer may be about node ports.
fn question(stale_flows: &StaleFlows, family: Family) -> Option<(Filter, bool)> {
    if stale_flows.is_empty() {
        return None;
    }
    let all = Filter { ipv6: family == Family::V6, protocol: Protocol::Udp.number(), port: None };
    let Some(destinations) = stale_flows.destinations() else { return Some((all, true)) };
    let here: Vec<_> = destinations.filter(|(of, ..)| *of == family).collect();
    let node_ports = here.iter().any(|(_, address, _)| *address == FrontendAddress::NodePorts);
    let ports: BTreeSet<u16> = here.iter().map(|(_, _, port)| *port).collect();
    // The kernel walks its table once for each question: several ports are one question without a port.
    let port = ports.first().copied().filter(|_| ports.len() == 1);
    (!ports.is_empty()).then_some((Filter { port, ..all }, node_ports))
}

/// A flow that cannot be deleted keeps no other from it; the first such failure is returned.
fn delete_stale(
    mut conntrack: Conntrack,
    stale_flows: &StaleFlows,
    filter: Filter,
    node: &NodeView,
    is_local: impl Fn(IpAddr) -> bool,
) -> Result<u64, HostError> {
    let (mut deleted, mut failure) = (0, None);
    for entry in conntrack.list(filter)? {
        let flow = Flow { client: entry.client, frontend: entry.destination, server: entry.server };
        if stale_flows.stale(&flow, node, &is_local) {
            tracing::debug!(client = %flow.client, frontend = %flow.frontend, server = %flow.server, "stale UDP flow");
            match conntrack.delete(&entry) {
                Ok(was_there) => deleted += u64::from(was_there),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(deleted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_core::cluster::{Change, Cluster};
    use proxy_core::objects::Kind;
    use proxy_core::options::Options;
    use proxy_core::table::ServiceTable;
    use serde_json::json;

    /// Two services of UDP, one of them with a node port.
    fn table() -> ServiceTable {
        let mut cluster = Cluster::default();
        for (name, ip, node_port) in [("dns", "10.96.0.10", json!(null)), ("log", "10.96.0.11", json!(30514))]
        {
            let service = json!({ "metadata": { "namespace": "default", "name": name }, "spec": {
                "type": "NodePort", "clusterIP": ip, "clusterIPs": [ip],
                "ports": [{ "port": 53, "protocol": "UDP", "nodePort": node_port }] } });
            let service = Kind::Service.decode(service.to_string().as_bytes()).expect("a service").object;
            cluster.apply(Change::Put(service));
        }
        ServiceTable::build(&cluster, &Options::default())
    }

    #[test]
    fn what_a_kernel_does_not_show_is_said_once_and_stays_to_be_looked_for() {
        let refused =
            || Err(HostError::io("open", "ctnetlink", std::io::Error::from_raw_os_error(libc::EPERM)));
        let mut sweeper = Sweeper { connect: refused, said: String::new() };
        let table = table();
        let mut stale_flows = StaleFlows::all(&table);
        let before = stale_flows.clone();
        let mut said = BTreeSet::new();
        for _ in 0..2 {
            let local = Some(BTreeSet::new());
            assert!(sweeper.sweep(&mut stale_flows, Family::V4, &table.node, local.as_ref()).is_err());
            said.insert(sweeper.said.clone());
            assert_eq!(stale_flows, before);
        }
        assert_eq!(said.len(), 1);
        // Nothing to look for is nothing to fail.
        assert!(matches!(sweeper.sweep(&mut stale_flows, Family::V6, &table.node, None), Ok(None)));
    }

    #[test]
    fn without_the_nodes_addresses_flows_to_node_ports_stay_to_be_looked_for() {
        let (mut sweeper, table) = (Sweeper::default(), table());
        let mut stale_flows = StaleFlows::all(&table);
        let destinations = |stale_flows: &StaleFlows| -> Vec<_> {
            stale_flows.destinations().expect("no service networks").map(|(_, at, port)| (at, port)).collect()
        };
        assert_eq!(destinations(&stale_flows).len(), 3);
        assert!(sweeper.sweep(&mut stale_flows, Family::V4, &table.node, None).is_ok(), "needs root");
        assert_eq!(destinations(&stale_flows), [(FrontendAddress::NodePorts, 30514)]);
        let local = Some(BTreeSet::new());
        assert!(sweeper.sweep(&mut stale_flows, Family::V4, &table.node, local.as_ref()).is_ok());
        assert!(stale_flows.is_empty());
    }
}
