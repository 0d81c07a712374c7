//! Changes in nft's syntax: each op a line of a script that `nft -f` would take.

use std::fmt::{Display, Formatter, Result, Write};

use super::batch::{Batch, Op};
use super::data::{Type, show_fields};
use super::expr::Verdict;
use super::family::Family;
use super::object::*;
use super::set::*;
use super::show::{self, time};

impl Display for Family {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.write_str(self.name())
    }
}

impl Display for TableId {
    fn fmt(&self, f: &mut Formatter) -> Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

impl Display for Policy {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.write_str(if *self == Policy::Drop { "drop" } else { "accept" })
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter) -> Result {
        match self {
            Verdict::Accept => f.write_str("accept"),
            Verdict::Drop => f.write_str("drop"),
            Verdict::Continue => f.write_str("continue"),
            Verdict::Return => f.write_str("return"),
            Verdict::Jump(chain) => write!(f, "jump {chain}"),
            Verdict::Goto(chain) => write!(f, "goto {chain}"),
            Verdict::Other(code) => write!(f, "verdict{code}"),
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.write_str(&show::rule(self))?;
        match &self.comment {
            Some(text) => write!(f, " comment {}", Quoted(text)),
            None => Ok(()),
        }
    }
}

impl Display for Base {
    fn fmt(&self, f: &mut Formatter) -> Result {
        let (kind, hook) = (self.kind.name(), self.hook.name());
        write!(f, "type {kind} hook {hook} priority {}; policy {};", self.priority, self.policy)
    }
}

/// As `add table` takes it.
impl Display for Table {
    fn fmt(&self, f: &mut Formatter) -> Result {
        let dormant = self.dormant.then(|| "flags dormant;".to_owned());
        write!(f, "{}{}", self.id, Block(vec![dormant, comment(&self.comment)]))
    }
}

/// As `add chain` takes it.
impl Display for Chain {
    fn fmt(&self, f: &mut Formatter) -> Result {
        let base = self.base.map(|base| base.to_string());
        write!(f, "{} {}{}", self.table, self.name, Block(vec![base, comment(&self.comment)]))
    }
}

/// As `add set` and `add map` take it.
impl Display for Set {
    fn fmt(&self, f: &mut Formatter) -> Result {
        let flags: Vec<&str> = [
            (self.constant, "constant"),
            (self.dynamic, "dynamic"),
            (self.interval, "interval"),
            (self.timeouts, "timeout"),
        ]
        .into_iter()
        .filter_map(|(on, name)| on.then_some(name))
        .collect();
        let parts = vec![
            Some(declaration(self)),
            self.size.map(|size| format!("size {size};")),
            (!flags.is_empty()).then(|| format!("flags {};", flags.join(","))),
            self.timeout.map(|timeout| format!("timeout {};", time(timeout))),
            self.counting.then(|| "counter;".to_owned()),
            comment(&self.comment),
        ];
        write!(f, "{} {}{}", self.table, self.name, Block(parts))
    }
}

/// `type ...`; or `typeof ...`, where nft has no name for a type.
fn declaration(set: &Set) -> String {
    let data = match &set.holds {
        Holds::Data(types) => types.as_slice(),
        _ => &[],
    };
    let by_expression = set.key.contains(&Type::Integer) || data.contains(&Type::Integer);
    let fields = |types: &[Type]| {
        let words: Vec<String> = types
            .iter()
            .map(|kind| if by_expression { kind.example().to_owned() } else { kind.to_string() })
            .collect();
        words.join(" . ")
    };
    let word = if by_expression { "typeof" } else { "type" };
    match &set.holds {
        Holds::Nothing => format!("{word} {};", fields(&set.key)),
        Holds::Data(types) => format!("{word} {} : {};", fields(&set.key), fields(types)),
        Holds::Verdict => format!("{word} {} : verdict;", fields(&set.key)),
        Holds::Counter => format!("{word} {} : counter;", fields(&set.key)),
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter) -> Result {
        match self {
            Op::AddTable(table) => write!(f, "add table {table}"),
            Op::DeleteTable(table) => write!(f, "delete table {table}"),
            Op::AddChain(chain) => write!(f, "add chain {chain}"),
            Op::DeleteChain(table, name) => write!(f, "delete chain {table} {name}"),
            Op::FlushChain(table, name) => write!(f, "flush chain {table} {name}"),
            Op::AddRule(rule, place) => {
                let (verb, place) = match place {
                    Place::First => ("insert", String::new()),
                    Place::Last => ("add", String::new()),
                    Place::Before(handle) => ("insert", format!(" handle {handle}")),
                    Place::After(handle) => ("add", format!(" handle {handle}")),
                };
                write!(f, "{verb} rule {} {}{place} {rule}", rule.table, rule.chain)
            }
            Op::ReplaceRule(handle, rule) => {
                write!(f, "replace rule {} {} handle {handle} {rule}", rule.table, rule.chain)
            }
            Op::DeleteRule { table, chain, handle } => {
                write!(f, "delete rule {table} {chain} handle {handle}")
            }
            Op::AddSet(set) => write!(f, "add {} {set}", noun(set)),
            Op::DeleteSet(set) => write!(f, "delete {} {} {}", noun(set), set.table, set.name),
            Op::FlushSet(set) => write!(f, "flush {} {} {}", noun(set), set.table, set.name),
            Op::AddElements(set, elements) => write_elements(f, "add", set, elements),
            Op::DeleteElements(set, elements) => write_elements(f, "delete", set, elements),
            Op::AddCounter(counter) => {
                let text = Block(vec![comment(&counter.comment)]);
                write!(f, "add counter {} {}{text}", counter.table, counter.name)
            }
            Op::DeleteCounter(table, name) => write!(f, "delete counter {table} {name}"),
        }
    }
}

impl Display for Batch {
    fn fmt(&self, f: &mut Formatter) -> Result {
        self.ops.iter().try_for_each(|op| writeln!(f, "{op}"))
    }
}

fn noun(set: &Set) -> &'static str {
    if set.is_map() { "map" } else { "set" }
}

