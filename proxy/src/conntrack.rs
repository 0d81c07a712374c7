//! UDP flows that lead nowhere any more are deleted from the kernel's tracking.
//!
//! Owns: asking the kernel for no more entries than may be stale. Which are, [`proxy_core::conntrack`] says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use host::conntrack::{Conntrack, Filter};
use host::error::HostError;
use host::netlink::Netlink;
use proxy_core::conntrack::{Flow, StaleFlows};
use proxy_core::names::{Family, Protocol};
use proxy_core::table::{FrontendAddress, NodeView};

use crate::error::chain;

/// Deletes stale flows, and says once when it cannot.
#[derive(Debug)]
pub struct Sweeper {
    connect: fn() -> Result<Conntrack, HostError>,
    complained: bool,
}

impl Default for Sweeper {
    fn default() -> Self {
        Self { connect: Conntrack::connect, complained: false }
    }
}

impl Sweeper {
    /// Deletes the stale flows of a family; returns how many, or `None` where nobody had to look.
    /// Needs a tokio runtime.
    pub async fn sweep(&mut self, stale_flows: &StaleFlows, family: Family, node: &NodeView) -> Option<u64> {
        let (filter, node_ports) = question(stale_flows, family)?;
        let local = if node_ports { local_addresses().await } else { BTreeSet::new() };
        let is_local = |ip: IpAddr| ip.is_loopback() || local.contains(&ip);
        let outcome =
            (self.connect)().and_then(|kernel| delete_stale(kernel, stale_flows, filter, node, is_local));
        match outcome {
            Ok(0) => Some(0),
            Ok(deleted) => {
                tracing::info!(%family, deleted, "UDP flows to what is gone are deleted");
                Some(deleted)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    let error = chain(&error);
                    tracing::warn!(error, "UDP clients may keep sending to endpoints that are gone");
                }
                None
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

fn delete_stale(
    mut conntrack: Conntrack,
    stale_flows: &StaleFlows,
    filter: Filter,
    node: &NodeView,
    is_local: impl Fn(IpAddr) -> bool,
) -> Result<u64, HostError> {
    let mut deleted = 0;
    for entry in conntrack.list(filter)? {
        let flow = Flow { client: entry.client, frontend: entry.destination, server: entry.server };
        if stale_flows.stale(&flow, node, &is_local) {
            tracing::debug!(client = %flow.client, frontend = %flow.frontend, server = %flow.server, "stale UDP flow");
            deleted += u64::from(conntrack.delete(&entry)?);
        }
    }
    Ok(deleted)
}

/// This node's own addresses, as the kernel has them. None where it does not say; that is logged.
pub(crate) async fn local_addresses() -> BTreeSet<IpAddr> {
    let listed = match Netlink::connect() {
        Ok(netlink) => netlink.addresses().await,
        Err(error) => Err(error),
    };
    match listed {
        Ok(listed) => listed.into_iter().map(|address| address.net.addr()).collect(),
        Err(error) => {
            tracing::warn!(error = chain(&error), "the addresses of this node cannot be listed");
            BTreeSet::new()
        }
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

    #[tokio::test]
    async fn a_kernel_that_shows_no_flows_is_complained_of_once() {
        let refused =
            || Err(HostError::io("open", "ctnetlink", std::io::Error::from_raw_os_error(libc::EPERM)));
        let mut sweeper = Sweeper { connect: refused, complained: false };
        let service = json!({ "metadata": { "namespace": "default", "name": "dns" }, "spec": {
            "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": [{ "port": 53, "protocol": "UDP" }] } });
        let service = Kind::Service.decode(service.to_string().as_bytes()).expect("a service").object;
        let mut cluster = Cluster::default();
        cluster.apply(Change::Put(service));
        let table = ServiceTable::build(&cluster, &Options::default());
        let mut stale_flows = StaleFlows::default();
        stale_flows.add_all(&table);
        for _ in 0..2 {
            assert_eq!(sweeper.sweep(&stale_flows, Family::V4, &table.node).await, None);
            assert!(sweeper.complained);
        }
    }
}
