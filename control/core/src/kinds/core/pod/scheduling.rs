//! Gates and tolerations of pods, and the taints of nodes that they tolerate.

use std::collections::BTreeMap;

use crate::at::{At, Errors};
use crate::edit::semantic_eq;
use crate::field::FieldError;
use crate::names;

pub fn readiness_gates(gates: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for gate in gates.items() {
        let condition = gate.get("conditionType");
        errors.extend(condition.invalid_each(names::qualified(condition.text())));
    }
    errors
}

pub fn gates(gates: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<&str> = Vec::new();
    for gate in gates.items() {
        let name = At::new(gate.get("name").value, gate.path.clone());
        errors.extend(name.invalid_each(names::qualified(name.text())));
        if seen.contains(&name.text()) {
            errors.push(name.duplicate());
        }
        seen.push(name.text());
    }
    errors
}

/// Gates of a pod may only go.
pub fn only_deleted_gates(new: &At<'_>, old: &At<'_>) -> Errors {
    let known: Vec<&str> = old.items().map(|gate| gate.get("name").text()).collect();
    let found: BTreeMap<&str, At<'_>> =
        new.items().map(|gate| (gate.get("name").text(), gate.get("name"))).collect();
    let added = found.into_iter().filter(|(name, _)| !known.contains(name));
    added
        .map(|(name, at)| {
            at.forbidden(&format!("only deletion is allowed, but found new scheduling gate '{name}'"))
        })
        .collect()
}

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// What a taint does to pods that do not tolerate it.
pub fn effect(effect: &At<'_>) -> Option<FieldError> {
    super::spec::one_of(effect, &EFFECTS)
}

pub fn tolerations(list: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for toleration in list.items() {
        let (key, operator, value, what) = (
            toleration.get("key"),
            toleration.get("operator"),
            toleration.get("value").text(),
            toleration.get("effect"),
        );
        if !key.text().is_empty() {
            errors.extend(key.invalid_each(names::qualified(key.text())));
        }
        if key.text().is_empty() && operator.text() != "Exists" {
            errors.push(operator.invalid_text(
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ));
        }
        if toleration.has("tolerationSeconds") && what.text() != "NoExecute" {
            errors.push(what.invalid_text("effect must be 'NoExecute' when `tolerationSeconds` is set"));
        }
        let refuse = |detail: &str| FieldError::invalid(&operator.path, &value.into(), detail);
        match operator.text() {
            "Equal" | "" => {
                let wrong = names::label_value(value);
                if !wrong.is_empty() {
                    errors.push(refuse(&wrong.join(";")));
                }
            }
            "Exists" if !value.is_empty() => {
                errors.push(refuse("value must be empty when `operator` is 'Exists'"));
            }
            "Exists" => {}
            "Lt" | "Gt" => errors.push(operator.not_supported(&["Equal", "Exists", "Lt", "Gt"])),
            _ => errors.push(operator.not_supported(&["Equal", "Exists"])),
        }
        if !what.text().is_empty() {
            errors.extend(effect(&what));
        }
    }
    errors
}

/// Tolerations of a pod may only be added; how long one lasts may change.
pub fn only_added_tolerations(new: &At<'_>, old: &At<'_>) -> Errors {
    let same = |a: &At<'_>, b: &At<'_>| {
        let without = |toleration: &At<'_>| {
            let mut value = toleration.value.clone();
            crate::edit::remove(&mut value, "tolerationSeconds");
            value
        };
        semantic_eq(&without(a), &without(b))
    };
    if !old.items().all(|old| new.items().any(|new| same(&old, &new))) {
        return vec![new.forbidden("existing toleration can not be modified except its tolerationSeconds")];
    }
    tolerations(new)
}