fn write_elements(f: &mut Formatter, verb: &str, set: &Set, elements: &[Element]) -> Result {
    write!(f, "{verb} element {} {} {{ ", set.table, set.name)?;
    for (n, element) in elements.iter().enumerate() {
        let comma = if n > 0 { ", " } else { "" };
        write!(f, "{comma}{}", ElementOf(set, element))?;
    }
    f.write_str(" }")
}

/// An element, which only its set can read.
pub(super) struct ElementOf<'a>(pub &'a Set, pub &'a Element);

impl Display for ElementOf<'_> {
    fn fmt(&self, f: &mut Formatter) -> Result {
        let ElementOf(set, element) = self;
        f.write_str(&show_range(set, element))?;
        if let Some(timeout) = element.timeout {
            write!(f, " timeout {}", time(timeout))?;
        }
        if let Some(text) = &element.comment {
            write!(f, " comment {}", Quoted(text))?;
        }
        match (&element.value, &set.holds) {
            (None, _) => Ok(()),
            (Some(Value::Data(data)), Holds::Data(types)) => {
                write!(f, " : {}", show_fields(types, data.bytes()))
            }
            (Some(Value::Data(data)), _) => write!(f, " : {data:?}"),
            (Some(Value::Verdict(verdict)), _) => write!(f, " : {verdict}"),
            (Some(Value::Object(name)), _) => write!(f, " : {}", Quoted(name)),
        }
    }
}

/// A key, or field by field a range.
fn show_range(set: &Set, element: &Element) -> String {
    let Some(last) = &element.last else { return show_fields(&set.key, element.key.bytes()) };
    let mut fields = Vec::new();
    let mut at = 0;
    for kind in &set.key {
        let part = |data: &super::Data| {
            let bytes = data.bytes().get(at..).unwrap_or_default();
            kind.show(&bytes[..kind.size().min(bytes.len())])
        };
        let (first, last) = (part(&element.key), part(last));
        fields.push(if first == last { first } else { format!("{first}-{last}") });
        at += kind.size().next_multiple_of(4);
    }
    fields.join(" . ")
}

fn comment(text: &Option<String>) -> Option<String> {
    text.as_ref().map(|text| format!("comment {};", Quoted(text)))
}

/// nft's strings know no escapes: a quote within is shown as an apostrophe.
pub(super) struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.write_char('"')?;
        self.0.chars().try_for_each(|c| f.write_char(if c == '"' { '\'' } else { c }))?;
        f.write_char('"')
    }
}

/// What stands in braces behind a name; nothing at all where there is nothing.
struct Block(Vec<Option<String>>);

impl Display for Block {
    fn fmt(&self, f: &mut Formatter) -> Result {
        let parts: Vec<&str> = self.0.iter().flatten().map(String::as_str).collect();
        if parts.is_empty() { Ok(()) } else { write!(f, " {{ {} }}", parts.join(" ")) }
    }
}
