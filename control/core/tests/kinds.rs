//! The table of kinds beside the discovery documents of kube-apiserver 1.36.3 and the keys that it writes (`kinds.json`).

use std::collections::BTreeSet;

use control_core::kind::{Kind, Subresource};
use control_core::kinds;
use control_schema::builtin;
use serde_json::Value;

fn name(subresource: Subresource) -> &'static str {
    match subresource {
        Subresource::Status => "status",
        Subresource::Scale => "scale",
        Subresource::Binding => "binding",
        Subresource::Eviction => "eviction",
        Subresource::EphemeralContainers => "ephemeralcontainers",
        Subresource::Resize => "resize",
        Subresource::Log => "log",
        Subresource::Exec => "exec",
        Subresource::Attach => "attach",
        Subresource::PortForward => "portforward",
        Subresource::Proxy => "proxy",
        Subresource::Token => "token",
        Subresource::Finalize => "finalize",
        Subresource::Approval => "approval",
    }
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What differs between an entry and what the original says of it.
fn differences(kind: &Kind, wanted: &Value) -> Vec<String> {
    let mut all = Vec::new();
    let mut check = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            all.push(format!("{}: {what} is {ours}, not {theirs}", kind.qualified()));
        }
    };
    let short: Vec<&str> = kind.short_names.iter().map(AsRef::as_ref).collect();
    let categories: Vec<&str> = kind.categories.iter().map(AsRef::as_ref).collect();
    let subresources: BTreeSet<&str> = kind.subresources.iter().map(|one| name(*one)).collect();
    let theirs: BTreeSet<&str> = texts(&wanted["subresources"]).into_iter().collect();
    check("the kind", kind.kind.to_string(), texts(&vec![wanted["kind"].clone()].into()).concat());
    check("the singular", format!("{:?}", kind.singular), wanted["singular"].to_string());
    check("the scope", kind.namespaced.to_string(), wanted["namespaced"].to_string());
    check("short names", format!("{short:?}"), format!("{:?}", texts(&wanted["short"])));
    check("categories", format!("{categories:?}"), format!("{:?}", texts(&wanted["categories"])));
    check("subresources", format!("{subresources:?}"), format!("{theirs:?}"));
    let verbs = texts(&wanted["verbs"]);
    check("only create", kind.traits.only_create.to_string(), (verbs == ["create"]).to_string());
    let no_collection = !verbs.contains(&"deletecollection") && verbs.contains(&"delete");
    check("no deletecollection", kind.traits.no_delete_collection.to_string(), no_collection.to_string());
    if let Some(storage) = wanted["storage"].as_str() {
        check("the place in storage", kind.storage.to_string(), storage.to_owned());
    }
    all
}

#[test]
fn every_resource_of_the_original_is_in_the_table_with_its_names_and_its_place_in_storage() {
    let kinds = kinds::all(&builtin::library());
    let wanted: Vec<Value> = serde_json::from_str(include_str!("kinds.json")).expect("JSON");
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for resource in &wanted {
        let [group, version, plural] =
            ["group", "version", "plural"].map(|field| resource[field].as_str().unwrap_or("-"));
        let own = kinds.iter().find(|kind| kind.group == group && kind.plural == plural);
        match own.filter(|kind| kind.version(version).is_some()) {
            Some(kind) => problems.extend(differences(kind, resource)),
            None => problems.push(format!("{group}/{version} {plural} is not in the table")),
        }
        seen.insert((group, plural));
    }
    for kind in &kinds {
        if !seen.contains(&(kind.group.as_ref(), kind.plural.as_ref())) {
            problems.push(format!("the original has no {}", kind.qualified()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn versions_of_one_group_come_in_the_originals_order() {
    let kinds = kinds::all(&builtin::library());
    let scaler = kinds.iter().find(|kind| kind.plural == "horizontalpodautoscalers").expect("it is there");
    let names: Vec<&str> = scaler.versions.iter().map(|version| version.name.as_ref()).collect();
    assert_eq!((names, scaler.storage_version), (vec!["v2", "v1"], 0));
    let event = kinds.iter().find(|kind| kind.group == "events.k8s.io").expect("it is there");
    assert_eq!(event.api_version(event.stored()), "v1");
    assert_eq!(event.api_version(&event.versions[0]), "events.k8s.io/v1");
}
