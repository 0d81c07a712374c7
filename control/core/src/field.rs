//! Paths of fields and what is wrong with them, in the original's words (`field.Error` of apimachinery).

use std::fmt;

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
    /// The fault of a cause's reason; what is none of these is invalid.
    pub fn named(reason: &str) -> Self {
        let all = [
            Self::Required,
            Self::NotSupported,
            Self::Duplicate,
            Self::Forbidden,
            Self::NotFound,
            Self::TooLong,
            Self::TooMany,
            Self::TypeInvalid,
            Self::Internal,
        ];
        all.into_iter().find(|fault| fault.reason() == reason).unwrap_or(Self::Invalid)
    }

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
        let names: Vec<String> = supported.iter().map(|name| quote(name.as_ref())).collect();
        let detail =
            if names.is_empty() { String::new() } else { format!("supported values: {}", names.join(", ")) };
        Self::new(Fault::NotSupported, path, with(&format!("Unsupported value: {}", shown(value)), &detail))
    }

    /// As [`FieldError::not_supported`], with the value as in [`FieldError::invalid_shown`].
    pub fn not_supported_shown(path: &Path, shown: &str, supported: &[&str]) -> Self {
        let names: Vec<String> = supported.iter().map(|name| quote(name)).collect();
        let detail = format!("Unsupported value: {shown}: supported values: {}", names.join(", "));
        Self::new(Fault::NotSupported, path, detail)
    }

    /// As [`FieldError::duplicate`], with the value as in [`FieldError::invalid_shown`].
    pub fn duplicate_shown(path: &Path, shown: &str) -> Self {
        Self::new(Fault::Duplicate, path, format!("Duplicate value: {shown}"))
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
        let unit = if most == 1 { "byte" } else { "bytes" };
        Self::new(Fault::TooLong, path, format!("Too long: may not be more than {most} {unit}"))
    }

    pub fn too_many(path: &Path, have: usize, most: usize) -> Self {
        let unit = if most == 1 { "item" } else { "items" };
        Self::new(Fault::TooMany, path, format!("Too many: {have}: must have at most {most} {unit}"))
    }

    pub fn type_invalid(path: &Path, value: &Value, detail: &str) -> Self {
        Self::new(Fault::TypeInvalid, path, with(&format!("Invalid value: {}", shown(value)), detail))
    }

    pub fn internal(path: &Path, detail: &str) -> Self {
        Self::new(Fault::Internal, path, with("Internal error", detail))
    }

    fn new(fault: Fault, path: &Path, message: String) -> Self {
        Self { fault, path: path.clone(), message }
    }

    /// The path, or what Go calls none.
    fn place(&self) -> &str {
        if self.path.0.is_empty() { "<nil>" } else { &self.path.0 }
    }

    pub fn cause(&self) -> Cause {
        Cause {
            reason: self.fault.reason().to_owned(),
            message: self.message.clone(),
            field: self.place().to_owned(),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.message)
    }
}

/// A text as Go quotes it (`strconv.Quote`), however long it is.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for found in text.chars() {
        match found {
            '"' | '\\' => quoted.extend(['\\', found]),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            '\0'..' ' | '\x7f' => quoted.push_str(&format!("\\x{:02x}", u32::from(found))),
            '\u{80}'..'\u{a1}' | '\u{ad}' => quoted.push_str(&format!("\\u{:04x}", u32::from(found))),
            _ => quoted.push(found),
        }
    }
    quoted.push('"');
    quoted
}

/// As Go shows a value in these messages: strings quoted, objects and lists as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

fn with(what: &str, detail: &str) -> String {
    if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_shown_as_go_shows_them() {
        assert_eq!(quote("a\"b\\\n\u{1}\u{7f}\u{85}é"), r#""a\"b\\\n\x01\x7f\u0085é""#);
        let long = "x".repeat(300);
        let error = FieldError::invalid(&Path::new("a").child("b").index(1).key("c"), &json!(long), "no");
        assert_eq!(error.to_string(), format!("a.b[1][c]: Invalid value: \"{long}\": no"));
        let error = FieldError::not_supported(&Path::default(), &json!(1), &["b", "a"]);
        assert_eq!(error.to_string(), "<nil>: Unsupported value: 1: supported values: \"b\", \"a\"");
        assert_eq!(
            FieldError::too_many(&Path::new("x"), 2, 1).message,
            "Too many: 2: must have at most 1 item"
        );
    }
}
