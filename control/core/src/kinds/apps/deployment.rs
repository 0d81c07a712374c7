//! Deployment.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::workload;
use crate::at::{At, Errors};
use crate::edit::{at, child, default, default_text, existing, restore, semantic_eq, text};
use crate::kind::Context;
use crate::kinds::core::cells;
use crate::kinds::status;
use crate::metadata::not_negative;
use crate::selectors::Selector;
use crate::table::BuiltIn;
use crate::{ages, amounts};

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, deployment: &mut Value) {
        default(deployment, "spec", Map::new());
        let Some(spec) = existing(deployment, "spec") else {
            return;
        };
        for (field, value) in
            [("replicas", 1), ("revisionHistoryLimit", 10), ("progressDeadlineSeconds", 600)]
        {
            default(spec, field, value);
        }
        if let Some(strategy) = child(spec, "strategy") {
            default_text(strategy, "type", "RollingUpdate");
            if text(strategy, &["type"]) == "RollingUpdate"
                && let Some(rolling) = child(strategy, "rollingUpdate")
            {
                default(rolling, "maxUnavailable", "25%");
                default(rolling, "maxSurge", "25%");
            }
        }
        workload::set_template_defaults(deployment);
    }

    fn prepare_create(&self, deployment: &mut Value, _: &Context<'_>) {
        status::prepare_create(deployment);
        workload::drop_disabled(deployment);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        if status::is_status(context) {
            restore(new, old, "spec");
            if let Some(metadata) = child(new, "metadata") {
                restore(metadata, at(old, &["metadata"]), "labels");
            }
            return;
        }
        restore(new, old, "status");
        workload::drop_disabled(new);
        // Annotations count too: they are copied to the ReplicaSets.
        let same = |path: &[&str]| semantic_eq(at(new, path), at(old, path));
        if !(same(&["spec"]) && same(&["metadata", "annotations"])) {
            crate::edit::set_generation(new, crate::edit::generation(old) + 1);
        }
    }

    fn validate_create(&self, deployment: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(deployment).get("spec"))
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let at_new = At::object(new);
        if status::is_status(context) {
            let mut errors = validate_status(&at_new.get("status"));
            errors.extend(workload::collisions(&at_new, old));
            return errors;
        }
        let spec = at_new.get("spec");
        let mut errors = validate(&spec);
        errors.extend(workload::same_selector(&spec.get("selector"), at(old, &["spec", "selector"])));
        errors
    }

    fn warnings(&self, deployment: &Value, old: Option<&Value>) -> Vec<String> {
        let name = old.is_none().then(|| workload::name_warning(deployment)).flatten();
        name.into_iter().chain(workload::template_warnings(deployment, old, &["spec", "template"])).collect()
    }
}

fn validate(spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    errors.extend(not_negative(&spec.get("replicas")));
    errors.extend(workload::selector(&spec.get("selector"), "deployment"));
    errors.extend(workload::replicated(spec));
    errors.extend(strategy(&spec.get("strategy")));
    let (ready, deadline) = (spec.get("minReadySeconds"), spec.get("progressDeadlineSeconds"));
    errors.extend(not_negative(&ready));
    errors.extend(not_negative(&spec.get("revisionHistoryLimit")));
    errors.extend(not_negative(&deadline));
    if deadline.int().is_some_and(|seconds| seconds <= ready.int().unwrap_or_default()) {
        errors.push(deadline.invalid("must be greater than minReadySeconds"));
    }
    errors
}

fn strategy(strategy: &At<'_>) -> Errors {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "Recreate" if !rolling.is_absent() => {
            vec![rolling.forbidden("may not be specified when strategy `type` is 'Recreate'")]
        }
        "Recreate" => Errors::new(),
        "RollingUpdate" if rolling.is_absent() => {
            vec![rolling.required("this should be defaulted and never be nil")]
        }
        "RollingUpdate" => rolling_update(&rolling),
        _ => vec![workload::unknown_strategy(strategy, &["Recreate", "RollingUpdate"])],
    }
}

fn rolling_update(rolling: &At<'_>) -> Errors {
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    let mut errors = amounts::positive(&unavailable);
    errors.extend(amounts::positive(&surge));
    if amounts::value(&unavailable) == 0 && amounts::value(&surge) == 0 {
        errors.push(unavailable.invalid("may not be 0 when `maxSurge` is 0"));
    }
    errors.extend(amounts::at_most_all(&unavailable));
    errors
}

fn validate_status(status: &At<'_>) -> Errors {
    let mut errors = workload::counts(
        status,
        &[
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ],
    );
    let parts = ["updatedReplicas", "readyReplicas", "availableReplicas"];
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
    BuiltIn::new("Ready", "string", "How many of the wanted pods are ready."),
    BuiltIn::new("Up-to-date", "string", "How many pods are of the newest template."),
    BuiltIn::new("Available", "string", "How many pods have been ready for long enough."),
    BuiltIn::age(),
    BuiltIn::new("Containers", "string", "The containers of the template.").wide(),
    BuiltIn::new("Images", "string", "Their images.").wide(),
    BuiltIn::new("Selector", "string", "Which pods are the Deployment's.").wide(),
];

pub fn row(deployment: &Value, now: SystemTime) -> Vec<Value> {
    let int = |path: &[&str]| at(deployment, path).as_i64().unwrap_or_default();
    let [names, images] = cells::containers(at(deployment, &["spec", "template", "spec"]));
    let selector = Selector::of(at(deployment, &["spec", "selector"]));
    let selector = selector.map_or_else(|| "<invalid>".to_owned(), |selector| selector.to_string());
    vec![
        cells::name(deployment),
        format!("{}/{}", int(&["status", "readyReplicas"]), int(&["spec", "replicas"])).into(),
        int(&["status", "updatedReplicas"]).into(),
        int(&["status", "availableReplicas"]).into(),
        ages::of(deployment, now).into(),
        names,
        images,
        selector.into(),
    ]
}
