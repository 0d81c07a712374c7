//! DaemonSet.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::workload;
use crate::at::{At, Errors};
use crate::edit::{at, child, default, default_text, existing, remove, restore, semantic_eq, set, text};
use crate::kind::Context;
use crate::kinds::core::cells;
use crate::kinds::core::pod::template;
use crate::kinds::status;
use crate::metadata::not_negative;
use crate::selectors::{self, Selector};
use crate::table::BuiltIn;
use crate::{ages, amounts};

/// How often the template changed. A field of the kind once, an annotation since `apps/v1`, which is always there and
/// which no client can change or take away.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, set: &mut Value) {
        default(set, "spec", Map::new());
        if at(set, &["metadata", "annotations", TEMPLATE_GENERATION]).is_null() {
            set_template_generation(set, 0);
        }
        let Some(spec) = existing(set, "spec") else {
            return;
        };
        default(spec, "revisionHistoryLimit", 10);
        if let Some(strategy) = child(spec, "updateStrategy") {
            default_text(strategy, "type", "RollingUpdate");
            if text(strategy, &["type"]) == "RollingUpdate"
                && let Some(rolling) = child(strategy, "rollingUpdate")
            {
                default(rolling, "maxUnavailable", 1);
                default(rolling, "maxSurge", 0);
            }
        }
        workload::set_template_defaults(set);
    }

    fn prepare_create(&self, set: &mut Value, _: &Context<'_>) {
        status::prepare_create(set);
        workload::drop_disabled(set);
        let generation = template_generation(set).max(1);
        set_template_generation(set, generation);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        workload::drop_disabled(new);
        status::prepare_update(new, old, context);
        if status::is_status(context) {
            restore(new, old, "spec");
            set_template_generation(new, template_generation(old));
            return;
        }
        const TEMPLATE: [&str; 2] = ["spec", "template"];
        let changed = !semantic_eq(at(new, &TEMPLATE), at(old, &TEMPLATE));
        set_template_generation(new, template_generation(old) + i64::from(changed));
    }

    fn validate_create(&self, set: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(set).get("spec"), false)
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let at_new = At::object(new);
        if status::is_status(context) {
            let mut errors = validate_status(&at_new.get("status"));
            errors.extend(workload::collisions(&at_new, old));
            return errors;
        }
        let (spec, before) = (at_new.get("spec"), At::object(old).get("spec").get("selector"));
        let same = workload::same_selector(&spec.get("selector"), before.value);
        let lenient = !selectors::validate(&before, false).is_empty();
        same.into_iter().chain(validate(&spec, lenient)).collect()
    }

    fn metadata_alone(&self, metadata: &mut Value) {
        if let Some(annotations) = existing(metadata, "annotations") {
            remove(annotations, TEMPLATE_GENERATION);
            if annotations.as_object().is_some_and(Map::is_empty) {
                remove(metadata, "annotations");
            }
        }
    }

    fn warnings(&self, set: &Value, old: Option<&Value>) -> Vec<String> {
        workload::template_warnings(set, old, &["spec", "template"])
    }
}

fn template_generation(set: &Value) -> i64 {
    text(set, &["metadata", "annotations", TEMPLATE_GENERATION]).parse().unwrap_or_default()
}

fn set_template_generation(object: &mut Value, generation: i64) {
    let annotations = child(object, "metadata").and_then(|metadata| child(metadata, "annotations"));
    if let Some(annotations) = annotations {
        set(annotations, TEMPLATE_GENERATION, generation.to_string());
    }
}

fn validate(spec: &At<'_>, lenient: bool) -> Errors {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    let mut errors = selectors::validate(&selector, lenient);
    errors.extend(Selector::of(selector.value).and_then(|of| workload::selects(&of, &template)));
    errors.extend(workload::not_empty(&selector, "daemonset"));
    errors.extend(template::validate(&template));
    errors.extend(workload::runs_forever(&template, "DaemonSet"));
    errors.extend(not_negative(&spec.get("minReadySeconds")));
    errors.extend(update_strategy(&spec.get("updateStrategy")));
    errors.extend(not_negative(&spec.get("revisionHistoryLimit")));
    errors
}

fn update_strategy(strategy: &At<'_>) -> Errors {
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "OnDelete" => Errors::new(),
        "RollingUpdate" if rolling.is_absent() => vec![rolling.required("")],
        "RollingUpdate" => rolling_update(&rolling),
        _ => vec![workload::unknown_strategy(strategy, &["RollingUpdate", "OnDelete"])],
    }
}

fn rolling_update(rolling: &At<'_>) -> Errors {
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    let mut errors = amounts::positive(&unavailable);
    errors.extend(amounts::positive(&surge));
    errors.extend(amounts::at_most_all(&unavailable));
    errors.extend(amounts::at_most_all(&surge));
    match (amounts::value(&unavailable) != 0, amounts::value(&surge) != 0) {
        (true, true) => errors.push(surge.invalid("may not be set when maxUnavailable is non-zero")),
        (false, false) => errors.push(unavailable.required("cannot be 0 when maxSurge is 0")),
        _ => {}
    }
    errors
}

fn validate_status(status: &At<'_>) -> Errors {
    workload::counts(
        status,
        &[
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ],
    )
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Desired", "integer", "How many nodes should have a pod."),
    BuiltIn::new("Current", "integer", "How many of them have one."),
    BuiltIn::new("Ready", "integer", "How many have one that is ready."),
    BuiltIn::new("Up-to-date", "integer", "How many have one of the newest template."),
    BuiltIn::new("Available", "integer", "How many have one that has been ready for long enough."),
    BuiltIn::new("Node Selector", "string", "Which nodes are meant."),
    BuiltIn::age(),
    BuiltIn::new("Containers", "string", "The containers of the template.").wide(),
    BuiltIn::new("Images", "string", "Their images.").wide(),
    BuiltIn::new("Selector", "string", "Which pods are the DaemonSet's.").wide(),
];

pub fn row(set: &Value, now: SystemTime) -> Vec<Value> {
    let int = |field: &str| Value::from(at(set, &["status", field]).as_i64().unwrap_or_default());
    let spec = at(set, &["spec", "template", "spec"]);
    let [names, images] = cells::containers(spec);
    vec![
        cells::name(set),
        int("desiredNumberScheduled"),
        int("currentNumberScheduled"),
        int("numberReady"),
        int("updatedNumberScheduled"),
        int("numberAvailable"),
        cells::labels(at(spec, &["nodeSelector"])),
        ages::of(set, now).into(),
        names,
        images,
        selectors::shown(at(set, &["spec", "selector"])).into(),
    ]
}
