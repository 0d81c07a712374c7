//! Runs expressions, and counts what that costs.

use std::rc::Rc;

use serde_json::Value as Json;

use super::maps::Entries;
use super::syntax::{Added, Expr, Fold, Step, op};
use super::value::{List, Map, Value};
use super::{functions, operators};

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// `no such key: a`, `division by zero`.
    Error(String),
    /// It costs too much.
    Cost,
}

pub(super) type Answer<'a> = Result<Value<'a>, Fault>;

pub(super) fn error<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Error(what.into()))
}

pub(super) fn no_overload<T>() -> Result<T, Fault> {
    error("no such overload")
}

pub(super) struct Evaluator<'a> {
    variables: Vec<(&'a str, Value<'a>)>,
    left: u64,
}

impl<'a> Evaluator<'a> {
    /// `optional`: `oldSelf` is an optional value. `most`: what the answer may cost.
    pub fn new(schema: &'a Json, value: &'a Json, old: Option<&'a Json>, optional: bool, most: u64) -> Self {
        let old = old.map(|old| Value::of(old, schema));
        let old = match (optional, old) {
            (true, old) => Some(Value::Optional(old.map(Rc::new))),
            (false, old) => old,
        };
        let mut variables = vec![("self", Value::of(value, schema))];
        variables.extend(old.map(|old| ("oldSelf", old)));
        Self { variables, left: most }
    }

    /// One variable of that name, of which no schema is known.
    pub fn over(variable: &'a str, value: &'a Json, most: u64) -> Self {
        Self { variables: vec![(variable, Value::plain(value))], left: most }
    }

    /// What is left of the cost.
    pub fn left(&self) -> u64 {
        self.left
    }

