//! JSONPath as Kubernetes has it (client-go's `util/jsonpath`), for columns and selectable fields of definitions.
//!
//! Owns: paths with fields, indices, slices, wildcards, filters, unions and recursion, and what they find in an object.
//! Begin at [`JsonPath`].

mod parse;

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

/// A path into objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// Everything in an object or a list.
    Wildcard,
    /// The value itself, and all below it that have something in them.
    Recursive,
    Slice(Slice),
    Union(Vec<JsonPath>),
    Filter {
        left: JsonPath,
        /// `None`: something is there on the left.
        compares: Option<(Operator, JsonPath)>,
    },
    /// A text, a number, a boolean.
    Constant(Value),
}

/// `[FIRST:END:STEP]`; what is negative counts from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slice {
    first: i64,
    end: End,
    step: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// Not this one itself.
    Before(i64),
    /// One item only: `[FIRST]`.
    One,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Less,
    LessEqual,
    Equal,
    NotEqual,
    GreaterEqual,
    Greater,
}

/// A text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPath(pub String);

/// The path does not fit the object: an index out of bounds, a filter of what is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unfit;

/// More values than any cell is made of: recursion into recursion could find very many.
const MOST: usize = 100_000;

type Found<'a> = Vec<Cow<'a, Value>>;

impl JsonPath {
    /// A path without the braces around it: `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        parse::path(text, 0)
    }

    /// The first value that it finds; `None` where there is none, and where it does not fit.
    pub fn first<'a>(&self, object: &'a Value) -> Option<Cow<'a, Value>> {
        self.find(vec![Cow::Borrowed(object)]).ok()?.into_iter().next()
    }

    fn find<'a>(&self, from: Found<'a>) -> Result<Found<'a>, Unfit> {
        self.0.iter().try_fold(from, |found, step| {
            let next = step.take(found)?;
            if next.len() > MOST { Err(Unfit) } else { Ok(next) }
        })
    }
}

/// The values in a value, borrowed where that is.
fn inside<'a>(value: Cow<'a, Value>) -> Found<'a> {
    match value {
        Cow::Borrowed(Value::Array(items)) => items.iter().map(Cow::Borrowed).collect(),
        Cow::Borrowed(Value::Object(fields)) => fields.values().map(Cow::Borrowed).collect(),
        Cow::Owned(Value::Array(items)) => items.into_iter().map(Cow::Owned).collect(),
        Cow::Owned(Value::Object(fields)) => fields.into_iter().map(|(_, value)| Cow::Owned(value)).collect(),
        _ => Vec::new(),
    }
}

impl Step {
    fn take<'a>(&self, from: Found<'a>) -> Result<Found<'a>, Unfit> {
        match self {
            Self::Field(name) => Ok(from
                .into_iter()
                .filter_map(|value| match value {
                    Cow::Borrowed(value) => value.get(name).map(Cow::Borrowed),
                    Cow::Owned(value) => value.get(name).cloned().map(Cow::Owned),
                })
                .collect()),
            Self::Wildcard => Ok(from.into_iter().flat_map(inside).collect()),
            Self::Recursive => {
                let mut found = Vec::new();
                for value in from {
                    descend(value, &mut found)?;
                }
                Ok(found)
            }
            Self::Slice(slice) => {
                let mut found = Vec::new();
                for value in from.into_iter().filter(|value| !value.is_null()) {
                    if !value.is_array() {
                        return Err(Unfit);
                    }
                    let Some(picked) = slice.of(inside(value))? else { return Ok(found) };
                    found.extend(picked);
                }
                Ok(found)
            }
            Self::Union(paths) => {
                let mut found = Vec::new();
                for path in paths {
                    found.extend(path.find(from.clone())?);
                }
                Ok(found)
            }
            Self::Filter { left, compares } => {
                let mut found = Vec::new();
                for value in from {
                    if !value.is_array() {
                        return Err(Unfit);
                    }
                    for item in inside(value) {
                        if passes(&item, left, compares.as_ref())? {
                            found.push(item);
                        }
                    }
                }
                Ok(found)
            }
            Self::Constant(value) => Ok(vec![Cow::Owned(value.clone())]),
        }
    }
}

/// A value and all below it that have something in them.
fn descend<'a>(value: Cow<'a, Value>, found: &mut Found<'a>) -> Result<(), Unfit> {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        let mut below = inside(value.clone());
        if below.is_empty() {
            continue;
        }
        found.push(value);
        if found.len() > MOST {
            return Err(Unfit);
        }
        below.reverse();
        open.append(&mut below);
    }
    Ok(())
}

/// Whether an item passes a filter. What does not fit is there all the same, as in the original.
fn passes(item: &Value, left: &JsonPath, compares: Option<&(Operator, JsonPath)>) -> Result<bool, Unfit> {
    let found = left.find(vec![Cow::Borrowed(item)]);
    let Some((operator, right)) = compares else { return Ok(found.map_or(true, |found| !found.is_empty())) };
    let (found, wanted) = (found?, right.find(vec![Cow::Borrowed(item)])?);
    match (found.as_slice(), wanted.as_slice()) {
        ([], _) | (_, []) => Ok(false),
        ([have], [want]) => operator.holds(have, want),
        _ => Err(Unfit),
    }
}

impl Operator {
    fn holds(self, have: &Value, want: &Value) -> Result<bool, Unfit> {
        let order = match (have, want) {
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => a.cmp(&b),
                (None, None) => a.as_f64().partial_cmp(&b.as_f64()).ok_or(Unfit)?,
                // A whole number and another are of different types.
                _ => return Err(Unfit),
            },
            (Value::Bool(a), Value::Bool(b)) if matches!(self, Self::Equal | Self::NotEqual) => a.cmp(b),
            _ => return Err(Unfit),
        };
        Ok(match self {
            Self::Less => order == Ordering::Less,
            Self::LessEqual => order != Ordering::Greater,
            Self::Equal => order == Ordering::Equal,
            Self::NotEqual => order != Ordering::Equal,
            Self::GreaterEqual => order != Ordering::Less,
            Self::Greater => order == Ordering::Greater,
        })
    }
}

impl Slice {
    /// The items that it takes; `None` where it takes nothing at all of any list.
    fn of<'a>(&self, items: Found<'a>) -> Result<Option<Found<'a>>, Unfit> {
        let length = i64::try_from(items.len()).map_err(|_| Unfit)?;
        let first = if self.first < 0 { self.first + length } else { self.first };
        let end = match self.end {
            End::Open => length,
            End::One => first.saturating_add(1),
            End::Before(end) if end < 0 => end + length,
            End::Before(end) => end,
        };
        if first == end {
            return Ok(None);
        }
        if !(0..length).contains(&first) || !(first..=length).contains(&end) || self.step < 1 {
            return Err(Unfit);
        }
        let take = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
        let picked = items.into_iter().take(take(end)).skip(take(first)).step_by(take(self.step));
        Ok(Some(picked.collect()))
    }
}

#[cfg(test)]
mod tests;
