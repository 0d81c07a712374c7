//! What a definition must be.

use std::collections::BTreeSet;

use control_schema::crd::structural;
use serde_json::Value;

use crate::at::{At, Errors};
use crate::edit::{at, list, text};
use crate::kinds::custom::strategy;

/// What is wrong with a definition. Only the main rules: its name, its versions, and their schemas.
pub fn validate(definition: &Value) -> Errors {
    let root = At::object(definition);
    let (group, plural) =
        (text(definition, &["spec", "group"]), text(definition, &["spec", "names", "plural"]));
    let mut errors = Errors::new();
    let name = root.get("metadata").get("name");
    if name.text() != format!("{plural}.{group}") {
        errors.push(name.invalid_text("must be spec.names.plural+\".\"+spec.group"));
    }
    let versions = root.get("spec").get("versions");
    let mut names = BTreeSet::new();
    for version in versions.items() {
        let name = version.get("name");
        if !names.insert(name.text()) {
            errors.push(name.duplicate());
        }
    }
    if names.len() == versions.len() {
        let stored = versions.items().filter(|version| version.get("storage").is_true()).count();
        if stored != 1 {
            errors.push(versions.invalid("must have exactly one version marked as storage version"));
        }
    }
    errors.extend(schemas(definition, &versions));
    errors
}

/// Schemas that are all the same are one to the original, with a place of its own in messages.
fn schemas(definition: &Value, versions: &At<'_>) -> Errors {
    let all = list(definition, &["spec", "versions"]);
    let schema = |version: &Value| at(version, &["schema", "openAPIV3Schema"]).clone();
    let status = |version: &Value| at(version, &["subresources", "status"]).is_object();
    let same = all.windows(2).all(|pair| schema(&pair[0]) == schema(&pair[1]));
    let mut errors = Errors::new();
    for (version, place) in all.iter().zip(versions.items()) {
        let schema = schema(version);
        if schema.is_null() {
            errors.push(place.get("schema").get("openAPIV3Schema").required("schemas are required"));
            continue;
        }
        let path = match same {
            true => "spec.validation.openAPIV3Schema".to_owned(),
            false => place.get("schema").get("openAPIV3Schema").path.to_string(),
        };
        errors.extend(structural::check(&path, &schema, status(version)).iter().map(strategy::error));
        if same {
            break;
        }
    }
    errors
}
