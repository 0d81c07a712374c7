//! ControllerRevision: a state that a controller may go back to.

use std::time::SystemTime;

use serde_json::Value;

use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{at, list, text};
use crate::kind::Context;
use crate::kinds::core::cells;
use crate::metadata::{immutable, not_negative};
use crate::table::BuiltIn;

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn validate_create(&self, revision: &Value, _: &Context<'_>) -> Errors {
        let revision = At::object(revision);
        let mut errors: Errors = not_negative(&revision.get("revision")).into_iter().collect();
        let data = revision.get("data");
        if data.is_absent() {
            errors.push(data.required("data is mandatory"));
        } else if !data.value.is_object() {
            errors.push(data.required("data must be a valid JSON object"));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let new = At::object(new);
        let mut errors: Errors = not_negative(&new.get("revision")).into_iter().collect();
        errors.extend(immutable(&new.get("data"), at(old, &["data"])));
        errors
    }
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Controller", "string", "Whose state it is."),
    BuiltIn::new("Revision", "string", "The number of the state: higher is newer."),
    BuiltIn::age(),
];

pub fn row(revision: &Value, now: SystemTime) -> Vec<Value> {
    let owners = list(revision, &["metadata", "ownerReferences"]);
    let owner = owners.iter().find(|owner| at(owner, &["controller"]).as_bool().unwrap_or_default());
    let controller = owner.map_or_else(
        || "<none>".to_owned(),
        |owner| {
            let (kind, name) = (text(owner, &["kind"]).to_lowercase(), text(owner, &["name"]));
            match text(owner, &["apiVersion"]).split_once('/') {
                Some((group, _)) => format!("{kind}.{group}/{name}"),
                None => format!("{kind}/{name}"),
            }
        },
    );
    vec![
        cells::name(revision),
        controller.into(),
        at(revision, &["revision"]).as_i64().unwrap_or_default().into(),
        ages::of(revision, now).into(),
    ]
}
