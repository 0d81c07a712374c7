//! How pods of a kind spread over zones and nodes.

use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::kinds::core::resources::NOT_POSITIVE;
use crate::selectors;

/// `topologySpreadConstraints`.
pub fn validate(constraints: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let all: Vec<At<'_>> = constraints.items().collect();
    for (n, constraint) in all.iter().enumerate() {
        let (skew, topology, action) =
            (constraint.get("maxSkew"), constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"));
        if skew.int().unwrap_or_default() <= 0 {
            errors.push(skew.invalid_int(NOT_POSITIVE));
        }
        if topology.text().is_empty() {
            errors.push(topology.required("can not be empty"));
        }
        if !matches!(action.text(), "DoNotSchedule" | "ScheduleAnyway") {
            errors.push(action.not_supported(&["DoNotSchedule", "ScheduleAnyway"]));
        }
        let same = |other: &At<'_>| {
            let equal = |field: &str| other.get(field).text() == constraint.get(field).text();
            equal("topologyKey") && equal("whenUnsatisfiable")
        };
        if all[n + 1..].iter().any(same) {
            let path = constraint.path.child("{topologyKey, whenUnsatisfiable}");
            let value = format!("{{{}, {}}}", topology.text(), action.text());
            errors.push(FieldError::duplicate(&path, &value.into()));
        }
        let domains = constraint.get("minDomains");
        if let Some(least) = domains.int() {
            if least <= 0 {
                errors.push(domains.invalid(NOT_POSITIVE));
            }
            if action.text() != "DoNotSchedule" {
                errors.push(domains.invalid(&format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                    action.text()
                )));
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            let policy = constraint.get(field);
            if !policy.is_absent() && !matches!(policy.text(), "Honor" | "Ignore") {
                errors.push(policy.not_supported(&["Honor", "Ignore"]));
            }
        }
        errors.extend(super::affinity::label_keys(constraint));
        errors.extend(selectors::validate(&constraint.get("labelSelector"), false));
    }
    errors
}
