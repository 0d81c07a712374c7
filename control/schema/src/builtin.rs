//! The schemas of the kinds that are built in.
//!
//! Owns: `data/kinds.txt`, which `scripts/schema` writes, and how it reads:
//!
//! ```text
//! package io.k8s.api.core.v1 v1                     the names below are in this package; its kinds' apiVersion
//! struct ObjectReference !                          ! is atomic wherever it is referred to, but as &ObjectReference~
//! containerPort 3 + int32 !                         name, number in protobuf (0: none), presence, type, ! required
//! volumes 1 - [name]&Volume patch=merge,retainKeys:name
//! ```
//!
//! Words of a field are parted by tabs. Presence: `+` always written, `-` left out where empty, `?` a pointer, `~` null where absent; `>` after it: inline.
//! Types: a scalar's name, `&STRUCT`, `[KEYS]ITEMS` (`[set]`, `[]` is atomic, `[=]` a message of its own), `{}VALUES`
//! (`{!}` is atomic), and the names of [`AnyForm`].

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::library::{
    AnyForm, Field, Library, ListKind, Patch, Presence, Scalar, Schema, Shape, StructId, Type,
};

const DATA: &str = include_str!("../data/kinds.txt");
/// Defaults that the original sets in code: `package NAME`, and `STRUCT FIELD JSON` for each. Only those that depend on
/// nothing else, and that are the same wherever the struct stands.
const DEFAULTS: &str = include_str!("../data/defaults.txt");
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

struct BuiltIn {
    library: Arc<Library>,
    /// Packages by the apiVersion of their kinds.
    packages: HashMap<&'static str, &'static str>,
}

static BUILT_IN: LazyLock<BuiltIn> =
    LazyLock::new(|| read(DATA, DEFAULTS).expect("data/kinds.txt is as scripts/schema wrote it"));

/// All structs of the built-in kinds. The first call reads them, which takes a few milliseconds.
pub fn library() -> Arc<Library> {
    Arc::clone(&BUILT_IN.library)
}

/// The schema of a struct by the two parts of its name in OpenAPI: `io.k8s.api.core.v1` and `Pod`.
pub fn schema(package: &str, name: &str) -> Option<Schema> {
    let root = BUILT_IN.library.find(&format!("{package}.{name}"))?;
    Some(Schema { library: library(), root })
}

/// The schema of a kind as its objects name it: `v1` and `Pod`, `apps/v1` and `Deployment`. Of lists too, and of the
/// kinds that every group has: `Status`, `DeleteOptions`, `WatchEvent`, `Table` (`meta.k8s.io/v1`).
pub fn kind(api_version: &str, kind: &str) -> Option<Schema> {
    let own = BUILT_IN.packages.get(api_version).and_then(|package| schema(package, kind));
    own.or_else(|| schema(META, kind))
}

/// The apiVersions that have a package of their own: `v1`, `apps/v1`.
pub fn api_versions() -> impl Iterator<Item = &'static str> {
    BUILT_IN.packages.keys().copied()
}

/// A line that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0:?}")]
struct BadLine(&'static str);

fn read(text: &'static str, defaults: &'static str) -> Result<BuiltIn, BadLine> {
    let mut reader =
        Reader { library: Library::default(), atomic: HashSet::new(), names: HashMap::new(), package: "" };
    let mut packages = HashMap::new();
    // Structs refer to later ones, so that all have a place first.
    let mut places = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("package ") {
            let mut words = rest.split(' ');
            reader.package = words.next().ok_or(BadLine(line))?;
            packages.extend(words.map(|version| (version, reader.package)));
        } else if let Some(rest) = line.strip_prefix("struct ") {
            let (name, atomic) = rest.strip_suffix(" !").map_or((rest, false), |name| (name, true));
            let id = reader.library.reserve(&format!("{}.{name}", reader.package));
            if atomic {
                reader.atomic.insert(id);
            }
            places.push(id);
        }
    }
    let mut places = places.into_iter();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("package ") {
            reader.package = rest.split(' ').next().ok_or(BadLine(line))?;
        } else if line.starts_with("struct ") {
            let id = places.next().ok_or(BadLine(line))?;
            let mut fields = Vec::new();
            while let Some(line) =
                lines.next_if(|line| !line.starts_with("struct ") && !line.starts_with("package "))
            {
                fields.push(reader.field(line).ok_or(BadLine(line))?);
            }
            fields.shrink_to_fit();
            reader.library.define(id, fields, false);
        } else {
            return Err(BadLine(line));
        }
    }
    let mut library = reader.library;
    let mut package = "";
    for line in defaults.lines() {
        if let Some(name) = line.strip_prefix("package ") {
            package = name;
            continue;
        }
        let (of, rest) = line.split_once(' ').ok_or(BadLine(line))?;
        let (field, value) = rest.split_once(' ').ok_or(BadLine(line))?;
        let id = library.find(&format!("{package}.{of}")).ok_or(BadLine(line))?;
        let value = serde_json::from_str(value).map_err(|_| BadLine(line))?;
        if !library.set_default(id, field, value) {
            return Err(BadLine(line));
        }
    }
    library.seal();
    Ok(BuiltIn { library: Arc::new(library), packages })
}

