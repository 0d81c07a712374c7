//! What creating and changing a request means: it carries who asked, and only its status ever changes.

use std::time::SystemTime;

use apiclient_core::time;
use serde_json::{Map, Value, json};

use super::validation::{self, May};
use crate::at::{At, Errors};
use crate::edit::{at, child, default, items, list, remove, restore, set, text};
use crate::kind::{Context, NameRule, Subresource};

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn prepare_create(&self, request: &mut Value, context: &Context<'_>) {
        remove(request, "status");
        let Some(spec) = child(request, "spec") else {
            return;
        };
        for field in ["username", "uid", "groups", "extra"] {
            remove(spec, field);
        }
        let user = context.user;
        for (field, value) in [("username", &user.name), ("uid", &user.uid)] {
            if !value.is_empty() {
                set(spec, field, value.as_str());
            }
        }
        if !user.groups.is_empty() {
            set(spec, "groups", user.groups.clone());
        }
        if !user.extra.is_empty() {
            let extra: Map<String, Value> =
                user.extra.iter().map(|(key, values)| (key.clone(), values.clone().into())).collect();
            set(spec, "extra", extra);
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        restore(new, old, "spec");
        match context.subresource {
            Some(Subresource::Status) => {
                for decision in ["Approved", "Denied"] {
                    keep_conditions(new, old, decision);
                }
                stamp_conditions(new, old, context.now);
            }
            Some(Subresource::Approval) => {
                stamp_conditions(new, old, context.now);
                let conditions = at(new, &["status", "conditions"]).clone();
                restore(new, old, "status");
                if let Some(status) = child(new, "status") {
                    match conditions {
                        Value::Null => remove(status, "conditions"),
                        conditions => set(status, "conditions", conditions),
                    }
                }
            }
            _ => restore(new, old, "status"),
        }
    }

    fn validate_create(&self, request: &Value, _: &Context<'_>) -> Errors {
        validation::validate(&At::object(request), &Value::Null)
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let may = match context.subresource {
            Some(Subresource::Status) => May::Certify,
            Some(Subresource::Approval) => May::Decide,
            _ => May::Neither,
        };
        validation::validate_update(&At::object(new), old, may)
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }

    fn selected(&self, request: &Value, _: &str) -> String {
        text(request, &["spec", "signerName"]).to_owned()
    }
}

/// A decision that is there already stays as it is: a signer may not rewrite it.
fn keep_conditions(new: &mut Value, old: &Value, kind: &str) {
    let is = |condition: &&Value| text(condition, &["type"]) == kind;
    let before: Vec<Value> = list(old, &["status", "conditions"]).iter().filter(is).cloned().collect();
    if list(new, &["status", "conditions"]).iter().filter(is).count() != before.len() {
        return;
    }
    let Some(status) = child(new, "status") else {
        return;
    };
    let own = items(status, "conditions").filter(|condition| text(condition, &["type"]) == kind);
    for (condition, before) in own.zip(before) {
        *condition = before;
    }
}

/// Conditions get the time of now, those that were there keep the time of their transition.
fn stamp_conditions(new: &mut Value, old: &Value, now: SystemTime) {
    let now = json!(time::seconds(now));
    let Some(status) = child(new, "status") else {
        return;
    };
    for condition in items(status, "conditions") {
        default(condition, "lastUpdateTime", now.clone());
        let same = |other: &&Value| {
            ["type", "status"].iter().all(|field| at(other, &[field]) == at(condition, &[field]))
                && !at(other, &["lastTransitionTime"]).is_null()
        };
        let before = list(old, &["status", "conditions"]).iter().find(same);
        let transition =
            before.map_or_else(|| now.clone(), |before| at(before, &["lastTransitionTime"]).clone());
        default(condition, "lastTransitionTime", transition);
    }
}
