//! FlowSchema: which requests belong to which level.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::rules;
use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{at, default, existing, list, restore, semantic_eq, text};
use crate::field::FieldError;
use crate::kind::Context;
use crate::kinds::{cells, status};
use crate::names;
use crate::shown;
use crate::table::BuiltIn;

const LAST: i64 = 10_000;

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    /// As they are asked.
    fn row_order(&self, schema: &Value) -> i64 {
        at(schema, &["spec", "matchingPrecedence"]).as_i64().unwrap_or_default()
    }

    fn set_defaults(&self, schema: &mut Value) {
        default(schema, "spec", Map::new());
        if let Some(spec) = existing(schema, "spec") {
            default(spec, "matchingPrecedence", 1_000);
        }
    }

    fn prepare_create(&self, schema: &mut Value, _: &Context<'_>) {
        status::prepare_create(schema);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        status::prepare_update(new, old, context);
        if status::is_status(context) {
            restore(new, old, "spec");
            status::keep_metadata(new, old);
        }
    }

    fn validate_create(&self, schema: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(schema))
    }

    fn validate_update(&self, new: &Value, _: &Value, context: &Context<'_>) -> Errors {
        let new = At::object(new);
        if status::is_status(context) { super::conditions(&new.get("status")) } else { validate(&new) }
    }
}

/// The schemas that every server has, and that nobody may change.
fn mandatory(name: &str) -> Option<Value> {
    let (precedence, groups, by_user) = match name {
        "exempt" => (1, &["system:masters"][..], false),
        "catch-all" => (LAST, &["system:unauthenticated", "system:authenticated"][..], true),
        _ => return None,
    };
    let subject = |group: &&str| json!({"kind": "Group", "group": {"name": group}});
    let subjects: Vec<Value> = groups.iter().map(subject).collect();
    let all = json!(["*"]);
    let rule = json!({
        "subjects": subjects,
        "resourceRules": [{"verbs": all, "apiGroups": all, "resources": all, "clusterScope": true, "namespaces": all}],
        "nonResourceRules": [{"verbs": all, "nonResourceURLs": all}],
    });
    let method = if by_user { json!({"type": "ByUser"}) } else { Value::Null };
    Some(json!({"priorityLevelConfiguration": {"name": name}, "matchingPrecedence": precedence,
        "distinguisherMethod": method, "rules": [rule]}))
}

fn validate(schema: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (name, spec) = (schema.get("metadata").get("name").text(), schema.get("spec"));
    let precedence = spec.get("matchingPrecedence");
    match precedence.int().unwrap_or_default() {
        1 if name != "exempt" => {
            errors.push(precedence.invalid("only the schema named 'exempt' may have matchingPrecedence 1"));
        }
        ..=0 => errors.push(precedence.invalid_int("must be a positive value")),
        number if number > LAST => {
            errors.push(precedence.invalid(&format!("must not be greater than {LAST}")));
        }
        _ => {}
    }
    let method = spec.get("distinguisherMethod");
    if !method.is_absent() && !matches!(method.get("type").text(), "ByNamespace" | "ByUser") {
        let shown = shown::fields(&[("Type", shown::text(&method.get("type")))]);
        let supported = ["ByNamespace", "ByUser"];
        errors.push(FieldError::not_supported_shown(&method.path.child("type"), &shown, &supported));
    }
    let level = spec.get("priorityLevelConfiguration").get("name");
    if level.is_empty() {
        errors.push(level.required("must reference a priority level"));
    } else {
        errors.extend(level.invalid_each(names::dns1123_subdomain(level.text())));
    }
    errors.extend(spec.get("rules").items().flat_map(|rule| rules::validate(&rule)));
    if mandatory(name).is_some_and(|fixed| !semantic_eq(spec.value, &fixed)) {
        let problem = format!("spec of '{name}' must equal the fixed value");
        errors.push(FieldError::invalid_shown(&spec.path, &spec_shown(&spec), &problem));
    }
    errors.extend(super::conditions(&schema.get("status")));
    errors
}

fn spec_shown(spec: &At<'_>) -> String {
    let level = spec.get("priorityLevelConfiguration").get("name");
    let method = match spec.get("distinguisherMethod") {
        method if method.is_absent() => "null".to_owned(),
        method => shown::fields(&[("Type", shown::text(&method.get("type")))]),
    };
    let rules: Vec<String> = spec.get("rules").items().map(|rule| rules::shown(&rule)).collect();
    shown::fields(&[
        ("PriorityLevelConfiguration", shown::fields(&[("Name", shown::text(&level))])),
        ("MatchingPrecedence", shown::int(&spec.get("matchingPrecedence"))),
        ("DistinguisherMethod", method),
        ("Rules", shown::list(&rules)),
    ])
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("PriorityLevel", "string", "The level of the requests."),
    BuiltIn::new("MatchingPrecedence", "string", "Where several schemas fit, the lowest wins."),
    BuiltIn::new("DistinguisherMethod", "string", "What tells the flows of a schema apart."),
    BuiltIn::age(),
    BuiltIn::new("MissingPL", "string", "Whether the level is not there."),
];

pub fn row(schema: &Value, now: SystemTime) -> Vec<Value> {
    let conditions = list(schema, &["status", "conditions"]);
    let dangling = conditions.iter().find(|condition| text(condition, &["type"]) == "Dangling");
    vec![
        cells::name(schema),
        text(schema, &["spec", "priorityLevelConfiguration", "name"]).into(),
        cells::int(schema, &["spec", "matchingPrecedence"]),
        at(schema, &["spec", "distinguisherMethod", "type"]).as_str().unwrap_or("<none>").into(),
        ages::of(schema, now).into(),
        dangling.map_or("?", |condition| text(condition, &["status"])).into(),
    ]
}
