//! What the table should hold: pure, from the service table to plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use host::nftables::{Chain, Data, Element, Op, Port, Proto, Rule, Set, Table, Verdict};
use ipnet::IpNet;
use proxy_core::names::{Family, PortName, Protocol};
use proxy_core::table::{Frontend, FrontendAddress, FrontendKind, Group, Scope, ServicePort, ServiceTable};

use super::layout::shape::{Affinity, AffinityKey, Balance, By, Refused, Remember, Sources};
use super::layout::{Kept, Layout, OwnSet, SCOPES, Settings, Shape, Slots, net_elements};

/// What an element holds beside its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    Nothing,
    /// The key is the first of a range, and this the last.
    UpTo(Data),
    Data(Data),
    Verdict(Verdict),
}

impl Held {
    /// As an element of its set.
    pub fn element(&self, key: &Data) -> Element {
        let element = Element::new(key.clone());
        match self {
            Held::Nothing => element,
            Held::UpTo(last) => Element { last: Some(last.clone()), ..element },
            Held::Data(data) => element.data(data.clone()),
            Held::Verdict(verdict) => element.verdict(verdict.clone()),
        }
    }
}

/// The elements of all sets, in the order in which they can be added.
pub type Elements = BTreeMap<(Kept, Data), Held>;

/// What one service port needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Nobody else's: no two ports share a frontend.
    pub own: Elements,
    /// Of [`Kept::ClusterIps`]: the ports of a service share theirs.
    pub cluster_ips: Vec<IpAddr>,
    /// Of [`Kept::Hairpin`]: each once.
    pub endpoints: BTreeSet<IpAddr>,
    /// Chains that others may need as well.
    pub shapes: Vec<(String, Shape)>,
    /// Sets that others may need as well, by name.
    pub sets: BTreeMap<String, OwnSet>,
}

/// `address . protocol . port`
fn frontend_key(ip: IpAddr, protocol: Protocol, port: u16) -> Data {
    (ip, Proto(protocol.number()), Port(port)).into()
}

/// The key of a frontend in [`Kept::Services`] or [`Kept::NodePorts`].
pub(super) fn key_of(frontend: &Frontend, protocol: Protocol) -> Data {
    match frontend.address {
        FrontendAddress::Ip(ip) => frontend_key(ip, protocol, frontend.port),
        FrontendAddress::NodePorts => (Proto(protocol.number()), Port(frontend.port)).into(),
    }
}

/// Networks that do not overlap, as an interval set has to have them, of one family.
fn disjoint(nets: &[IpNet], family: Family) -> Vec<IpNet> {
    let own: Vec<IpNet> = nets.iter().copied().filter(|net| Family::of(net.addr()) == family).collect();
    IpNet::aggregate(&own)
}

/// How the clients of a service port are remembered, and for how long.
pub(super) fn affinity(port: &ServicePort) -> Option<(Affinity, Duration)> {
    let (key, timeout) = (AffinityKey::of(port)?, port.affinity?);
    let groups = SCOPES.map(|scope| port.group(scope));
    let targets: BTreeSet<u16> =
        groups.into_iter().flat_map(|group| group.iter().map(|endpoint| endpoint.port)).collect();
    Some((Affinity { key, targets: targets.into_iter().collect() }, timeout))
}

impl Needs {
    pub fn of(port: &ServicePort) -> Self {
        let mut needs = Needs::default();
        for frontend in &port.frontends {
            needs.frontend(port, frontend);
        }
        let groups = SCOPES.map(|scope| port.group(scope));
        needs.endpoints = groups.into_iter().flat_map(|group| group.iter().map(|end| end.ip)).collect();
        needs
    }

