//! CSIStorageCapacity.

use serde_json::Value;

use super::super::core::pod::warnings;
use super::super::core::resources::quantity;
use crate::at::{At, Errors};
use crate::edit::{at, semantic_eq};
use crate::field::FieldError;
use crate::kind::Context;
use crate::metadata::{IMMUTABLE, NEGATIVE};
use crate::{names, selectors};

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn validate_create(&self, capacity: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(capacity), false)
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let (new, before) = (At::object(new), At::object(old));
        let lenient = !selectors::validate(&before.get("nodeTopology"), false).is_empty();
        let mut errors = validate(&new, lenient);
        let (topology, class) = (new.get("nodeTopology"), new.get("storageClassName"));
        if !semantic_eq(topology.value, at(old, &["nodeTopology"])) {
            let topology_shown = selectors::json(topology.value);
            errors.push(FieldError::invalid_shown(&topology.path, &topology_shown, IMMUTABLE));
        }
        if class.text() != before.get("storageClassName").text() {
            errors.push(class.invalid_text(IMMUTABLE));
        }
        errors
    }

    fn warnings(&self, capacity: &Value, _: Option<&Value>) -> Vec<String> {
        let topology = At::object(capacity).get("nodeTopology");
        let mut all = Vec::new();
        for expression in topology.get("matchExpressions").items() {
            let key = expression.get("key");
            let warning = |advice| format!("{}: {} is {advice}", key.path, key.text());
            all.extend(warnings::old_label(key.text()).map(warning));
        }
        let labels = topology.get("matchLabels");
        for (label, _) in labels.entries() {
            let path = labels.path.child(label);
            all.extend(warnings::old_label(label).map(|advice| format!("{path}: {advice}")));
        }
        all
    }
}

fn validate(capacity: &At<'_>, lenient: bool) -> Errors {
    let mut errors = selectors::validate(&capacity.get("nodeTopology"), lenient);
    let (class, amount) = (capacity.get("storageClassName"), capacity.get("capacity"));
    errors.extend(class.invalid_each(names::dns1123_subdomain(class.text())));
    if quantity(amount.value).is_some_and(|amount| amount < apiclient_core::quantity::Quantity::default()) {
        errors.push(amount.invalid(NEGATIVE));
    }
    errors
}
