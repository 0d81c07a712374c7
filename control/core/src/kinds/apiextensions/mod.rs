//! The kinds of `apiextensions.k8s.io`: CustomResourceDefinition. What a definition must be, and what becomes of it, is
//! decided where definitions are served.

mod former;

use std::sync::Arc;

use control_schema::library::Library;
use serde_json::{Map, Value, json};

use super::entry::Group;
use super::status;
use crate::at::Errors;
use crate::conditions;
use crate::edit::{at, child, default, existing, list, remove, restore, set, set_generation, text};
use crate::kind::{Context, Kind, Subresource, Traits};
use crate::kinds::custom::{self, FINALIZER};

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let group = Group {
        library,
        name: "apiextensions.k8s.io",
        package: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
        versions: &["v1"],
    };
    vec![
        group
            .cluster_kind("CustomResourceDefinition", "customresourcedefinitions")
            .short(&["crd", "crds"])
            .category("api-extensions")
            .stored_under("apiextensions.k8s.io/customresourcedefinitions")
            .subresources(&[Subresource::Status])
            .traits(Traits { json: true, ..Traits::default() })
            .strategy(Strategy)
            .into(),
    ]
}

#[derive(Debug)]
struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn revive(&self, object: Value, api_version: &str) -> Option<Value> {
        (api_version == former::VERSION).then(|| former::revive(object))
    }

    fn set_defaults(&self, definition: &mut Value) {
        let versions = list(definition, &["spec", "versions"]);
        let stored = versions.iter().find(|version| at(version, &["storage"]).as_bool().unwrap_or_default());
        let stored = stored.map(|version| text(version, &["name"]).to_owned());
        let Some(spec) = existing(definition, "spec") else {
            return;
        };
        if let Some(names) = child(spec, "names") {
            let kind = text(names, &["kind"]).to_owned();
            if text(names, &["singular"]).is_empty() && !kind.is_empty() {
                set(names, "singular", kind.to_lowercase());
            }
            if text(names, &["listKind"]).is_empty() && !kind.is_empty() {
                set(names, "listKind", format!("{kind}List"));
            }
        }
        default(spec, "conversion", json!({"strategy": "None"}));
        if let Some(conversion) = existing(spec, "conversion") {
            let webhook = existing(conversion, "webhook").and_then(|hook| existing(hook, "clientConfig"));
            if let Some(service) = webhook.and_then(|config| existing(config, "service")) {
                default(service, "port", 443);
            }
        }
        // A definition that was never stored has the version that it is stored in.
        if list(definition, &["status", "storedVersions"]).is_empty()
            && let Some(stored) = stored
            && let Some(status) = child(definition, "status")
        {
            set(status, "storedVersions", json!([stored]));
        }
    }

    fn prepare_create(&self, definition: &mut Value, _: &Context<'_>) {
        remove(definition, "status");
        set_generation(definition, 1);
        let versions = list(definition, &["spec", "versions"]);
        let stored =
            versions.iter().filter(|version| at(version, &["storage"]).as_bool().unwrap_or_default());
        let stored: Vec<String> = stored.map(|version| text(version, &["name"]).to_owned()).collect();
        set(definition, "status", json!({ "storedVersions": stored }));
    }

    fn validate_create(&self, definition: &Value, _: &Context<'_>) -> Errors {
        custom::validate(definition)
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        match status::is_status(context) {
            true => custom::validate_status(new),
            false => custom::validate_update(new, old),
        }
    }

    /// The first time; from then on the finalizer does, until all objects of the kind are gone.
    fn holds_deletion(&self, definition: &Value) -> bool {
        text(definition, &["metadata", "deletionTimestamp"]).is_empty()
    }

    fn mark_deletion(&self, definition: &mut Value) {
        let now = text(definition, &["metadata", "deletionTimestamp"]).to_owned();
        let mut finalizers = list(definition, &["metadata", "finalizers"]).to_vec();
        if finalizers.iter().all(|finalizer| finalizer != FINALIZER) {
            finalizers.push(FINALIZER.into());
        }
        if let Some(metadata) = child(definition, "metadata") {
            set(metadata, "finalizers", finalizers);
        }
        if let Some(status) = child(definition, "status") {
            let message =
                "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
            conditions::set(status, "Terminating", "True", "InstanceDeletionPending", message, &now);
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        if status::is_status(context) {
            restore(new, old, "spec");
            status::keep_metadata(new, old);
            return;
        }
        restore(new, old, "status");
        status::count_exact_generation(new, old, &["spec"]);
        // A version that objects will be stored in from now on is remembered.
        let versions = list(new, &["spec", "versions"]);
        let stored =
            versions.iter().filter(|version| at(version, &["storage"]).as_bool().unwrap_or_default());
        // The first is the one; that there are others is refused.
        let stored: Vec<String> = stored.take(1).map(|version| text(version, &["name"]).to_owned()).collect();
        default(new, "status", Map::new());
        if let Some(status) = child(new, "status") {
            let mut known = list(status, &["storedVersions"]).to_vec();
            for version in stored.into_iter().map(Value::from) {
                if !known.contains(&version) {
                    known.push(version);
                }
            }
            set(status, "storedVersions", known);
        }
    }
}
