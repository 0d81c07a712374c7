//! What differs between two objects, as three sets of fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::path::{Element, compare as order};
use super::set::Set;
use super::typed::{At, Form, fields, item, member};
use crate::library::{Library, ListKind, Schema, StructId};

/// Fields of the second object that the first lacks, that both have with different values, and the other way round.
#[derive(Debug, Default)]
pub(super) struct Difference<'a> {
    pub added: Set<'a>,
    pub modified: Set<'a>,
    pub removed: Set<'a>,
}

/// What became of one field itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Same,
    Added,
    Modified,
    Removed,
}

type Compared<'a> = Result<(Mark, Difference<'a>), String>;

/// Compares two objects of one kind. `filled`: both were decoded, so that fields that Go's structs always have are there,
/// in objects that only one side has too.
///
/// # Errors
/// An item of a list lacks what tells it apart.
pub(super) fn compare<'a>(
    schema: &'a Schema,
    old: &'a Value,
    new: &'a Value,
    filled: bool,
) -> Result<Difference<'a>, String> {
    let walker = Walker { library: &schema.library, filled };
    Ok(walker.values(At::Root(schema.root), Some(old), Some(new))?.1)
}

struct Walker<'a> {
    library: &'a Library,
    filled: bool,
}

impl<'a> Walker<'a> {
    fn values(&self, at: At<'a>, old: Option<&'a Value>, new: Option<&'a Value>) -> Compared<'a> {
        // Where the two have different forms, it is as if one went and the other came.
        let form = at.form(self.library, new.or(old));
        match form {
            Form::Object { fields, others, atomic } => {
                let (a, b) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
                if atomic || (self.blank(fields, old, a) && self.blank(fields, new, b)) {
                    return Ok((leaf(old, new), Difference::default()));
                }
                self.objects(fields, others, a, b).map(|below| (presence(old, new), below))
            }
            Form::List { items, kind } => {
                let (a, b) = (old.and_then(Value::as_array), new.and_then(Value::as_array));
                let (a, b) = (a.map_or(&[][..], Vec::as_slice), b.map_or(&[][..], Vec::as_slice));
                if *kind == ListKind::Atomic || (a.is_empty() && b.is_empty()) {
                    return Ok((leaf(old, new), Difference::default()));
                }
                self.lists(items, kind, a, b).map(|below| (presence(old, new), below))
            }
            Form::Scalar(_) => Ok((leaf(old, new), Difference::default())),
        }
    }

    /// No object, or one without members: a leaf, so that empty and absent stay different.
    fn blank(
        &self,
        id: Option<StructId>,
        value: Option<&Value>,
        members: Option<&Map<String, Value>>,
    ) -> bool {
        let Some(members) = members else { return true };
        if !members.is_empty() {
            return false;
        }
        let mut always = false;
        if let (Some(id), Some(_)) = (id.filter(|_| self.filled), value) {
            fields(self.library, id, &mut |field| always |= At::zero(field).is_some());
        }
        !always
    }

    fn objects(
        &self,
        id: Option<StructId>,
        others: At<'a>,
        old: Option<&'a Map<String, Value>>,
        new: Option<&'a Map<String, Value>>,
    ) -> Result<Difference<'a>, String> {
        let mut out = Difference::default();
        let one =
            |name: &'a str, old: Option<&'a Value>, new: Option<&'a Value>, out: &mut Difference<'a>| {
                let at = member(self.library, id, others, name);
                let (mark, below) = self.values(at, old, new)?;
                out.attach(|| Element::Field(name.into()), mark, below);
                Ok::<_, String>(())
            };
        let zero = |name: &str| id.and_then(|id| self.library.field(id, name)).and_then(At::zero);
        for (name, value) in new.into_iter().flatten() {
            let before = old.and_then(|old| old.get(name).or_else(|| zero(name)));
            one(name, before, Some(value), &mut out)?;
        }
        for (name, value) in old.into_iter().flatten() {
            if new.is_none_or(|new| !new.contains_key(name)) {
                one(name, Some(value), new.and_then(|_| zero(name)), &mut out)?;
            }
        }
        // What Go always writes comes and goes with its object.
        if let (Some(id), true, Some((only, came))) = (id, self.filled, only(old, new)) {
            let mut absent = Vec::new();
            fields(self.library, id, &mut |field| {
                if let Some(zero) = At::zero(field)
                    && !only.contains_key(&*field.name)
                {
                    absent.push((&*field.name, zero));
                }
            });
            for (name, zero) in absent {
                let (old, new) = if came { (None, Some(zero)) } else { (Some(zero), None) };
                one(name, old, new, &mut out)?;
            }
        }
        Ok(out)
    }

