//! Chains that depend on services: one for each way in which any service is balanced, however many do it that way.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use host::nftables::Verdict;
use ipnet::IpNet;
use proxy_core::names::Protocol;
use proxy_core::table::{Action, Branch, Masquerade, Scope, ServicePort, Source};

use crate::backends::iptables::sha256;

/// The kernel takes 255 bytes.
const LONGEST_NAME: usize = 200;

/// Up to this many endpoints a chain draws among exactly as many slots as there are.
const EXACT: u32 = 64;
/// Beyond, among one of this many sizes per power of two.
const SIZES_PER_OCTAVE: u32 = 16;
/// How often it draws again when the slot is empty.
const DRAWS: usize = 4;

/// How many slots a chain draws among. So that thousands of different numbers of endpoints need some hundred chains,
/// large numbers are rounded up; whoever draws an empty slot draws again, so that the choice stays even.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slots(u32);

impl Slots {
    /// For a group of so many endpoints, at least 1.
    pub fn for_group(len: usize) -> Self {
        let len = len as u32;
        if len <= EXACT {
            return Self(len);
        }
        let step = (1 << len.ilog2()) / SIZES_PER_OCTAVE;
        Self(len.next_multiple_of(step))
    }

    /// The fewest endpoints for which this is right.
    fn fewest(self) -> u32 {
        if self.0 <= EXACT {
            return self.0;
        }
        let below = self.0 - 1;
        below - below % ((1 << below.ilog2()) / SIZES_PER_OCTAVE) + 1
    }

    /// What to draw among, one after the other until a slot is not empty; the last is full for certain.
    pub fn draws(self) -> Vec<u32> {
        if self.0 <= EXACT {
            return vec![self.0];
        }
        let mut draws = vec![self.0; DRAWS];
        draws.push(self.fewest());
        draws
    }
}

/// What a frontend is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Its address, protocol and port.
    Destination,
    /// Protocol and port, at whatever address of the node.
    NodePort,
}

/// What a service port with affinity is known by: its first frontend. Whichever of its frontends clients use, they are
/// remembered together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffinityKey {
    /// None: a service port with node ports alone.
    pub address: Option<IpAddr>,
    pub protocol: Protocol,
    pub port: u16,
}

impl AffinityKey {
    /// None: nobody asks for this port.
    pub fn of(port: &ServicePort) -> Option<Self> {
        let frontend = port.frontends.first()?;
        Some(Self { address: frontend.address.ip(), protocol: port.protocol(), port: frontend.port })
    }

    /// The map from clients to addresses of endpoints with this port.
    pub fn clients(self, scope: Scope, target: u16) -> String {
        let kind = match scope {
            Scope::Cluster => "affinity",
            Scope::Local => "local-affinity",
        };
        format!("{kind}/{self}/{target}")
    }
}

/// As part of a name, in which nft allows no colons.
impl fmt::Display for AffinityKey {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.address {
            Some(ip) => f.write_str(&ip.to_string().replace(':', "."))?,
            None => f.write_str("node-ports")?,
        }
        write!(f, "/{}/{}", self.protocol, self.port)
    }
}

/// A service port whose clients keep their endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    pub key: AffinityKey,
    /// The ports of its endpoints: sorted, unique, most often one. Each has maps of its own, because nft 1.0.6 cannot load
    /// a rule that writes an IPv6 address and a port to a map.
    pub targets: Arc<[u16]>,
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "-sticky/{}/", self.key)?;
        for (n, target) in self.targets.iter().enumerate() {
            write!(f, "{}{target}", if n == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

/// Remembers which endpoint a client has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remember {
    pub affinity: Affinity,
    pub by: By,
    /// The groups that any frontend balances over.
    pub scopes: Vec<Scope>,
    /// Milliseconds.
    pub timeout: u64,
}

/// Which sources a frontend admits. One list serves all frontends that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Sorted; none within another.
    pub nets: Arc<[IpNet]>,
    name: String,
}

impl Sources {
    /// Networks of one family.
    pub fn new(nets: Vec<IpNet>) -> Self {
        let mut nets = IpNet::aggregate(&nets);
        nets.sort_unstable();
        let text: Vec<String> = nets.iter().map(IpNet::to_string).collect();
        Self { name: format!("sources-{}", short(&text.join(","))), nets: nets.into() }
    }

    /// The name of the set and of the chain.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A hash to name things by, of 100 bits.
fn short(text: &str) -> String {
    sha256(text.as_bytes()).iter().take(13).map(|byte| format!("{byte:02x}")).collect()
}

/// A chain that ends in an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    pub by: By,
    pub scope: Scope,
    pub slots: Slots,
    pub masquerade: Masquerade,
    /// Whether a client keeps its endpoint.
    pub sticky: Option<Affinity>,
}

/// What a branch that does not balance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Reject,
    Drop,
}

impl Refusal {
    /// As the value of an element, or at the end of a rule.
    pub fn verdict(self) -> Verdict {
        match self {
            Refusal::Reject => Verdict::Goto("reject-at-once".to_owned()),
            Refusal::Drop => Verdict::Drop,
        }
    }
}

/// A chain that a service asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    Balance(Balance),
    /// Asks who sent the packet; `None` leaves it to the refusals.
    Split(Vec<(Source, Option<Balance>)>),
    /// Asks who is refused in which way; `None` was served before it came here.
    Refuse(Vec<(Source, Option<Refusal>)>),
    Remember(Remember),
    /// Lets the sources of a list pass.
    Sources(Sources),
}

