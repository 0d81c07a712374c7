//! Objects of kinds that are defined at run time, made what decoding makes of those of built-in kinds.
//!
//! Owns: pruning of fields that the definition does not name, of `null` where it is no value, and `metadata` of the object
//! and of objects in it, which is as that of every kind. Begin at [`coerce`].
//!
//! Facts: apiextensions-apiserver's `unstructuredSchemaCoercer`.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::builtin;
use crate::codec::{DecodeError, Decoded, json};
use crate::library::{Library, Schema, Shape, Struct, StructId, Type};

/// Takes from an object what its kind does not have. Returns what it took, as problems: `unknown field "spec.a[0].b"`.
///
/// # Errors
/// Metadata that is none, in the original's words.
pub fn coerce(schema: &Schema, object: &mut Value) -> Result<Vec<String>, DecodeError> {
    let Value::Object(map) = object else { return Ok(Vec::new()) };
    let mut paths = Vec::new();
    if let Some(metadata) = map.get_mut("metadata") {
        paths.extend(coerce_metadata(metadata, "").map_err(DecodeError)?);
    }
    let mut pruned =
        Pruner { library: &schema.library, embedded: Vec::new(), unknown: Vec::new(), failed: None };
    pruned.structure(schema.root, map, &mut String::new(), true);
    if let Some(error) = pruned.failed {
        return Err(DecodeError(error));
    }
    // The original walks through maps in no order, and sorts.
    pruned.unknown.sort();
    pruned.embedded.sort();
    paths.extend(pruned.unknown);
    paths.extend(pruned.embedded);
    Ok(paths.into_iter().map(|path| format!("unknown field \"{path}\"")).collect())
}

/// Makes `metadata` what it is in built-in kinds. Returns the paths of unknown fields.
fn coerce_metadata(metadata: &mut Value, parent: &str) -> Result<Vec<String>, String> {
    let kind = match metadata {
        Value::Object(map) if map.is_empty() => return Ok(Vec::new()),
        Value::Object(_) | Value::Null => None,
        Value::Array(_) => Some("array"),
        Value::String(_) => Some("string"),
        Value::Bool(_) => Some("bool"),
        Value::Number(_) => Some("number"),
    };
    if let Some(kind) = kind {
        return Err(format!("json: cannot unmarshal {kind} into Go value of type v1.ObjectMeta"));
    }
    let Some(schema) = builtin::schema("io.k8s.apimachinery.pkg.apis.meta.v1", "ObjectMeta") else {
        return Ok(Vec::new());
    };
    let text = serde_json::to_vec(metadata).map_err(|error| error.to_string())?;
    let Decoded { value, problems } = json::decode(&schema, &text).map_err(|error| error.0)?;
    *metadata = value;
    let prefix = if parent.is_empty() { String::new() } else { format!("{parent}.") };
    let path =
        |problem: &String| Some(problem.split_once(' ')?.1.split_once(' ')?.1.trim_matches('"').to_owned());
    Ok(problems.iter().filter_map(path).map(|path| format!("{prefix}metadata.{path}")).collect())
}

struct Pruner<'a> {
    library: &'a Library,
    unknown: Vec<String>,
    /// Unknown fields in the metadata of embedded objects, which come last.
    embedded: Vec<String>,
    failed: Option<String>,
}

impl Pruner<'_> {
    /// `whole`: the object has a kind of its own, and its own metadata is done.
    fn structure(&mut self, id: StructId, map: &mut Map<String, Value>, path: &mut String, whole: bool) {
        let of: &Struct = self.library.get(id);
        let size = path.len();
        map.retain(|name, value| {
            let Some(field) = of.field(name) else {
                if !of.preserve_unknown {
                    push_key(path, name);
                    self.unknown.push(path.clone());
                    path.truncate(size);
                }
                return of.preserve_unknown;
            };
            if whole && matches!(&**name, "apiVersion" | "kind" | "metadata") {
                return true;
            }
            if is_no_value(&field.of, value) {
                return false;
            }
            push_key(path, name);
            self.value(&field.of, value, path);
            path.truncate(size);
            true
        });
    }

    fn value(&mut self, of: &Type, value: &mut Value, path: &mut String) {
        let size = path.len();
        match (&of.shape, value) {
            (Shape::Struct { id, .. }, Value::Object(map)) => {
                let embedded = of.rules.as_ref().is_some_and(|rules| rules.embedded_resource);
                if embedded {
                    self.embedded(map, path);
                }
                self.structure(*id, map, path, embedded);
            }
            (Shape::List { items, .. }, Value::Array(all)) => {
                for (nth, item) in all.iter_mut().enumerate() {
                    // Writing to memory does not fail.
                    let _ = write!(path, "[{nth}]");
                    self.value(items, item, path);
                    path.truncate(size);
                }
            }
            (Shape::Map { values, .. }, Value::Object(map)) => map.retain(|name, value| {
                if is_no_value(values, value) {
                    return false;
                }
                push_key(path, name);
                self.value(values, value, path);
                path.truncate(size);
                true
            }),
            _ => {}
        }
    }

    /// An object in an object: `x-kubernetes-embedded-resource`.
    fn embedded(&mut self, map: &mut Map<String, Value>, path: &str) {
        for name in ["apiVersion", "kind"] {
            if let Some(value) = map.get(name).filter(|value| !value.is_string()) {
                self.failed.get_or_insert(format!("{path}.{name}: Invalid value: {value}: must be a string"));
            }
        }
        if let Some(metadata) = map.get_mut("metadata") {
            match coerce_metadata(metadata, path) {
                Ok(unknown) => self.embedded.extend(unknown),
                Err(error) => {
                    self.failed.get_or_insert(format!("{path}.metadata: Invalid value: {metadata}: {error}"));
                }
            }
        }
    }
}

