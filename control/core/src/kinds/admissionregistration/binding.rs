//! ValidatingAdmissionPolicyBinding and MutatingAdmissionPolicyBinding.

use std::collections::BTreeSet;

use serde_json::Value;

use super::matching;
use crate::at::{At, Errors};
use crate::edit::{existing, set_generation};
use crate::kind::Context;
use crate::kinds::status;
use crate::names;

#[derive(Debug)]
pub struct Strategy {
    pub mutating: bool,
}

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, binding: &mut Value) {
        if let Some(matching) = existing(binding, "spec").and_then(|spec| existing(spec, "matchResources")) {
            matching::set_defaults(matching);
        }
    }

    fn prepare_create(&self, binding: &mut Value, _: &Context<'_>) {
        set_generation(binding, 1);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, _: &Context<'_>) {
        status::count_generation(new, old, &["spec"]);
    }

    fn validate_create(&self, binding: &Value, _: &Context<'_>) -> Errors {
        self.validate(&At::object(binding).get("spec"))
    }

    fn validate_update(&self, new: &Value, _: &Value, _: &Context<'_>) -> Errors {
        self.validate(&At::object(new).get("spec"))
    }
}

impl Strategy {
    fn validate(&self, spec: &At<'_>) -> Errors {
        let mut errors = Errors::new();
        let policy = spec.get("policyName");
        if policy.is_empty() {
            errors.push(policy.required(""));
        } else {
            errors.extend(policy.invalid_each(names::dns1123_subdomain(policy.text())));
        }
        errors.extend(matching::param_ref(&spec.get("paramRef")));
        let resources = spec.get("matchResources");
        errors.extend(matching::validate(&resources));
        if self.mutating {
            errors.extend(matching::mutable_operations(&resources));
        } else {
            errors.extend(actions(&spec.get("validationActions")));
        }
        errors
    }
}

fn actions(actions: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen = BTreeSet::new();
    for action in actions.items() {
        if !matches!(action.text(), "Audit" | "Deny" | "Warn") {
            errors.push(action.not_supported(&["Audit", "Deny", "Warn"]));
        }
        if !seen.insert(action.text()) {
            errors.push(action.duplicate());
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        errors.push(actions.invalid("must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"));
    }
    if seen.is_empty() {
        errors.push(actions.required("at least one validation action is required"));
    }
    errors
}
