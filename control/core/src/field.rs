//! Paths of fields and what is wrong with them, in the original's words (`field.Error` of apimachinery).

use std::fmt;

use apiclient_core::names::quoted;
use apiclient_core::wire::Cause;
use serde_json::Value;

/// Where in an object: `spec.containers[0].name`, `metadata.labels[a/b]`. The empty path is the object itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    pub fn new(root: &str) -> Self {
        Self(root.to_owned())
    }

    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { Self(format!("{}.{name}", self.0)) }
    }

    #[must_use]
    pub fn index(&self, n: usize) -> Self {
        Self(format!("{}[{n}]", self.0))
    }

    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The reasons that a cause in a `Status` may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Required,
    Invalid,
    NotSupported,
    Duplicate,
    Forbidden,
    NotFound,
    TooLong,
    TooMany,
    TypeInvalid,
    Internal,
}

impl Fault {
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub fault: Fault,
    pub path: Path,
    /// Without the path: `Invalid value: "X_": a lowercase RFC 1123 label must consist of ...`.
    pub message: String,
}

impl FieldError {
    pub fn required(path: &Path, detail: &str) -> Self {
        Self::new(Fault::Required, path, with("Required value", detail))
    }

    pub fn invalid(path: &Path, value: &Value, detail: &str) -> Self {
        Self::new(Fault::Invalid, path, with(&format!("Invalid value: {}", shown(value)), detail))
    }

    /// `shown` is how the original shows the value where that is not its JSON here: the fields of its internal structs have
    /// other names and another order (`{"APIGroup":"","Kind":"Role"}`).
    pub fn invalid_shown(path: &Path, shown: &str, detail: &str) -> Self {
        Self::new(Fault::Invalid, path, with(&format!("Invalid value: {shown}"), detail))
    }

    /// About several fields at once: without a value (`field.OmitValueType`).
    pub fn invalid_all(path: &Path, detail: &str) -> Self {
        Self::new(Fault::Invalid, path, with("Invalid value", detail))
    }

    /// The supported values follow, in the order given.
    pub fn not_supported<T: AsRef<str>>(path: &Path, value: &Value, supported: &[T]) -> Self {
        let names: Vec<String> = supported.iter().map(|name| quoted(name.as_ref())).collect();
        let detail =
            if names.is_empty() { String::new() } else { format!("supported values: {}", names.join(", ")) };
        Self::new(Fault::NotSupported, path, with(&format!("Unsupported value: {}", shown(value)), &detail))
    }

    /// As [`FieldError::not_supported`], with the value as in [`FieldError::invalid_shown`].
    pub fn not_supported_shown(path: &Path, shown: &str, supported: &[&str]) -> Self {
        let names: Vec<String> = supported.iter().map(|name| quoted(name)).collect();
        let detail = format!("Unsupported value: {shown}: supported values: {}", names.join(", "));
        Self::new(Fault::NotSupported, path, detail)
    }

    pub fn duplicate(path: &Path, value: &Value) -> Self {
        Self::new(Fault::Duplicate, path, format!("Duplicate value: {}", shown(value)))
    }

    pub fn forbidden(path: &Path, detail: &str) -> Self {
        Self::new(Fault::Forbidden, path, with("Forbidden", detail))
    }

    pub fn not_found(path: &Path, value: &Value) -> Self {
        Self::new(Fault::NotFound, path, format!("Not found: {}", shown(value)))
    }

    pub fn too_long(path: &Path, most: usize) -> Self {
        Self::new(Fault::TooLong, path, format!("Too long: may not be more than {most} bytes"))
    }

    pub fn too_many(path: &Path, have: usize, most: usize) -> Self {
        Self::new(Fault::TooMany, path, format!("Too many: {have}: must have at most {most} items"))
    }

    fn new(fault: Fault, path: &Path, message: String) -> Self {
        Self { fault, path: path.clone(), message }
    }

    pub fn cause(&self) -> Cause {
        Cause {
            reason: self.fault.reason().to_owned(),
            message: self.message.clone(),
            field: self.path.to_string(),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.0.is_empty() { "<nil>" } else { &self.path.0 };
        write!(f, "{path}: {}", self.message)
    }
}

/// As Go shows a value in these messages: strings quoted, objects and lists as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

fn with(what: &str, detail: &str) -> String {
    if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") }
}
