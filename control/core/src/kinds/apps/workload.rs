//! What the kinds that hold a template of pods and a selector for them have in common.

use serde_json::Value;

use crate::at::{At, Errors};
use crate::edit::{at, existing, generation, text};
use crate::field::FieldError;
use crate::kinds::core::pod::{prepare, template, warnings};
use crate::metadata::{IMMUTABLE, not_negative};
use crate::names;
use crate::selectors::{self, Selector};
use crate::shown;

/// The refusal of a way to update that is none of `supported`, with the strategy as the original shows it.
pub fn unknown_strategy(strategy: &At<'_>, supported: &[&str]) -> FieldError {
    let rolling = strategy.get("rollingUpdate");
    let rolling = match rolling.is_absent() {
        true => "null".to_owned(),
        false => shown::fields(&[
            ("MaxUnavailable", shown::number(&rolling.get("maxUnavailable"))),
            ("MaxSurge", shown::number(&rolling.get("maxSurge"))),
        ]),
    };
    let whole = shown::fields(&[("Type", shown::text(&strategy.get("type"))), ("RollingUpdate", rolling)]);
    FieldError::not_supported_shown(&strategy.path, &whole, supported)
}

/// The defaults of `spec.template`.
pub fn set_template_defaults(object: &mut Value) {
    if let Some(template) = existing(object, "spec").and_then(|spec| existing(spec, "template")) {
        template::set_defaults(template);
    }
}

/// A selector that must be there and select something. `kind` is how the original names the kind in its message.
pub fn selector(selector: &At<'_>, kind: &str) -> Errors {
    if selector.is_absent() {
        return vec![selector.required("")];
    }
    let mut errors = selectors::validate(selector, false);
    errors.extend(not_empty(selector, kind));
    errors
}

/// A selector that is there selects something.
pub fn not_empty(selector: &At<'_>, kind: &str) -> Option<FieldError> {
    let empty = selector.get("matchLabels").len() + selector.get("matchExpressions").len() == 0;
    let problem = format!("empty selector is invalid for {kind}");
    (!selector.is_absent() && empty).then(|| FieldError::invalid_shown(&selector.path, "{}", &problem))
}

/// The selector selects the labels of the template.
pub fn selects(selector: &Selector<'_>, template: &At<'_>) -> Option<FieldError> {
    let labels = template.get("metadata").get("labels");
    let problem = "`selector` does not match template `labels`";
    (!selector.matches(labels.value)).then(|| labels.invalid(problem))
}

/// A selector that does not change.
pub fn same_selector(new: &At<'_>, old: &Value) -> Option<FieldError> {
    (!crate::edit::semantic_eq(new.value, old))
        .then(|| FieldError::invalid_shown(&new.path, &selectors::json(new.value), IMMUTABLE))
}

/// The pods run until they are deleted. `kind` is how the original names the kind in its message.
pub fn runs_forever(template: &At<'_>, kind: &str) -> Errors {
    let mut errors = Errors::new();
    let spec = template.get("spec");
    let (policy, deadline) = (spec.get("restartPolicy"), spec.get("activeDeadlineSeconds"));
    if policy.text() != "Always" {
        errors.push(policy.not_supported(&["Always"]));
    }
    if !deadline.is_absent() {
        errors.push(deadline.forbidden(&format!("activeDeadlineSeconds in {kind} is not Supported")));
    }
    errors
}

/// The template of a Deployment or a ReplicaSet, which the selector must select.
pub fn replicated(spec: &At<'_>) -> Errors {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    let Some(of) = Selector::of(selector.value) else {
        let shown = selectors::json(selector.value);
        return vec![FieldError::invalid_shown(&selector.path, &shown, "invalid label selector")];
    };
    // One that is absent selects nothing, and so is not the empty one.
    let mut errors = Errors::new();
    if selector.is_absent() || !of.is_empty() {
        errors.extend(selects(&of, &template));
    }
    errors.extend(template::validate(&template));
    errors.extend(runs_forever(&template, "ReplicaSet"));
    errors
}

/// Numbers of a status are not negative.
pub fn counts(status: &At<'_>, fields: &[&str]) -> Errors {
    fields.iter().filter_map(|field| not_negative(&status.get(field))).collect()
}

/// Numbers of a status are not above another one of it.
pub fn no_more_than(status: &At<'_>, fields: &[&str], most: &str, problem: &str) -> Errors {
    let value = |field: &str| status.get(field).int().unwrap_or_default();
    let above = fields.iter().filter(|field| value(field) > value(most));
    above.map(|field| status.get(field).invalid_int(problem)).collect()
}

/// A count of collisions only grows; absent counts as nothing to compare with.
pub fn collisions(new: &At<'_>, old: &Value) -> Option<FieldError> {
    let before = at(old, &["status", "collisionCount"]).as_i64()?;
    let count = new.get("status").get("collisionCount");
    (count.int().unwrap_or_default() < before).then(|| count.invalid_int("cannot be decremented"))
}

/// A name that is no DNS label works, but surprises in the names of pods.
pub fn name_warning(object: &Value) -> Option<String> {
    let problems = names::dns1123_label(text(object, &["metadata", "name"]));
    (!problems.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
            problems.join(" ")
        )
    })
}

/// Warnings for the template at `path`, where the object is of another generation than before.
pub fn template_warnings(object: &Value, old: Option<&Value>, path: &[&str]) -> Vec<String> {
    if old.is_some_and(|old| generation(old) == generation(object)) {
        return Vec::new();
    }
    let template = path.iter().fold(At::object(object), |at, field| at.get(field));
    warnings::of(&template)
}

/// Takes away what is off by default from `spec.template`.
pub fn drop_disabled(object: &mut Value) {
    let template = existing(object, "spec").and_then(|spec| existing(spec, "template"));
    if let Some(pod) = template.and_then(|template| existing(template, "spec")) {
        prepare::drop_disabled(pod);
    }
}
