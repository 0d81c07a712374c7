//! What running an expression may cost at most, in the original's units: about one for each step.
//!
//! Rules are refused by this number, so that it must be the original's to the last digit.

use std::collections::HashMap;

use super::check::Found;
use super::declared::Declared;
use super::functions_cost::{Argument, call};
use super::kinds::{Head, Type};
use super::sizes::Size;
use super::tree::{Fold, Literal, Node, Part, RESULT};

/// From a variable to a part of it: names of fields, `@items`, `@keys`, `@values`.
type Path = Vec<String>;

/// What is known of the entries of a list or a map.
#[derive(Clone, Copy, Debug)]
struct Entries {
    list: bool,
    key: Size,
    value: Size,
}

struct Local {
    name: String,
    path: Path,
    size: Option<Size>,
    entries: Option<Entries>,
}

pub(super) struct Coster<'a> {
    found: &'a [Found],
    root: &'a Declared,
    paths: HashMap<usize, Path>,
    sizes: HashMap<usize, Size>,
    entries: HashMap<usize, Entries>,
    locals: Vec<Local>,
}

const NEW_LIST: u64 = 10;
const NEW_MAP: u64 = 30;
const NEW_OBJECT: u64 = 40;

/// `root`: what the variables are declared as.
pub(super) fn estimate(found: &[Found], root: &Declared, node: &Node) -> u64 {
    let mut coster = Coster {
        found,
        root,
        paths: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
        locals: Vec::new(),
    };
    coster.cost(node)
}