struct Reader {
    library: Library,
    atomic: HashSet<StructId>,
    /// Each name once, for most stand in many structs.
    names: HashMap<&'static str, Arc<str>>,
    package: &'static str,
}

impl Reader {
    fn name(&mut self, name: &'static str) -> Arc<str> {
        Arc::clone(self.names.entry(name).or_insert_with(|| name.into()))
    }

    fn field(&mut self, line: &'static str) -> Option<Field> {
        let mut words = line.split('\t');
        let name = self.name(words.next()?);
        let number = words.next()?.parse().ok()?;
        let (presence, inline) = match words.next()? {
            "+" => (Presence::Always, false),
            "-" => (Presence::OmitEmpty, false),
            "?" => (Presence::Optional, false),
            "~" => (Presence::Null, false),
            "+>" => (Presence::Always, true),
            _ => return None,
        };
        let mut of = self.of(words.next()?)?;
        let mut required = false;
        let mut patch = Patch::default();
        for word in words {
            match word.split_once('=') {
                None if word == "!" => required = true,
                Some(("go", name)) => name_in_go(&mut of, name),
                Some(("default", value)) => of.default = Some(serde_json::from_str(value).ok()?),
                Some(("enum", values)) => {
                    let values = values.split('|').map(|value| Value::String(value.to_owned())).collect();
                    match &mut of.shape {
                        Shape::List { items, .. } => items.values = values,
                        _ => of.values = values,
                    }
                }
                Some(("patch", strategies)) => {
                    let (strategies, key) =
                        strategies.split_once(':').map_or((strategies, None), |(all, key)| (all, Some(key)));
                    for strategy in strategies.split(',') {
                        match strategy {
                            "merge" => patch.merge = true,
                            "retainKeys" => patch.retain_keys = true,
                            "replace" => patch.replace = true,
                            _ => return None,
                        }
                    }
                    patch.merge_key = key.map(|key| self.name(key));
                }
                _ => return None,
            }
        }
        Some(Field { name, number, presence, inline, required, patch, of })
    }

    fn of(&mut self, text: &'static str) -> Option<Type> {
        if let Some(rest) = text.strip_prefix('[') {
            let (kind, items) = rest.split_once(']')?;
            let (kind, wrapped) = kind.strip_suffix('=').map_or((kind, false), |kind| (kind, true));
            let kind = match kind {
                "" => ListKind::Atomic,
                "set" => ListKind::Set,
                keys => ListKind::Map { keys: keys.split(',').map(|key| self.name(key)).collect() },
            };
            let items = Box::new(self.of(items)?);
            return Some(Type::new(Shape::List { items, kind, wrapped }));
        }
        if let Some(rest) = text.strip_prefix('{') {
            let (kind, values) = rest.split_once('}')?;
            return Some(Type::new(Shape::Map { values: Box::new(self.of(values)?), atomic: kind == "!" }));
        }
        if let Some(name) = text.strip_prefix('&') {
            let (name, granular) = name.strip_suffix('~').map_or((name, false), |name| (name, true));
            let (name, atomic) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
            let id = if name.contains('.') {
                self.library.find(name)?
            } else {
                self.library.find(&format!("{}.{name}", self.package))?
            };
            return Some(Type::new(Shape::Struct {
                id,
                atomic: !granular && (atomic || self.atomic.contains(&id)),
            }));
        }
        let shape = match text {
            "bool" => Shape::Scalar(Scalar::Bool),
            "int32" => Shape::Scalar(Scalar::Int32),
            "int64" => Shape::Scalar(Scalar::Int64),
            "float64" => Shape::Scalar(Scalar::Float),
            "string" => Shape::Scalar(Scalar::String),
            "bytes" => Shape::Scalar(Scalar::Bytes),
            "time" => Shape::Scalar(Scalar::Time),
            "microtime" => Shape::Scalar(Scalar::MicroTime),
            "duration" => Shape::Scalar(Scalar::Duration),
            "quantity" => Shape::Scalar(Scalar::Quantity),
            "intorstring" => Shape::Scalar(Scalar::IntOrString),
            "object" => Shape::Any(AnyForm::Object),
            "fields" => Shape::Any(AnyForm::Fields),
            "json" => Shape::Any(AnyForm::Value),
            "any" => Shape::Any(AnyForm::None),
            "schemaorbool" => Shape::Any(AnyForm::SchemaOrBool(self.library.find(SCHEMA)?)),
            "schemaorschemas" => Shape::Any(AnyForm::SchemaOrSchemas(self.library.find(SCHEMA)?)),
            "schemaorstrings" => Shape::Any(AnyForm::SchemaOrStrings(self.library.find(SCHEMA)?)),
            _ => return None,
        };
        Some(Type::new(shape))
    }
}

