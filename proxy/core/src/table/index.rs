//! What must be found again when something changes: who wants which address, and what each service was last seen as.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::cluster::Cluster;
use crate::names::{Family, Name, Protocol, ServiceName};
use crate::objects::{EndpointSlice, Port, Service};
use crate::table::{FrontendAddress, FrontendKind, Turned};

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// The first claim for a destination has it.
    claims: BTreeSet<Claim>,
    /// How many claims of their services there are for each ClusterIP.
    cluster_ips: BTreeMap<IpAddr, u32>,
    /// How many endpoints have each address.
    endpoints: BTreeMap<IpAddr, u32>,
    seen: BTreeMap<ServiceName, Seen>,
}

/// What a look at some services found.
pub(super) struct Looked {
    /// Services to make again: those looked at, those that want what one of these began or ceased to want, and those with
    /// an endpoint at an address that began or ceased to be a ClusterIP.
    pub again: BTreeSet<ServiceName>,
    pub cluster_ips: Turned,
}

/// A service as it was when last looked at.
#[derive(Clone, Debug)]
struct Seen {
    service: Arc<Service>,
    slices: Box<[Arc<EndpointSlice>]>,
}

/// A destination that only one service port can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Destination {
    pub family: Family,
    pub address: FrontendAddress,
    pub protocol: Protocol,
    pub port: u16,
}

/// A service port that wants a destination. The order decides: a ClusterIP is never taken by somebody's external
/// address, else the older service has it. Within one service the load balancer's frontend comes before the external IP's,
/// because it can be closed to some.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub at: Destination,
    not_cluster_ip: bool,
    created: u64,
    pub service: ServiceName,
    not_load_balancer: bool,
    port: Name,
}

impl Claim {
    pub fn new(
        service: &Service,
        port: &Port,
        family: Family,
        kind: FrontendKind,
        address: FrontendAddress,
    ) -> Self {
        let number = match (kind, port.node_port) {
            (FrontendKind::NodePort, Some(number)) => number,
            _ => port.port,
        };
        Claim {
            at: Destination { family, address, protocol: port.protocol, port: number },
            not_cluster_ip: kind != FrontendKind::ClusterIp,
            created: service.created,
            service: service.name.clone(),
            not_load_balancer: kind != FrontendKind::LoadBalancer,
            port: port.name.clone(),
        }
    }
}

/// The frontends that a port of a service asks for in a family, in their fixed order.
pub(super) fn wanted_frontends(
    service: &Service,
    port: &Port,
    family: Family,
) -> impl Iterator<Item = (FrontendKind, FrontendAddress)> {
    let here = move |ip: &IpAddr| Family::of(*ip) == family;
    let at = |kind: FrontendKind| move |ip: IpAddr| (kind, FrontendAddress::Ip(ip));
    let external = service.external_ips.iter().copied().filter(here);
    let load_balancer = service.load_balancer_ips.iter().copied().filter(here);
    let cluster = service.cluster_ip(family);
    let node_port = port.node_port.map(|_| (FrontendKind::NodePort, FrontendAddress::NodePorts));
    let frontends = cluster.into_iter().map(at(FrontendKind::ClusterIp));
    let frontends = frontends.chain(external.map(at(FrontendKind::ExternalIp)));
    frontends.chain(load_balancer.map(at(FrontendKind::LoadBalancer))).chain(node_port)
}

fn claims(service: &Service) -> impl Iterator<Item = Claim> {
    let families = Family::BOTH.into_iter().filter(|family| service.cluster_ip(*family).is_some());
    let ports = families.flat_map(|family| service.ports.iter().map(move |port| (family, port)));
    ports.flat_map(move |(family, port)| {
        let frontends = wanted_frontends(service, port, family);
        frontends.map(move |(kind, address)| Claim::new(service, port, family, kind, address))
    })
}

impl Index {
    /// Who has a destination that is wanted.
    pub fn owner(&self, at: Destination) -> Option<&Claim> {
        self.claims_for(at).next()
    }

    pub fn is_cluster_ip(&self, ip: IpAddr) -> bool {
        self.cluster_ips.contains_key(&ip)
    }

    /// An endpoint with an address of the range that is no ClusterIP.
    pub fn endpoint_within(&self, net: IpNet) -> Option<IpAddr> {
        let mut within = self.endpoints.range(net.network()..=net.broadcast()).map(|(ip, _)| *ip);
        within.find(|ip| !self.is_cluster_ip(*ip))
    }

