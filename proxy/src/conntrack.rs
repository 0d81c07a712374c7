//! UDP flows that lead nowhere any more are deleted from the kernel's tracking.
//!
//! Owns: asking the kernel for no more entries than may be stale. Which are, [`proxy_core::conntrack`] says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use host::conntrack::{Conntrack, Filter};
use host::error::HostError;
use host::netlink::Netlink;
use proxy_core::conntrack::{Flow, Suspects};
use proxy_core::names::{Family, Protocol};
use proxy_core::table::{FrontAddress, NodeView};

use crate::error::chain;

/// Deletes stale flows, and says once when it cannot.
#[derive(Debug, Default)]
pub struct Sweeper {
    complained: bool,
}

impl Sweeper {
    /// Deletes the stale flows of a family; returns how many, or `None` where nobody had to look.
    /// Needs a tokio runtime.
    pub async fn sweep(&mut self, suspects: &Suspects, family: Family, node: &NodeView) -> Option<u64> {
        let (filter, node_ports) = question(suspects, family)?;
        let local = if node_ports { local_addresses().await } else { BTreeSet::new() };
        let is_local = |ip: IpAddr| ip.is_loopback() || local.contains(&ip);
        match delete_stale(suspects, filter, node, is_local) {
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
fn question(suspects: &Suspects, family: Family) -> Option<(Filter, bool)> {
    if suspects.is_empty() {
        return None;
    }
    let all = Filter { ipv6: family == Family::V6, protocol: Protocol::Udp.number(), port: None };
    let Some(destinations) = suspects.destinations() else { return Some((all, true)) };
    let here: Vec<_> = destinations.filter(|(of, ..)| *of == family).collect();
    let node_ports = here.iter().any(|(_, address, _)| *address == FrontAddress::NodePorts);
    let ports: BTreeSet<u16> = here.iter().map(|(_, _, port)| *port).collect();
    // The kernel walks its table once for each question: several ports are one question without a port.
    let port = ports.first().copied().filter(|_| ports.len() == 1);
    (!ports.is_empty()).then_some((Filter { port, ..all }, node_ports))
}

fn delete_stale(
    suspects: &Suspects,
    filter: Filter,
    node: &NodeView,
    is_local: impl Fn(IpAddr) -> bool,
) -> Result<u64, HostError> {
    let mut conntrack = Conntrack::connect()?;
    let mut deleted = 0;
    for entry in conntrack.list(filter)? {
        let flow = Flow { client: entry.client, front: entry.destination, server: entry.server };
        if suspects.stale(&flow, node, &is_local) {
            tracing::debug!(client = %flow.client, front = %flow.front, server = %flow.server, "stale UDP flow");
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