/// Gives a type its name in Go, and its parts theirs: `[]v1.Verb` is a list of `v1.Verb`.
fn name_in_go(of: &mut Type, name: &'static str) {
    of.go = name;
    match &mut of.shape {
        Shape::List { items, .. } => {
            if let Some(rest) = name.strip_prefix("[]") {
                name_in_go(items, rest);
            }
        }
        Shape::Map { values, .. } => {
            if let Some((_, rest)) = name.split_once(']') {
                name_in_go(values, rest);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field<'a>(schema: &'a Schema, path: &str) -> &'a Field {
        let mut at = schema.root();
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let field = at.field(name).expect(name);
            if names.peek().is_none() {
                return field;
            }
            let mut of = &field.of;
            while let Shape::List { items: inner, .. } | Shape::Map { values: inner, .. } = &of.shape {
                of = inner;
            }
            let Shape::Struct { id, .. } = of.shape else { panic!("{name} has no fields") };
            at = schema.library.get(id);
        }
        panic!("an empty path")
    }

    #[test]
    fn fields_are_as_the_original_declares_them() {
        let pod = kind("v1", "Pod").expect("Pod");
        let containers = field(&pod, "spec.containers");
        assert_eq!((containers.number, containers.presence, containers.required), (2, Presence::Null, true));
        assert_eq!(containers.patch.merge_key.as_deref(), Some("name"));
        let Shape::List { kind: ListKind::Map { keys }, wrapped: false, .. } = &containers.of.shape else {
            panic!("{containers:?}")
        };
        assert_eq!(keys, &["name".into()]);
        let protocol = field(&pod, "spec.containers.ports.protocol");
        assert_eq!(protocol.of.default, Some("TCP".into()));
        assert_eq!(protocol.of.values, ["SCTP", "TCP", "UDP"]);
        assert_eq!(protocol.of.go, "v1.Protocol");
        assert_eq!(field(&pod, "status").presence, Presence::Always);
        assert_eq!(field(&pod, "metadata.creationTimestamp").presence, Presence::OmitEmpty);
        assert_eq!(field(&pod, "apiVersion").number, 0);
        assert!(field(&pod, "spec.volumes.VolumeSource").inline);
        assert!(field(&pod, "spec.volumes").patch.retain_keys);
        assert!(matches!(field(&pod, "spec.nodeSelector").of.shape, Shape::Map { atomic: true, .. }));
        let slice = kind("discovery.k8s.io/v1", "EndpointSlice").expect("EndpointSlice");
        assert!(matches!(field(&slice, "endpoints.targetRef").of.shape, Shape::Struct { atomic: true, .. }));
    }

    #[test]
    fn kinds_of_every_group_are_found_in_each() {
        for (api_version, name, found) in [
            ("v1", "Status", true),
            ("apps/v1", "DeleteOptions", true),
            ("meta.k8s.io/v1", "Table", true),
            ("apps/v1", "DeploymentList", true),
            ("autoscaling/v1", "Scale", true),
            ("policy/v1", "Eviction", true),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", true),
            ("apiregistration.k8s.io/v1", "APIService", true),
            ("apps/v1", "Pod", false),
        ] {
            assert_eq!(kind(api_version, name).is_some(), found, "{api_version} {name}");
        }
    }
}
