//! An object of the file whose fields are taken one by one, so that what is left over is an error.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

/// What is wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", if .field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct ConfigError {
    pub field: String,
    pub problem: String,
}

impl ConfigError {
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

pub struct Object<'a> {
    path: String,
    fields: &'a Map<String, Value>,
    taken: BTreeSet<String>,
}

impl<'a> Object<'a> {
    pub fn new(path: &str, value: &'a Value) -> Result<Self, ConfigError> {
        let fields = value.as_object().ok_or_else(|| ConfigError::new(path, "want an object"))?;
        Ok(Self { path: path.to_owned(), fields, taken: BTreeSet::new() })
    }

    pub fn path(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    pub fn wrong(&self, field: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::new(self.path(field), problem)
    }

    /// `null` counts as absent.
    pub fn take(&mut self, field: &str) -> Option<&'a Value> {
        self.taken.insert(field.to_owned());
        self.fields.get(field).filter(|value| !value.is_null())
    }

    fn typed<T>(
        &mut self,
        field: &str,
        want: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.take(field) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(field, format!("want {want}"))),
        }
    }

    /// Empty where it is absent.
    pub fn text(&mut self, field: &str) -> Result<String, ConfigError> {
        Ok(self.typed(field, "text", Value::as_str)?.unwrap_or_default().to_owned())
    }

    pub fn integer(&mut self, field: &str) -> Result<Option<i64>, ConfigError> {
        self.typed(field, "a whole number", Value::as_i64)
    }

    /// Within bounds.
    pub fn within(&mut self, field: &str, least: i64, most: i64) -> Result<Option<i64>, ConfigError> {
        let found = self.integer(field)?;
        match found {
            Some(number) if number < least || number > most => {
                Err(self.wrong(field, format!("want {least} to {most}, not {number}")))
            }
            found => Ok(found),
        }
    }

    pub fn switch(&mut self, field: &str) -> Result<Option<bool>, ConfigError> {
        self.typed(field, "true or false", Value::as_bool)
    }

    pub fn duration(&mut self, field: &str) -> Result<Option<Duration>, ConfigError> {
        self.typed(field, "a time such as 15s", |value| goflags::duration::parse(value.as_str()?))
    }

    pub fn texts(&mut self, field: &str) -> Result<Vec<String>, ConfigError> {
        let all = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        };
        Ok(self.typed(field, "a list of texts", all)?.unwrap_or_default())
    }

    pub fn object(&mut self, field: &str) -> Result<Option<Object<'a>>, ConfigError> {
        let path = self.path(field);
        self.take(field).map(|value| Object::new(&path, value)).transpose()
    }

    pub fn objects(&mut self, field: &str) -> Result<Vec<Object<'a>>, ConfigError> {
        let path = self.path(field);
        let list = self.typed(field, "a list", Value::as_array)?;
        let nth = |(nth, value)| Object::new(&format!("{path}[{nth}]"), value);
        list.into_iter().flatten().enumerate().map(nth).collect()
    }

    /// Known, and without effect.
    pub fn ignore(&mut self, fields: &[&str]) {
        self.taken.extend(fields.iter().map(|field| (*field).to_owned()));
    }

    /// # Errors
    /// A field that nobody has taken.
    pub fn end(self) -> Result<(), ConfigError> {
        match self.fields.keys().find(|field| !self.taken.contains(*field)) {
            None => Ok(()),
            Some(field) => {
                let nearest = goflags::nearest(field, self.taken.iter().map(String::as_str));
                let hint = nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
                Err(self.wrong(field, format!("unknown field{hint}")))
            }
        }
    }
}
