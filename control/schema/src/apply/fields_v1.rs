//! Sets of fields as `fieldsV1` has them: `{"f:data":{".":{},"f:a":{}}}`.

use serde_json::{Map, Value};

use super::path::Element;
use super::set::{Node, Set};

/// # Errors
/// A name that is no step.
pub fn read(fields: &Value) -> Result<Set<'_>, String> {
    Ok(read_below(fields)?.0)
}

/// What is below a step, and whether the step is a member.
fn read_below(fields: &Value) -> Result<(Set<'_>, bool), String> {
    let mut set = Set::default();
    let mut member = false;
    for (name, below) in fields.as_object().into_iter().flatten() {
        if name == "." {
            member = true;
        } else if let Some(at) = Element::read(name)? {
            let (below, member) = read_below(below)?;
            set.attach(|| at, member, below);
        }
    }
    let member = member || set.is_empty();
    Ok((set, member))
}

pub fn write(set: &Set<'_>) -> Value {
    let mut name = String::new();
    Value::Object(write_below(set, false, &mut name))
}

fn write_below(set: &Set<'_>, member: bool, name: &mut String) -> Map<String, Value> {
    let mut out = Map::new();
    if member && !set.is_empty() {
        out.insert(".".to_owned(), Value::Object(Map::new()));
    }
    for Node { at, member, below } in &set.nodes {
        name.clear();
        at.write(name);
        let name_now = name.clone();
        out.insert(name_now, Value::Object(write_below(below, *member, name)));
    }
    out
}
