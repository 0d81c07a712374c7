//! Whether an object is what its definition's schema says, in the original's words.
//!
//! A schema is made into a tree of [`Node`]s once, with its expressions and rules compiled.

mod lists;
mod node;
mod numbers;
mod rules;
mod values;

use apiclient_core::names::quoted;
use apiclient_core::wire::Cause;
use serde_json::Value;

use self::node::Node;
use super::cel::Budget;

/// Deeper schemas and objects are not looked into.
const MAX_DEPTH: usize = 100;

/// Checks objects of one version of a kind.
#[derive(Debug)]
pub struct Validator {
    root: Node,
}

/// What is wrong with an object.
#[derive(Debug, Default)]
pub struct Violations {
    /// For the details of a 422. `<nil>` is the field of what concerns no single one.
    pub causes: Vec<Cause>,
    /// Of what was wrong before and has not changed: for `Warning` headers.
    pub warnings: Vec<String>,
}

impl Validator {
    pub(super) fn new(open_api: &Value) -> Self {
        Self { root: Node::new(open_api, 0) }
    }

    /// What is wrong with `object`, which is pruned and defaulted. `old` is what it was before an update: what was wrong
    /// then already, and is the same now, is let pass.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Violations {
        let mut out = Violations::default();
        self.root.type_meta(object, "", &mut out.causes);
        self.root.duplicates(object, "", &mut out.causes);
        let mut causes = Vec::new();
        self.root.check(object, old, "", &mut causes, 0);
        out.causes.extend(causes);
        if !self.root.has_rules {
            return out;
        }
        let blocking = |cause: &Cause| {
            matches!(
                cause.reason.as_str(),
                "FieldValueNotSupported"
                    | "FieldValueRequired"
                    | "FieldValueTooLong"
                    | "FieldValueTooMany"
                    | "FieldValueTypeInvalid"
            )
        };
        if out.causes.iter().any(blocking) {
            let what = "some validation rules were not checked because the object was invalid; correct the existing \
                        errors to complete validation";
            out.causes.push(invalid("<nil>", "null", what));
            return out;
        }
        let mut budget = Budget::default();
        // Without budget left there is a cause that says so.
        let _ = self.root.rules(object, old, self.root.same(object, old, 0), "", &mut budget, &mut out, 0);
        out
    }
}

fn cause(reason: &str, path: &str, message: String) -> Cause {
    let field = if path.is_empty() { "<nil>" } else { path };
    Cause { reason: reason.to_owned(), message, field: field.to_owned() }
}

fn invalid(path: &str, shown: &str, what: &str) -> Cause {
    cause("FieldValueInvalid", path, format!("Invalid value: {shown}: {what}"))
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
