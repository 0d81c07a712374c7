//! HorizontalPodAutoscaler, in the form of `v2`.

use serde_json::Value;

use super::{convert, defaults, metrics};
use crate::at::{At, Errors};
use crate::edit::{at, remove, restore};
use crate::field::FieldError;
use crate::kind::Context;
use crate::kinds::core::resources::quantity;
use crate::kinds::status;
use crate::metadata::{NEGATIVE, not_negative};
use crate::names;

const WINDOW: i64 = 3_600;
const PERIOD: i64 = 1_800;

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, scaler: &mut Value) {
        defaults::set_defaults(scaler);
    }

    fn prepare_create(&self, scaler: &mut Value, _: &Context<'_>) {
        remove(scaler, "status");
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        restore(new, old, if status::is_status(context) { "spec" } else { "status" });
    }

    fn validate_create(&self, scaler: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(scaler).get("spec"), &Value::Null)
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let new = At::object(new);
        if status::is_status(context) {
            let status = new.get("status");
            let counts = ["currentReplicas", "desiredReplicas"];
            return counts.into_iter().filter_map(|field| not_negative(&status.get(field))).collect();
        }
        validate(&new.get("spec"), at(old, &["spec"]))
    }

    fn convert(&self, scaler: Value, from: &str, to: &str) -> Value {
        match (from, to) {
            ("v1", _) => convert::from_v1(scaler),
            (_, "v1") => convert::to_v1(scaler),
            _ => scaler,
        }
    }
}

fn validate(spec: &At<'_>, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (least, most) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    // Scaling to nothing is off by default, and stays where it was stored.
    let lowest = i64::from(at(old, &["minReplicas"]).as_i64() != Some(0));
    if least.int().is_some_and(|pods| pods < lowest) {
        errors.push(least.invalid(&format!("must be greater than or equal to {lowest}")));
    }
    match most.int().unwrap_or_default() {
        0 => errors.push(most.required("must be set and greater than 0")),
        ..0 => errors.push(most.invalid("must be greater than or equal to 1")),
        _ => {}
    }
    if least.int().is_some_and(|least| most.int().unwrap_or_default() < least) {
        errors.push(most.invalid_int("must be greater than or equal to `minReplicas`"));
    }
    let target = spec.get("scaleTargetRef");
    let before = At::object(at(old, &["scaleTargetRef"]));
    let same = !old.is_null()
        && ["apiVersion", "kind"].iter().all(|field| target.get(field).text() == before.get(field).text());
    let group = match (same, target.get("kind").text()) {
        (true, _) => ApiVersion::Any,
        (false, "ReplicationController") => ApiVersion::MayBeCore,
        (false, _) => ApiVersion::OfGroup,
    };
    errors.extend(reference(&target, group));
    errors.extend(metrics::validate(spec, old));
    for direction in ["scaleUp", "scaleDown"] {
        let rules = spec.get("behavior").get(direction);
        if !rules.is_absent() {
            errors.extend(scaling_rules(&rules));
        }
    }
    errors
}

/// What the apiVersion of a reference may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiVersion {
    Any,
    MayBeCore,
    OfGroup,
}

/// A reference to an object of any kind and version.
pub fn reference(to: &At<'_>, group: ApiVersion) -> Errors {
    let mut errors = Errors::new();
    for field in ["kind", "name"] {
        let field = to.get(field);
        if field.is_empty() {
            errors.push(field.required(""));
        } else {
            errors.extend(field.invalid_each(names::path_segment(field.text())));
        }
    }
    let version = to.get("apiVersion");
    errors.extend(api_version(version.text(), group).map(|problem| version.invalid_text(&problem)));
    errors
}

/// What is wrong with an apiVersion.
pub fn api_version(text: &str, group: ApiVersion) -> Option<String> {
    match text.matches('/').count() {
        _ if group == ApiVersion::Any => None,
        0 | 1 if group == ApiVersion::MayBeCore => None,
        1 if !text.starts_with('/') => None,
        0 | 1 => Some("apiVersion must specify API group".to_owned()),
        _ => Some(format!("unexpected GroupVersion string: {text}")),
    }
}

fn scaling_rules(rules: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (window, select, policies) =
        (rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy"), rules.get("policies"));
    match window.int() {
        Some(..0) => errors.push(window.invalid("must be greater than or equal to zero")),
        Some(seconds) if seconds > WINDOW => {
            errors.push(window.invalid(&format!("must be less than or equal to {WINDOW}")));
        }
        _ => {}
    }
    if !select.is_absent() && !matches!(select.text(), "Disabled" | "Max" | "Min") {
        errors.push(select.not_supported(&["Disabled", "Max", "Min"]));
    }
    if policies.is_empty() {
        errors.push(policies.required("must specify at least one Policy"));
    }
    errors.extend(policies.items().flat_map(|policy| scaling_policy(&policy)));
    let tolerance = rules.get("tolerance");
    if quantity(tolerance.value).is_some_and(|amount| amount < apiclient_core::quantity::Quantity::default())
    {
        errors.push(tolerance.invalid(NEGATIVE));
    }
    errors
}

fn scaling_policy(policy: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (kind, value, period) = (policy.get("type"), policy.get("value"), policy.get("periodSeconds"));
    if !matches!(kind.text(), "Percent" | "Pods") {
        errors.push(kind.not_supported(&["Percent", "Pods"]));
    }
    let positive = |field: &At<'_>| -> Option<FieldError> {
        (field.int().unwrap_or_default() <= 0).then(|| field.invalid_int("must be greater than zero"))
    };
    errors.extend(positive(&value));
    errors.extend(positive(&period));
    if period.int().is_some_and(|seconds| seconds > PERIOD) {
        errors.push(period.invalid(&format!("must be less than or equal to {PERIOD}")));
    }
    errors
}
