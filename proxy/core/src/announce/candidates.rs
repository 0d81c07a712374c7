//! For which Services a node may announce addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::names::ServiceName;
use crate::table::{Action, Frontend, FrontendKind, PortKey, ServicePort, TableDelta};

/// Addresses by the ports that this node serves them with.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    ports: BTreeMap<PortKey, BTreeSet<IpAddr>>,
}

impl Candidates {
    /// Takes a change of the table in. Says whether it changed anything here.
    pub fn follow(&mut self, delta: &TableDelta) -> bool {
        let mut changed = false;
        for change in &delta.ports {
            let port = change.new.as_deref().filter(|port| port.announced);
            let now: BTreeSet<IpAddr> = port.into_iter().flat_map(served).collect();
            let before = match now.is_empty() {
                true => self.ports.remove(&change.key),
                false => self.ports.insert(change.key.clone(), now.clone()),
            };
            changed |= before.unwrap_or_default() != now;
        }
        changed
    }

    /// The addresses of each Service that this node is a candidate for.
    pub fn services(&self) -> BTreeMap<ServiceName, BTreeSet<IpAddr>> {
        let mut services: BTreeMap<ServiceName, BTreeSet<IpAddr>> = BTreeMap::new();
        for ((_, port), addresses) in &self.ports {
            services.entry(port.service.clone()).or_default().extend(addresses);
        }
        services
    }
}

/// The load balancer's addresses at which a client from outside finds an endpoint by way of this node: with the policy
/// Local only where one is here.
fn served(port: &ServicePort) -> impl Iterator<Item = IpAddr> {
    let balances = |frontend: &&Frontend| {
        let last = frontend.branches.last();
        last.is_some_and(|branch| matches!(branch.action, Action::Balance { .. }))
    };
    port.frontend(FrontendKind::LoadBalancer).filter(balances).filter_map(|frontend| frontend.address.ip())
}
