//! What a ruleset consists of: tables, chains, rules, counters; sets are in set.rs.

use super::build::Statement;
use super::comment::{LONGEST_COMMENT, clip};
use super::decode::Counts;
use super::expr::Expr;
use super::family::Family;

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
        self.comment = Some(clip(text, LONGEST_COMMENT));
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
        self.comment = Some(clip(text, LONGEST_COMMENT));
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
        self.comment = Some(clip(text, LONGEST_COMMENT));
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
