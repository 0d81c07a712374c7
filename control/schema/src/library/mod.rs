//! The tree of fields that describes kinds of objects.
//!
//! Owns: what a field is called in JSON and in protobuf, which values it takes, how lists and maps of it merge.
//! A [`Library`] holds structs that refer to one another by number, for some kinds contain themselves.

mod names;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use self::names::Names;

/// Structs by number and by name. The built-in kinds share one; each CustomResourceDefinition has its own.
#[derive(Debug, Default)]
pub struct Library {
    structs: Vec<Struct>,
    by_name: HashMap<Arc<str>, StructId>,
    free: bool,
    /// Which structs have defaults, or parts that have.
    defaulting: Vec<bool>,
    /// What is published in the place of structs, of kinds that CustomResourceDefinitions describe.
    published: HashMap<StructId, Value>,
}

/// A struct's place in its library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StructId(pub u32);

/// An object with named fields.
#[derive(Debug)]
pub struct Struct {
    /// As OpenAPI v3 names it: `io.k8s.api.core.v1.PodSpec`.
    pub name: Arc<str>,
    /// In the original's order, which is that of its JSON.
    pub fields: Vec<Field>,
    /// Fields that are not in the list are kept, with the values that they have (`x-kubernetes-preserve-unknown-fields`).
    pub preserve_unknown: bool,
    /// Places in `fields`, by name.
    by_name: Names,
    /// Places in `fields`, by number in protobuf, which is the order of its encoding.
    by_number: Vec<u32>,
    free: bool,
    /// Defaults that OpenAPI does not tell of, by place.
    defaults: Vec<(u32, Value)>,
}

/// A field of a struct.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: Arc<str>,
    /// In protobuf; 0 where the struct has no protobuf form.
    pub number: u32,
    pub presence: Presence,
    /// The field's own fields stand among its parent's in JSON, and in a message of their own in protobuf
    /// (`VolumeSource` in `Volume`).
    pub inline: bool,
    /// An object without it is refused.
    pub required: bool,
    pub patch: Patch,
    pub of: Type,
}

/// When a field is written, and what an absent one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Not a pointer, and always written, in JSON too: `"status": {}`.
    Always,
    /// Not a pointer: JSON leaves a zero value out, protobuf writes it. Lists and maps of built-in kinds: neither
    /// encoding writes an empty one.
    OmitEmpty,
    /// A pointer, or anything of a CustomResourceDefinition: absent is not zero, and neither encoding writes what is
    /// absent.
    Optional,
    /// As [`Presence::Optional`], but JSON writes `null` where it is absent. Lists too.
    Null,
}

/// What strategic merge patches do with the field (`x-kubernetes-patch-strategy`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// A list whose items merge with those that are there.
    pub merge: bool,
    /// Fields of the object that the patch does not name go, where it says `$retainKeys`.
    pub retain_keys: bool,
    /// What the patch has takes the place of what is there, and is not merged with it.
    pub replace: bool,
    /// By which items of the list are told apart; `None`: by their values.
    pub merge_key: Option<Arc<str>>,
}

/// What values a field, an item of a list or a value of a map takes.
#[derive(Clone, Debug)]
pub struct Type {
    pub shape: Shape,
    /// Set where nothing was given, before anything else looks at the object.
    pub default: Option<Value>,
    /// The only values, where there are any here.
    pub values: Vec<Value>,
    /// `null` is a value and is kept (CustomResourceDefinitions); elsewhere it is as good as absent.
    pub nullable: bool,
    /// What OpenAPI says besides: `format`, and for CustomResourceDefinitions their validation.
    pub rules: Option<Arc<Rules>>,
    /// As Go names it, for errors that do: `v1.Protocol`. Empty where that follows from the shape.
    pub go: &'static str,
}

#[derive(Clone, Debug)]
pub enum Shape {
    Scalar(Scalar),
    Struct {
        id: StructId,
        /// Replaced as a whole by server-side apply (`x-kubernetes-map-type: atomic`).
        atomic: bool,
    },
    List {
        items: Box<Type>,
        kind: ListKind,
        /// Stands in a message of its own in protobuf, as its field 1 (`Verbs`, `ExtraValue`).
        wrapped: bool,
    },
    Map {
        values: Box<Type>,
        atomic: bool,
    },
    /// Any JSON at all (`RawExtension`, `JSON`, `x-kubernetes-preserve-unknown-fields` without properties).
    Any(AnyForm),
}

