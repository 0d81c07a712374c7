//! Amounts of resources as whole numbers: what the hot path adds and compares.
//!
//! Owns: [`Resources`]. Never: parses or prints a quantity while something is scheduled.

use apiclient_core::names::Name;
use serde_json::Value;

use crate::read::{self, BadObject};

/// What a pod asks for, a node has, or a node's pods ask for together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral: i64,
    /// Extended resources, huge pages and the like, by name.
    pub others: Vec<(Name, i64)>,
}

impl Resources {
    /// Reads a list of resources as in `requests` and `allocatable`; `pods` is left out.
    ///
    /// # Errors
    /// A value that is no quantity.
    pub fn read(field: &str, value: &Value) -> Result<Self, BadObject> {
        let mut found = Self::default();
        for (name, value) in read::map(value) {
            let amount = read::quantity(&format!("{field}.{name}"), value)?;
            match name.as_str() {
                "cpu" => found.cpu = amount.milli_value(),
                "memory" => found.memory = amount.value(),
                "ephemeral-storage" => found.ephemeral = amount.value(),
                "pods" => {}
                _ => found.others.push((name.as_str().into(), amount.value())),
            }
        }
        found.others.sort();
        Ok(found)
    }

    /// Nothing is asked for.
    pub fn is_nothing(&self) -> bool {
        self.cpu == 0 && self.memory == 0 && self.ephemeral == 0 && self.others.is_empty()
    }

    /// The amount of a resource that is none of the three.
    pub fn other(&self, name: &str) -> i64 {
        self.others.iter().find(|(known, _)| &**known == name).map_or(0, |(_, amount)| *amount)
    }

    pub fn add(&mut self, more: &Self) {
        self.combine(more, i64::saturating_add);
    }

    pub fn subtract(&mut self, less: &Self) {
        self.combine(less, i64::saturating_sub);
    }

    /// The larger of each.
    pub fn raise(&mut self, least: &Self) {
        self.combine(least, Ord::max);
    }

    fn combine(&mut self, with: &Self, how: fn(i64, i64) -> i64) {
        self.cpu = how(self.cpu, with.cpu);
        self.memory = how(self.memory, with.memory);
        self.ephemeral = how(self.ephemeral, with.ephemeral);
        for (name, amount) in &with.others {
            match self.others.iter_mut().find(|(known, _)| known == name) {
                Some((_, have)) => *have = how(*have, *amount),
                None => self.others.push((name.clone(), how(0, *amount))),
            }
        }
    }
}
