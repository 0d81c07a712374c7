//! Structs of a library as OpenAPI schemas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::content::reference;
use crate::library::{
    AnyForm, Field, Library, ListKind, Patch, Presence, Scalar, Shape, Struct, StructId, Type,
};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Schemas by their names, with all that they refer to.
pub(super) struct Schemas {
    pub done: BTreeMap<String, Value>,
}

impl Schemas {
    pub fn new() -> Self {
        Self { done: BTreeMap::new() }
    }

    /// Adds a struct and what it refers to.
    pub fn add(&mut self, library: &Library, id: StructId) {
        let whole = whole_structs(library);
        let mut open = vec![id];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            let of = library.get(id);
            if !seen.insert(id) || self.done.contains_key(&*of.name) {
                continue;
            }
            if let Some(published) = library.published(id) {
                self.done.insert(of.name.to_string(), published.clone());
                open.extend(library.find(&format!("{META}.ObjectMeta")));
                continue;
            }
            let mut writer = Writer { library, open: &mut open, whole: &whole, schemas: self };
            let mut schema = writer.of_struct(of);
            if whole.contains(&id) {
                schema["x-kubernetes-map-type"] = "atomic".into();
            }
            self.done.insert(of.name.to_string(), schema);
        }
    }

    /// Says of which kinds the objects of a schema are.
    pub fn name_kind(&mut self, name: &str, kinds: &[(&str, &str, &str)]) {
        if let Some(Value::Object(schema)) = self.done.get_mut(name) {
            let kinds: Vec<Value> = kinds
                .iter()
                .map(|(group, version, kind)| json!({"group": group, "version": version, "kind": kind}))
                .collect();
            schema.insert("x-kubernetes-group-version-kind".to_owned(), kinds.into());
        }
    }

    /// Says by which fields lists of a kind may be selected.
    pub fn name_selectable(&mut self, name: &str, fields: &[&str]) {
        if let Some(Value::Object(schema)) = self.done.get_mut(name) {
            let fields: Vec<Value> = fields.iter().map(|field| json!({"fieldPath": field})).collect();
            schema.insert("x-kubernetes-selectable-fields".to_owned(), fields.into());
        }
    }
}

/// Structs that merge as a whole wherever they are referred to, but where a field says otherwise.
fn whole_structs(library: &Library) -> BTreeSet<StructId> {
    fn referred(of: &Type, whole: &mut BTreeSet<StructId>) {
        match &of.shape {
            Shape::Struct { id, atomic: true } => {
                whole.insert(*id);
            }
            Shape::List { items, .. } => referred(items, whole),
            Shape::Map { values, .. } => referred(values, whole),
            _ => {}
        }
    }
    let mut whole = BTreeSet::new();
    for of in library.structs() {
        of.fields.iter().for_each(|field| referred(&field.of, &mut whole));
    }
    whole
}

struct Writer<'a> {
    library: &'a Library,
    open: &'a mut Vec<StructId>,
    whole: &'a BTreeSet<StructId>,
    schemas: &'a mut Schemas,
}

