//! Sets and maps, and their elements.

use super::comment::{LONGEST_COMMENT, clip};
use super::data::{Data, Type};
use super::decode::Counts;
use super::expr::Verdict;
use super::object::TableId;

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
    /// Each element counts the packets for which it was found: see [`ListedElement::counts`]. Linux 5.7.
    pub counting: bool,
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
            counting: false,
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

    /// Each element counts the packets for which it was found.
    pub fn counting(mut self) -> Self {
        self.counting = true;
        self
    }

    /// nft's userdata is short: beside the expressions of a [`Type::Integer`] 80 bytes of comment have room.
    pub fn comment(mut self, text: &str) -> Self {
        let beside = if self.key.contains(&Type::Integer) { 80 } else { LONGEST_COMMENT };
        self.comment = Some(clip(text, beside));
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
        self.comment = Some(clip(text, LONGEST_COMMENT));
        self
    }
}

/// An element as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedElement {
    pub element: Element,
    /// The time that it still has, in milliseconds.
    pub expires: Option<u64>,
    /// Where the set is [`Set::counting`].
    pub counts: Option<Counts>,
}
