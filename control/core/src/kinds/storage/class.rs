//! StorageClass, and what it has in common with VolumeAttributesClass.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use serde_json::Value;

use super::super::cells;
use super::super::core::pod::warnings;
use crate::at::{At, Errors};
use crate::edit::{at, default, text};
use crate::field::FieldError;
use crate::kind::Context;
use crate::metadata::{immutable_text, label_name};
use crate::table::BuiltIn;
use crate::{ages, names};

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, class: &mut Value) {
        default(class, "reclaimPolicy", "Delete");
        default(class, "volumeBindingMode", "Immediate");
    }

    fn validate_create(&self, class: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(class))
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let new = At::object(new);
        let mut errors = validate(&new);
        for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            errors.extend(immutable_text(&new.get(field), at(old, &[field])));
        }
        errors
    }

    fn warnings(&self, class: &Value, _: Option<&Value>) -> Vec<String> {
        let mut all = Vec::new();
        for term in At::object(class).get("allowedTopologies").items() {
            for expression in term.get("matchLabelExpressions").items() {
                let key = expression.get("key");
                all.extend(warnings::old_label(key.text()).map(|advice| format!("{}: {advice}", key.path)));
            }
        }
        all
    }
}

fn validate(class: &At<'_>) -> Errors {
    let mut errors = provisioner(&class.get("provisioner"));
    errors.extend(parameters(&class.get("parameters"), true));
    let (policy, mode) = (class.get("reclaimPolicy"), class.get("volumeBindingMode"));
    if !matches!(policy.text(), "" | "Delete" | "Retain") {
        errors.push(policy.not_supported(&["Delete", "Retain"]));
    }
    if mode.is_absent() {
        errors.push(mode.required(""));
    } else if !matches!(mode.text(), "Immediate" | "WaitForFirstConsumer") {
        errors.push(mode.not_supported(&["Immediate", "WaitForFirstConsumer"]));
    }
    errors.extend(topologies(&class.get("allowedTopologies")));
    errors
}

/// The name of a driver. It is shown in lower case.
pub fn provisioner(name: &At<'_>) -> Errors {
    if name.is_empty() {
        return vec![name.required("")];
    }
    let lower = name.text().to_lowercase();
    let wrong = |problem: String| FieldError::invalid(&name.path, &Value::from(lower.as_str()), &problem);
    names::qualified(&lower).into_iter().map(wrong).collect()
}

const PARAMETERS: usize = 512;
const PARAMETERS_SIZE: usize = 256 * 1024;

pub fn parameters(parameters: &At<'_>, may_be_empty: bool) -> Errors {
    if parameters.len() > PARAMETERS {
        return vec![FieldError::too_long(&parameters.path, PARAMETERS)];
    }
    let mut errors = Errors::new();
    if parameters.has("") {
        errors.push(FieldError::invalid(&parameters.path, &Value::from(""), "field can not be empty."));
    }
    let size: usize = parameters.entries().map(|(key, value)| key.len() + value.text().len()).sum();
    if size > PARAMETERS_SIZE {
        errors.push(FieldError::too_long(&parameters.path, PARAMETERS_SIZE));
    }
    if !may_be_empty && parameters.is_empty() {
        errors.push(parameters.required("must contain at least one key/value pair"));
    }
    errors
}

/// Terms that a node's labels may match; no two may be the same.
fn topologies(topologies: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for term in topologies.items() {
        let mut keys = BTreeMap::new();
        for expression in term.get("matchLabelExpressions").items() {
            let (key, values) = (expression.get("key"), expression.get("values"));
            let mut own = BTreeSet::new();
            if values.is_empty() {
                errors.push(values.required(""));
            }
            for value in values.items() {
                if !own.insert(value.text()) {
                    errors.push(value.duplicate());
                }
            }
            errors.extend(label_name(&key));
            if keys.insert(key.text(), own).is_some() {
                errors.push(key.duplicate());
            }
        }
        // The original begins with as many empty terms as there are, so that an empty one is never the first.
        let empty = if keys.is_empty() { topologies.len() } else { 0 };
        let same = empty + seen.iter().filter(|other| **other == keys).count();
        let path = term.path.child("matchLabelExpressions");
        errors.extend((0..same).map(|_| FieldError::duplicate(&path, &Value::from(""))));
        seen.push(keys);
    }
    errors
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Provisioner", "string", "The driver that makes the volumes."),
    BuiltIn::new("ReclaimPolicy", "string", "What becomes of a volume whose claim is gone."),
    BuiltIn::new("VolumeBindingMode", "string", "When a claim gets its volume."),
    BuiltIn::new("AllowVolumeExpansion", "string", "Whether a claim may become larger."),
    BuiltIn::age(),
];

/// The annotation of the class that claims without a class get.
const DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub fn row(class: &Value, now: SystemTime) -> Vec<Value> {
    let is_default = DEFAULT.iter().any(|key| text(class, &["metadata", "annotations", key]) == "true");
    vec![
        cells::default_name(class, is_default),
        cells::text_or(class, &["provisioner"], ""),
        cells::text_or(class, &["reclaimPolicy"], "Delete"),
        cells::text_or(class, &["volumeBindingMode"], "Immediate"),
        cells::flag(class, &["allowVolumeExpansion"]),
        ages::of(class, now).into(),
    ]
}
