//! What is wrong with an object, so that a person finds it.

use std::fmt;

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
        write!(f, "{} {}: ", self.kind.as_str(), self.name)?;
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

impl Blame<'_> {
    pub fn field(&self, field: impl Into<String>, problem: impl fmt::Display) -> ObjectError {
        ObjectError {
            kind: self.kind,
            name: self.name.clone(),
            field: field.into(),
            problem: problem.to_string(),
        }
    }
}
