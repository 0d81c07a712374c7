//! Everything in one document (`APIGroupDiscoveryList` of `apidiscovery.k8s.io/v2`).

use serde_json::{Value, json};

use super::{part, verbs_of};
use crate::registry::{Group, GroupVersion, Served, Table};

/// Of the core kinds, or of all others.
pub fn document(table: &Table, core: bool) -> Value {
    let groups = table.groups().filter(|(name, _)| name.is_empty() == core);
    let items: Vec<Value> = groups.map(|(name, found)| group(name, found)).collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn group(name: &str, found: &Group) -> Value {
    let versions: Vec<Value> = found.versions.iter().map(version).collect();
    let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
    json!({"metadata": metadata, "versions": versions})
}

fn version(found: &GroupVersion) -> Value {
    let resources: Vec<Value> = found.resources.values().map(|served| resource(served)).collect();
    json!({"version": found.name, "resources": resources, "freshness": "Current"})
}

fn resource(served: &Served) -> Value {
    let kind = &*served.kind;
    let response =
        |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut found = json!({
        "resource": kind.plural,
        "responseKind": response("", "", &kind.kind),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": verbs_of(kind),
    });
    if !kind.short_names.is_empty() {
        found["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        found["categories"] = json!(kind.categories);
    }
    let mut parts: Vec<(&str, Value)> = kind
        .subresources
        .iter()
        .map(|subresource| {
            let name = subresource.name();
            let (group, version, kind, verbs) = part(kind, *subresource);
            let part = json!({
                "subresource": name,
                "responseKind": response(group, version, &kind),
                "verbs": verbs,
            });
            (name, part)
        })
        .collect();
    parts.sort_by_key(|(name, _)| *name);
    if !parts.is_empty() {
        found["subresources"] = parts.into_iter().map(|(_, part)| part).collect();
    }
    found
}
