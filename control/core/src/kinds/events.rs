//! The kinds of `events.k8s.io`: Event, the same objects as the core group's in another form. They are stored, validated
//! and selected in the core group's.

use std::sync::Arc;

use control_schema::library::Library;
use serde_json::Value;

use super::core::event as core_event;
use super::entry::Group;
use crate::at::{At, Errors};
use crate::edit::{at, remove, semantic_eq, set, text};
use crate::field::{FieldError, Path};
use crate::internal;
use crate::kind::{Context, Kind, NameRule, Traits};
use crate::metadata::{immutable, immutable_text};

/// What the two forms call the same: the core group's name first.
const NAMES: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// The name of the reporter: `reportingComponent` in the core group.
const REPORTER: (&str, &str) = ("reportingComponent", "reportingController");

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let events = Group { library, name: "events.k8s.io", package: "io.k8s.api.events", versions: &["v1"] };
    let traits =
        Traits { create_on_update: true, no_garbage_collection: true, ttl: Some(3_600), ..Traits::default() };
    vec![
        events
            .kind("Event", "events")
            .short(&["ev"])
            .traits(traits)
            .stored_elsewhere("/v1", "io.k8s.api.core.v1.Event")
            .columns(core_event::EVENT, core_event::event)
            .strategy(Strategy)
            .into(),
    ]
}

/// An event of `events.k8s.io` as one of the core group.
fn to_core(mut event: Value) -> Value {
    for (core, new) in NAMES.into_iter().chain([REPORTER]) {
        rename(&mut event, new, core);
    }
    event
}

/// An event of the core group as one of `events.k8s.io`.
fn from_core(mut event: Value) -> Value {
    for (core, new) in NAMES.into_iter().chain([REPORTER]) {
        rename(&mut event, core, new);
    }
    event
}

fn rename(object: &mut Value, from: &str, to: &str) {
    let value = object.get(from).cloned();
    remove(object, from);
    if let Some(value) = value {
        set(object, to, value);
    }
}

#[derive(Debug)]
struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }

    fn validate_create(&self, event: &Value, _: &Context<'_>) -> Errors {
        let event = At::object(event);
        let mut errors = core_event::errors(&event, REPORTER.1);
        errors.extend(series(&event));
        if !event.has("eventTime") {
            errors.push(event.get("eventTime").required(""));
        }
        let kind = event.get("type");
        if !matches!(kind.text(), "Normal" | "Warning") {
            errors.push(empty(&kind, &format!("has invalid value: {}", kind.text())));
        }
        for field in ["firstTimestamp", "lastTimestamp", "count", "source"] {
            if event.has(field) {
                errors.push(empty(&event.get(field), "needs to be unset"));
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let new = At::object(new);
        let mut errors = core_event::errors(&new, REPORTER.1);
        if !semantic_eq(new.get("series").value, at(old, &["series"])) {
            errors.extend(series(&new));
        }
        for field in FIXED {
            let (new, before) = (new.get(field), at(old, &[field]));
            errors.extend(match field {
                "involvedObject" => internal::immutable(&new, before, "core.ObjectReference", false),
                "related" => internal::immutable(&new, before, "core.ObjectReference", true),
                "source" => internal::immutable(&new, before, "core.EventSource", false),
                // A time is a text here, and a pointer in the original.
                _ if field.ends_with("Time") => immutable(&new, before),
                _ => immutable_text(&new, before),
            });
        }
        for field in [REPORTER.0, "reportingInstance"] {
            let shown = if field == REPORTER.0 { REPORTER.1 } else { field };
            errors
                .extend(immutable_text(&At::new(new.get(field).value, Path::new(shown)), at(old, &[field])));
        }
        errors
    }

    fn selectable(&self) -> &'static [&'static str] {
        &[
            "reason",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reportingController",
            "type",
        ]
    }

    fn selected(&self, event: &Value, field: &str) -> String {
        match field.split_once('.') {
            Some((_, part)) => text(event, &["involvedObject", part]),
            None if field == REPORTER.1 => text(event, &[REPORTER.0]),
            None => text(event, &[field]),
        }
        .to_owned()
    }

    fn convert(&self, event: Value, from: &str, _: &str) -> Value {
        if from == "v1" { to_core(event) } else { from_core(event) }
    }
}

/// Fields that an update may not change, in the original's order.
const FIXED: [&str; 12] = [
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "reason",
    "type",
    "eventTime",
    "action",
    "related",
];

/// The original shows an empty text in these errors.
fn empty(field: &At<'_>, problem: &str) -> FieldError {
    FieldError::invalid(&field.path, &Value::from(""), problem)
}

fn series(event: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    if event.has("series") {
        let series = event.get("series");
        if series.get("count").int().unwrap_or_default() < 2 {
            errors.push(empty(&series.get("count"), "should be at least 2"));
        }
        if !series.has("lastObservedTime") {
            errors.push(series.get("lastObservedTime").required(""));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_two_forms_of_an_event_are_the_same_event() {
        let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "n", "regarding": {"kind": "Pod"},
            "deprecatedCount": 3, "reportingController": "c", "reportingInstance": "i"});
        let core = to_core(event.clone());
        assert_eq!(core["message"], "n");
        assert_eq!(core["involvedObject"]["kind"], "Pod");
        assert_eq!(core["count"], 3);
        assert_eq!(core["reportingComponent"], "c");
        assert_eq!(from_core(core), event);
    }
}
