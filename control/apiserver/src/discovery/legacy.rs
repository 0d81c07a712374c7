//! Discovery in pieces: a document for each group and for each version (`APIGroupList`, `APIResourceList`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Facts, part, verbs_of};
use crate::registry::{Group, GroupVersion, Served, Table};

/// `/api`.
/// `address` is where clients outside reach this server.
pub fn versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// `/apis`.
pub fn groups(table: &Table) -> Value {
    let others = table.groups().filter(|(name, _)| !name.is_empty());
    let groups: Vec<Value> = others.map(|(name, found)| fields(name, found)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub fn group(name: &str, found: &Group) -> Value {
    let mut group = fields(name, found);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    group
}

fn fields(name: &str, found: &Group) -> Value {
    let named = |version: &GroupVersion| json!({"groupVersion": format!("{name}/{}", version.name), "version": version.name});
    let versions: Vec<Value> = found.versions.iter().map(named).collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": name, "versions": versions, "preferredVersion": preferred})
}

/// `/api/VERSION` and `/apis/GROUP/VERSION`.
pub fn resources(group: &str, found: &GroupVersion) -> Value {
    let api_version = if group.is_empty() { found.name.clone() } else { format!("{group}/{}", found.name) };
    let mut resources: Vec<(String, Value)> =
        found.resources.values().flat_map(|served| all(served)).collect();
    resources.sort_by(|(a, _), (b, _)| a.cmp(b));
    let resources: Vec<Value> = resources.into_iter().map(|(_, resource)| resource).collect();
    let mut list = json!({"kind": "APIResourceList", "groupVersion": api_version, "resources": resources});
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    list
}

/// A kind and its subresources.
fn all(served: &Served) -> Vec<(String, Value)> {
    let kind = &*served.kind;
    let mut own = json!({
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": verbs_of(kind),
    });
    if !kind.short_names.is_empty() {
        own["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        own["categories"] = json!(kind.categories);
    }
    if !kind.traits.only_create && !kind.traits.only_read {
        own["storageVersionHash"] = storage_hash(served).into();
    }
    let mut found = vec![(kind.plural.to_string(), own)];
    for subresource in &kind.subresources {
        let name = format!("{}/{}", kind.plural, subresource.name());
        let (group, version, of, verbs) = part(kind, *subresource);
        let mut part = json!({
            "name": name,
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": of,
            "verbs": verbs,
        });
        if !version.is_empty() {
            part["group"] = group.into();
            part["version"] = version.into();
        }
        found.push((name, part));
    }
    found
}

/// Changes when the kind is stored in another version.
fn storage_hash(served: &Served) -> String {
    let kind = &*served.kind;
    // As the original writes it, so that nobody takes a change of servers for a change of storage.
    let text = match kind.stored().name.as_ref() {
        // Stored as a kind of the core group.
        core if core.starts_with('/') => format!("{core}/{}", kind.kind),
        // The original still hashes the version that definitions were once stored in.
        _ if kind.kind == "CustomResourceDefinition" => format!("{}/v1beta1/{}", kind.group, kind.kind),
        version => format!("{}/{version}/{}", kind.group, kind.kind),
    };
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    STANDARD.encode(&digest.as_ref()[..8])
}

/// Paths outside of groups that every server has.
const PATHS: [&str; 12] = [
    "/api",
    "/apis",
    "/apis/",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/",
    "/readyz",
    "/readyz/shutdown",
    "/version",
];

/// Those of a server that makes tokens.
const TOKEN_PATHS: [&str; 2] = ["/.well-known/openid-configuration", "/openid/v1/jwks"];

/// `/`: the paths there are.
pub fn paths(table: &Table, facts: &Facts<'_>) -> Value {
    let mut paths: Vec<String> = PATHS.map(str::to_owned).to_vec();
    if facts.makes_tokens {
        paths.extend(TOKEN_PATHS.map(str::to_owned));
    }
    paths.extend(facts.checks.iter().cloned());
    for (group, found) in table.groups() {
        let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
        paths.extend(found.versions.iter().map(|version| format!("{root}/{}", version.name)));
        paths.push(root);
    }
    paths.sort();
    paths.dedup();
    json!({"paths": paths})
}