impl<'a> Coster<'a> {
    fn of(&self, node: &Node) -> &'a Type {
        self.found[node.id].of.as_ref().unwrap_or(&Type::Dyn)
    }

    fn cost(&mut self, node: &Node) -> u64 {
        match &node.part {
            Part::Literal(_) => 0,
            Part::Name(name) => {
                let path = match self.local(name) {
                    Some(local) => local.path.clone(),
                    None => vec![name.clone()],
                };
                self.paths.insert(node.id, path);
                1
            }
            Part::Select { of, field, test } => self.select(node, of, field, *test),
            Part::Call { name, target, args } => self.call(node, name, target.as_deref(), args),
            Part::List(items) => {
                let mut sum: u64 = NEW_LIST;
                let mut value = if items.is_empty() { Size { least: 0, most: 0 } } else { Size::NONE };
                for (item, _) in items {
                    sum = sum.saturating_add(self.cost(item));
                    value = value.or(self.size_or_unknown(item));
                }
                self.entries.insert(node.id, Entries { list: true, key: Size::of(1), value });
                sum
            }
            Part::Map(entries) => {
                let mut sum: u64 = NEW_MAP;
                let none = if entries.is_empty() { Size { least: 0, most: 0 } } else { Size::NONE };
                let mut sizes = Entries { list: false, key: none, value: none };
                for (key, value, _) in entries {
                    sum = sum.saturating_add(self.cost(key)).saturating_add(self.cost(value));
                    sizes.key = sizes.key.or(self.size_or_unknown(key));
                    sizes.value = sizes.value.or(self.size_or_unknown(value));
                }
                self.entries.insert(node.id, sizes);
                sum
            }
            Part::Struct { fields, .. } => {
                fields.iter().fold(NEW_OBJECT, |sum, (_, _, value)| sum.saturating_add(self.cost(value)))
            }
            Part::Fold(fold) => self.fold(node, fold),
            Part::OptMap { of, name, body, flat } => {
                let of_cost = self.cost(of);
                let condition = of_cost.saturating_add(1);
                let start = of_cost.saturating_add(1);
                self.locals.push(Local { name: name.clone(), path: Path::new(), size: None, entries: None });
                let body = self.cost(body);
                self.locals.pop();
                let then =
                    NEW_LIST.saturating_add(start).saturating_add(body).saturating_add(u64::from(!flat));
                self.sizes.insert(node.id, Size::UNKNOWN);
                condition.saturating_add(then)
            }
        }
    }

    fn select(&mut self, node: &Node, of: &Node, field: &str, test: bool) -> u64 {
        if let Some(whole) = &self.found[node.id].whole {
            self.paths.insert(node.id, vec![whole.clone()]);
            return 1;
        }
        let mut sum = self.cost(of);
        if test {
            return sum;
        }
        let steps = match self.of(of) {
            Type::Object(_) | Type::Named(_) | Type::Param(_) => 1,
            of if of.head().is_some_and(|(head, _)| head == Head::Map) => 1,
            _ => 0,
        };
        sum = sum.saturating_add(steps);
        let mut path = self.path(of);
        path.push(field.to_owned());
        self.paths.insert(node.id, path);
        sum
    }

    fn call(&mut self, node: &Node, name: &str, target: Option<&Node>, args: &[Node]) -> u64 {
        if let ("dyn", [arg]) = (name, args) {
            let cost = self.cost(arg);
            self.copy(node, arg);
            return cost.saturating_add(1);
        }
        let arg_costs: Vec<u64> = args.iter().map(|arg| self.cost(arg)).collect();
        let found = &self.found[node.id];
        if found.overloads.is_empty() {
            return 0;
        }
        let function = found.whole.as_deref().unwrap_or(name);
        let target = target.filter(|_| found.whole.is_none());
        let mut sum = target.map_or(0, |target| self.cost(target));
        let target = target.map(|target| self.argument(target));
        let arguments: Vec<Argument<'_>> = args.iter().map(|arg| self.argument(arg)).collect();
        let mut most = 0;
        let mut result: Option<Size> = None;
        for overload in &found.overloads {
            let estimate = match (*overload, args) {
                ("conditional", [_, then, otherwise]) => {
                    if let (Some(a), Some(b)) = (self.entries_of(then), self.entries_of(otherwise)) {
                        self.entries.insert(node.id, a.or(b));
                    }
                    let size = arguments[1].known().or(arguments[2].known());
                    (arg_costs[0].saturating_add(arg_costs[1].max(arg_costs[2])), Some(size))
                }
                (overload, _) => {
                    let (cost, size) = call(self, function, overload, target.as_ref(), &arguments);
                    (arg_costs.iter().fold(cost, |sum, cost| sum.saturating_add(*cost)), size)
                }
            };
            most = most.max(estimate.0);
            if let Some(size) = estimate.1 {
                result = Some(result.map_or(size, |result| result.or(size)));
            }
            match (*overload, args) {
                ("index_list" | "index_map", [of, _]) => {
                    result = self.entries_of(of).map(|entries| entries.value);
                    let mut path = self.path(of);
                    path.push(if *overload == "index_list" { "@items" } else { "@values" }.to_owned());
                    self.paths.insert(node.id, path);
                }
                ("add_list" | "add_string" | "add_bytes", [a, b]) => {
                    if let (Some(a), Some(b)) = (self.entries_of(a), self.entries_of(b)) {
                        self.entries.insert(node.id, a.or(b));
                    }
                }
                _ => {}
            }
            result = result.or_else(|| self.size(node));
        }
        self.sizes.extend(result.map(|size| (node.id, size)));
        sum = sum.saturating_add(most);
        sum
    }

    fn fold(&mut self, node: &Node, fold: &Fold) -> u64 {
        let empty = matches!(&fold.range.part, Part::List(items) if items.is_empty());
        let never = matches!(&fold.goes_on.part, Part::Literal(Literal::Bool(false)));
        let mut sum = self.cost(&fold.range).saturating_add(self.cost(&fold.start));
        self.push_value(&fold.result, &fold.start);
        if empty && never {
            sum = sum.saturating_add(self.cost(&fold.end));
            self.locals.pop();
            self.copy(node, &fold.end);
            return sum;
        }
        let depth = self.locals.len();
        match &fold.value {
            Some(value) => {
                self.push_entry(&fold.item, &fold.range, false);
                self.push_entry(value, &fold.range, true);
            }
            None => {
                let list = self.is_list(&fold.range);
                self.push_entry(&fold.item, &fold.range, list);
            }
        }
        let each = self.cost(&fold.goes_on).saturating_add(self.cost(&fold.step));
        self.locals.truncate(depth);
        sum = sum.saturating_add(self.cost(&fold.end));
        self.locals.pop();
        let count = self.size_or_unknown(&fold.range);
        sum = sum.saturating_add(count.most.saturating_mul(each));
        match &fold.start.part {
            Part::Literal(_) => {
                let size = self.size(&fold.start);
                self.sizes.extend(size.map(|size| (node.id, size)));
            }
            Part::List(_) | Part::Map(_) => {
                self.sizes.insert(node.id, count);
                if let Some(entries) = self.entries_of(&fold.step) {
                    self.entries.insert(node.id, entries);
                }
            }
            _ => {}
        }
        sum
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| local.name == name)
    }

    fn push_value(&mut self, name: &str, of: &Node) {
        let local = Local {
            name: name.to_owned(),
            path: self.path(of),
            size: self.size(of),
            entries: self.entries_of(of),
        };
        self.locals.push(local);
    }

    fn is_list(&self, range: &Node) -> bool {
        match self.entries_of(range) {
            Some(entries) => entries.list,
            None => self.of(range).head().is_some_and(|(head, _)| head == Head::List),
        }
    }

    /// The variable of a loop. `value`: it is for the items or values, and not the indices or keys.
    fn push_entry(&mut self, name: &str, range: &Node, value: bool) {
        let entries = self.entries_of(range);
        let size = entries.map(|entries| if value { entries.value } else { entries.key });
        let mut path = self.path(range);
        let part = match (self.is_list(range), value) {
            (true, true) => "@items",
            (true, false) => "@indices",
            (false, true) => "@values",
            (false, false) => "@keys",
        };
        path.push(part.to_owned());
        self.locals.push(Local { name: name.to_owned(), path, size, entries: None });
    }

    fn path(&self, node: &Node) -> Path {
        if let Part::Name(name) = &node.part
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&node.id).cloned().unwrap_or_default()
    }

    fn entries_of(&self, node: &Node) -> Option<Entries> {
        if let Some(entries) = self.entries.get(&node.id) {
            return Some(*entries);
        }
        match &node.part {
            Part::Name(name) => self.local(name)?.entries,
            _ => None,
        }
    }

    fn copy(&mut self, to: &Node, from: &Node) {
        let (size, entries) = (self.size(from), self.entries_of(from));
        self.sizes.extend(size.map(|size| (to.id, size)));
        self.entries.extend(entries.map(|entries| (to.id, entries)));
    }

    fn size_or_unknown(&mut self, node: &Node) -> Size {
        self.size(node).unwrap_or(Size::UNKNOWN)
    }

    fn size(&mut self, node: &Node) -> Option<Size> {
        if let Some(size) = self.sizes.get(&node.id) {
            return Some(*size);
        }
        let written = match &node.part {
            Part::Literal(Literal::Text(text)) => Some(text.chars().count() as u64),
            Part::Literal(Literal::Bytes(bytes)) => Some(bytes.len() as u64),
            Part::Literal(_) => Some(1),
            Part::List(items) => Some(items.len() as u64),
            Part::Map(entries) => Some(entries.len() as u64),
            _ => None,
        };
        if let Some(written) = written {
            return Some(Size::of(written));
        }
        if let Some(size) = self.declared_size(&self.path(node)) {
            self.sizes.insert(node.id, size);
            return Some(size);
        }
        if is_scalar(self.of(node)) {
            return Some(Size::of(1));
        }
        match &node.part {
            Part::Name(name) => self.local(name)?.size,
            _ => None,
        }
    }

    /// The size of what a path leads to, as its schema bounds it.
    pub(super) fn declared_size(&self, path: &[String]) -> Option<Size> {
        let (_, rest) = path.split_first()?;
        let mut at = self.root;
        for (n, name) in rest.iter().enumerate() {
            at = match name.as_str() {
                "@items" | "@values" => at.items.as_deref()?,
                "@keys" => {
                    at.of.head().filter(|(head, _)| *head == Head::Map)?;
                    return (n + 1 == rest.len()).then_some(KEYS);
                }
                name => at.field(name)?,
            };
        }
        Some(Size { least: 0, most: at.most })
    }

    fn argument<'n>(&mut self, node: &'n Node) -> Argument<'n>
    where
        'a: 'n,
    {
        let path = self.path(node);
        let path = if path.first().is_some_and(|first| first == RESULT) { Path::new() } else { path };
        Argument { path, of: self.of(node), node, size: self.size(node) }
    }
}

/// Names of entries: no schema bounds them, and the original takes them for nothing.
const KEYS: Size = Size { least: 0, most: 0 };

fn is_scalar(of: &Type) -> bool {
    match of {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Time | Type::Uint => true,
        other => other.unwrapped().is_some_and(is_scalar),
    }
}

impl Entries {
    fn or(self, other: Self) -> Self {
        Self { list: self.list, key: self.key.or(other.key), value: self.value.or(other.value) }
    }
}