    fn frontend(&mut self, port: &ServicePort, frontend: &Frontend) {
        let key = key_of(frontend, port.protocol());
        let (served, refusing, by) = match frontend.address {
            FrontendAddress::Ip(_) => (Kept::Services, Kept::Refused, By::Destination),
            FrontendAddress::NodePorts => (Kept::NodePorts, Kept::RefusedNodePorts, By::NodePort),
        };
        let sticky = affinity(port);
        let (shape, refused) = Shape::of(&frontend.branches, |scope, masquerade| {
            let slots = Slots::for_group(port.group(scope).len());
            Balance { by, scope, slots, masquerade, sticky: sticky.clone().map(|(affinity, _)| affinity) }
        });
        if let Some(shape) = shape {
            for scope in shape.scopes() {
                self.endpoints(&key, port.group(scope), by, scope);
            }
            if let Some((affinity, timeout)) = sticky {
                self.affinity(port, &key, by, affinity, timeout);
            }
            let chain = self.shape(shape);
            self.own.insert((served, key.clone()), Held::Verdict(Verdict::Goto(chain)));
        }
        if let Some(refused) = refused {
            let verdict = match refused {
                Refused::Plainly(refusal) => refusal.verdict(),
                Refused::By(shape) => Verdict::Goto(self.shape(shape)),
            };
            self.own.insert((refusing, key.clone()), Held::Verdict(verdict));
        }
        if let (FrontendKind::ClusterIp, Some(ip)) = (frontend.kind, frontend.address.ip()) {
            self.cluster_ips.push(ip);
        }
        if let Some(sources) = &frontend.sources {
            let own = |net: &&IpNet| Family::of(net.addr()) == port.family;
            let sources = Sources::new(sources.iter().filter(own).copied().collect());
            self.set(OwnSet::Sources(sources.clone()));
            let chain = self.shape(Shape::Sources(sources));
            self.own.insert((Kept::Restricted, key), Held::Verdict(Verdict::Goto(chain)));
        }
    }

    /// Clients keep their endpoints by this frontend.
    fn affinity(
        &mut self,
        port: &ServicePort,
        frontend: &Data,
        by: By,
        affinity: Affinity,
        timeout: Duration,
    ) {
        let scopes: Vec<Scope> = SCOPES.into_iter().filter(|scope| !port.group(*scope).is_empty()).collect();
        for &scope in &scopes {
            for endpoint in port.group(scope).iter() {
                let key = Data::concat(&[frontend, &endpoint.ip.into()]);
                self.own.insert((Kept::sticky(by, scope), key), Held::Nothing);
            }
            for &target in &*affinity.targets {
                self.set(OwnSet::Clients(affinity.key.clients(scope, target)));
            }
        }
        let remember = Remember { affinity, by, scopes, timeout: timeout.as_millis() as u64 };
        if remember.affinity.targets.len() > 1 {
            for target in remember.affinity.targets.iter() {
                let affinity = Affinity { targets: [*target].into(), ..remember.affinity.clone() };
                self.shape(Shape::Remember(Remember { affinity, ..remember.clone() }));
            }
        }
        let chain = self.shape(Shape::Remember(remember));
        let map = Kept::remembered(by, port.protocol());
        self.own.insert((map, frontend.clone()), Held::Verdict(Verdict::Goto(chain)));
    }

    fn set(&mut self, set: OwnSet) {
        self.sets.insert(set.name().to_owned(), set);
    }

    fn shape(&mut self, shape: Shape) -> String {
        let name = shape.name();
        if self.shapes.iter().all(|(known, _)| *known != name) {
            self.shapes.push((name.clone(), shape));
        }
        name
    }

    fn endpoints(&mut self, frontend: &Data, group: &Group, by: By, scope: Scope) {
        for (slot, endpoint) in group.iter().enumerate() {
            let end: Data = (endpoint.ip, Port(endpoint.port)).into();
            let key = Data::concat(&[frontend, &(slot as u32).into()]);
            self.own.insert((Kept::endpoints(by, scope), key), Held::Data(end));
        }
    }
}

/// One family's whole table.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub layout: Layout,
    /// By name, with their rules.
    pub chains: BTreeMap<String, (Chain, Vec<Rule>)>,
    pub elements: Elements,
    /// By name, with what we write to them.
    pub sets: BTreeMap<String, (Arc<Set>, Vec<Element>)>,
    /// How many ports need a shared element, a chain or a set.
    pub uses: Uses,
    /// Which service port has a frontend.
    pub owners: Owners,
}

/// Which service port has a frontend in [`Kept::Services`] or [`Kept::NodePorts`], by the frontend's key.
pub type Owners = BTreeMap<(Kept, Data), PortName>;

/// Where a port's connections are counted.
pub(super) fn counted_at(port: &ServicePort) -> impl Iterator<Item = (Kept, Data)> {
    port.frontends.iter().map(|frontend| {
        let kept = match frontend.address {
            FrontendAddress::Ip(_) => Kept::Services,
            FrontendAddress::NodePorts => Kept::NodePorts,
        };
        (kept, key_of(frontend, port.protocol()))
    })
}

/// Counts of what several ports share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    pub cluster_ips: BTreeMap<IpAddr, usize>,
    pub endpoints: BTreeMap<IpAddr, usize>,
    pub shapes: BTreeMap<String, usize>,
    pub sets: BTreeMap<String, usize>,
}