/// Values without parts, as they are in JSON, and how protobuf has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    Bool,
    Int32,
    Int64,
    Float,
    String,
    /// Base64 in JSON.
    Bytes,
    /// RFC 3339 with seconds in JSON; seconds and nanoseconds in protobuf.
    Time,
    /// RFC 3339 with microseconds in JSON.
    MicroTime,
    /// `1m30s` in JSON; nanoseconds in protobuf.
    Duration,
    /// `100m` in JSON; a message with one string in protobuf. JSON takes a number too.
    Quantity,
    /// A number or a string.
    IntOrString,
}

/// How protobuf carries JSON of any shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyForm {
    /// `RawExtension`: an object, its bytes in field 1.
    Object,
    /// `FieldsV1`: an object, its bytes in field 1.
    Fields,
    /// `JSON` of apiextensions: any value, its bytes in field 1.
    Value,
    /// `JSONSchemaPropsOrBool`: a boolean in field 1, a schema in field 2.
    SchemaOrBool(StructId),
    /// `JSONSchemaPropsOrArray`: a schema in field 1, several in field 2.
    SchemaOrSchemas(StructId),
    /// `JSONSchemaPropsOrStringArray`: a schema in field 1, strings in field 2.
    SchemaOrStrings(StructId),
    /// Has no protobuf form (CustomResourceDefinitions).
    None,
}

/// How server-side apply merges a list (`x-kubernetes-list-type`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    Atomic,
    Set,
    /// Items are told apart by these fields.
    Map {
        keys: Vec<Arc<str>>,
    },
}

/// What OpenAPI says of a value besides its shape. All are absent for most fields of the built-in kinds.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub format: Option<Arc<str>>,
    /// The value is an object of a kind of its own, whose `apiVersion`, `kind` and `metadata` are kept
    /// (`x-kubernetes-embedded-resource`).
    pub embedded_resource: bool,
    /// The rest of the OpenAPI v3 schema of a CustomResourceDefinition, as it was written: bounds, patterns, `allOf`,
    /// `x-kubernetes-validations`.
    pub validation: Option<Value>,
}

impl Library {
    /// For a CustomResourceDefinition: the structs that are added are [`Struct::is_free`].
    pub fn for_custom_kind() -> Self {
        Self { free: true, ..Self::default() }
    }

    /// # Panics
    /// There is one of this name already.
    pub fn add(&mut self, name: &str, fields: Vec<Field>, preserve_unknown: bool) -> StructId {
        let id = self.reserve(name);
        self.define(id, fields, preserve_unknown);
        id
    }

    /// A place for a struct that others refer to before its fields are known.
    ///
    /// # Panics
    /// There is one of this name already.
    pub fn reserve(&mut self, name: &str) -> StructId {
        let id = StructId(u32::try_from(self.structs.len()).expect("fewer than four billion structs"));
        let name: Arc<str> = name.into();
        self.structs.push(Struct {
            name: Arc::clone(&name),
            fields: Vec::new(),
            preserve_unknown: false,
            by_name: Names::default(),
            by_number: Vec::new(),
            free: self.free,
            defaults: Vec::new(),
        });
        assert!(self.by_name.insert(Arc::clone(&name), id).is_none(), "a second struct named {name}");
        id
    }

    pub fn define(&mut self, id: StructId, fields: Vec<Field>, preserve_unknown: bool) {
        let of = &mut self.structs[id.0 as usize];
        of.by_name = Names::of(&fields);
        of.by_number = (0..).zip(&fields).map(|(n, _)| n).collect();
        of.by_number.retain(|n| fields[*n as usize].number != 0);
        of.by_number.sort_unstable_by_key(|n| fields[*n as usize].number);
        of.fields = fields;
        of.preserve_unknown = preserve_unknown;
    }

    pub fn get(&self, id: StructId) -> &Struct {
        &self.structs[id.0 as usize]
    }

    /// Gives a field a default that OpenAPI does not tell of. `false`: there is no such field, or it has a default.
    pub fn set_default(&mut self, id: StructId, field: &str, value: Value) -> bool {
        let of = &mut self.structs[id.0 as usize];
        let Some(place) = of.place(field) else { return false };
        if of.fields[place].of.default.is_some() {
            return false;
        }
        of.defaults.push((place as u32, value));
        true
    }

