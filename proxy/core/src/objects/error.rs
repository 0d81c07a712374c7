//! What is wrong with an object, so that a person finds it.

use std::fmt;

use apiclient_core::names::{self, BadName, printable};

use super::raw::Metadata;
use crate::names::ObjectName;
use crate::objects::Kind;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ObjectError {
    pub kind: Kind,
    /// Empty where the object does not even have a readable name.
    pub name: ObjectName,
    /// `spec.ports[2].port`; empty where the object as a whole does not decode.
    pub field: String,
    pub problem: String,
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The name may be anything, and must not break a line of the log.
        write!(f, "{} ", self.kind.as_str())?;
        if !self.name.namespace.is_empty() {
            write!(f, "{}/", printable(&self.name.namespace))?;
        }
        write!(f, "{}: ", printable(&self.name.name))?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.problem)
    }
}

/// Collects errors of one object.
pub(super) struct Blame<'a> {
    pub kind: Kind,
    pub name: &'a ObjectName,
}

/// A rule for names.
pub(super) type NameRule = fn(&str) -> Result<(), BadName>;

impl Blame<'_> {
    /// Names and labels are what an API server takes, so that whoever writes them into rules need not look at them
    /// again. `namespace` is the rule for the namespace of a kind that has one.
    pub fn metadata(
        &self,
        metadata: &Metadata,
        namespace: Option<NameRule>,
        name: NameRule,
    ) -> Result<(), ObjectError> {
        let given = metadata.namespace.as_deref().unwrap_or_default();
        let missing = |text: Option<&str>| text.unwrap_or_default().is_empty();
        match namespace {
            Some(_) if given.is_empty() || missing(metadata.name.as_deref()) => {
                return Err(self.field("metadata", "namespace and name are needed"));
            }
            None if missing(metadata.name.as_deref()) => {
                return Err(self.field("metadata", "a name is needed"));
            }
            _ => {}
        }
        if let Some(rule) = namespace {
            rule(given).map_err(|error| self.field("metadata.namespace", error))?;
        }
        name(metadata.name.as_deref().unwrap_or_default())
            .map_err(|error| self.field("metadata.name", error))?;
        for (key, value) in &metadata.labels {
            names::qualified(key).map_err(|error| self.field("metadata.labels", error))?;
            names::label_value(value)
                .map_err(|error| self.field(format!("metadata.labels[{}]", printable(key)), error))?;
        }
        Ok(())
    }

    pub fn field(&self, field: impl Into<String>, problem: impl fmt::Display) -> ObjectError {
        ObjectError {
            kind: self.kind,
            name: self.name.clone(),
            field: field.into(),
            problem: problem.to_string(),
        }
    }
}
