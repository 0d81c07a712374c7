//! The library of a kind, from the `openAPIV3Schema` of its definition.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::builtin;
use crate::library::{
    AnyForm, Field, Library, ListKind, Patch, Presence, Rules, Scalar, Schema, Shape, StructId, Type,
};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Deeper schemas describe anything at all.
const MAX_DEPTH: usize = 100;

/// As OpenAPI names a kind: `io.example.stable.v1.CronTab` for `stable.example.io/v1`.
pub fn name(group: &str, version: &str, kind: &str) -> String {
    let mut words: Vec<&str> = group.split('.').rev().collect();
    words.extend([version, kind]);
    words.join(".")
}

/// The schema of a kind. Every object has `apiVersion`, `kind` and `metadata`, whatever is said of them.
pub fn schema(name: &str, open_api: &Value, preserve_unknown: bool) -> Schema {
    let mut builder =
        Builder { library: Library::for_custom_kind(), imported: HashMap::new(), names: 0, prefix: name };
    let root = builder.library.reserve(name);
    let preserve = preserve_unknown || open_api.is_null() || flag(open_api, PRESERVE);
    let fields = builder.fields(open_api, true, 0);
    builder.library.define(root, fields, preserve);
    builder.library.publish(root, published(open_api));
    builder.library.seal();
    Schema { library: Arc::new(builder.library), root }
}

/// The schema as it was written, with what every object has.
fn published(open_api: &Value) -> Value {
    let mut schema = open_api.clone();
    if !schema.is_object() {
        schema = json!({"type": "object", PRESERVE: true});
    }
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    let properties = &mut schema["properties"];
    let text = |description| json!({"type": "string", "description": description});
    properties["apiVersion"] = text(API_VERSION);
    properties["kind"] = text(KIND);
    properties["metadata"] = json!({
        "description": METADATA, "allOf": [{"$ref": format!("#/components/schemas/{META}.ObjectMeta")}],
    });
    schema
}

/// What is said of the fields that every object has.
const API_VERSION: &str = "Group and version of the schema that this object is written in, as GROUP/VERSION. A server may \
                           answer in another version that it has, and refuses those that it does not know.";
const KIND: &str =
    "What this object is, in CamelCase. Its address says so too; it cannot be changed in an update.";
const METADATA: &str = "Standard object's metadata: its name and namespace, its labels and annotations, and what the server \
                        notes about it.";

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

struct Builder<'a> {
    library: Library,
    /// Structs of the built-in library by their names, as they are numbered here.
    imported: HashMap<Arc<str>, StructId>,
    names: usize,
    prefix: &'a str,
}

pub(super) fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

pub(super) fn text<'v>(schema: &'v Value, name: &str) -> &'v str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