    /// To be called when all structs are defined: finds out where defaults are.
    pub fn seal(&mut self) {
        let mut defaulting: Vec<bool> = vec![false; self.structs.len()];
        // A round for each level at which a default can be below its struct.
        loop {
            let mut changed = false;
            for (nth, of) in
                self.structs.iter().enumerate().filter(|(nth, _)| !defaulting[*nth]).collect::<Vec<_>>()
            {
                let has = |field: &Field| field.fills().is_some() || has_defaults(&field.of, &defaulting);
                if !of.defaults.is_empty() || of.fields.iter().any(has) {
                    defaulting[nth] = true;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        self.defaulting = defaulting;
    }

    /// Whether a value of this type has defaults in it. Only known after [`Library::seal`].
    pub fn has_defaults(&self, of: &Type) -> bool {
        has_defaults(of, &self.defaulting)
    }

    /// Gives a struct the schema that OpenAPI shows of it, where that is written down already.
    pub fn publish(&mut self, id: StructId, schema: Value) {
        self.published.insert(id, schema);
    }

    pub fn published(&self, id: StructId) -> Option<&Value> {
        self.published.get(&id)
    }

    pub fn structs(&self) -> impl Iterator<Item = &Struct> {
        self.structs.iter()
    }

    pub fn find(&self, name: &str) -> Option<StructId> {
        self.by_name.get(name).copied()
    }

    /// The field of this name in JSON, among those of inline fields too.
    pub fn field(&self, id: StructId, name: &str) -> Option<&Field> {
        let of = self.get(id);
        match of.field(name) {
            Some(field) if !field.inline => Some(field),
            _ => of.fields.iter().filter(|field| field.inline).find_map(|field| match &field.of.shape {
                Shape::Struct { id, .. } => self.field(*id, name),
                _ => None,
            }),
        }
    }
}

impl Struct {
    /// The field of this name in JSON, those of inline fields not included.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.place(name).map(|n| &self.fields[n])
    }

    /// The place of [`Struct::field`] in `fields`.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.by_name.find(&self.fields, name)
    }

    /// What the field at this place has where nothing was given, whether OpenAPI tells of it or not.
    pub fn default_at(&self, place: usize) -> Option<&Value> {
        let hidden = || self.defaults.iter().find(|(at, _)| *at as usize == place).map(|(_, value)| value);
        self.fields.get(place)?.fills().or_else(hidden)
    }

    /// The values of an object by the places of their fields.
    pub(crate) fn with_places<'a, R>(
        &self,
        map: &'a Map<String, Value>,
        then: impl FnOnce(&[Option<&'a Value>]) -> R,
    ) -> R {
        let mut few = [None; 12];
        let mut more = [None; 48];
        let mut many = Vec::new();
        let size = self.fields.len();
        let values = match size {
            0..=12 => &mut few[..size],
            13..=48 => &mut more[..size],
            _ => {
                many.resize(size, None);
                &mut many[..]
            }
        };
        for (name, value) in map {
            if let Some(place) = self.place(name) {
                values[place] = Some(value);
            }
        }
        then(values)
    }

    /// The field of this number in protobuf.
    pub fn numbered(&self, number: u32) -> Option<&Field> {
        let found = self.by_number.binary_search_by_key(&number, |n| self.fields[*n as usize].number).ok()?;
        Some(&self.fields[self.by_number[found] as usize])
    }

    /// The fields that have a protobuf form, in the order of its encoding, with their places.
    pub fn in_protobuf(&self) -> impl Iterator<Item = (usize, &Field)> {
        self.by_number.iter().map(|n| (*n as usize, &self.fields[*n as usize]))
    }

    /// `PodSpec`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// Belongs to a kind that is defined at run time: its fields have no order but that of their names, and all that is
    /// there is kept and written.
    pub fn is_free(&self) -> bool {
        self.free
    }
}

impl Field {
    /// The default to set where nothing was given: not one that is the zero value which is left out again. Such a one only
    /// tells items of a list apart.
    fn fills(&self) -> Option<&Value> {
        let zero = |value: &Value| *value == 0 || *value == "" || *value == false;
        let left_out = self.presence == Presence::OmitEmpty;
        self.of.default.as_ref().filter(|default| !(left_out && zero(default)))
    }
}

fn has_defaults(of: &Type, defaulting: &[bool]) -> bool {
    match &of.shape {
        Shape::Struct { id, .. } => defaulting.get(id.0 as usize).copied().unwrap_or(false),
        Shape::List { items: inner, .. } | Shape::Map { values: inner, .. } => {
            inner.default.is_some() || has_defaults(inner, defaulting)
        }
        Shape::Scalar(_) | Shape::Any(_) => false,
    }
}

impl Type {
    pub fn new(shape: Shape) -> Self {
        Self { shape, default: None, values: Vec::new(), nullable: false, rules: None, go: "" }
    }
}

/// A struct and the library it is in: the description of a kind.
#[derive(Clone, Debug)]
pub struct Schema {
    pub library: Arc<Library>,
    pub root: StructId,
}

impl Schema {
    pub fn root(&self) -> &Struct {
        self.library.get(self.root)
    }
}
