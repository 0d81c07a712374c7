//! Values as the original's internal structs show them in refusals: every field, in the order of the struct, with its name
//! in Go, absent ones as the zero value of their type.
//!
//! Owns: reading `data/internal.txt`, which `scripts/schema` writes, and making text of a value by it. Begin at [`compact`].
//! Never: decides what is shown in this way. Where a refusal shows two or three fields, [`crate::shown`] is shorter.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::at::At;
use crate::edit::{at, semantic_eq};
use crate::field::FieldError;
use crate::metadata::IMMUTABLE;

const DATA: &str = include_str!("../data/internal.txt");

static STRUCTS: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| read(DATA));

/// The type of a field. What the data name in no other way is one of plain values.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Of {
    /// A text that is no pointer: `""` where it is absent.
    Text,
    /// `0` where it is absent.
    Number,
    /// `false` where it is absent.
    Truth,
    /// `"0"` where it is absent.
    Quantity,
    /// Shown as it is, `null` where it is absent.
    Plain,
    /// `null` where it is absent.
    Pointer(Box<Of>),
    List(Box<Of>),
    Map(Box<Of>),
    Struct(&'static str),
    /// Two fields of which one is set: a schema, and what may stand in its place.
    SchemaOr(Other),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Bool,
    Schemas,
    Strings,
}

#[derive(Debug)]
struct Field {
    /// As it is shown.
    name: &'static str,
    /// In the published form: names joined by dots; one that begins with `^` is a field of the outer struct.
    path: &'static str,
    of: Of,
    /// Not shown where it is empty.
    omitted: bool,
}

/// What is shown.
enum Node {
    Leaf(String),
    List(Vec<Node>),
    Fields(Vec<(String, Node)>),
}

/// A value of the struct `of` (`core.PodTemplateSpec`) on one line.
pub fn compact(of: &str, value: &Value) -> String {
    let mut text = String::new();
    structure(of, value, &Value::Null).write(&mut text, None);
    text
}

/// As [`compact`], one field or item to a line, each level one blank further in.
pub fn lines(of: &str, value: &Value) -> Vec<String> {
    let mut text = String::new();
    structure(of, value, &Value::Null).write(&mut text, Some(0));
    text.lines().map(str::to_owned).collect()
}

/// As [`crate::metadata::immutable`], for a struct of the original that is shown whole. `pointer`: an absent one is `null`.
pub fn immutable(new: &At<'_>, old: &Value, of: &str, pointer: bool) -> Option<FieldError> {
    let shown = || if pointer && new.is_absent() { "null".to_owned() } else { compact(of, new.value) };
    (!semantic_eq(new.value, old)).then(|| FieldError::invalid_shown(&new.path, &shown(), IMMUTABLE))
}

/// A list of such structs on one line, `null` where it is absent.
pub fn compact_list(of: &str, list: &Value) -> String {
    match list {
        Value::Null => "null".to_owned(),
        list => {
            let items = list.as_array().into_iter().flatten();
            format!("[{}]", items.map(|item| compact(of, item)).collect::<Vec<_>>().join(","))
        }
    }
}

