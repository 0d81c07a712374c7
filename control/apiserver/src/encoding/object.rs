//! One object: from the bytes in storage to a value in work, and from there to the bytes of an answer.
//!
//! Owns: that an object in work is in the version of storage, defaulted, and carries its resource version. Begin at
//! [`decode`] and [`encoded`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use apiclient_core::selector::{FieldSelector, LabelSelector};
use apiclient_core::wire::Status;
use bytes::Bytes;
use control_core::edit;
use control_core::kind::Kind;
use control_core::refusal;
use control_schema::library::Schema;
use control_schema::{builtin, codec, defaults};
use control_store::{Keep, Stored};
use serde_json::{Map, Value};

use super::pretty;
use crate::negotiation::{Encoding, Media, MetaVersion, Shape};
use crate::registry::Served;

/// An object from storage, as strategies see it.
///
/// # Errors
/// 500: somebody wrote what is no object of the kind.
pub fn decode(served: &Served, stored: &Stored) -> Result<Value, Status> {
    let mut object = decode_bytes(served, stored.bytes()).map_err(|why| {
        tracing::warn!(key = stored.key(), %why, "an object in storage cannot be decoded");
        refusal::internal(&format!("unable to decode an object in storage: {why}"))
    })?;
    if let Some(metadata) = edit::child(&mut object, "metadata") {
        edit::set(metadata, "resourceVersion", stored.revision().to_string());
    }
    Ok(object)
}

fn decode_bytes(served: &Served, bytes: &[u8]) -> Result<Value, codec::DecodeError> {
    let kind = &*served.kind;
    let enveloped = bytes.starts_with(codec::protobuf::MAGIC);
    let version = match enveloped {
        true => codec::protobuf::open(bytes)?.api_version.to_owned(),
        false => api_version_of_json(bytes),
    };
    let named = kind.versions.iter().find(|own| kind.api_version(own) == version);
    let from = named.unwrap_or_else(|| kind.stored());
    let revived = named.is_none() && !enveloped;
    let revived =
        revived.then(|| kind.strategy.revive(serde_json::from_slice(bytes).ok()?, &version)).flatten();
    let decoded = match (enveloped, revived) {
        (true, _) => codec::protobuf::decode(&from.schema, bytes)?,
        (false, Some(revived)) => codec::json::decode(&from.schema, revived.to_string().as_bytes())?,
        (false, None) => codec::json::decode(&from.schema, bytes)?,
    };
    let mut object = decoded.value;
    defaults::apply(&from.schema, &mut object);
    Ok(to_storage(served, object, &from.name))
}

fn api_version_of_json(bytes: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Version {
        #[serde(rename = "apiVersion", default)]
        api_version: String,
    }
    serde_json::from_slice(bytes).map(|found: Version| found.api_version).unwrap_or_default()
}

/// An object of any served version in that of storage, with the defaults that depend on other fields.
pub fn to_storage(served: &Served, object: Value, from: &str) -> Value {
    let kind = &*served.kind;
    let to = &kind.stored().name;
    let known = kind.version(from).is_some();
    let mut object =
        if known && from != to.as_ref() { kind.strategy.convert(object, from, to) } else { object };
    name_kind(&mut object, &served.stored_api_version(), &kind.kind);
    kind.strategy.set_defaults(&mut object);
    object
}

/// An object in the version of storage as it is served.
pub fn served_value(served: &Served, mut object: Value) -> Value {
    if !served.is_stored() {
        let (from, to) = (&served.kind.stored().name, &served.of().name);
        object = served.kind.strategy.convert(object, from, to);
        name_kind(&mut object, &served.api_version, &served.kind.kind);
    }
    object
}

pub fn name_kind(object: &mut Value, api_version: &str, kind: &str) {
    edit::set(object, "apiVersion", api_version);
    edit::set(object, "kind", kind);
}

/// What is written to storage: protobuf where the kind has it, else JSON. The resource version is the key's and not the
/// object's.
pub fn for_storage(served: &Served, object: &Value, json: bool) -> Bytes {
    let kind = &*served.kind;
    // A new object has none, and is not copied.
    let has_version = !edit::at(object, &["metadata", "resourceVersion"]).is_null();
    let mut object = if has_version { Cow::Owned(object.clone()) } else { Cow::Borrowed(object) };
    if has_version && let Some(metadata) = edit::existing(object.to_mut(), "metadata") {
        edit::remove(metadata, "resourceVersion");
    }
    let schema = &kind.stored().schema;
    let bytes = if json || kind.traits.json || served.offer == crate::negotiation::Offer::Text {
        let mut bytes = codec::json::encode(schema, &object);
        bytes.push(b'\n');
        bytes
    } else {
        codec::protobuf::encode(schema, &served.stored_api_version(), &kind.kind, &object)
    };
    bytes.into()
}

/// An object as it would come back from storage: without the empty lists and maps that protobuf cannot hold. What a dry
/// run answers.
///
/// # Errors
/// 500: what was written cannot be read.
pub fn as_if_stored(served: &Served, object: &Value, json: bool) -> Result<Value, Status> {
    let version = edit::at(object, &["metadata", "resourceVersion"]).clone();
    let bytes = for_storage(served, object, json);
    let mut object = decode_bytes(served, &bytes).map_err(|error| refusal::internal(&error.to_string()))?;
    if !version.is_null()
        && let Some(metadata) = edit::child(&mut object, "metadata")
    {
        edit::set(metadata, "resourceVersion", version);
    }
    Ok(object)
}