    /// Sorted.
    pub fn cluster_ips(&self) -> BTreeSet<IpAddr> {
        self.cluster_ips.keys().copied().collect()
    }

    fn claims_for(&self, at: Destination) -> impl Iterator<Item = &Claim> {
        // The least possible claim for it.
        let from = Claim {
            at,
            not_cluster_ip: false,
            created: 0,
            service: ServiceName::default(),
            not_load_balancer: false,
            port: Name::default(),
        };
        self.claims.range(from..).take_while(move |claim| claim.at == at)
    }

    /// Sees the touched services as they are now.
    pub fn look(&mut self, cluster: &Cluster, touched: &BTreeSet<ServiceName>) -> Looked {
        let mut again = touched.clone();
        // What of each ClusterIP that came or went was before: it may come and go within one look.
        let mut turned: BTreeMap<IpAddr, bool> = BTreeMap::new();
        for name in touched {
            let now = cluster.service(name).map(|service| Seen {
                service: service.clone(),
                slices: cluster.slices(name).cloned().collect(),
            });
            let before = match &now {
                Some(now) => self.seen.insert(name.clone(), now.clone()),
                None => self.seen.remove(name),
            };
            self.count_endpoints(before.as_ref(), now.as_ref());
            self.take_bids(before.as_ref(), now.as_ref(), &mut again, &mut turned);
        }
        turned.retain(|ip, was| *was != self.is_cluster_ip(*ip));
        if turned.keys().any(|ip| self.endpoints.contains_key(ip)) {
            let hit =
                self.seen.iter().filter(|(_, seen)| seen.endpoint_ips().any(|ip| turned.contains_key(&ip)));
            again.extend(hit.map(|(name, _)| name.clone()));
        }
        let (gone, new): (BTreeMap<_, _>, BTreeMap<_, _>) = turned.into_iter().partition(|(_, was)| *was);
        Looked {
            again,
            cluster_ips: Turned { new: new.into_keys().collect(), gone: gone.into_keys().collect() },
        }
    }

    fn count_endpoints(&mut self, before: Option<&Seen>, now: Option<&Seen>) {
        now.into_iter().flat_map(Seen::endpoint_ips).for_each(|ip| up(&mut self.endpoints, ip));
        before.into_iter().flat_map(Seen::endpoint_ips).for_each(|ip| down(&mut self.endpoints, ip));
    }

    fn take_bids(
        &mut self,
        before: Option<&Seen>,
        now: Option<&Seen>,
        again: &mut BTreeSet<ServiceName>,
        turned: &mut BTreeMap<IpAddr, bool>,
    ) {
        if let (Some(before), Some(now)) = (before, now)
            && Arc::ptr_eq(&before.service, &now.service)
        {
            return;
        }
        let all = |seen: Option<&Seen>| -> BTreeSet<Claim> {
            seen.into_iter().flat_map(|seen| claims(&seen.service)).collect()
        };
        let (before, now) = (all(before), all(now));
        for claim in before.symmetric_difference(&now) {
            again.extend(self.claims_for(claim.at).map(|other| other.service.clone()));
            let count = if now.contains(claim) {
                self.claims.insert(claim.clone());
                up
            } else {
                self.claims.remove(claim);
                down
            };
            if let Some(ip) = claim.at.address.ip().filter(|_| !claim.not_cluster_ip) {
                turned.entry(ip).or_insert(self.cluster_ips.contains_key(&ip));
                count(&mut self.cluster_ips, ip);
            }
        }
    }

    /// A service and its slices as last seen.
    pub fn seen(&self, name: &ServiceName) -> Option<(&Service, impl Iterator<Item = &EndpointSlice>)> {
        self.seen.get(name).map(|seen| (&*seen.service, seen.slices.iter().map(|slice| &**slice)))
    }

    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.seen.keys()
    }
}

impl Seen {
    fn endpoint_ips(&self) -> impl Iterator<Item = IpAddr> {
        self.slices.iter().flat_map(|slice| slice.endpoints.iter().map(|endpoint| endpoint.ip))
    }
}

fn up(counts: &mut BTreeMap<IpAddr, u32>, ip: IpAddr) {
    *counts.entry(ip).or_default() += 1;
}

fn down(counts: &mut BTreeMap<IpAddr, u32>, ip: IpAddr) {
    if let Some(count) = counts.get_mut(&ip) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&ip);
        }
    }
}
