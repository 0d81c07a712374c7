//! What a ruleset consists of: tables, chains, rules, sets, elements, counters.

use super::build::Statement;
use super::data::{Data, Type};
use super::decode::Counts;
use super::expr::{Expr, Verdict};

/// The family of a table. Weft's own tables are of the first three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    Inet,
    Ip,
    Arp,
    Netdev,
    Bridge,
    Ip6,
}

const FAMILIES: [(Family, u8, &str); 6] = [
    (Family::Inet, 1, "inet"),
    (Family::Ip, 2, "ip"),
    (Family::Arp, 3, "arp"),
    (Family::Netdev, 5, "netdev"),
    (Family::Bridge, 7, "bridge"),
    (Family::Ip6, 10, "ip6"),
];

impl Family {
    /// `NFPROTO_*`
    pub(super) fn code(self) -> u8 {
        FAMILIES.iter().find(|row| row.0 == self).map_or(0, |row| row.1)
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        FAMILIES.iter().find(|row| row.1 == code).map(|row| row.0)
    }

    pub fn name(self) -> &'static str {
        FAMILIES.iter().find(|row| row.0 == self).map_or("", |row| row.2)
    }
}

/// Which table: its family and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    pub family: Family,
    pub name: String,
}

impl TableId {
    pub fn new(family: Family, name: &str) -> Self {
        Self { family, name: name.to_owned() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub id: TableId,
    pub comment: Option<String>,
    /// Present, but none of its chains is called.
    pub dormant: bool,
}

impl Table {
    pub fn new(id: &TableId) -> Self {
        Self { id: id.clone(), comment: None, dormant: false }
    }

    pub fn comment(mut self, text: &str) -> Self {
        self.comment = Some(clip(text));
        self
    }
}

/// What kind of decisions a base chain takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainType {
    Filter,
    Nat,
    Route,
}

impl ChainType {
    pub fn name(self) -> &'static str {
        match self {
            ChainType::Filter => "filter",
            ChainType::Nat => "nat",
            ChainType::Route => "route",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Filter, Self::Nat, Self::Route].into_iter().find(|kind| kind.name() == name)
    }
}

/// Where in the packet's way a base chain is called; the numbers are `enum nf_inet_hooks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

impl Hook {
    pub(super) fn from_code(code: u32) -> Option<Self> {
        [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting]
            .into_iter()
            .find(|hook| *hook as u32 == code)
    }

    pub fn name(self) -> &'static str {
        match self {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        }
    }
}

/// What happens at the end of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    Drop = 0,
    Accept = 1,
}

/// Priorities by the names that nft has for them.
pub mod priority {
    pub const RAW: i32 = -300;
    pub const MANGLE: i32 = -150;
    pub const DSTNAT: i32 = -100;
    pub const FILTER: i32 = 0;
    pub const SECURITY: i32 = 50;
    pub const SRCNAT: i32 = 100;
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    pub kind: ChainType,
    pub hook: Hook,
    /// Lower is earlier.
    pub priority: i32,
    pub policy: Policy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub table: TableId,
    pub name: String,
    /// `None`: a regular chain, called by jumps only; or somebody's base chain at a hook that we do not know.
    pub base: Option<Base>,
    pub comment: Option<String>,
}

impl Chain {
    /// A chain that is jumped to.
    pub fn regular(table: &TableId, name: &str) -> Self {
        Self { table: table.clone(), name: name.to_owned(), base: None, comment: None }
    }

    /// A chain at a hook; policy accept.
    pub fn base(table: &TableId, name: &str, kind: ChainType, hook: Hook, priority: i32) -> Self {
        let base = Base { kind, hook, priority, policy: Policy::Accept };
        Self { base: Some(base), ..Self::regular(table, name) }
    }

    pub fn policy(mut self, policy: Policy) -> Self {
        if let Some(base) = &mut self.base {
            base.policy = policy;
        }
        self
    }

    pub fn comment(mut self, text: &str) -> Self {
        self.comment = Some(clip(text));
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub table: TableId,
    pub chain: String,
    pub exprs: Vec<Expr>,
    pub comment: Option<String>,
}

impl Rule {
    pub fn new(table: &TableId, chain: &str, parts: impl IntoIterator<Item = Statement>) -> Self {
        let exprs = parts.into_iter().flat_map(|part| part.0).collect();
        Self { table: table.clone(), chain: chain.to_owned(), exprs, comment: None }
    }

    pub fn comment(mut self, text: &str) -> Self {
        self.comment = Some(clip(text));
        self
    }
}

/// A rule as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRule {
    pub handle: u64,
    pub rule: Rule,
    /// What its anonymous counters have counted, in order.
    pub counts: Vec<Counts>,
}

/// Where in its chain a new rule goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    First,
    Last,
    Before(u64),
    After(u64),
}

/// What a set holds for each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Nothing: a plain set.
    Nothing,
    Data(Vec<Type>),
    Verdict,
    /// The name of a counter.
    Counter,
}

