//! Maps that expressions make.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::value::{Text, Value};

/// Entries in the order in which they came, with an index.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries<'a> {
    all: Vec<(Value<'a>, Value<'a>)>,
    places: BTreeMap<Key, usize>,
}

/// What may be a key; numbers of either kind are the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Bool(bool),
    Number(i128),
    Text(Rc<str>),
}

impl Key {
    fn of(value: &Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Bool(set) => Self::Bool(*set),
            Value::Int(n) => Self::Number((*n).into()),
            Value::Uint(n) => Self::Number((*n).into()),
            #[expect(clippy::cast_possible_truncation, reason = "in range, as is checked")]
            Value::Double(n) if n.fract() == 0.0 && n.abs() < 1e19 => Self::Number(*n as i128),
            Value::Text(Text::Own(text)) => Self::Text(Rc::clone(text)),
            Value::Text(Text::Of(text)) => Self::Text((*text).into()),
            _ => return None,
        })
    }
}

impl<'a> Entries<'a> {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Value<'a>, Value<'a>)> {
        self.all.iter()
    }

    pub fn get(&self, key: &Value<'a>) -> Option<&Value<'a>> {
        let place = self.places.get(&Key::of(key)?)?;
        self.all.get(*place).map(|(_, value)| value)
    }

    /// # Errors
    /// The key is there already, or of a type that keys cannot have.
    pub fn insert(&mut self, key: Value<'a>, value: Value<'a>) -> Result<(), String> {
        let known = match (&key, Key::of(&key)) {
            (Value::Double(_), _) | (_, None) => {
                return Err(format!("unsupported key type: {}", key.type_name()));
            }
            (_, Some(known)) => known,
        };
        if self.places.contains_key(&known) {
            let shown = super::text::of(&key).unwrap_or_default();
            return Err(format!("insert failed: key {shown} already exists"));
        }
        self.places.insert(known, self.all.len());
        self.all.push((key, value));
        Ok(())
    }

    /// As [`Entries::insert`], but replaces what is there.
    ///
    /// # Errors
    /// The key is of a type that keys cannot have.
    pub fn set(&mut self, key: Value<'a>, value: Value<'a>) -> Result<(), String> {
        let place = Key::of(&key).and_then(|key| self.places.get(&key).copied());
        match place.and_then(|place| self.all.get_mut(place)) {
            Some(entry) => {
                entry.1 = value;
                Ok(())
            }
            None => self.insert(key, value),
        }
    }
}
