//! RoleBinding and ClusterRoleBinding.

use std::time::SystemTime;

use serde_json::Value;

use super::NAME;
use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{at, default_text, existing, items, text};
use crate::field::FieldError;
use crate::kind::{Context, NameRule};
use crate::table::BuiltIn;
use crate::{names, shown};

#[derive(Debug)]
pub struct Strategy {
    pub namespaced: bool,
}

impl crate::kind::Strategy for Strategy {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn set_defaults(&self, binding: &mut Value) {
        if let Some(role) = existing(binding, "roleRef") {
            default_text(role, "apiGroup", NAME);
        }
        for subject in items(binding, "subjects") {
            if matches!(text(subject, &["kind"]), "User" | "Group") {
                default_text(subject, "apiGroup", NAME);
            }
        }
    }

    fn validate_create(&self, object: &Value, _: &Context<'_>) -> Errors {
        self.validate(object)
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let mut errors = self.validate(new);
        let (role, before) = (At::object(new).get("roleRef"), At::object(old).get("roleRef"));
        if ["apiGroup", "kind", "name"].iter().any(|field| role.get(field).text() != before.get(field).text())
        {
            let role_ref = shown::fields(&[
                ("APIGroup", shown::text(&role.get("apiGroup"))),
                ("Kind", shown::text(&role.get("kind"))),
                ("Name", shown::text(&role.get("name"))),
            ]);
            errors.push(FieldError::invalid_shown(&role.path, &role_ref, "cannot change roleRef"));
        }
        errors
    }
}

impl Strategy {
    fn validate(&self, binding: &Value) -> Errors {
        let mut errors = Errors::new();
        let binding = At::object(binding);
        let role = binding.get("roleRef");
        let (group, kind, name) = (role.get("apiGroup"), role.get("kind"), role.get("name"));
        if group.text() != NAME {
            errors.push(group.not_supported(&[NAME]));
        }
        let kinds: &[&str] = if self.namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
        if !kinds.contains(&kind.text()) {
            errors.push(kind.not_supported(kinds));
        }
        if name.is_empty() {
            errors.push(name.required(""));
        } else {
            errors.extend(name.invalid_each(names::path_segment(name.text())));
        }
        for subject in binding.get("subjects").items() {
            errors.extend(self.subject(&subject));
        }
        errors
    }

    fn subject(&self, subject: &At<'_>) -> Errors {
        let mut errors = Errors::new();
        let (name, group, kind) = (subject.get("name"), subject.get("apiGroup"), subject.get("kind"));
        if name.is_empty() {
            errors.push(name.required(""));
        }
        match kind.text() {
            "ServiceAccount" => {
                if !name.is_empty() {
                    errors.extend(name.invalid_each(names::dns1123_subdomain(name.text())));
                }
                if !group.is_empty() {
                    errors.push(group.not_supported(&[""]));
                }
                if !self.namespaced && subject.get("namespace").is_empty() {
                    errors.push(subject.get("namespace").required(""));
                }
            }
            "User" | "Group" if group.text() != NAME => errors.push(group.not_supported(&[NAME])),
            "User" | "Group" => {}
            _ => errors.push(kind.not_supported(&["ServiceAccount", "User", "Group"])),
        }
        errors
    }
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Role", "string", "The role that is given."),
    BuiltIn::age(),
    BuiltIn::new("Users", "string", "The users who have it.").wide(),
    BuiltIn::new("Groups", "string", "The groups whose members have it.").wide(),
    BuiltIn::new("ServiceAccounts", "string", "The service accounts that have it.").wide(),
];

pub fn cells(binding: &Value, now: SystemTime) -> Vec<Value> {
    let role = At::object(binding).get("roleRef");
    let subjects = |kind: &str| {
        let shown = |subject: At<'_>| match subject.get("kind").text() {
            "ServiceAccount" => format!("{}/{}", subject.get("namespace").text(), subject.get("name").text()),
            _ => subject.get("name").text().to_owned(),
        };
        let all = At::object(binding).get("subjects");
        let own = all.items().filter(|subject| subject.get("kind").text() == kind);
        Value::from(own.map(shown).collect::<Vec<_>>().join(", "))
    };
    vec![
        at(binding, &["metadata", "name"]).clone(),
        format!("{}/{}", role.get("kind").text(), role.get("name").text()).into(),
        ages::of(binding, now).into(),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}
