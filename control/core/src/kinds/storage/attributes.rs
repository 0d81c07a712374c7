//! VolumeAttributesClass.

use std::time::SystemTime;

use serde_json::Value;

use super::super::cells;
use super::class::{parameters, provisioner};
use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{at, semantic_eq};
use crate::kind::Context;
use crate::table::BuiltIn;

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn validate_create(&self, class: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(class))
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let new = At::object(new);
        let mut errors = Errors::new();
        for field in ["driverName", "parameters"] {
            if !semantic_eq(new.get(field).value, at(old, &[field])) {
                errors.push(new.get(field).forbidden(&format!("updates to {field} are forbidden.")));
            }
        }
        errors.extend(validate(&new));
        errors
    }
}

fn validate(class: &At<'_>) -> Errors {
    let mut errors = provisioner(&class.get("driverName"));
    errors.extend(parameters(&class.get("parameters"), false));
    errors
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("DriverName", "string", "The driver that the class is for."),
    BuiltIn::age(),
];

pub fn row(class: &Value, now: SystemTime) -> Vec<Value> {
    vec![cells::name(class), cells::text_or(class, &["driverName"], ""), ages::of(class, now).into()]
}