impl Writer<'_> {
    fn of_struct(&mut self, of: &Struct) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        self.fields(of, &mut properties, &mut required);
        let mut schema = json!({"type": "object"});
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        if !properties.is_empty() {
            schema["properties"] = Value::Object(properties);
        }
        if of.preserve_unknown {
            schema["x-kubernetes-preserve-unknown-fields"] = json!(true);
        }
        schema
    }

    fn fields(&mut self, of: &Struct, properties: &mut Map<String, Value>, required: &mut Vec<Value>) {
        for field in &of.fields {
            if let (true, Shape::Struct { id, .. }) = (field.inline, &field.of.shape) {
                self.fields(self.library.get(*id), properties, required);
                continue;
            }
            if field.required {
                required.push((&*field.name).into());
            }
            let mut schema = self.field(field);
            // The original says nothing of the lists of its oldest structs.
            let untold = of.name.ends_with("List") && *field.name == *"items";
            if let Some(schema) = schema.as_object_mut().filter(|_| untold) {
                schema.remove("x-kubernetes-list-type");
            }
            properties.insert(field.name.to_string(), schema);
        }
    }

    fn field(&mut self, field: &Field) -> Value {
        let pointer = matches!(field.presence, Presence::Optional | Presence::Null);
        let zero = field.presence == Presence::Always;
        let mut schema = self.value(&field.of, zero);
        if !pointer && matches!(field.of.shape, Shape::Struct { .. }) {
            schema["default"] = json!({});
        }
        let Patch { merge, retain_keys, replace, merge_key } = &field.patch;
        let strategy = [(*merge, "merge"), (*retain_keys, "retainKeys"), (*replace, "replace")];
        let strategy: Vec<&str> = strategy.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
        if !strategy.is_empty() {
            schema["x-kubernetes-patch-strategy"] = strategy.join(",").into();
        }
        if let Some(key) = merge_key {
            schema["x-kubernetes-patch-merge-key"] = (&**key).into();
        }
        schema
    }

    /// `zero`: its zero value is its default.
    fn value(&mut self, of: &Type, zero: bool) -> Value {
        let mut schema = match &of.shape {
            Shape::Scalar(scalar) => self.scalar(*scalar, of, zero),
            Shape::Struct { id, atomic } => {
                let name = &self.library.get(*id).name;
                self.open.push(*id);
                let mut schema = json!({"allOf": [reference(name)]});
                if !atomic && self.whole.contains(id) {
                    schema["x-kubernetes-map-type"] = "granular".into();
                }
                schema
            }
            Shape::List { items, wrapped: true, .. } => json!({"type": "array", "items": self.part(items)}),
            Shape::List { items, kind, .. } => {
                let mut schema = json!({"type": "array", "items": self.part(items)});
                schema["x-kubernetes-list-type"] = match kind {
                    ListKind::Atomic => "atomic",
                    ListKind::Set => "set",
                    ListKind::Map { .. } => "map",
                }
                .into();
                if let ListKind::Map { keys } = kind {
                    schema["x-kubernetes-list-map-keys"] = keys.iter().map(|key| &**key).collect();
                }
                schema
            }
            Shape::Map { values, atomic } => {
                let mut schema = json!({"type": "object", "additionalProperties": self.part(values)});
                if *atomic {
                    schema["x-kubernetes-map-type"] = "atomic".into();
                }
                schema
            }
            Shape::Any(form) => self.any(*form),
        };
        if let Some(default) = &of.default {
            schema["default"] = default.clone();
        }
        if !of.values.is_empty() {
            let mut values = of.values.clone();
            values.sort_by_key(Value::to_string);
            schema["enum"] = Value::Array(values);
        }
        if of.nullable {
            schema["nullable"] = json!(true);
        }
        schema
    }

    /// An item of a list or a value of a map: never a pointer.
    fn part(&mut self, of: &Type) -> Value {
        let mut schema = self.value(of, true);
        if matches!(of.shape, Shape::Struct { .. }) {
            schema["default"] = json!({});
        } else if let Some(reference) = schema.pointer_mut("/allOf/0").map(Value::take) {
            // Nothing is said of it besides.
            schema = reference;
        } else if let (Shape::List { .. }, Some(schema)) = (&of.shape, schema.as_object_mut()) {
            schema.remove("x-kubernetes-list-type");
        }
        schema
    }

    fn scalar(&mut self, scalar: Scalar, of: &Type, zero: bool) -> Value {
        let (mut schema, default) = match scalar {
            Scalar::Bool => (json!({"type": "boolean"}), json!(false)),
            Scalar::Int32 => (json!({"type": "integer", "format": "int32"}), json!(0)),
            Scalar::Int64 => (json!({"type": "integer", "format": "int64"}), json!(0)),
            Scalar::Float => (json!({"type": "number", "format": "double"}), json!(0)),
            Scalar::String => (json!({"type": "string"}), json!("")),
            Scalar::Bytes => (json!({"type": "string", "format": "byte"}), Value::Null),
            Scalar::Time => {
                return self.named(&format!("{META}.Time"), json!({"type": "string", "format": "date-time"}));
            }
            Scalar::MicroTime => {
                return self
                    .named(&format!("{META}.MicroTime"), json!({"type": "string", "format": "date-time"}));
            }
            Scalar::Duration => return self.named(&format!("{META}.Duration"), json!({"type": "string"})),
            Scalar::Quantity => {
                let one_of = json!({"oneOf": [{"type": "string"}, {"type": "number"}]});
                return self.named("io.k8s.apimachinery.pkg.api.resource.Quantity", one_of);
            }
            Scalar::IntOrString => {
                let one_of =
                    json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]});
                return self.named("io.k8s.apimachinery.pkg.util.intstr.IntOrString", one_of);
            }
        };
        if zero && !default.is_null() {
            schema["default"] = default;
        }
        if let Some(format) = of.rules.as_ref().and_then(|rules| rules.format.as_ref()) {
            schema["format"] = (&**format).into();
        }
        schema
    }

    fn any(&mut self, form: AnyForm) -> Value {
        let extensions = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";
        match form {
            AnyForm::Object => {
                self.named("io.k8s.apimachinery.pkg.runtime.RawExtension", json!({"type": "object"}))
            }
            AnyForm::Fields => self.named(&format!("{META}.FieldsV1"), json!({"type": "object"})),
            AnyForm::Value => self.named(&format!("{extensions}.JSON"), json!({})),
            AnyForm::SchemaOrBool(id) => self.schema_or(id, &format!("{extensions}.JSONSchemaPropsOrBool")),
            AnyForm::SchemaOrSchemas(id) => {
                self.schema_or(id, &format!("{extensions}.JSONSchemaPropsOrArray"))
            }
            AnyForm::SchemaOrStrings(id) => {
                self.schema_or(id, &format!("{extensions}.JSONSchemaPropsOrStringArray"))
            }
            AnyForm::None => json!({"x-kubernetes-preserve-unknown-fields": true}),
        }
    }

    fn schema_or(&mut self, id: StructId, name: &str) -> Value {
        self.open.push(id);
        self.named(name, json!({}))
    }

    /// A reference to a schema of a type that is no struct here.
    fn named(&mut self, name: &str, schema: Value) -> Value {
        self.schemas.done.entry(name.to_owned()).or_insert(schema);
        json!({"allOf": [reference(name)]})
    }
}
