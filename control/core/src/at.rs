//! A value of an object together with where it is: what validation reads.
//!
//! Owns: reading fields that may be absent, `null` or of another type without a failure (the schema has refused wrong types
//! before), and naming the field in an error. Begin at [`At::object`].
//! Never: changes an object; see [`crate::edit`] for that.

use serde_json::Value;

use crate::field::{FieldError, Path};

/// What validation finds, in the original's order.
pub type Errors = Vec<FieldError>;

static ABSENT: Value = Value::Null;

/// A value and its path. An absent field is `null`.
#[derive(Clone, Debug)]
pub struct At<'a> {
    pub value: &'a Value,
    pub path: Path,
}

impl<'a> At<'a> {
    /// The whole object.
    pub fn object(value: &'a Value) -> Self {
        Self { value, path: Path::default() }
    }

    pub fn new(value: &'a Value, path: Path) -> Self {
        Self { value, path }
    }

    /// A field of an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Self {
        Self { value: self.value.get(name).unwrap_or(&ABSENT), path: self.path.child(name) }
    }

    /// The items of a list; none where it is absent.
    pub fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let path = self.path.clone();
        let items = self.value.as_array().map_or(&[] as &[Value], Vec::as_slice);
        items.iter().enumerate().map(move |(n, value)| Self { value, path: path.index(n) })
    }

    /// The entries of a map, in the order of their keys.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
        let path = self.path.clone();
        let entries = self.value.as_object().into_iter().flatten();
        entries.map(move |(key, value)| (key.as_str(), Self { value, path: path.key(key) }))
    }

    pub fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    /// There is a field of this name, and it is not `null`.
    pub fn has(&self, name: &str) -> bool {
        self.value.get(name).is_some_and(|value| !value.is_null())
    }

    /// Empty for what is no text.
    pub fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    /// `None` for what is no whole number.
    pub fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// `false` for what is absent.
    pub fn is_true(&self) -> bool {
        self.value.as_bool().unwrap_or_default()
    }

    /// Items of a list or entries of a map.
    pub fn len(&self) -> usize {
        self.value.as_array().map_or_else(|| self.value.as_object().map_or(0, serde_json::Map::len), Vec::len)
    }

    /// No items, entries or characters.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.text().is_empty()
    }

    pub fn invalid(&self, detail: &str) -> FieldError {
        FieldError::invalid(&self.path, self.value, detail)
    }

    /// As [`At::invalid`] for a field that is no pointer: an absent text shows as `""`.
    pub fn invalid_text(&self, detail: &str) -> FieldError {
        FieldError::invalid(&self.path, &Value::from(self.text()), detail)
    }

    /// As [`At::invalid`] for a number that is no pointer: an absent one shows as `0`.
    pub fn invalid_int(&self, detail: &str) -> FieldError {
        FieldError::invalid(&self.path, &Value::from(self.int().unwrap_or_default()), detail)
    }

    /// An error about the value for each of the details, which one of [`crate::names`] gives.
    pub fn invalid_each(&self, details: Vec<String>) -> impl Iterator<Item = FieldError> + use<'_, 'a> {
        details.into_iter().map(|detail| self.invalid_text(&detail))
    }

    pub fn required(&self, detail: &str) -> FieldError {
        FieldError::required(&self.path, detail)
    }

    pub fn forbidden(&self, detail: &str) -> FieldError {
        FieldError::forbidden(&self.path, detail)
    }

    /// An absent text shows as `""`.
    pub fn not_supported(&self, supported: &[&str]) -> FieldError {
        FieldError::not_supported(&self.path, &Value::from(self.text()), supported)
    }

    pub fn duplicate(&self) -> FieldError {
        FieldError::duplicate(&self.path, self.value)
    }

    pub fn not_found(&self) -> FieldError {
        FieldError::not_found(&self.path, self.value)
    }
}
