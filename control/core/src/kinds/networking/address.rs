//! IPAddress: an address of a Service that is taken.

use std::time::SystemTime;

use serde_json::Value;

use super::super::cells;
use super::backend::segment;
use crate::at::{At, Errors};
use crate::edit::{at, semantic_eq};
use crate::field::FieldError;
use crate::kind::{Context, NameRule};
use crate::metadata::IMMUTABLE;
use crate::table::BuiltIn;
use crate::{ages, names, shown};

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn name_rule(&self) -> NameRule {
        NameRule::Ip
    }

    fn validate_create(&self, address: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(address).get("spec").get("parentRef"))
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let parent = At::object(new).get("spec").get("parentRef");
        let mut errors = validate(&parent);
        if !semantic_eq(parent.value, at(old, &["spec", "parentRef"])) {
            errors.push(FieldError::invalid_shown(&parent.path, &shown_parent(&parent), IMMUTABLE));
        }
        errors
    }
}

fn shown_parent(parent: &At<'_>) -> String {
    if parent.is_absent() {
        return "null".to_owned();
    }
    shown::fields(&[
        ("Group", shown::text(&parent.get("group"))),
        ("Resource", shown::text(&parent.get("resource"))),
        ("Namespace", shown::text(&parent.get("namespace"))),
        ("Name", shown::text(&parent.get("name"))),
    ])
}

fn validate(parent: &At<'_>) -> Errors {
    if parent.is_absent() {
        return vec![parent.required("")];
    }
    let mut errors = Errors::new();
    let (group, namespace) = (parent.get("group"), parent.get("namespace"));
    if !group.is_empty() {
        errors.extend(group.invalid_each(names::dns1123_subdomain(group.text())));
    }
    errors.extend(segment(&parent.get("resource")));
    errors.extend(segment(&parent.get("name")));
    if !namespace.is_empty() {
        errors.extend(segment(&namespace));
    }
    errors
}

/// Two columns for three cells, as the original has it: the age has no heading.
pub const COLUMNS: &[BuiltIn] =
    &[BuiltIn::name(), BuiltIn::new("ParentRef", "string", "The object that the address belongs to.")];

pub fn row(address: &Value, now: SystemTime) -> Vec<Value> {
    let parent = At::object(at(address, &["spec", "parentRef"]));
    let field = |name: &str| parent.get(name).text();
    let resource = match field("group") {
        "" => field("resource").to_lowercase(),
        group => format!("{}.{group}", field("resource")).to_lowercase(),
    };
    let shown = match (parent.is_absent(), field("namespace")) {
        (true, _) => "<none>".to_owned(),
        (false, "") => format!("{resource}/{}", field("name")),
        (false, namespace) => format!("{resource}/{namespace}/{}", field("name")),
    };
    vec![cells::name(address), shown.into(), ages::of(address, now).into()]
}
