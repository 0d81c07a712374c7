//! How Go prints a decoded JSON value, for the original's errors show them so.

use serde_json::Value;

/// As `%v` does: `map[a:1 b:[x y]]`.
pub fn show(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().map(|(name, value)| (name, show(value))).collect();
            members.sort();
            let members = members.into_iter().map(|(name, value)| format!("{name}:{value}"));
            format!("map[{}]", members.collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}
