//! Changes to the ruleset, and lists of them that happen together or not at all.

use std::sync::Arc;

use super::object::*;
use super::set::*;

/// One change. Prints as the line of an nft script that does the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Adding what is there already is no error, for tables, chains, sets, counters and equal elements.
    AddTable(Table),
    /// With all that is in it.
    DeleteTable(TableId),
    /// An existing base chain takes the new policy.
    AddChain(Chain),
    /// The chain has to be empty, and no rule or element may lead to it.
    DeleteChain(TableId, String),
    /// Deletes the rules of a chain.
    FlushChain(TableId, String),
    AddRule(Rule, Place),
    ReplaceRule(u64, Rule),
    DeleteRule {
        table: TableId,
        chain: String,
        handle: u64,
    },
    AddSet(Arc<Set>),
    DeleteSet(Arc<Set>),
    /// Deletes the elements of a set.
    FlushSet(Arc<Set>),
    /// A key that is there with another value is refused: delete it before, in the same batch.
    AddElements(Arc<Set>, Vec<Element>),
    /// An element that is not there is an error.
    DeleteElements(Arc<Set>, Vec<Element>),
    AddCounter(Counter),
    DeleteCounter(TableId, String),
}

/// A transaction: its changes take effect together, or none does. Prints as an nft script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub ops: Vec<Op>,
    /// Only if the ruleset is still of this generation (see [`super::Nftables::generation`]); else the
    /// batch fails with `ERESTART`.
    pub generation: Option<u32>,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub fn push(&mut self, op: Op) -> &mut Self {
        self.ops.push(op);
        self
    }

    pub fn add_table(&mut self, table: Table) -> &mut Self {
        self.push(Op::AddTable(table))
    }

    pub fn delete_table(&mut self, table: &TableId) -> &mut Self {
        self.push(Op::DeleteTable(table.clone()))
    }

    /// Leaves an empty table, whether there was one or not: add, delete, add.
    pub fn fresh_table(&mut self, table: Table) -> &mut Self {
        self.add_table(Table::new(&table.id)).delete_table(&table.id.clone()).add_table(table)
    }

    /// Leaves no such table, whether there was one or not: add, delete.
    pub fn no_table(&mut self, table: &TableId) -> &mut Self {
        self.add_table(Table::new(table)).delete_table(table)
    }

    pub fn add_chain(&mut self, chain: Chain) -> &mut Self {
        self.push(Op::AddChain(chain))
    }

    pub fn delete_chain(&mut self, table: &TableId, name: &str) -> &mut Self {
        self.push(Op::DeleteChain(table.clone(), name.to_owned()))
    }

    pub fn flush_chain(&mut self, table: &TableId, name: &str) -> &mut Self {
        self.push(Op::FlushChain(table.clone(), name.to_owned()))
    }

    /// Appends a rule to its chain.
    pub fn add_rule(&mut self, rule: Rule) -> &mut Self {
        self.push(Op::AddRule(rule, Place::Last))
    }

    /// Puts a rule at the head of its chain.
    pub fn insert_rule(&mut self, rule: Rule) -> &mut Self {
        self.push(Op::AddRule(rule, Place::First))
    }

    pub fn delete_rule(&mut self, table: &TableId, chain: &str, handle: u64) -> &mut Self {
        self.push(Op::DeleteRule { table: table.clone(), chain: chain.to_owned(), handle })
    }

    pub fn add_set(&mut self, set: &Arc<Set>) -> &mut Self {
        self.push(Op::AddSet(set.clone()))
    }

    pub fn add_elements(&mut self, set: &Arc<Set>, elements: Vec<Element>) -> &mut Self {
        self.push(Op::AddElements(set.clone(), elements))
    }

    pub fn delete_elements(&mut self, set: &Arc<Set>, elements: Vec<Element>) -> &mut Self {
        self.push(Op::DeleteElements(set.clone(), elements))
    }

    pub fn add_counter(&mut self, counter: Counter) -> &mut Self {
        self.push(Op::AddCounter(counter))
    }
}

impl FromIterator<Op> for Batch {
    fn from_iter<I: IntoIterator<Item = Op>>(ops: I) -> Self {
        Self { ops: ops.into_iter().collect(), generation: None }
    }
}
