//! Kinds that CustomResourceDefinitions define at run time.
//!
//! Owns: what becomes of a definition: whether its names are free, its conditions, and the [`Kind`] that is served for
//! it. Begin at [`settle`]. Never: serves a kind or stores a condition.

mod names;
mod strategy;
mod validation;
mod versions;

use std::borrow::Cow;
use std::sync::Arc;

use control_schema::crd;
use serde_json::{Value, json};

use crate::conditions;
use crate::edit::{at, list, text};
use crate::jsonpath::JsonPath;
use crate::kind::{DefinedField, Kind, Subresource, Traits, Version};
use crate::table::{Column, Columns};

pub use names::Names;
pub use validation::{validate, validate_status, validate_update};

/// Holds a definition until all objects of its kind are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What becomes of a definition.
#[derive(Debug)]
pub struct Settled {
    /// The status that it should have.
    pub status: Value,
    /// What is served for it: once its names were accepted, also with later names that were not.
    pub kind: Option<Kind>,
}

/// Decides about one definition. `others` are the names of all other kinds of its group. `now` is RFC 3339, for conditions
/// that change.
pub fn settle(definition: &Value, others: &[Names], now: &str) -> Settled {
    let wanted = Names::of_spec(definition);
    let held = Names::of_status(definition);
    let (accepted, conflict) = wanted.accepted(&held, others);
    let mut status = at(definition, &["status"]).clone();
    if !status.is_object() {
        status = json!({});
    }
    status["acceptedNames"] = accepted.as_value();
    let mut set = |kind: &str, is: bool, reason: &str, message: &str| {
        conditions::set(&mut status, kind, if is { "True" } else { "False" }, reason, message, now);
    };
    match &conflict {
        None => set("NamesAccepted", true, "NoConflicts", "no conflicts found"),
        Some((reason, message)) => set("NamesAccepted", false, reason, message),
    }
    let was_established = conditions::is_true(at(definition, &["status"]), "Established");
    let established = was_established || conflict.is_none();
    if !was_established {
        match established {
            true => set("Established", true, "InitialNamesAccepted", "the initial names have been accepted"),
            false => set("Established", false, "NotAccepted", "not all names are accepted"),
        }
    }
    let kind = established.then(|| kind(definition, &accepted)).flatten();
    Settled { status, kind }
}

/// The kind that a definition describes; `None` where it has no version that is stored.
fn kind(definition: &Value, names: &Names) -> Option<Kind> {
    let group = text(definition, &["spec", "group"]);
    let all = list(definition, &["spec", "versions"]);
    let stored = all.iter().find(|version| at(version, &["storage"]) == true)?;
    let mut served: Vec<&Value> = all.iter().filter(|version| at(version, &["served"]) == true).collect();
    let storage_version = served.iter().position(|version| std::ptr::eq(*version, stored));
    let storage_version = storage_version.unwrap_or_else(|| {
        served.push(stored);
        served.len() - 1
    });
    let preserve = at(definition, &["spec", "preserveUnknownFields"]) == true;
    let mut validators = Vec::new();
    let versions = served.iter().map(|version| {
        let name = text(version, &["name"]);
        let open_api = at(version, &["schema", "openAPIV3Schema"]);
        let compiled = crd::compile(group, name, &names.kind, open_api, preserve);
        validators.push((format!("{group}/{name}"), compiled.validator));
        // A version that is stored and not served bears its whole name.
        let is_served = at(version, &["served"]) == true;
        let name = if is_served { name.to_owned() } else { format!("{group}/{name}") };
        Version { name: name.into(), schema: compiled.schema, columns: columns(version) }
    });
    let versions: Vec<Version> = versions.collect();
    let part = |name: &str| all.iter().any(|version| at(version, &["subresources", name]).is_object());
    let subresources = [("status", Subresource::Status), ("scale", Subresource::Scale)];
    let subresources: Vec<Subresource> =
        subresources.into_iter().filter(|(name, _)| part(name)).map(|(_, subresource)| subresource).collect();
    let owned = |name: &str| -> Cow<'static, str> { name.to_owned().into() };
    Some(Kind {
        group: owned(group),
        kind: owned(&names.kind),
        plural: owned(&names.plural),
        singular: owned(&names.singular),
        short_names: names.short_names.iter().map(|name| owned(name)).collect(),
        categories: names.categories.iter().map(|name| owned(name)).collect(),
        namespaced: text(definition, &["spec", "scope"]) != "Cluster",
        versions,
        storage_version,
        storage: format!("{group}/{}", names.plural).into(),
        strategy: Arc::new(strategy::Custom {
            has_status: subresources.contains(&Subresource::Status),
            validators,
            fields: fields(&served),
        }),
        subresources,
        traits: Traits::default(),
    })
}

/// `selectableFields` of all served versions.
fn fields(versions: &[&Value]) -> Vec<DefinedField> {
    let mut found: Vec<DefinedField> = Vec::new();
    for version in versions {
        let of = text(version, &["name"]).to_owned();
        for field in list(version, &["selectableFields"]) {
            let given = text(field, &["jsonPath"]);
            let name = given.trim_start_matches('.');
            match found.iter_mut().find(|known| known.name == name) {
                Some(known) => known.versions.push(of.clone()),
                None => {
                    let Ok(path) = JsonPath::parse(given) else { continue };
                    found.push(DefinedField { name: name.to_owned(), path, versions: vec![of.clone()] });
                }
            }
        }
    }
    found
}

/// `additionalPrinterColumns`; without any, the age.
fn columns(version: &Value) -> Columns {
    let given = list(version, &["additionalPrinterColumns"]);
    if given.is_empty() {
        let age = Column {
            name: "Age".to_owned(),
            of: "date".to_owned(),
            format: String::new(),
            description: "CreationTimestamp is a timestamp representing the server time when this object was created. It is \
                          not guaranteed to be set in happens-before order across separate operations."
                .to_owned(),
            priority: 0,
        };
        let created = JsonPath::parse(".metadata.creationTimestamp").unwrap_or_default();
        return Columns::Custom(vec![(age, created)]);
    }
    let column = |given: &Value| {
        let text = |field: &str| text(given, &[field]).to_owned();
        let priority = at(given, &["priority"]).as_i64().and_then(|number| i32::try_from(number).ok());
        let mut description = text("description");
        if description.is_empty() {
            description =
                format!("Custom resource definition column (in JSONPath format): {}", text("jsonPath"));
        }
        let column = Column {
            name: text("name"),
            of: text("type"),
            format: text("format"),
            description,
            priority: priority.unwrap_or_default(),
        };
        JsonPath::parse(&text("jsonPath")).ok().map(|path| (column, path))
    };
    // As in the original, a path that is none takes the columns behind it along.
    Columns::Custom(given.iter().map_while(column).collect())
}

#[cfg(test)]
mod tests;
