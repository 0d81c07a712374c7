//! What one Service becomes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::endpoints::{Candidate, candidates, choose};
use crate::names::{Family, PortName, Protocol};
use crate::objects::{EndpointSlice, Policy, Port, Service};
use crate::table::index::{Claim, Index, wanted_frontends};
use crate::table::{
    Action, Branch, Endpoint, Frontend, FrontendKind, Group, HealthCheck, Masquerade, NodeView, PodSource,
    Report, Scope, ServicePort, Source,
};

/// A Service as a table has it.
#[derive(Default)]
pub(super) struct Made {
    pub ports: Vec<ServicePort>,
    pub health: Vec<(Family, HealthCheck)>,
    pub reports: BTreeSet<Report>,
}

pub(super) fn make<'a>(
    service: &Service,
    slices: impl Iterator<Item = &'a EndpointSlice>,
    node: &NodeView,
    index: &Index,
) -> Made {
    let mut made = Made::default();
    let mut found = candidates(slices, node.place());
    for candidates in found.values_mut() {
        candidates.retain(|candidate| {
            let endpoint = candidate.endpoint.ip;
            let clash = index.is_cluster_ip(endpoint);
            if clash {
                made.reports.insert(Report::EndpointIsClusterIp { service: service.name.clone(), endpoint });
            }
            !clash
        });
    }
    for family in Family::BOTH.into_iter().filter(|family| service.cluster_ip(*family).is_some()) {
        for port in &service.ports {
            let none = Vec::new();
            let candidates = found.get(&(family, &*port.name, port.protocol)).unwrap_or(&none);
            let port = Making { service, port, family, node, candidates };
            made.ports.push(port.make(index, &mut made.reports));
        }
        if let Some(node_port) = service.health_check_node_port {
            let ready =
                found.iter().filter(|((of, ..), _)| *of == family).flat_map(|(_, candidates)| candidates);
            let ready = ready.filter(|candidate| candidate.ready && candidate.endpoint.is_local);
            let local: BTreeSet<IpAddr> = ready.map(|candidate| candidate.endpoint.ip).collect();
            made.health.push((family, HealthCheck { node_port, local_ready: local.len() }));
        }
    }
    made
}

struct Making<'a> {
    service: &'a Service,
    port: &'a Port,
    family: Family,
    node: &'a NodeView,
    candidates: &'a [Candidate<'a>],
}