fn read(data: &'static str) -> HashMap<&'static str, Vec<Field>> {
    let mut structs = HashMap::new();
    let mut name = "";
    for line in data.lines() {
        if let Some(next) = line.strip_prefix("struct ") {
            name = next;
            structs.insert(name, Vec::new());
        } else if let [name_shown, path, of, more @ ..] = line.split('\t').collect::<Vec<_>>().as_slice() {
            let field = Field { name: name_shown, path, of: type_of(of), omitted: !more.is_empty() };
            structs.entry(name).or_default().push(field);
        }
    }
    structs
}

fn type_of(text: &'static str) -> Of {
    let below = |rest| Box::new(type_of(rest));
    if let Some(rest) = text.strip_prefix('?') {
        return Of::Pointer(below(rest));
    }
    if let Some(rest) = text.strip_prefix("[]") {
        return Of::List(below(rest));
    }
    if let Some(rest) = text.strip_prefix("{}") {
        return Of::Map(below(rest));
    }
    if let Some(name) = text.strip_prefix('&') {
        return Of::Struct(name);
    }
    match text {
        "string" => Of::Text,
        "number" | "intorstring" => Of::Number,
        "bool" => Of::Truth,
        "quantity" => Of::Quantity,
        "schemaorbool" => Of::SchemaOr(Other::Bool),
        "schemaorschemas" => Of::SchemaOr(Other::Schemas),
        "schemaorstrings" => Of::SchemaOr(Other::Strings),
        _ => Of::Plain,
    }
}

fn structure(of: &str, value: &Value, outer: &Value) -> Node {
    let fields = STRUCTS.get(of).map_or(&[] as &[Field], Vec::as_slice);
    let member = |field: &Field| {
        let own = match field.path.strip_prefix('^') {
            Some(name) => at(outer, &[name]),
            None => at(value, &field.path.split('.').collect::<Vec<_>>()),
        };
        let empty = own.is_null() || At::object(own).is_empty() && !own.is_boolean() && !own.is_number();
        (!(field.omitted && empty)).then(|| (field.name.to_owned(), node(&field.of, own, value)))
    };
    Node::Fields(fields.iter().filter_map(member).collect())
}

fn node(of: &Of, value: &Value, outer: &Value) -> Node {
    match (of, value) {
        (Of::Text, Value::Null) => Node::leaf(&"".into()),
        (Of::Number, Value::Null) => Node::leaf(&0.into()),
        (Of::Truth, Value::Null) => Node::leaf(&false.into()),
        (Of::Quantity, Value::Null) => Node::leaf(&"0".into()),
        (Of::Struct(name), value) => structure(name, value, outer),
        (Of::SchemaOr(other), value) => schema_or(*other, value),
        (Of::Pointer(_) | Of::List(_) | Of::Map(_), Value::Null) => Node::leaf(&Value::Null),
        (Of::Pointer(of), value) => node(of, value, outer),
        (Of::List(of), Value::Array(items)) => {
            Node::List(items.iter().map(|item| node(of, item, outer)).collect())
        }
        (Of::Map(of), Value::Object(map)) => {
            Node::Fields(map.iter().map(|(key, value)| (key.clone(), node(of, value, outer))).collect())
        }
        (_, value) => plain(value),
    }
}

fn schema_or(other: Other, value: &Value) -> Node {
    const SCHEMA: &str = "apiextensions.JSONSchemaProps";
    let schema = |value: &Value| structure(SCHEMA, value, &Value::Null);
    let is_schema = value.is_object();
    let own = if is_schema { schema(value) } else { Node::leaf(&Value::Null) };
    let member = |name: &str, node| (name.to_owned(), node);
    let rest = match value {
        Value::Array(items) if other == Other::Schemas => Node::List(items.iter().map(schema).collect()),
        _ if is_schema => Node::leaf(&if other == Other::Bool { true.into() } else { Value::Null }),
        value => plain(value),
    };
    match other {
        Other::Bool => Node::Fields(vec![member("Allows", rest), member("Schema", own)]),
        Other::Schemas => Node::Fields(vec![member("Schema", own), member("JSONSchemas", rest)]),
        Other::Strings => Node::Fields(vec![member("Schema", own), member("Property", rest)]),
    }
}

fn plain(value: &Value) -> Node {
    match value {
        Value::Array(items) => Node::List(items.iter().map(plain).collect()),
        Value::Object(map) => {
            Node::Fields(map.iter().map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        value => Node::leaf(value),
    }
}

impl Node {
    fn leaf(value: &Value) -> Self {
        Self::Leaf(match value {
            Value::Number(number) => shown_number(number),
            value => escape(&value.to_string()),
        })
    }

    /// `depth`: some for one to a line, and how far in the lines are.
    fn write(&self, out: &mut String, depth: Option<usize>) {
        let inner = depth.map(|depth| depth + 1);
        let open = |out: &mut String, nth: usize| {
            if nth > 0 {
                out.push(',');
            }
            line(out, inner);
        };
        match self {
            Self::Leaf(text) => out.push_str(text),
            Self::List(items) => {
                out.push('[');
                for (nth, item) in items.iter().enumerate() {
                    open(out, nth);
                    item.write(out, inner);
                }
                if !items.is_empty() {
                    line(out, depth);
                }
                out.push(']');
            }
            Self::Fields(fields) => {
                out.push('{');
                for (nth, (name, value)) in fields.iter().enumerate() {
                    open(out, nth);
                    out.push_str(&escape(&Value::from(name.as_str()).to_string()));
                    out.push_str(if depth.is_some() { ": " } else { ":" });
                    value.write(out, inner);
                }
                if !fields.is_empty() {
                    line(out, depth);
                }
                out.push('}');
            }
        }
    }
}

fn line(out: &mut String, depth: Option<usize>) {
    if let Some(depth) = depth {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', depth));
    }
}

/// A whole number has no point, as Go writes it.
fn shown_number(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e21 => format!("{float:.0}"),
        _ => number.to_string(),
    }
}

/// Go's JSON is fit for HTML.
fn escape(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for found in json.chars() {
        match found {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(found)));
            }
            _ => text.push(found),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_is_shown_in_the_order_and_with_the_name_of_the_struct() {
        let regarding = json!({"kind": "Pod", "name": "a<b"});
        let want = r#"{"Kind":"Pod","Namespace":"","Name":"a\u003cb","UID":"","APIVersion":"","ResourceVersion":"","FieldPath":""}"#;
        assert_eq!(compact("core.ObjectReference", &regarding), want);
        let want = ["{", " \"Spec\": {", "  \"Devices\": {", "   \"Requests\": [],"];
        let spec = json!({"spec": {"devices": {"requests": []}}});
        assert_eq!(lines("resource.ResourceClaimTemplateSpec", &spec)[..4], want);
    }

    #[test]
    fn fields_stand_where_the_original_keeps_them() {
        let pod =
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"hostNetwork": true, "securityContext": {}}});
        let shown = compact("core.PodTemplateSpec", &pod);
        assert!(shown.starts_with(r#"{"labels":{"a":"b"},"Spec":{"Volumes":null,"#), "{shown}");
        assert!(shown.contains(r#""SecurityContext":{"HostNetwork":true,"HostPID":false,"#), "{shown}");
    }

    #[test]
    fn a_schema_or_something_else_is_shown_as_both() {
        let schema = json!({"schema": {"openAPIV3Schema": {
            "additionalProperties": true, "items": {"type": "string"}, "minimum": 1.0,
        }}});
        let shown = compact("apiextensions.CustomResourceDefinitionVersion", &schema);
        assert!(shown.contains(r#""AdditionalProperties":{"Allows":true,"Schema":null}"#), "{shown}");
        assert!(shown.contains(r#""Items":{"Schema":{"ID":"""#), "{shown}");
        assert!(shown.contains(r#""Minimum":1,"#), "{shown}");
    }

    #[test]
    fn every_struct_that_the_data_name_is_there() {
        fn named(of: &Of) -> Option<&'static str> {
            match of {
                Of::Struct(name) => Some(name),
                Of::Pointer(of) | Of::List(of) | Of::Map(of) => named(of),
                _ => None,
            }
        }
        let names = STRUCTS.values().flatten().filter_map(|field| named(&field.of));
        let missing: Vec<_> = names.filter(|name| !STRUCTS.contains_key(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(STRUCTS.len() > 50);
    }
}
