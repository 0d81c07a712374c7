//! The kinds of `policy`: PodDisruptionBudget. Evictions are a subresource of pods.

use std::sync::Arc;
use std::time::SystemTime;

use control_schema::library::Library;
use serde_json::Value;

use super::entry::Group;
use super::{cells, status};
use crate::at::{At, Errors};
use crate::edit::{at, restore};
use crate::field::FieldError;
use crate::kind::{Context, Kind, NameRule, Subresource};
use crate::metadata::not_negative;
use crate::table::BuiltIn;
use crate::{ages, amounts, conditions, selectors, shown};

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let policy = Group { library, name: "policy", package: "io.k8s.api.policy", versions: &["v1"] };
    vec![
        policy
            .kind("PodDisruptionBudget", "poddisruptionbudgets")
            .short(&["pdb"])
            .subresources(&[Subresource::Status])
            .columns(COLUMNS, row)
            .strategy(Strategy)
            .into(),
    ]
}

#[derive(Debug)]
struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn prepare_create(&self, budget: &mut Value, _: &Context<'_>) {
        status::prepare_create(budget);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        status::prepare_update(new, old, context);
        if status::is_status(context) {
            restore(new, old, "spec");
        }
    }

    fn validate_create(&self, budget: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(budget).get("spec"), false)
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        if status::is_status(context) {
            return validate_status(&At::object(new).get("status"));
        }
        let before = At::object(old).get("spec").get("selector");
        validate(&At::object(new).get("spec"), !selectors::validate(&before, false).is_empty())
    }
}

fn validate(spec: &At<'_>, lenient: bool) -> Errors {
    let mut errors = Errors::new();
    let (least, most) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if !least.is_absent() && !most.is_absent() {
        let spec_shown = shown::fields(&[
            ("MinAvailable", shown::any(&least)),
            ("Selector", selectors::json(spec.get("selector").value)),
            ("MaxUnavailable", shown::any(&most)),
            ("UnhealthyPodEvictionPolicy", shown::any(&spec.get("unhealthyPodEvictionPolicy"))),
        ]);
        let problem = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid_shown(&spec.path, &spec_shown, problem));
    }
    for amount in [least, most] {
        if !amount.is_absent() {
            errors.extend(amounts::positive(&amount));
            errors.extend(amounts::at_most_all(&amount));
        }
    }
    errors.extend(selectors::validate(&spec.get("selector"), lenient));
    let policy = spec.get("unhealthyPodEvictionPolicy");
    if !policy.is_absent() && !matches!(policy.text(), "AlwaysAllow" | "IfHealthyBudget") {
        errors.push(policy.not_supported(&["AlwaysAllow", "IfHealthyBudget"]));
    }
    errors
}

fn validate_status(status: &At<'_>) -> Errors {
    let mut errors = conditions::validate(&status.get("conditions"));
    for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        errors.extend(not_negative(&status.get(field)));
    }
    errors
}

const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Min Available", "string", "How many of the selected pods must stay."),
    BuiltIn::new("Max Unavailable", "string", "How many of the selected pods may be gone."),
    BuiltIn::new("Allowed Disruptions", "integer", "How many pods may be evicted now."),
    BuiltIn::age(),
];

fn row(budget: &Value, now: SystemTime) -> Vec<Value> {
    let amount = |field: &str| match at(budget, &["spec", field]) {
        Value::Null => Value::from("N/A"),
        amount => cells::number_or_text(amount).into(),
    };
    vec![
        cells::name(budget),
        amount("minAvailable"),
        amount("maxUnavailable"),
        cells::int(budget, &["status", "disruptionsAllowed"]),
        ages::of(budget, now).into(),
    ]
}