impl Making<'_> {
    fn make(&self, index: &Index, reports: &mut BTreeSet<Report>) -> ServicePort {
        let any = self.candidates.iter().any(Candidate::usable);
        let (cluster, local) = (self.group(Scope::Cluster), self.group(Scope::Local));
        let frontends = self.frontends(any, &local, index, reports);
        let asked = |scope: Scope| {
            frontends
                .iter()
                .flat_map(|frontend| &frontend.branches)
                .any(|branch| branch.action.scope() == Some(scope))
        };
        let keep = |scope: Scope, group: Group| if asked(scope) { group } else { Group::default() };
        let udp = self.port.protocol == Protocol::Udp;
        let serving =
            self.candidates.iter().filter(|candidate| udp && (candidate.ready || candidate.serving));
        // Most often two of the three are the same: one allocation then.
        let serving = serving.map(|candidate| candidate.endpoint).collect::<Group>().shared_with(&cluster);
        let local = local.shared_with(&cluster);
        ServicePort {
            name: PortName {
                service: self.service.name.clone(),
                port: self.port.name.clone(),
                protocol: self.port.protocol,
            },
            family: self.family,
            cluster: keep(Scope::Cluster, cluster),
            local: keep(Scope::Local, local),
            affinity: self.service.affinity,
            health_check_node_port: self.service.health_check_node_port,
            announced: self.service.announced,
            any_endpoints: any,
            serving,
            frontends,
        }
    }

    fn group(&self, scope: Scope) -> Group {
        let chosen = self.candidates.iter().zip(choose(self.candidates, scope, self.node.place()));
        chosen.filter(|(_, left_out)| left_out.is_none()).map(|(candidate, _)| candidate.endpoint).collect()
    }

    fn frontends(
        &self,
        any: bool,
        local: &[Endpoint],
        index: &Index,
        reports: &mut BTreeSet<Report>,
    ) -> Vec<Frontend> {
        let sources = self.sources();
        let wanted = || wanted_frontends(self.service, self.port, self.family);
        // There may be tens of thousands of these lists, most of one frontend.
        let mut frontends = Vec::with_capacity(wanted().count());
        for (kind, address) in wanted() {
            let claim = Claim::new(self.service, self.port, self.family, kind, address);
            let at = claim.at;
            let owner = index.owner(at);
            if owner != Some(&claim) {
                let owner =
                    owner.map(|owner| owner.service.clone()).filter(|owner| *owner != self.service.name);
                reports.extend(owner.map(|owner| Report::Contested {
                    loser: self.service.name.clone(),
                    owner,
                    frontend: address,
                    port: at.port,
                    protocol: at.protocol,
                }));
                continue;
            }
            frontends.push(Frontend {
                kind,
                address,
                port: at.port,
                sources: sources.clone().filter(|_| kind == FrontendKind::LoadBalancer),
                branches: match kind {
                    _ if !any => vec![Branch { source: Source::Any, action: Action::Reject }],
                    FrontendKind::ClusterIp => self.internal(local),
                    _ => self.external(local),
                },
            });
        }
        frontends
    }

    fn pods_are_known(&self) -> bool {
        self.node.family(self.family).pods != PodSource::Unknown
    }

    fn internal(&self, local: &[Endpoint]) -> Vec<Branch> {
        let masquerade = match (self.node.masquerade_all, self.pods_are_known()) {
            (true, _) => Masquerade::Always,
            (false, true) => Masquerade::UnlessPods,
            (false, false) => Masquerade::Never,
        };
        let action = match self.service.internal_policy {
            Policy::Cluster => Action::Balance { scope: Scope::Cluster, masquerade },
            Policy::Local if local.is_empty() => Action::Drop,
            Policy::Local => Action::Balance { scope: Scope::Local, masquerade },
        };
        vec![Branch { source: Source::Any, action }]
    }

    /// With policy Local, what comes from this node or its pods is treated as though it had gone out to a load balancer
    /// and come back anywhere. The node's own needs masquerading: its source may be the very address it asked for.
    fn external(&self, local: &[Endpoint]) -> Vec<Branch> {
        let branch =
            |source, scope, masquerade| Branch { source, action: Action::Balance { scope, masquerade } };
        if self.service.external_policy == Policy::Cluster {
            return vec![branch(Source::Any, Scope::Cluster, Masquerade::Always)];
        }
        let pods = self.pods_are_known().then(|| branch(Source::Pods, Scope::Cluster, Masquerade::Never));
        let rest = if local.is_empty() {
            Branch { source: Source::Any, action: Action::Drop }
        } else {
            branch(Source::Any, Scope::Local, Masquerade::Never)
        };
        pods.into_iter().chain([branch(Source::Node, Scope::Cluster, Masquerade::Always), rest]).collect()
    }

    /// Who may use the load balancer's addresses. A machine that has such an address itself talks to it from it; where
    /// this node is admitted, so is that.
    fn sources(&self) -> Option<Arc<[IpNet]>> {
        let here = |net: &&IpNet| Family::of(net.addr()) == self.family;
        let mut nets: Vec<IpNet> = self.service.source_ranges.iter().filter(here).copied().collect();
        if nets.is_empty() || nets.iter().any(|net| net.prefix_len() == 0) {
            return None;
        }
        let primary = self.node.primary(self.family);
        if primary.is_some_and(|node| nets.iter().any(|net| net.contains(&node))) {
            nets.extend(self.service.load_balancer_ips.iter().copied().map(IpNet::from));
            nets.retain(|net| here(&net));
        }
        let mut nets = IpNet::aggregate(&nets);
        nets.sort_unstable();
        Some(nets.into())
    }
}

impl Action {
    /// Which group the branch needs.
    pub fn scope(self) -> Option<Scope> {
        match self {
            Action::Balance { scope, .. } => Some(scope),
            Action::Reject | Action::Drop => None,
        }
    }
}

impl Group {
    fn shared_with(self, other: &Group) -> Group {
        if self == *other { other.clone() } else { self }
    }
}
