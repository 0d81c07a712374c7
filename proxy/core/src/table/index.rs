//! What must be found again when something changes: who wants which address, and what each service was last seen as.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::names::{Family, Name, Protocol, ServiceName};
use crate::objects::{EndpointSlice, Port, Service};
use crate::table::{FrontAddress, FrontKind};

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// The first bid for a destination has it.
    bids: BTreeSet<Bid>,
    /// How many bids of their services there are for each ClusterIP.
    cluster_ips: HashMap<IpAddr, u32>,
    /// How many endpoints have each address.
    endpoints: HashMap<IpAddr, u32>,
    seen: BTreeMap<ServiceName, Seen>,
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
    pub address: FrontAddress,
    pub protocol: Protocol,
    pub port: u16,
}

/// A service port that wants a destination. The order decides: a ClusterIP is never taken by somebody's external address, else
/// the older service has it. Within one service the load balancer's front comes before the external IP's, because it
/// can be closed to some.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bid {
    pub at: Destination,
    not_cluster_ip: bool,
    created: u64,
    pub service: ServiceName,
    not_load_balancer: bool,
    port: Name,
}

impl Bid {
    pub fn new(
        service: &Service,
        port: &Port,
        family: Family,
        kind: FrontKind,
        address: FrontAddress,
    ) -> Self {
        let number = match (kind, port.node_port) {
            (FrontKind::NodePort, Some(number)) => number,
            _ => port.port,
        };
        Bid {
            at: Destination { family, address, protocol: port.protocol, port: number },
            not_cluster_ip: kind != FrontKind::ClusterIp,
            created: service.created,
            service: service.name.clone(),
            not_load_balancer: kind != FrontKind::LoadBalancer,
            port: port.name.clone(),
        }
    }
}

/// The fronts that a port of a service asks for in a family, in their fixed order.
pub(super) fn wanted_fronts(
    service: &Service,
    port: &Port,
    family: Family,
) -> impl Iterator<Item = (FrontKind, FrontAddress)> {
    let here = move |ip: &IpAddr| Family::of(*ip) == family;
    let at = |kind: FrontKind| move |ip: IpAddr| (kind, FrontAddress::Ip(ip));
    let external = service.external_ips.iter().copied().filter(here);
    let load_balancer = service.load_balancer_ips.iter().copied().filter(here);
    let cluster = service.cluster_ip(family);
    let node_port = port.node_port.map(|_| (FrontKind::NodePort, FrontAddress::NodePorts));
    let fronts = cluster.into_iter().map(at(FrontKind::ClusterIp));
    let fronts = fronts.chain(external.map(at(FrontKind::ExternalIp)));
    fronts.chain(load_balancer.map(at(FrontKind::LoadBalancer))).chain(node_port)
}

fn bids(service: &Service) -> impl Iterator<Item = Bid> {
    let families = Family::BOTH.into_iter().filter(|family| service.cluster_ip(*family).is_some());
    let ports = families.flat_map(|family| service.ports.iter().map(move |port| (family, port)));
    ports.flat_map(move |(family, port)| {
        let fronts = wanted_fronts(service, port, family);
        fronts.map(move |(kind, address)| Bid::new(service, port, family, kind, address))
    })
}

impl Index {
    /// Who has a destination that is wanted.
    pub fn owner(&self, at: Destination) -> Option<&Bid> {
        self.bids_for(at).next()
    }

    pub fn is_cluster_ip(&self, ip: IpAddr) -> bool {
        self.cluster_ips.contains_key(&ip)
    }

    fn bids_for(&self, at: Destination) -> impl Iterator<Item = &Bid> {
        // The least possible bid for it.
        let from = Bid {
            at,
            not_cluster_ip: false,
            created: 0,
            service: ServiceName::new("", ""),
            not_load_balancer: false,
            port: Name::default(),
        };
        self.bids.range(from..).take_while(move |bid| bid.at == at)
    }

    /// Sees the touched services as they are now. Gives all that have to be made again: these, those that want what one
    /// of these began or ceased to want, and those with an endpoint at an address that began or ceased to be a ClusterIP.
    pub fn look(&mut self, cluster: &Cluster, touched: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
        let mut again = touched.clone();
        let mut turned: BTreeSet<IpAddr> = BTreeSet::new();
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
        turned.retain(|ip| self.endpoints.contains_key(ip));
        if !turned.is_empty() {
            let hit = self.seen.iter().filter(|(_, seen)| seen.endpoint_ips().any(|ip| turned.contains(&ip)));
            again.extend(hit.map(|(name, _)| name.clone()));
        }
        again
    }

    fn count_endpoints(&mut self, before: Option<&Seen>, now: Option<&Seen>) {
        now.into_iter().flat_map(Seen::endpoint_ips).for_each(|ip| _ = up(&mut self.endpoints, ip));
        before.into_iter().flat_map(Seen::endpoint_ips).for_each(|ip| _ = down(&mut self.endpoints, ip));
    }

    fn take_bids(
        &mut self,
        before: Option<&Seen>,
        now: Option<&Seen>,
        again: &mut BTreeSet<ServiceName>,
        turned: &mut BTreeSet<IpAddr>,
    ) {
        if let (Some(before), Some(now)) = (before, now)
            && Arc::ptr_eq(&before.service, &now.service)
        {
            return;
        }
        let all = |seen: Option<&Seen>| -> BTreeSet<Bid> {
            seen.into_iter().flat_map(|seen| bids(&seen.service)).collect()
        };
        let (before, now) = (all(before), all(now));
        for bid in before.symmetric_difference(&now) {
            again.extend(self.bids_for(bid.at).map(|other| other.service.clone()));
            let cluster_ip = bid.at.address.ip().filter(|_| !bid.not_cluster_ip);
            if now.contains(bid) {
                turned.extend(cluster_ip.filter(|ip| up(&mut self.cluster_ips, *ip)));
                self.bids.insert(bid.clone());
            } else {
                turned.extend(cluster_ip.filter(|ip| down(&mut self.cluster_ips, *ip)));
                self.bids.remove(bid);
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

/// Whether this is the first.
fn up(counts: &mut HashMap<IpAddr, u32>, ip: IpAddr) -> bool {
    let count = counts.entry(ip).or_default();
    *count += 1;
    *count == 1
}

/// Whether this was the last.
fn down(counts: &mut HashMap<IpAddr, u32>, ip: IpAddr) -> bool {
    let Some(count) = counts.get_mut(&ip) else { return false };
    *count -= 1;
    let last = *count == 0;
    if last {
        counts.remove(&ip);
    }
    last
}
