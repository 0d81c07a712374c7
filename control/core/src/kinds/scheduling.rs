//! The kinds of `scheduling.k8s.io`: PriorityClass.

use std::sync::Arc;
use std::time::SystemTime;

use control_schema::library::Library;
use serde_json::{Value, json};

use super::entry::Group;
use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{at, default, set_generation, text};
use crate::kind::{Context, Kind};
use crate::metadata::immutable;
use crate::table::BuiltIn;

/// The highest value that a class of a user's may have.
const HIGHEST: i64 = 1_000_000_000;

/// The classes that every cluster has, and their values.
const SYSTEM: [(&str, i64); 2] =
    [("system-node-critical", 2 * HIGHEST + 1000), ("system-cluster-critical", 2 * HIGHEST)];

/// The classes that every cluster has, as they are made at the start.
pub fn system_classes() -> [Value; 2] {
    const DESCRIPTIONS: [&str; 2] = [
        "Used for system critical pods that must not be moved from their current node.",
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ];
    let mut descriptions = DESCRIPTIONS.into_iter();
    SYSTEM.map(|(name, value)| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": descriptions.next().unwrap_or_default(),
        })
    })
}

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let scheduling =
        Group { library, name: "scheduling.k8s.io", package: "io.k8s.api.scheduling", versions: &["v1"] };
    vec![
        scheduling
            .cluster_kind("PriorityClass", "priorityclasses")
            .short(&["pc"])
            .columns(COLUMNS, cells)
            .strategy(Strategy)
            .into(),
    ]
}

#[derive(Debug)]
struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, class: &mut Value) {
        default(class, "preemptionPolicy", "PreemptLowerPriority");
    }

    fn prepare_create(&self, class: &mut Value, _: &Context<'_>) {
        set_generation(class, 1);
    }

    fn validate_create(&self, class: &Value, _: &Context<'_>) -> Errors {
        let mut errors = Errors::new();
        let class = At::object(class);
        let (name, value) = (class.get("metadata").get("name"), class.get("value"));
        if name.text().starts_with("system-") {
            if let Some(problem) = not_a_system_class(&class) {
                errors.push(name.forbidden(&format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {problem}"
                )));
            }
        } else if value.int().unwrap_or_default() > HIGHEST {
            errors.push(
                value.forbidden(&format!("maximum allowed value of a user defined priority is {HIGHEST}")),
            );
        }
        let policy = class.get("preemptionPolicy");
        match policy.text() {
            "PreemptLowerPriority" | "Never" => {}
            "" if policy.is_absent() => {}
            "" => errors.push(policy.required("")),
            _ => errors.push(policy.not_supported(&["PreemptLowerPriority", "Never"])),
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let mut errors = Errors::new();
        let new = At::object(new);
        let value = new.get("value");
        if value.int().unwrap_or_default() != At::object(old).get("value").int().unwrap_or_default() {
            errors.push(value.forbidden("may not be changed in an update."));
        }
        errors.extend(immutable(&new.get("preemptionPolicy"), at(old, &["preemptionPolicy"])));
        errors
    }
}

/// Why a class is none of [`SYSTEM`].
fn not_a_system_class(class: &At<'_>) -> Option<String> {
    let name = class.get("metadata").get("name").text();
    let Some((_, value)) = SYSTEM.iter().find(|(own, _)| *own == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if class.get("value").int().unwrap_or_default() != *value {
        return Some(format!("value of {name} PriorityClass must be {value}"));
    }
    class
        .get("globalDefault")
        .is_true()
        .then(|| format!("globalDefault of {name} PriorityClass must be false"))
}

const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Value", "integer", "The priority of pods of this class."),
    BuiltIn::new("Global-Default", "boolean", "Whether pods without a class are of this one."),
    BuiltIn::age(),
    BuiltIn::new("PreemptionPolicy", "string", "Whether pods of this class make place by removing others."),
];

fn cells(class: &Value, now: SystemTime) -> Vec<Value> {
    let at = At::object(class);
    vec![
        at.get("metadata").get("name").value.clone(),
        at.get("value").int().unwrap_or_default().into(),
        at.get("globalDefault").is_true().into(),
        ages::of(class, now).into(),
        text(class, &["preemptionPolicy"]).into(),
    ]
}