/// A set or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub table: TableId,
    pub name: String,
    /// More than one type: a concatenation.
    pub key: Vec<Type>,
    pub holds: Holds,
    pub constant: bool,
    /// Keys are ranges.
    pub interval: bool,
    /// Rules may write to it.
    pub dynamic: bool,
    /// Elements may have a timeout of their own.
    pub timeouts: bool,
    /// The timeout of an element that has none of its own, in milliseconds.
    pub timeout: Option<u64>,
    /// The greatest number of elements.
    pub size: Option<u32>,
    pub comment: Option<String>,
}

/// What the kernel makes of a dynamic set without a size.
const DYNAMIC_SIZE: u32 = 65535;

impl Set {
    pub fn new(table: &TableId, name: &str, key: &[Type]) -> Self {
        Self {
            table: table.clone(),
            name: name.to_owned(),
            key: key.to_vec(),
            holds: Holds::Nothing,
            constant: false,
            interval: false,
            dynamic: false,
            timeouts: false,
            timeout: None,
            size: None,
            comment: None,
        }
    }

    pub fn map(table: &TableId, name: &str, key: &[Type], data: &[Type]) -> Self {
        Self { holds: Holds::Data(data.to_vec()), ..Self::new(table, name, key) }
    }

    pub fn verdict_map(table: &TableId, name: &str, key: &[Type]) -> Self {
        Self { holds: Holds::Verdict, ..Self::new(table, name, key) }
    }

    pub fn counter_map(table: &TableId, name: &str, key: &[Type]) -> Self {
        Self { holds: Holds::Counter, ..Self::new(table, name, key) }
    }

    pub fn interval(mut self) -> Self {
        self.interval = true;
        self
    }

    /// Written by rules; 65535 elements unless [`Set::size`] says otherwise, as nft has it.
    pub fn dynamic(mut self) -> Self {
        self.dynamic = true;
        self.size.get_or_insert(DYNAMIC_SIZE);
        self
    }

    /// Elements may expire, but do not unless they say so.
    pub fn timeouts(mut self) -> Self {
        self.timeouts = true;
        self
    }

    /// Elements expire after this many milliseconds unless they say otherwise.
    pub fn timeout(mut self, milliseconds: u64) -> Self {
        self.timeouts = true;
        self.timeout = Some(milliseconds);
        self
    }

    pub fn size(mut self, elements: u32) -> Self {
        self.size = Some(elements);
        self
    }

    pub fn comment(mut self, text: &str) -> Self {
        self.comment = Some(clip(text));
        self
    }

    pub fn is_map(&self) -> bool {
        self.holds != Holds::Nothing
    }
}

/// What a map holds for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Data(Data),
    Verdict(Verdict),
    /// The name of an object.
    Object(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub key: Data,
    /// The last key of a range, included; only in interval sets. Of a concatenation every field is a range.
    pub last: Option<Data>,
    pub value: Option<Value>,
    /// Milliseconds.
    pub timeout: Option<u64>,
    pub comment: Option<String>,
}

impl Element {
    pub fn new(key: impl Into<Data>) -> Self {
        Self { key: key.into(), last: None, value: None, timeout: None, comment: None }
    }

    /// All keys from `first` to `last`, both included.
    pub fn range(first: impl Into<Data>, last: impl Into<Data>) -> Self {
        Self { last: Some(last.into()), ..Self::new(first) }
    }

    /// All addresses of a network.
    pub fn net(net: ipnet::IpNet) -> Self {
        Self::range(net.network(), net.broadcast())
    }

    pub fn data(mut self, data: impl Into<Data>) -> Self {
        self.value = Some(Value::Data(data.into()));
        self
    }

    pub fn verdict(mut self, verdict: Verdict) -> Self {
        self.value = Some(Value::Verdict(verdict));
        self
    }

    pub fn object(mut self, name: &str) -> Self {
        self.value = Some(Value::Object(name.to_owned()));
        self
    }

    pub fn timeout(mut self, milliseconds: u64) -> Self {
        self.timeout = Some(milliseconds);
        self
    }

    pub fn comment(mut self, text: &str) -> Self {
        self.comment = Some(clip(text));
        self
    }
}

/// An element as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedElement {
    pub element: Element,
    /// The time that it still has, in milliseconds.
    pub expires: Option<u64>,
}

/// A named counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    pub table: TableId,
    pub name: String,
    pub comment: Option<String>,
}

impl Counter {
    pub fn new(table: &TableId, name: &str) -> Self {
        Self { table: table.clone(), name: name.to_owned(), comment: None }
    }
}

/// nft takes comments of up to 127 bytes; a longer one is cut, so that what is wanted can be what is there.
fn clip(text: &str) -> String {
    const LONGEST: usize = 127;
    text[..text.floor_char_boundary(LONGEST)].to_owned()
}
