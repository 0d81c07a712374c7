//! ReplicaSet.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::workload;
use crate::at::{At, Errors};
use crate::edit::{at, default, existing};
use crate::kind::Context;
use crate::kinds::core::cells;
use crate::kinds::status;
use crate::metadata::not_negative;
use crate::table::BuiltIn;
use crate::{ages, selectors};

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, set: &mut Value) {
        default(set, "spec", Map::new());
        if let Some(spec) = existing(set, "spec") {
            default(spec, "replicas", 1);
        }
        workload::set_template_defaults(set);
    }

    fn prepare_create(&self, set: &mut Value, _: &Context<'_>) {
        status::prepare_create(set);
        workload::drop_disabled(set);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        workload::drop_disabled(new);
        status::prepare_update(new, old, context);
    }

    fn validate_create(&self, set: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(set).get("spec"))
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        if status::is_status(context) {
            return validate_status(&At::object(new).get("status"));
        }
        let spec = At::object(new).get("spec");
        let mut errors = validate(&spec);
        errors.extend(workload::same_selector(&spec.get("selector"), at(old, &["spec", "selector"])));
        errors
    }

    fn warnings(&self, set: &Value, old: Option<&Value>) -> Vec<String> {
        let name = old.is_none().then(|| workload::name_warning(set)).flatten();
        name.into_iter().chain(workload::template_warnings(set, old, &["spec", "template"])).collect()
    }
}

fn validate(spec: &At<'_>) -> Errors {
    let mut errors = workload::counts(spec, &["replicas", "minReadySeconds"]);
    // The original says "deployment" here too.
    errors.extend(workload::selector(&spec.get("selector"), "deployment"));
    errors.extend(workload::replicated(spec));
    errors
}

fn validate_status(status: &At<'_>) -> Errors {
    let mut errors = workload::counts(
        status,
        &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"],
    );
    errors.extend(not_negative(&status.get("terminatingReplicas")));
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    errors.extend(workload::no_more_than(
        status,
        &parts,
        "replicas",
        "cannot be greater than status.replicas",
    ));
    let ready = "cannot be greater than readyReplicas";
    errors.extend(workload::no_more_than(status, &["availableReplicas"], "readyReplicas", ready));
    errors
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Desired", "integer", "How many pods are wanted."),
    BuiltIn::new("Current", "integer", "How many pods there are."),
    BuiltIn::new("Ready", "integer", "How many of them are ready."),
    BuiltIn::age(),
    BuiltIn::new("Containers", "string", "The containers of the template.").wide(),
    BuiltIn::new("Images", "string", "Their images.").wide(),
    BuiltIn::new("Selector", "string", "Which pods are the ReplicaSet's.").wide(),
];

pub fn row(set: &Value, now: SystemTime) -> Vec<Value> {
    let int = |path: &[&str]| Value::from(at(set, path).as_i64().unwrap_or_default());
    let [names, images] = cells::containers(at(set, &["spec", "template", "spec"]));
    vec![
        cells::name(set),
        int(&["spec", "replicas"]),
        int(&["status", "replicas"]),
        int(&["status", "readyReplicas"]),
        ages::of(set, now).into(),
        names,
        images,
        selectors::shown(at(set, &["spec", "selector"])).into(),
    ]
}
