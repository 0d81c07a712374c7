//! Namespaces, and the ServiceAccounts in them.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::cells;
use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{at, child, default, default_text, list, restore, set, text};
use crate::kind::{Context, NameRule, Strategy, Subresource};
use crate::kinds::status::is_status;
use crate::metadata;
use crate::names;
use crate::table::BuiltIn;

/// The finalizer that goes when everything in the namespace is gone.
pub const FINALIZER: &str = "kubernetes";

/// The label that has the namespace's own name.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

#[derive(Debug)]
pub struct Namespace;

impl Strategy for Namespace {
    fn set_defaults(&self, object: &mut Value) {
        if let Some(status) = child(object, "status") {
            default_text(status, "phase", "Active");
        }
        self.canonicalize(object);
    }

    fn prepare_create(&self, object: &mut Value, _context: &Context<'_>) {
        set(object, "status", json!({"phase": "Active"}));
        if let Some(spec) = child(object, "spec") {
            default(spec, "finalizers", Vec::<Value>::new());
            if let Some(Value::Array(finalizers)) = child(spec, "finalizers")
                && !finalizers.iter().any(|name| name == FINALIZER)
            {
                finalizers.push(FINALIZER.into());
            }
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        match context.subresource {
            Some(Subresource::Status) => restore(new, old, "spec"),
            Some(Subresource::Finalize) => restore(new, old, "status"),
            _ => {
                restore(new, old, "spec");
                restore(new, old, "status");
            }
        }
    }

    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        let finalizers = At::object(object).get("spec").get("finalizers");
        // The original's path here is that of the list.
        finalizers.items().flat_map(|name| finalizer(&At::new(name.value, finalizers.path.clone()))).collect()
    }

    fn validate_update(&self, new: &Value, _old: &Value, context: &Context<'_>) -> Errors {
        let object = At::object(new);
        if is_status(context) {
            return phase(&object).into_iter().collect();
        }
        if context.subresource == Some(Subresource::Finalize) {
            return object.get("spec").get("finalizers").items().flat_map(|name| finalizer(&name)).collect();
        }
        let mut errors = metadata::again(new, false, NameRule::Label);
        errors.extend(self.validate_create(new, context));
        errors
    }

    /// A name that was made from `generateName` is not known before.
    fn canonicalize(&self, object: &mut Value) {
        let name = text(object, &["metadata", "name"]).to_owned();
        if !name.is_empty()
            && let Some(metadata) = child(object, "metadata")
            && let Some(labels) = child(metadata, "labels")
        {
            set(labels, NAME_LABEL, name);
        }
    }

    fn holds_deletion(&self, object: &Value) -> bool {
        !list(object, &["spec", "finalizers"]).is_empty()
    }

    fn mark_deletion(&self, object: &mut Value) {
        if let Some(status) = child(object, "status") {
            set(status, "phase", "Terminating");
        }
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["status.phase"]
    }

    fn selected(&self, object: &Value, _field: &str) -> String {
        text(object, &["status", "phase"]).to_owned()
    }
}

fn finalizer(name: &At<'_>) -> Errors {
    let mut errors: Errors = name.invalid_each(names::qualified(name.text())).collect();
    errors.extend(metadata::legacy_finalizer(name.text(), &name.path));
    errors
}

fn phase(object: &At<'_>) -> Option<crate::field::FieldError> {
    let phase = object.get("status").get("phase");
    // The original's path is in capitals.
    let shown = At::new(phase.value, object.get("status").path.child("Phase"));
    match (object.get("metadata").has("deletionTimestamp"), phase.text()) {
        (false, "Active") | (true, "Terminating") => None,
        (false, _) => Some(shown.invalid_text("may only be 'Active' if `deletionTimestamp` is empty")),
        (true, _) => {
            Some(shown.invalid_text("may only be 'Terminating' if `deletionTimestamp` is not empty"))
        }
    }
}

pub const NAMESPACE: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Status", "string", "Whether the namespace is in use or on its way out."),
    BuiltIn::age(),
];

pub fn namespace(object: &Value, now: SystemTime) -> Vec<Value> {
    vec![cells::name(object), text(object, &["status", "phase"]).into(), ages::of(object, now).into()]
}

#[derive(Debug)]
pub struct ServiceAccount;

const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

impl Strategy for ServiceAccount {
    fn prepare_create(&self, object: &mut Value, _context: &Context<'_>) {
        only_names(object);
    }

    fn prepare_update(&self, new: &mut Value, _old: &Value, _context: &Context<'_>) {
        only_names(new);
    }

    fn validate_update(&self, new: &Value, _old: &Value, _context: &Context<'_>) -> Errors {
        metadata::again(new, true, NameRule::Subdomain)
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let has = |object: &Value| !at(object, &["metadata", "annotations", ENFORCE]).is_null();
        if !has(object) || old.is_some_and(has) {
            return Vec::new();
        }
        vec![format!(
            "metadata.annotations[{ENFORCE}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )]
    }
}

/// References to secrets keep their names only.
fn only_names(object: &mut Value) {
    let secrets: Vec<Value> = list(object, &["secrets"])
        .iter()
        .map(|secret| match secret.get("name") {
            Some(name) => json!({"name": name}),
            None => json!({}),
        })
        .collect();
    if !secrets.is_empty() {
        set(object, "secrets", secrets);
    }
}

pub const SERVICE_ACCOUNT: &[BuiltIn] = &[BuiltIn::name(), BuiltIn::age()];

pub fn service_account(object: &Value, now: SystemTime) -> Vec<Value> {
    vec![cells::name(object), ages::of(object, now).into()]
}