/// A `null` that is neither a value of the type nor will become its default.
fn is_no_value(of: &Type, value: &Value) -> bool {
    value.is_null() && !of.nullable && of.default.is_none()
}

fn push_key(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{crd, defaults};

    fn schema() -> Schema {
        let open_api = json!({"type": "object", "properties": {
            "data": {"type": "object", "additionalProperties": {"type": "string"}},
            "spec": {"type": "object", "properties": {
                "n": {"type": "integer", "default": 3},
                "maybe": {"type": "string", "nullable": true},
                "items": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}},
                "inner": {"type": "object", "x-kubernetes-embedded-resource": true,
                    "properties": {"spec": {"type": "object"}}},
            }},
        }});
        crd::compile("example.com", "v1", "Thing", &open_api, false).schema
    }

    #[test]
    fn what_the_definition_does_not_name_goes() {
        let body = br#"{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"x","bogus":1},
            "spec":{"n":null,"maybe":null,"gone":null,"zed":1,"items":[{"a":"b","c":1},{"a":null}],
                "open":{"any":{"x":null},"known":{"a":"b","b":1}},
                "inner":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"y","uid":"","what":2},"spec":{"d":1}}},
            "data":{"k":"v"},"status":{},"data":{"k":"w"}}"#;
        let mut found = json::decode(&schema(), body).expect("an object");
        assert_eq!(
            found.problems,
            [
                "duplicate field \"data\"",
                "unknown field \"metadata.bogus\"",
                "unknown field \"spec.gone\"",
                "unknown field \"spec.inner.spec.d\"",
                "unknown field \"spec.items[0].c\"",
                "unknown field \"spec.open.known.b\"",
                "unknown field \"spec.zed\"",
                "unknown field \"status\"",
                "unknown field \"spec.inner.metadata.what\"",
            ]
        );
        defaults::apply(&schema(), &mut found.value);
        let text = json::encode(&schema(), &found.value);
        let want = r#"{"apiVersion":"example.com/v1","data":{"k":"w"},"kind":"Thing","metadata":{"name":"x"},"spec":{"inner":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"y"},"spec":{}},"items":[{"a":"b"},{}],"maybe":null,"n":3,"open":{"any":{"x":null},"known":{"a":"b"}}}}"#;
        assert_eq!(String::from_utf8(text), Ok(want.to_owned()));
    }

    #[test]
    fn metadata_must_be_metadata() {
        let error = |body: &str| json::decode(&schema(), body.as_bytes()).expect_err(body).0;
        for (body, want) in [
            (
                r#"{"metadata":{"labels":{"a":1}}}"#,
                "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string",
            ),
            (r#"{"metadata":5}"#, "json: cannot unmarshal number into Go value of type v1.ObjectMeta"),
            (
                r#"{"kind":5}"#,
                "couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string",
            ),
            (r#"{"spec":{"inner":{"kind":5}}}"#, "spec.inner.kind: Invalid value: 5: must be a string"),
        ] {
            assert_eq!(error(body), want);
        }
    }

    #[test]
    fn values_of_wrong_types_are_left_to_validation() {
        let body = br#"{"spec":{"n":"x","items":{"a":1},"maybe":5}}"#;
        let found = json::decode(&schema(), body).expect("an object");
        assert_eq!(found.value, json!({"spec": {"n": "x", "items": {"a": 1}, "maybe": 5}}));
    }
}