/// The form of a stored object that lists, watches and answers share. JSON is without a newline at its end.
///
/// # Errors
/// As [`decode`].
pub fn encoded(
    served: &Served,
    stored: &Stored,
    encoding: Encoding,
    shape: Shape,
    meta: MetaVersion,
    keep: Keep,
) -> Result<Bytes, Status> {
    let make = || Ok(encode(served, decode(served, stored)?, encoding, shape, meta));
    if shape != Shape::Whole && meta != MetaVersion::V1 {
        return make();
    }
    stored.try_form(served.slot(encoding, shape, 0), keep, make)
}

/// The bytes of an object that is in the version of storage. Tables are made elsewhere.
pub fn encode(served: &Served, object: Value, encoding: Encoding, shape: Shape, meta: MetaVersion) -> Bytes {
    match shape {
        Shape::Whole | Shape::Table => {
            let object = served_value(served, object);
            write(&served.of().schema, &served.api_version, &served.kind.kind, &object, encoding)
        }
        Shape::Metadata => {
            let api_version = meta.api_version();
            let partial = metadata_only(&served.kind, &object, api_version);
            write_meta(api_version, "PartialObjectMetadata", &partial, encoding)
        }
    }
}

/// An object without all but its metadata.
pub fn metadata_only(kind: &Kind, object: &Value, api_version: &str) -> Value {
    let mut partial = Map::new();
    let mut metadata = edit::at(object, &["metadata"]).clone();
    kind.strategy.metadata_alone(&mut metadata);
    partial.insert("metadata".to_owned(), metadata);
    let mut partial = Value::Object(partial);
    name_kind(&mut partial, api_version, "PartialObjectMetadata");
    partial
}

/// An object of one of the kinds that every group has (`Status`, `Table`), or of a subresource (`Scale`). One that has no
/// schema is written as it is.
pub fn write_meta(api_version: &str, kind: &str, object: &Value, encoding: Encoding) -> Bytes {
    match builtin::kind(api_version, kind).or_else(|| builtin::kind("meta.k8s.io/v1", kind)) {
        Some(schema) => write(&schema, api_version, kind, object, encoding),
        None => object.to_string().into(),
    }
}

fn write(schema: &Schema, api_version: &str, kind: &str, object: &Value, encoding: Encoding) -> Bytes {
    match encoding {
        Encoding::Json => codec::json::encode(schema, object).into(),
        Encoding::Yaml => codec::yaml::encode(schema, object).into(),
        Encoding::Protobuf => codec::protobuf::encode(schema, api_version, kind, object).into(),
    }
}

/// The body of an answer, from a form: JSON ends with a newline, and is indented for people.
pub fn body(form: Bytes, media: Media) -> Bytes {
    match media.encoding {
        Encoding::Json if media.pretty => pretty::indented(&form).into(),
        Encoding::Json => {
            let mut body = Vec::with_capacity(form.len() + 1);
            body.extend_from_slice(&form);
            body.push(b'\n');
            body.into()
        }
        Encoding::Yaml | Encoding::Protobuf => form,
    }
}

/// What selectors look at, kept beside the object.
#[derive(Debug, Default)]
pub struct Attributes {
    labels: BTreeMap<String, String>,
    name: String,
    namespace: String,
    /// In the order of the kind's selectable fields.
    fields: Vec<String>,
}

impl Attributes {
    fn of(kind: &Kind, object: &Value) -> Self {
        let text = |field: &str| edit::text(object, &["metadata", field]).to_owned();
        let labels = edit::at(object, &["metadata", "labels"]).as_object();
        let labels = labels.into_iter().flatten();
        let selectable = kind.strategy.selectable().iter().map(|field| kind.strategy.selected(object, field));
        let defined = kind.strategy.defined_fields().iter().map(|field| field.value(object));
        Self {
            labels: labels
                .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            name: text("name"),
            namespace: text("namespace"),
            fields: selectable.chain(defined).collect(),
        }
    }

    fn field(&self, kind: &Kind, field: &str) -> &str {
        match field {
            "metadata.name" => &self.name,
            "metadata.namespace" => &self.namespace,
            other => {
                let (own, defined) = (kind.strategy.selectable(), kind.strategy.defined_fields());
                let names = own.iter().copied().chain(defined.iter().map(|field| field.name.as_str()));
                let place = names.into_iter().position(|known| known == other);
                place.and_then(|place| self.fields.get(place)).map(String::as_str).unwrap_or_default()
            }
        }
    }
}

/// Which objects of a kind a request is about.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
}

impl Selection {
    pub fn is_everything(&self) -> bool {
        self.labels.requirements().is_empty() && self.fields.requirements().is_empty()
    }

    /// An object that cannot be decoded is never selected, unless everything is.
    pub fn admits(&self, served: &Served, stored: &Stored) -> bool {
        if self.is_everything() {
            return true;
        }
        let kind = &served.kind;
        let found =
            stored.derived(|| decode(served, stored).ok().map(|object| Attributes::of(kind, &object)));
        found.as_ref().is_some_and(|found| {
            self.labels.matches(&found.labels) && self.fields.matches(|field| found.field(kind, field))
        })
    }
}