impl Shape {
    /// What translates the packets of a frontend with these branches, if anything does, then how the rest is refused.
    pub fn of(
        branches: &[Branch],
        balance: impl Fn(Scope, Masquerade) -> Balance,
    ) -> (Option<Shape>, Option<Refused>) {
        let ways: Vec<(Source, Result<Balance, Refusal>)> = branches
            .iter()
            .map(|branch| {
                let way = match branch.action {
                    Action::Balance { scope, masquerade } => Ok(balance(scope, masquerade)),
                    Action::Reject => Err(Refusal::Reject),
                    Action::Drop => Err(Refusal::Drop),
                };
                (branch.source, way)
            })
            .collect();
        let served = match &ways[..] {
            [(Source::Any, Ok(balance)), ..] => Some(Shape::Balance(balance.clone())),
            ways if ways.iter().any(|(_, way)| way.is_ok()) => {
                Some(Shape::Split(ways.iter().map(|(source, way)| (*source, way.clone().ok())).collect()))
            }
            _ => None,
        };
        let mut refusals: Vec<Refusal> = ways.iter().filter_map(|(_, way)| way.clone().err()).collect();
        refusals.dedup();
        let refused = match refusals[..] {
            [] => None,
            [one] => Some(Refused::Plainly(one)),
            _ => Some(Refused::By(Shape::Refuse(
                ways.into_iter().map(|(source, way)| (source, way.err())).collect(),
            ))),
        };
        (served, refused)
    }

    /// The name of the chain: equal shapes have equal names, different ones different names. With affinity it is the same
    /// for whatever number of slots: the chain belongs to one service port, and its rules change.
    pub fn name(&self) -> String {
        let name = self.to_string();
        match name.len() {
            ..=LONGEST_NAME => name,
            _ => format!("chain-{}", short(&name)),
        }
    }

    /// The groups over which it balances, each once.
    pub fn scopes(&self) -> Vec<Scope> {
        let mut scopes: Vec<Scope> = match self {
            Shape::Balance(balance) => vec![balance.scope],
            Shape::Split(ways) => ways.iter().filter_map(|(_, way)| Some(way.as_ref()?.scope)).collect(),
            Shape::Refuse(_) | Shape::Remember(_) | Shape::Sources(_) => Vec::new(),
        };
        scopes.dedup();
        scopes
    }
}

/// How a frontend's packets are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    Plainly(Refusal),
    By(Shape),
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Shape::Balance(balance) => balance.fmt(f),
            Shape::Split(ways) => {
                f.write_str("split")?;
                ways.iter().try_for_each(|(source, way)| match way {
                    Some(balance) => write!(f, "/{}/{balance}", word(*source)),
                    None => write!(f, "/{}/refuse", word(*source)),
                })
            }
            Shape::Refuse(ways) => {
                f.write_str("refuse")?;
                ways.iter().try_for_each(|(source, way)| {
                    let action = match way {
                        None => "served",
                        Some(Refusal::Reject) => "reject",
                        Some(Refusal::Drop) => "drop",
                    };
                    write!(f, "/{}-{action}", word(*source))
                })
            }
            Shape::Remember(Remember { affinity, by, scopes, timeout }) => {
                let by = if *by == By::NodePort { "node-port-" } else { "" };
                let only = if let [Scope::Local] = scopes[..] { "local-" } else { "" };
                let both = if scopes.len() > 1 { "both-" } else { "" };
                write!(f, "{by}{only}{both}remember-{}s{affinity}", *timeout as f64 / 1000.0)
            }
            Shape::Sources(sources) => f.write_str(&sources.name),
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let by = match self.by {
            By::Destination => "",
            By::NodePort => "node-port-",
        };
        let scope = match self.scope {
            Scope::Cluster => "lb",
            Scope::Local => "local",
        };
        write!(f, "{by}{scope}")?;
        // Binding a rule of another chain to a map has the kernel walk all that is in it, all remembered clients that is.
        if self.sticky.is_none() {
            write!(f, "-{}", self.slots.0)?;
        }
        match self.masquerade {
            Masquerade::Always => f.write_str("-masquerade")?,
            Masquerade::UnlessPods => f.write_str("-masquerade-unless-pod")?,
            Masquerade::Never => {}
        }
        self.sticky.iter().try_for_each(|sticky| sticky.fmt(f))
    }
}

fn word(source: Source) -> &'static str {
    match source {
        Source::Pods => "pods",
        Source::Node => "node",
        Source::Any => "any",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_number_of_endpoints_has_slots_enough_and_few_of_them_empty() {
        let mut sizes = BTreeSet::new();
        for len in 1..=20_000usize {
            let slots = Slots::for_group(len);
            let draws = slots.draws();
            let (first, last) = (draws[0] as usize, *draws.last().unwrap() as usize);
            assert!(last <= len && len <= first, "{len}: {draws:?}");
            assert!(len <= 64 || (first - len) * 16 < len, "{len}: {draws:?}");
            assert!(Slots::for_group(last) == slots, "{len}: {draws:?}");
            sizes.insert(slots);
        }
        assert!(sizes.len() < 210, "{} chains", sizes.len());
    }
}
