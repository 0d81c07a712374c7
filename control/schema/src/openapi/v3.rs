//! OpenAPI v3: one document per version of a group, and the index of all.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::operations::paths;
use super::schemas::Schemas;
use super::{Body, Resource, api_version};
use crate::builtin;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The document of one version of a group, all of whose resources are given.
/// `version` is the server's, of which the original shows `1.36`.
pub fn document(resources: &[Resource<'_>], version: &str) -> Value {
    let paths = paths(resources);
    let schemas = schemas(resources, &paths);
    let mut components = json!({"schemas": schemas.done});
    let built_in = resources.iter().any(|resource| resource.strategic);
    if built_in {
        components["securitySchemes"] =
            json!({"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}});
    }
    json!({
        "openapi": "3.0.0",
        "info": match built_in {
            true => json!({"title": "Kubernetes", "version": version}),
            false => json!({"title": "Kubernetes CRD Swagger", "version": "v0.1.0"}),
        },
        "paths": paths,
        "components": components,
    })
}

/// `/openapi/v3`: documents by their paths (`apis/apps/v1`), each with the hash of its text.
pub fn index<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let documents = documents.into_iter().map(|(path, hash)| {
        let url = format!("/openapi/v3/{path}?hash={hash}");
        (path.to_owned(), json!({"serverRelativeURL": url}))
    });
    json!({"paths": documents.collect::<Map<String, Value>>()})
}

/// Where the index lists the document of a version of a group: `api/v1`, `apis/apps/v1`.
pub fn path(group: &str, version: &str) -> String {
    let root = if group.is_empty() { "api" } else { "apis" };
    format!("{root}/{}", api_version(group, version))
}

/// All that the resources and their operations refer to.
fn schemas(resources: &[Resource<'_>], paths: &Map<String, Value>) -> Schemas {
    let mut schemas = Schemas::new();
    let meta = builtin::library();
    for name in referred(paths) {
        if let Some(id) = meta.find(&name) {
            schemas.add(&meta, id);
        } else if name.ends_with("v1.Patch") {
            schemas.done.insert(name, json!({"type": "object"}));
        }
    }
    let mut kinds: BTreeMap<String, Vec<(&str, &str, String)>> = BTreeMap::new();
    for of in resources {
        let name = of.schema.root().name.to_string();
        let listed = of.verbs.contains(&"list");
        schemas.add(&of.schema.library, of.schema.root);
        kinds.insert(name.clone(), vec![(of.group, of.version, of.kind.to_owned())]);
        if listed {
            let list = format!("{name}List");
            match of.schema.library.find(&list) {
                Some(id) => schemas.add(&of.schema.library, id),
                None => {
                    schemas.done.insert(list.clone(), list_of(&name));
                    schemas.add(&meta, meta.find(&format!("{META}.ListMeta")).unwrap_or(of.schema.root));
                }
            }
            kinds.insert(list, vec![(of.group, of.version, format!("{}List", of.kind))]);
        }
        for sub in &of.subresources {
            if let Body::Object(schema) = sub.body {
                schemas.add(&schema.library, schema.root);
                let of = vec![(sub.group, sub.version, sub.kind.to_owned())];
                kinds.entry(schema.root().name.to_string()).or_insert(of);
            }
        }
    }
    for (name, kinds) in &kinds {
        let kinds: Vec<_> =
            kinds.iter().map(|(group, version, kind)| (*group, *version, kind.as_str())).collect();
        schemas.name_kind(name, &kinds);
    }
    for of in resources.iter().filter(|of| !of.selectable.is_empty()) {
        let name = &of.schema.root().name;
        schemas.name_selectable(name, &of.selectable);
        schemas.name_selectable(&format!("{name}List"), &of.selectable);
    }
    name_contained(&mut schemas);
    if let Some(first) = resources.first() {
        for name in ["DeleteOptions", "WatchEvent"] {
            let both = [("", "v1", name), (first.group, first.version, name)];
            let own = if first.group.is_empty() { &both[..1] } else { &both[..] };
            schemas.name_kind(&format!("{META}.{name}"), own);
        }
        for name in ["APIResourceList", "Status"] {
            schemas.name_kind(&format!("{META}.{name}"), &[("", "v1", name)]);
        }
    }
    schemas
}

/// Kinds that objects of other kinds contain (`PersistentVolumeClaim` in `StatefulSet`).
fn name_contained(schemas: &mut Schemas) {
    let contained = schemas.done.iter().filter(|(_, schema)| {
        let has = |name: &str| schema["properties"].get(name).is_some();
        has("apiVersion")
            && has("kind")
            && has("metadata")
            && schema.get("x-kubernetes-group-version-kind").is_none()
    });
    let contained: Vec<String> = contained.map(|(name, _)| name.clone()).collect();
    for name in contained {
        let kind = name.rsplit('.').next().unwrap_or_default();
        let of = builtin::api_versions()
            .find(|version| builtin::kind(version, kind).is_some_and(|schema| *schema.root().name == *name));
        if let Some(of) = of {
            let (group, version) = of.split_once('/').unwrap_or(("", of));
            schemas.name_kind(&name, &[(group, version, kind)]);
        }
    }
}

/// The names of the schemas of operations.
fn referred(paths: &Map<String, Value>) -> BTreeSet<String> {
    fn walk(value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match value.as_str().and_then(|text| text.rsplit('/').next()) {
                        Some(of) if name == "$ref" => {
                            names.insert(of.to_owned());
                        }
                        _ => walk(value, names),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, names)),
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    paths.values().for_each(|item| walk(item, &mut names));
    names
}

/// The list of a kind that has no struct for it: one of a CustomResourceDefinition.
fn list_of(name: &str) -> Value {
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    json!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [reference(&format!("{META}.ListMeta"))]},
            "items": {"type": "array", "items": reference(name)},
        },
    })
}