/// The element of [`Kept::Hairpin`] for an endpoint.
pub(super) fn itself(ip: IpAddr) -> (Kept, Data) {
    (Kept::Hairpin, Data::concat(&[&ip.into(), &ip.into()]))
}

/// The networks of the service network.
pub(super) fn service_cidrs(layout: &Layout) -> Elements {
    nets(Kept::ServiceCidrs, &layout.view.service_cidrs, layout.family).collect()
}

fn nets(kept: Kept, nets: &[IpNet], family: Family) -> impl Iterator<Item = ((Kept, Data), Held)> {
    net_elements(&disjoint(nets, family)).into_iter().map(move |element| {
        let held = element.last.map_or(Held::Nothing, Held::UpTo);
        ((kept, element.key), held)
    })
}

/// Elements of the sets that belong to the node and not to a service.
fn node_elements(layout: &Layout) -> Elements {
    let mut elements = service_cidrs(layout);
    elements.extend(nets(Kept::Pods, &layout.pod_nets(), layout.family));
    elements.extend(nets(Kept::NodePortAddresses, &layout.node_port_nets(), layout.family));
    elements
}

impl Wanted {
    pub fn of(table: &ServiceTable, family: Family, settings: Settings) -> Self {
        let layout = Layout::new(family, table.node.family(family), settings);
        let mut elements = node_elements(&layout);
        let mut chains = BTreeMap::new();
        for (chain, rules) in layout.chains() {
            chains.insert(chain.name.clone(), (chain, rules));
        }
        let (mut uses, mut sets, mut owners) = (Uses::default(), BTreeMap::new(), Owners::new());
        for ((of, _), port) in &table.ports {
            if *of != family {
                continue;
            }
            let needs = Needs::of(port);
            owners.extend(counted_at(port).map(|of| (of, port.name.clone())));
            elements.extend(needs.own);
            for ip in needs.cluster_ips {
                *uses.cluster_ips.entry(ip).or_default() += 1;
            }
            for ip in needs.endpoints {
                *uses.endpoints.entry(ip).or_default() += 1;
            }
            for (name, set) in needs.sets {
                *uses.sets.entry(name.clone()).or_default() += 1;
                sets.entry(name).or_insert_with(|| layout.own_set(&set));
            }
            for (name, shape) in needs.shapes {
                *uses.shapes.entry(name.clone()).or_default() += 1;
                chains.entry(name).or_insert_with(|| layout.chain(&shape));
            }
        }
        for ip in uses.cluster_ips.keys() {
            elements.insert((Kept::ClusterIps, (*ip).into()), Held::Nothing);
        }
        elements.extend(uses.endpoints.keys().map(|ip| (itself(*ip), Held::Nothing)));
        Self { layout, chains, elements, sets, uses, owners }
    }

    pub fn table(&self) -> Table {
        Table::new(&self.layout.table).comment("Kubernetes services, kept by weft proxy")
    }

    /// Everything that has to be declared.
    pub fn all_sets(&self) -> impl Iterator<Item = &Arc<Set>> {
        self.layout.sets().chain(self.sets.values().map(|(set, _)| set))
    }

    /// The elements of one set.
    pub fn of_set(&self, kept: Kept) -> impl Iterator<Item = (&Data, &Held)> {
        self.elements
            .range((kept, Data::new(&[]))..)
            .take_while(move |((of, _), _)| *of == kept)
            .map(|((_, key), held)| (key, held))
    }
}

/// As a script for `nft -f`; one element a line, so that two of them compare well.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{}", Op::AddTable(self.table()))?;
        self.all_sets().try_for_each(|set| writeln!(f, "{}", Op::AddSet(set.clone())))?;
        self.chains.values().try_for_each(|(chain, _)| writeln!(f, "{}", Op::AddChain(chain.clone())))?;
        for rule in self.chains.values().flat_map(|(_, rules)| rules) {
            writeln!(f, "{}", Op::AddRule(rule.clone(), host::nftables::Place::Last))?;
        }
        for ((kept, key), held) in &self.elements {
            let op = Op::AddElements(self.layout.set(*kept).clone(), vec![held.element(key)]);
            writeln!(f, "{op}")?;
        }
        for (set, elements) in self.sets.values() {
            for element in elements {
                writeln!(f, "{}", Op::AddElements(set.clone(), vec![element.clone()]))?;
            }
        }
        Ok(())
    }
}
