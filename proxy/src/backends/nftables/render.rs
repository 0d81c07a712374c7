//! What the table should hold: pure, from the service table to plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use host::nftables::{Chain, Data, Element, Op, Port, Proto, Rule, Table, Verdict};
use ipnet::IpNet;
use proxy_core::names::{Family, Protocol};
use proxy_core::table::{Frontend, FrontendAddress, FrontendKind, Group, Scope, ServicePort, ServiceTable};

use super::layout::shape::{Affinity, AffinityKey, Balance, By, Refused};
use super::layout::{Kept, Layout, SCOPES, Settings, Shape, Slots};

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
    /// Chains that others may need as well.
    pub shapes: Vec<(String, Shape)>,
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

impl Needs {
    pub fn of(port: &ServicePort) -> Self {
        let mut needs = Needs::default();
        for frontend in &port.frontends {
            needs.frontend(port, frontend);
        }
        if let (Some(affinity_key), Some(_)) = (AffinityKey::of(port), port.affinity) {
            for scope in SCOPES {
                needs.sticky(affinity_key, port.family, port.group(scope), scope);
            }
        }
        needs
    }

    /// Where clients of any frontend may be led to again.
    fn sticky(&mut self, affinity_key: AffinityKey, family: Family, group: &Group, scope: Scope) {
        let unspecified = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let affinity_key = frontend_key(
            affinity_key.address.unwrap_or(unspecified),
            affinity_key.protocol,
            affinity_key.port,
        );
        for endpoint in group.iter() {
            let end: Data = (endpoint.ip, Port(endpoint.port)).into();
            self.own.insert((Kept::sticky(scope), Data::concat(&[&affinity_key, &end])), Held::Nothing);
        }
    }

    fn frontend(&mut self, port: &ServicePort, frontend: &Frontend) {
        let key = key_of(frontend, port.protocol());
        let (served, refusing, by) = match frontend.address {
            FrontendAddress::Ip(_) => (Kept::Services, Kept::Refused, By::Destination),
            FrontendAddress::NodePorts => (Kept::NodePorts, Kept::RefusedNodePorts, By::NodePort),
        };
        let sticky = match (AffinityKey::of(port), port.affinity) {
            (Some(affinity_key), Some(_)) => affinity_key.sticky(frontend),
            _ => Affinity::No,
        };
        let (shape, refused) = Shape::of(&frontend.branches, |scope, masquerade| {
            let slots = Slots::for_group(port.group(scope).len());
            Balance { by, scope, slots, masquerade, sticky }
        });
        if let Some(shape) = shape {
            for scope in shape.scopes() {
                self.endpoints(&key, port.group(scope), by, scope);
            }
            if let Some(timeout) = port.affinity {
                let chain = self.shape(Shape::Remember(sticky, timeout.as_millis() as u64));
                let map = if by == By::Destination { Kept::StickyServices } else { Kept::StickyNodePorts };
                self.own.insert((map, key.clone()), Held::Verdict(Verdict::Goto(chain)));
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
            self.own.insert((Kept::Restricted, key.clone()), Held::Nothing);
            for net in disjoint(sources, port.family) {
                let range = |ip: IpAddr| Data::concat(&[&key, &ip.into()]);
                let (first, last) = (range(net.network()), range(net.broadcast()));
                let held = if first == last { Held::Nothing } else { Held::UpTo(last) };
                self.own.insert((Kept::SourceRanges, first), held);
            }
        }
    }

    fn shape(&mut self, shape: Shape) -> String {
        let name = shape.to_string();
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
    /// How many ports need a shared element or a chain.
    pub uses: Uses,
}

/// Counts of what several ports share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    pub cluster_ips: BTreeMap<IpAddr, usize>,
    pub shapes: BTreeMap<String, usize>,
}

/// Elements of the sets that belong to the node and not to a service.
fn node_elements(layout: &Layout) -> Elements {
    let mut elements = Elements::new();
    let nets = [
        (Kept::Pods, layout.pod_nets()),
        (Kept::ServiceCidrs, layout.view.service_cidrs.clone()),
        (Kept::NodePortAddresses, layout.node_port_nets()),
    ];
    for (kept, nets) in nets {
        for net in disjoint(&nets, layout.family) {
            let (first, last) = (net.network(), net.broadcast());
            let held = if first == last { Held::Nothing } else { Held::UpTo(last.into()) };
            elements.insert((kept, first.into()), held);
        }
    }
    for byte in 0..=255u8 {
        elements.insert((Kept::EqualBytes, (Proto(byte), Proto(byte)).into()), Held::Nothing);
    }
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
        let mut uses = Uses::default();
        for ((of, _), port) in &table.ports {
            if *of != family {
                continue;
            }
            let needs = Needs::of(port);
            elements.extend(needs.own);
            for ip in needs.cluster_ips {
                *uses.cluster_ips.entry(ip).or_default() += 1;
            }
            for (name, shape) in needs.shapes {
                *uses.shapes.entry(name.clone()).or_default() += 1;
                chains.entry(name).or_insert_with(|| layout.chain(&shape));
            }
        }
        for ip in uses.cluster_ips.keys() {
            elements.insert((Kept::ClusterIps, (*ip).into()), Held::Nothing);
        }
        Self { layout, chains, elements, uses }
    }

    pub fn table(&self) -> Table {
        Table::new(&self.layout.table).comment("Kubernetes services, kept by weft proxy")
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
        self.layout.sets().try_for_each(|set| writeln!(f, "{}", Op::AddSet(set.clone())))?;
        self.chains.values().try_for_each(|(chain, _)| writeln!(f, "{}", Op::AddChain(chain.clone())))?;
        for rule in self.chains.values().flat_map(|(_, rules)| rules) {
            writeln!(f, "{}", Op::AddRule(rule.clone(), host::nftables::Place::Last))?;
        }
        for ((kept, key), held) in &self.elements {
            // The same 256 pairs everywhere say nothing.
            if *kept != Kept::EqualBytes {
                let op = Op::AddElements(self.layout.set(*kept).clone(), vec![held.element(key)]);
                writeln!(f, "{op}")?;
            }
        }
        Ok(())
    }
}
