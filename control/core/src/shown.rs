//! Values in messages as the original's internal structs show them: fields in the order of the struct, with the names that
//! they have in Go, absent ones as `null`.

use serde_json::Value;

use crate::at::At;

/// `{"Kind":"Role","Name":"a"}`; the values are JSON already.
pub fn fields(members: &[(&str, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// `[a,b]` of what is JSON already, or `null` where there is nothing.
pub fn list(items: &[String]) -> String {
    if items.is_empty() { "null".to_owned() } else { format!("[{}]", items.join(",")) }
}

/// A field that is no pointer and holds a text: `""` where it is absent.
pub fn text(field: &At<'_>) -> String {
    Value::from(field.text()).to_string()
}

/// A field that is no pointer and holds a number: `0` where it is absent.
pub fn int(field: &At<'_>) -> String {
    field.int().unwrap_or_default().to_string()
}

/// A pointer, or a list or a map of plain values: `null` where it is absent.
pub fn any(field: &At<'_>) -> String {
    field.value.to_string()
}

/// A field that is no pointer and holds a number or a text: `0` where it is absent.
pub fn number(field: &At<'_>) -> String {
    if field.is_absent() { "0".to_owned() } else { field.value.to_string() }
}