    fn lists(
        &self,
        items: At<'a>,
        kind: &'a ListKind,
        old: &'a [Value],
        new: &'a [Value],
    ) -> Result<Difference<'a>, String> {
        let mut found: BTreeMap<Element<'a>, [Vec<&'a Value>; 2]> = BTreeMap::new();
        for (side, values) in [old, new].into_iter().enumerate() {
            for (n, value) in values.iter().enumerate() {
                let id = item(self.library, items, kind, value)
                    .map_err(|error| format!("element {n}: {error}"))?;
                found.entry(id).or_default()[side].push(value);
            }
        }
        let mut out = Difference::default();
        for (id, [old, new]) in found {
            let (mark, below) = match (&old[..], &new[..]) {
                (old, new) if old.len() < 2 && new.len() < 2 => {
                    self.values(items, old.first().copied(), new.first().copied())?
                }
                // Items with one identity are compared as one value.
                (old, new) if old.len() > 1 && new.len() > 1 => {
                    let same =
                        old.len() == new.len() && old.iter().zip(new).all(|(a, b)| order(a, b).is_eq());
                    (if same { Mark::Same } else { Mark::Modified }, Difference::default())
                }
                (old, new) if old.len() > 1 => {
                    let below = match new.first() {
                        Some(new) => self.item_difference(items, &id, None, Some(new))?,
                        None => Difference::default(),
                    };
                    out.extend(below);
                    (Mark::Removed, Difference::default())
                }
                (old, _) => {
                    let below = match old.first() {
                        Some(old) => self.item_difference(items, &id, Some(old), None)?,
                        None => Difference::default(),
                    };
                    out.extend(below);
                    (Mark::Added, Difference::default())
                }
            };
            out.attach(|| id.clone(), mark, below);
        }
        Ok(out)
    }

    fn item_difference(
        &self,
        items: At<'a>,
        id: &Element<'a>,
        old: Option<&'a Value>,
        new: Option<&'a Value>,
    ) -> Result<Difference<'a>, String> {
        let (mark, below) = self.values(items, old, new)?;
        let mut out = Difference::default();
        out.attach(|| id.clone(), mark, below);
        Ok(out)
    }
}

/// The object that is there alone, and whether it is the new one.
fn only<'a>(
    old: Option<&'a Map<String, Value>>,
    new: Option<&'a Map<String, Value>>,
) -> Option<(&'a Map<String, Value>, bool)> {
    match (old, new) {
        (Some(old), None) => Some((old, false)),
        (None, Some(new)) => Some((new, true)),
        _ => None,
    }
}

impl<'a> Difference<'a> {
    fn attach(&mut self, at: impl Fn() -> Element<'a> + Copy, mark: Mark, below: Difference<'a>) {
        self.added.attach(at, mark == Mark::Added, below.added);
        self.modified.attach(at, mark == Mark::Modified, below.modified);
        self.removed.attach(at, mark == Mark::Removed, below.removed);
    }

    fn extend(&mut self, other: Difference<'a>) {
        self.added = std::mem::take(&mut self.added).union(other.added);
        self.modified = std::mem::take(&mut self.modified).union(other.modified);
        self.removed = std::mem::take(&mut self.removed).union(other.removed);
    }

    pub fn into_owned(self) -> Difference<'static> {
        Difference {
            added: self.added.into_owned(),
            modified: self.modified.into_owned(),
            removed: self.removed.into_owned(),
        }
    }

    /// Without the fields that the kind's strategy sets back.
    pub fn without(self, reset: &Set<'_>) -> Self {
        if reset.is_empty() {
            return self;
        }
        Self {
            added: self.added.less(reset, true),
            modified: self.modified.less(reset, true),
            removed: self.removed.less(reset, true),
        }
    }
}

fn presence(old: Option<&Value>, new: Option<&Value>) -> Mark {
    match (old, new) {
        (None, Some(_)) => Mark::Added,
        (Some(_), None) => Mark::Removed,
        _ => Mark::Same,
    }
}

fn leaf(old: Option<&Value>, new: Option<&Value>) -> Mark {
    match (old, new) {
        (Some(old), Some(new)) if order(old, new).is_ne() => Mark::Modified,
        _ => presence(old, new),
    }
}