impl Builder<'_> {
    /// The fields of an object; `whole`: of one that has a kind of its own.
    fn fields(&mut self, schema: &Value, whole: bool, depth: usize) -> Vec<Field> {
        let mut fields = Vec::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        let required = |name: &str| {
            let names = schema.get("required").and_then(Value::as_array);
            names.is_some_and(|names| names.iter().any(|required| required == name))
        };
        if whole {
            let text = || Type::new(Shape::Scalar(Scalar::String));
            let metadata = self.import(&format!("{META}.ObjectMeta"));
            fields.push(field("apiVersion", text(), false));
            fields.push(field("kind", text(), false));
            let metadata = match metadata {
                Some(id) => Type::new(Shape::Struct { id, atomic: false }),
                None => Type::new(Shape::Any(AnyForm::None)),
            };
            fields.push(Field { presence: Presence::Always, ..field("metadata", metadata, false) });
        }
        for (name, schema) in properties.into_iter().flatten() {
            if !whole || !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                let of = self.value(schema, depth + 1);
                fields.push(field(name, of, required(name)));
            }
        }
        fields
    }

    fn value(&mut self, schema: &Value, depth: usize) -> Type {
        let shape = if depth > MAX_DEPTH { Shape::Any(AnyForm::None) } else { self.shape(schema, depth) };
        let format = Some(text(schema, "format")).filter(|format| !format.is_empty());
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        let rules = (format.is_some() || embedded).then(|| {
            Arc::new(Rules { format: format.map(Into::into), embedded_resource: embedded, validation: None })
        });
        Type {
            default: schema.get("default").cloned(),
            values: schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            nullable: flag(schema, "nullable"),
            rules,
            ..Type::new(shape)
        }
    }

    fn shape(&mut self, schema: &Value, depth: usize) -> Shape {
        if flag(schema, "x-kubernetes-int-or-string") {
            return Shape::Scalar(Scalar::IntOrString);
        }
        match text(schema, "type") {
            "object" => self.object(schema, depth),
            "array" => {
                let items = self.value(schema.get("items").unwrap_or(&Value::Null), depth + 1);
                let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
                let kind = match text(schema, "x-kubernetes-list-type") {
                    "set" => ListKind::Set,
                    "map" => ListKind::Map {
                        keys: keys.into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect(),
                    },
                    _ => ListKind::Atomic,
                };
                Shape::List { items: Box::new(items), kind, wrapped: false }
            }
            "string" => Shape::Scalar(Scalar::String),
            "integer" => Shape::Scalar(Scalar::Int64),
            "number" => Shape::Scalar(Scalar::Float),
            "boolean" => Shape::Scalar(Scalar::Bool),
            _ => Shape::Any(AnyForm::None),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Shape {
        let atomic = text(schema, "x-kubernetes-map-type") == "atomic";
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        let has_properties =
            schema.get("properties").and_then(Value::as_object).is_some_and(|all| !all.is_empty());
        match schema.get("additionalProperties") {
            Some(values) if !has_properties && !embedded && *values != Value::Bool(false) => {
                let values = match values {
                    Value::Object(_) => self.value(values, depth + 1),
                    _ => Type::new(Shape::Any(AnyForm::None)),
                };
                Shape::Map { values: Box::new(values), atomic }
            }
            _ => {
                self.names += 1;
                let id = self.library.reserve(&format!("{}.{}", self.prefix, self.names));
                let fields = self.fields(schema, embedded, depth);
                self.library.define(id, fields, flag(schema, PRESERVE));
                Shape::Struct { id, atomic }
            }
        }
    }

    /// Copies a struct of the built-in library, with all that it refers to.
    fn import(&mut self, name: &str) -> Option<StructId> {
        if let Some(id) = self.imported.get(name) {
            return Some(*id);
        }
        let built_in = builtin::library();
        let of = built_in.get(built_in.find(name)?);
        let id = self.library.reserve(&of.name);
        self.imported.insert(Arc::clone(&of.name), id);
        let fields = of
            .fields
            .iter()
            .map(|field| Field { of: self.imported_type(&built_in, &field.of), ..field.clone() })
            .collect();
        self.library.define(id, fields, of.preserve_unknown);
        Some(id)
    }

    fn imported_type(&mut self, built_in: &Library, of: &Type) -> Type {
        let shape = match &of.shape {
            Shape::Struct { id, atomic } => match self.import(&built_in.get(*id).name) {
                Some(id) => Shape::Struct { id, atomic: *atomic },
                None => Shape::Any(AnyForm::None),
            },
            Shape::List { items, kind, wrapped } => Shape::List {
                items: Box::new(self.imported_type(built_in, items)),
                kind: kind.clone(),
                wrapped: *wrapped,
            },
            Shape::Map { values, atomic } => {
                Shape::Map { values: Box::new(self.imported_type(built_in, values)), atomic: *atomic }
            }
            other => other.clone(),
        };
        Type { shape, ..of.clone() }
    }
}

fn field(name: &str, of: Type, required: bool) -> Field {
    Field {
        name: name.into(),
        number: 0,
        presence: Presence::Optional,
        inline: false,
        required,
        patch: Patch::default(),
        of,
    }
}