    pub fn charge(&mut self, cost: u64) -> Result<(), Fault> {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Fault::Cost)
            }
        }
    }

    pub fn answer(&mut self, expr: &'a Expr) -> Answer<'a> {
        self.charge(1)?;
        match expr {
            Expr::Null => Ok(Value::Null),
            Expr::Bool(set) => Ok(Value::Bool(*set)),
            Expr::Int(n) => Ok(Value::Int(*n)),
            Expr::Uint(n) => Ok(Value::Uint(*n)),
            Expr::Double(n) => Ok(Value::Double(*n)),
            Expr::Text(text) => Ok(Value::Text(super::value::Text::Of(text))),
            Expr::Bytes(bytes) => Ok(Value::Bytes(bytes.as_slice().into())),
            Expr::Ident(name) => self.variable(name),
            Expr::Type(name) => Ok(Value::Type(name)),
            Expr::Select { of, field, test } => {
                let of = self.answer(of)?;
                select(&of, field, *test)
            }
            Expr::Call { name, target, args } => self.call(name, target.as_deref(), args),
            Expr::List(items) => {
                let mut out = Vec::with_capacity(items.len());
                for (item, optional) in items {
                    match (self.answer(item)?, optional) {
                        (Value::Optional(value), true) => out.extend(value.map(|value| (*value).clone())),
                        (value, _) => out.push(value),
                    }
                }
                Ok(Value::list(out))
            }
            Expr::Map(entries) => {
                let mut out = Entries::default();
                for (key, value, optional) in entries {
                    let key = self.answer(key)?;
                    let value = match (self.answer(value)?, optional) {
                        (Value::Optional(None), true) => continue,
                        (Value::Optional(Some(value)), true) => (*value).clone(),
                        (value, _) => value,
                    };
                    out.set(key, value).map_err(Fault::Error)?;
                }
                Ok(Value::Map(Map::Own(Rc::new(out))))
            }
            Expr::Fold(fold) => self.fold(fold),
        }
    }

    fn variable(&self, name: &str) -> Answer<'a> {
        if let Some((_, value)) = self.variables.iter().rev().find(|(known, _)| *known == name) {
            return Ok(value.clone());
        }
        let types = [
            "int",
            "uint",
            "double",
            "bool",
            "string",
            "bytes",
            "list",
            "map",
            "null_type",
            "type",
            "dyn",
            "optional_type",
        ];
        match types.iter().find(|known| **known == name) {
            Some(known) => Ok(Value::Type(known)),
            None => error(format!("undeclared reference to '{name}'")),
        }
    }

    fn fold(&mut self, fold: &'a Fold) -> Answer<'a> {
        let range = self.answer(&fold.range)?;
        let (keys, values): (Vec<Value<'a>>, Option<Vec<Value<'a>>>) = match &range {
            Value::List(list) if fold.value.is_some() => {
                let indices = (0..list.len()).map(|n| Value::Int(i64::try_from(n).unwrap_or(i64::MAX)));
                (indices.collect(), Some(list.iter().collect()))
            }
            Value::List(list) => (list.iter().collect(), None),
            Value::Map(map) => {
                let keys = map.keys();
                let values =
                    fold.value.is_some().then(|| keys.iter().filter_map(|key| map.get(key)).collect());
                (keys, values)
            }
            _ => return no_overload(),
        };
        self.charge(keys.len() as u64)?;
        let start = self.answer(&fold.start)?;
        let depth = self.variables.len();
        self.variables.push((&fold.result, start));
        let answer = self.steps(fold, keys, values, depth);
        self.variables.truncate(depth);
        answer
    }

    fn steps(
        &mut self,
        fold: &'a Fold,
        keys: Vec<Value<'a>>,
        values: Option<Vec<Value<'a>>>,
        depth: usize,
    ) -> Answer<'a> {
        let mut values = values.map(Vec::into_iter);
        // What fails in one step is forgotten where a later one decides (`exists`, `all`).
        let mut failed = None;
        for key in keys {
            self.variables.truncate(depth + 1);
            let value = values.as_mut().and_then(Iterator::next);
            self.variables.push((&fold.item, key));
            if let (Some(name), Some(value)) = (&fold.value, value) {
                self.variables.push((name, value));
            }
            if failed.is_none() && matches!(self.answer(&fold.goes_on)?, Value::Bool(false)) {
                break;
            }
            match &fold.step {
                Step::Is(expr) => match self.answer(expr) {
                    Ok(value) => {
                        let decided = matches!(
                            (&fold.goes_on, &value),
                            (Expr::Call { .. }, Value::Bool(_)) if failed.is_some() && decides(fold, &value)
                        );
                        if failed.is_none() || decided {
                            self.variables[depth].1 = value;
                        }
                        if decided {
                            failed = None;
                            break;
                        }
                    }
                    Err(Fault::Cost) => return Err(Fault::Cost),
                    Err(fault) => failed = failed.or(Some(fault)),
                },
                Step::Adds { condition, added } => {
                    let wanted = match condition {
                        Some(condition) => matches!(self.answer(condition)?, Value::Bool(true)),
                        None => true,
                    };
                    if wanted {
                        self.add(depth, added)?;
                    }
                }
            }
        }
        if let Some(fault) = failed {
            return Err(fault);
        }
        self.variables.truncate(depth + 1);
        self.answer(&fold.end)
    }

    /// Adds to the result of a loop.
    fn add(&mut self, depth: usize, added: &'a Added) -> Result<(), Fault> {
        let mut entries = Vec::new();
        match added {
            Added::Item(item) => {
                let item = self.answer(item)?;
                if let Value::List(List::Own(items)) = &mut self.variables[depth].1 {
                    Rc::make_mut(items).push(item);
                }
                return Ok(());
            }
            Added::Entry(key, value) => entries.push((self.answer(key)?, self.answer(value)?)),
            Added::Entries(more) => {
                let Value::Map(more) = self.answer(more)? else { return no_overload() };
                self.charge(more.len() as u64)?;
                entries
                    .extend(more.keys().into_iter().filter_map(|key| Some((key.clone(), more.get(&key)?))));
            }
        }
        if let Value::Map(Map::Own(known)) = &mut self.variables[depth].1 {
            let known = Rc::make_mut(known);
            for (key, value) in entries {
                known.insert(key, value).map_err(Fault::Error)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, name: &'a str, target: Option<&'a Expr>, args: &'a [Expr]) -> Answer<'a> {
        match (name, args) {
            (op::LOGICAL_AND, [a, b]) => self.both(a, b, false),
            (op::LOGICAL_OR, [a, b]) => self.both(a, b, true),
            (op::CONDITIONAL, [condition, then, otherwise]) => match self.answer(condition)? {
                Value::Bool(true) => self.answer(then),
                Value::Bool(false) => self.answer(otherwise),
                _ => no_overload(),
            },
            (op::NOT_STRICTLY_FALSE, [expr]) => match self.answer(expr) {
                Ok(Value::Bool(set)) => Ok(Value::Bool(set)),
                Err(Fault::Cost) => Err(Fault::Cost),
                _ => Ok(Value::Bool(true)),
            },
            (op::OPT_SELECT, [of, Expr::Text(field)]) => {
                let of = self.answer(of)?;
                Ok(optional_select(of, field))
            }
            (op::OPT_INDEX, [of, key]) => {
                let (of, key) = (self.answer(of)?, self.answer(key)?);
                Ok(optional_index(of, &key))
            }
            ("optMap" | "optFlatMap", [Expr::Ident(variable), body]) => {
                let Some(target) = target else { return no_overload() };
                match self.answer(target)? {
                    Value::Optional(None) => Ok(Value::Optional(None)),
                    Value::Optional(Some(value)) => {
                        let mapped = self.with(variable, (*value).clone(), body)?;
                        let flat = name == "optFlatMap";
                        Ok(if flat { mapped } else { Value::Optional(Some(Rc::new(mapped))) })
                    }
                    _ => no_overload(),
                }
            }
            _ => {
                // `sets.contains(a, b)`, `optional.of(a)`: functions with two names.
                let space = match target {
                    Some(Expr::Ident(space)) if self.is_space(space) => Some(space.as_str()),
                    _ => None,
                };
                let mut values = Vec::with_capacity(args.len() + 1);
                if let (Some(target), None) = (target, space) {
                    values.push(self.answer(target)?);
                }
                for arg in args {
                    values.push(self.answer(arg)?);
                }
                match space {
                    Some(space) => functions::call(self, &format!("{space}.{name}"), false, values),
                    None if target.is_none() && name.starts_with(['_', '@', '!', '-']) => {
                        operators::call(self, name, values)
                    }
                    None => functions::call(self, name, target.is_some(), values),
                }
            }
        }
    }

    fn is_space(&self, name: &str) -> bool {
        matches!(name, "sets" | "optional" | "ip" | "format" | "lists" | "strings")
            && !self.variables.iter().any(|(known, _)| *known == name)
    }

    fn with(&mut self, name: &'a str, value: Value<'a>, body: &'a Expr) -> Answer<'a> {
        let depth = self.variables.len();
        self.variables.push((name, value));
        let answer = self.answer(body);
        self.variables.truncate(depth);
        answer
    }

    /// `&&` and `||`: one side alone may decide, whatever is wrong with the other.
    fn both(&mut self, a: &'a Expr, b: &'a Expr, decisive: bool) -> Answer<'a> {
        let first = match self.answer(a) {
            Ok(Value::Bool(set)) if set == decisive => return Ok(Value::Bool(decisive)),
            Err(Fault::Cost) => return Err(Fault::Cost),
            other => other,
        };
        match (first, self.answer(b)) {
            (_, Ok(Value::Bool(set))) if set == decisive => Ok(Value::Bool(decisive)),
            (_, Err(Fault::Cost)) => Err(Fault::Cost),
            (Err(fault), _) | (Ok(_), Err(fault)) => Err(fault),
            (Ok(Value::Bool(_)), Ok(Value::Bool(set))) => Ok(Value::Bool(set)),
            _ => no_overload(),
        }
    }
}

/// Whether a value ends a loop of `exists` (true) or `all` (false).
fn decides(fold: &Fold, value: &Value<'_>) -> bool {
    let starts_true = matches!(fold.start, Expr::Bool(true));
    matches!(value, Value::Bool(set) if *set != starts_true)
}

fn select<'a>(of: &Value<'a>, field: &str, test: bool) -> Answer<'a> {
    match of {
        Value::Map(map) => match (map.field(field), test) {
            (found, true) => Ok(Value::Bool(found.is_some())),
            (Some(value), false) => Ok(value),
            (None, false) => error(format!("no such key: {field}")),
        },
        Value::Optional(None) if test => Ok(Value::Bool(false)),
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(value)) if test => select(value, field, true),
        Value::Optional(Some(value)) => Ok(optional_select((**value).clone(), field)),
        _ => no_overload(),
    }
}

fn optional_select<'a>(of: Value<'a>, field: &str) -> Value<'a> {
    match of {
        Value::Map(map) => Value::Optional(map.field(field).map(Rc::new)),
        Value::Optional(Some(value)) => optional_select((*value).clone(), field),
        _ => Value::Optional(None),
    }
}

fn optional_index<'a>(of: Value<'a>, key: &Value<'a>) -> Value<'a> {
    match (of, key) {
        (Value::Map(map), key) => Value::Optional(map.get(key).map(Rc::new)),
        (Value::List(list), Value::Int(n)) => {
            Value::Optional(usize::try_from(*n).ok().and_then(|n| list.get(n)).map(Rc::new))
        }
        (Value::Optional(Some(value)), key) => optional_index((*value).clone(), key),
        _ => Value::Optional(None),
    }
}
