//! CSINode: the drivers of a node.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde_json::Value;

use super::super::cells;
use super::driver;
use crate::at::{At, Errors};
use crate::edit::{list, semantic_eq};
use crate::field::FieldError;
use crate::kind::Context;
use crate::metadata::{IMMUTABLE, not_negative};
use crate::table::BuiltIn;
use crate::{ages, names, shown};

/// Bytes of a node's id.
const NODE_ID: usize = 256;

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn validate_create(&self, node: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(node).get("spec").get("drivers"))
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let drivers = At::object(new).get("spec").get("drivers");
        let mut errors = validate(&drivers);
        for old in At::object(old).get("spec").get("drivers").items() {
            for new in drivers.items().filter(|new| new.get("name").text() == old.get("name").text()) {
                let same = |field: &str| semantic_eq(new.get(field).value, old.get(field).value);
                if !(same("nodeID") && same("topologyKeys")) {
                    let driver = shown::fields(&[
                        ("Name", shown::text(&new.get("name"))),
                        ("NodeID", shown::text(&new.get("nodeID"))),
                        ("TopologyKeys", shown::any(&new.get("topologyKeys"))),
                        ("Allocatable", "null".to_owned()),
                    ]);
                    errors.push(FieldError::invalid_shown(&drivers.path, &driver, IMMUTABLE));
                }
            }
        }
        errors
    }
}

fn validate(drivers: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen = BTreeSet::new();
    for one in drivers.items() {
        let (name, id) = (one.get("name"), one.get("nodeID"));
        errors.extend(driver::name(&name));
        if id.is_empty() {
            errors.push(id.required(""));
        }
        if id.text().len() > NODE_ID {
            errors.push(id.invalid(&format!("must be {NODE_ID} characters or less")));
        }
        errors.extend(not_negative(&one.get("allocatable").get("count")));
        if !seen.insert(name.text()) {
            errors.push(FieldError::duplicate(&name.path, &Value::from(name.text())));
        }
        errors.extend(topology_keys(&one));
    }
    errors
}

/// The original names the driver in errors about its keys.
fn topology_keys(driver: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen = BTreeSet::new();
    for key in driver.get("topologyKeys").items() {
        let key = At::new(key.value, driver.path.clone());
        if key.text().is_empty() {
            errors.push(key.required(""));
        }
        if !seen.insert(key.text()) {
            errors.push(key.duplicate());
        }
        errors.extend(key.invalid_each(names::qualified(key.text())));
    }
    errors
}

pub const COLUMNS: &[BuiltIn] =
    &[BuiltIn::name(), BuiltIn::new("Drivers", "integer", "How many drivers the node has."), BuiltIn::age()];

pub fn row(node: &Value, now: SystemTime) -> Vec<Value> {
    vec![cells::name(node), list(node, &["spec", "drivers"]).len().into(), ages::of(node, now).into()]
}
