//! Cells that the tables of many kinds have.

use serde_json::Value;

pub use super::core::cells::name;
use crate::edit::{at, text};

/// A number that is no pointer: 0 where it is absent.
pub fn int(object: &Value, path: &[&str]) -> Value {
    at(object, path).as_i64().unwrap_or_default().into()
}

/// `false` where it is absent.
pub fn flag(object: &Value, path: &[&str]) -> Value {
    at(object, path).as_bool().unwrap_or_default().into()
}

/// A text, or `otherwise` where it is absent.
pub fn text_or(object: &Value, path: &[&str], otherwise: &str) -> Value {
    at(object, path).as_str().unwrap_or(otherwise).into()
}

/// A number, or a text such as `25%`.
pub fn number_or_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The first three of `all`; `<unset>` for none.
pub fn first_three(all: &[String]) -> Value {
    match all.len() {
        0 => "<unset>".into(),
        1..=3 => all.join(",").into(),
        count => format!("{} + {} more...", all[..3].join(","), count - 3).into(),
    }
}

/// The name, with a mark for the one that others without a choice get.
pub fn default_name(object: &Value, is_default: bool) -> Value {
    let name = text(object, &["metadata", "name"]);
    if is_default { format!("{name} (default)").into() } else { name.into() }
}
