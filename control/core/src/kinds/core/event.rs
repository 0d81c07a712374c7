//! Events: what happened to an object, kept for an hour.

use std::time::SystemTime;

use serde_json::Value;

use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{at, text};
use crate::field::{FieldError, Path};
use crate::kind::{Context, NameRule, Strategy};
use crate::names;
use crate::table::BuiltIn;

#[derive(Debug)]
pub struct Event;

impl Strategy for Event {
    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        errors(&At::object(object), "reportingComponent")
    }

    fn validate_update(&self, new: &Value, _old: &Value, _context: &Context<'_>) -> Errors {
        errors(&At::object(new), "reportingComponent")
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn selectable(&self) -> &'static [&'static str] {
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]
    }

    fn selected(&self, object: &Value, field: &str) -> String {
        match field.split_once('.') {
            Some(("involvedObject", part)) => text(object, &["involvedObject", part]),
            _ if field == "source" => source(object),
            _ => text(object, &[field]),
        }
        .to_owned()
    }
}

fn source(event: &Value) -> &str {
    match text(event, &["source", "component"]) {
        "" => text(event, &["reportingComponent"]),
        component => component,
    }
}

/// What all events must be, of either group, in the form of the core group; `reporter` is how the other form names
/// `reportingComponent`.
pub fn errors(event: &At<'_>, reporter: &str) -> Errors {
    let mut errors = Errors::new();
    let namespace = event.get("metadata").get("namespace").text();
    let involved = event.get("involvedObject").get("namespace");
    let stray = if event.has("eventTime") {
        involved.text().is_empty() && !matches!(namespace, "default" | "kube-system")
    } else if involved.text().is_empty() {
        !matches!(namespace, "" | "default")
    } else {
        involved.text() != namespace
    };
    if stray {
        errors.push(involved.invalid_text("does not match event.namespace"));
    }
    if event.has("eventTime") {
        let who = event.get("reportingComponent");
        let shown = At::new(who.value, Path::new(reporter));
        if who.text().is_empty() {
            errors.push(shown.required(""));
        }
        errors.extend(shown.invalid_each(names::qualified(who.text())));
        for (field, required, most) in [
            ("reportingInstance", true, 128),
            ("action", true, 128),
            ("reason", true, 128),
            ("message", false, 1024),
        ] {
            let value = event.get(field);
            if required && value.text().is_empty() {
                errors.push(value.required(""));
            }
            if value.text().len() > most {
                let detail = format!("can have at most {most} characters");
                errors.push(FieldError::invalid(&value.path, &Value::from(""), &detail));
            }
        }
    }
    let namespace_at = At::new(event.get("metadata").get("namespace").value, Path::new("namespace"));
    errors.extend(namespace_at.invalid_each(names::dns1123_subdomain(namespace)));
    errors
}

pub const EVENT: &[BuiltIn] = &[
    BuiltIn::new("Last Seen", "string", "How long ago it happened last."),
    BuiltIn::new("Type", "string", "Normal or Warning."),
    BuiltIn::new("Reason", "string", "What happened, in one word for programs."),
    BuiltIn::new("Object", "string", "What it happened to."),
    BuiltIn::new("Subobject", "string", "Which part of that object.").wide(),
    BuiltIn::new("Source", "string", "Who reports it.").wide(),
    BuiltIn::new("Message", "string", "What happened, for people."),
    BuiltIn::new("First Seen", "string", "How long ago it happened first.").wide(),
    BuiltIn::new("Count", "string", "How often it happened.").wide(),
    BuiltIn::name().wide(),
];

pub fn event(object: &Value, now: SystemTime) -> Vec<Value> {
    let age = |path: &[&str]| ages::since(at(object, path), now);
    let or =
        |path: &[&str], otherwise: String| if at(object, path).is_null() { otherwise } else { age(path) };
    let first = or(&["firstTimestamp"], age(&["eventTime"]));
    let (last, count) = match at(object, &["series"]) {
        Value::Null => {
            let count = at(object, &["count"]).as_i64().filter(|count| *count != 0).unwrap_or(1);
            (or(&["lastTimestamp"], first.clone()), count)
        }
        series => (age(&["series", "lastObservedTime"]), at(series, &["count"]).as_i64().unwrap_or_default()),
    };
    let kind = text(object, &["involvedObject", "kind"]).to_lowercase();
    let target = match text(object, &["involvedObject", "name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let host = match text(object, &["source", "host"]) {
        "" => text(object, &["reportingInstance"]),
        host => host,
    };
    let who = if host.is_empty() { source(object).to_owned() } else { format!("{}, {host}", source(object)) };
    vec![
        last.into(),
        text(object, &["type"]).into(),
        text(object, &["reason"]).into(),
        target.into(),
        text(object, &["involvedObject", "fieldPath"]).into(),
        who.into(),
        text(object, &["message"]).trim().into(),
        first.into(),
        count.into(),
        text(object, &["metadata", "name"]).into(),
    ]
}
