//! Pods, and the templates of pods that other kinds hold.
//!
//! Begin at [`Pod`] for pods, at [`template`] for templates. Each subject of the spec has a module of its own, with its
//! checks in the original's words; [`spec`] calls them in the original's order.

use serde_json::{Value, json};

use crate::at::{At, Errors};
use crate::edit::{at, child, default_text, existing, list, remove, restore, text};
use crate::field::{FieldError, Path};
use crate::kind::Subresource::{
    Attach, Binding, EphemeralContainers, Eviction, Exec, Log, PortForward, Proxy, Resize, Status,
};
use crate::kind::{Context, NameRule, Strategy};
use crate::kinds::status::count_generation;
use crate::{metadata, names};

mod affinity;
mod annotations;
mod containers;
pub mod defaults;
mod dns;
mod env;
mod mounts;
mod os;
mod paths;
pub mod prepare;
mod probes;
mod projected;
pub mod requests;
mod resize;
pub mod scheduling;
mod security;
mod sources;
mod spec;
mod spread;
mod status;
pub mod table;
pub mod template;
mod update;
pub mod volumes;
pub mod warnings;

pub use affinity::node_selector;
pub use probes::port as port_number_or_name;
pub use sources::common as common_source;
pub use update::equal as same_spec;

pub const SUBRESOURCES: &[crate::kind::Subresource] =
    &[Attach, Binding, EphemeralContainers, Eviction, Exec, Log, PortForward, Proxy, Resize, Status];

#[derive(Debug)]
pub struct Pod;

impl Strategy for Pod {
    fn set_defaults(&self, object: &mut Value) {
        defaults::pod(object);
        if let Some(status) = existing(object, "status") {
            status::sync_addresses(status);
        }
    }

    fn prepare_create(&self, object: &mut Value, context: &Context<'_>) {
        crate::edit::set_generation(object, 1);
        prepare::create(object, context.now);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        match context.subresource {
            Some(Status) => {
                restore(new, old, "spec");
                if let Some(metadata) = child(new, "metadata") {
                    remove(metadata, "deletionTimestamp");
                    restore(metadata, at(old, &["metadata"]), "ownerReferences");
                }
                if let Some(status) = child(new, "status") {
                    default_text(status, "qosClass", text(old, &["status", "qosClass"]));
                }
                status::keep_generations(new, old);
                return;
            }
            Some(EphemeralContainers) => {
                let given = at(new, &["spec"]).clone();
                restore(new, old, "spec");
                if let Some(spec) = child(new, "spec") {
                    restore(spec, &given, "ephemeralContainers");
                }
                restore(new, old, "status");
                keep_metadata(new, old);
            }
            Some(Resize) => resize::only_resources(new, old),
            _ => restore(new, old, "status"),
        }
        count_generation(new, old, &["spec"]);
    }

    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        let at = At::object(object);
        let spec = at.get("spec");
        let mut errors = update::whole(object);
        let (ephemeral, node) = (spec.get("ephemeralContainers"), spec.get("nodeName"));
        if !ephemeral.is_empty() {
            errors.push(ephemeral.forbidden("cannot be set on create"));
        }
        if !node.text().is_empty() && !spec.get("schedulingGates").is_empty() {
            errors.push(node.forbidden("cannot be set until all schedulingGates have been cleared"));
        }
        errors.extend(annotations::match_fields(&at.get("metadata").get("annotations"), &spec));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let annotations = At::object(new).get("metadata").get("annotations");
        let before = at(old, &["metadata", "annotations"]);
        let changed = || {
            let mut errors = annotations::validate_update(&annotations, before);
            errors.extend(annotations::validate(&annotations, &At::object(new).get("spec")));
            errors
        };
        if context.subresource == Some(Status) {
            let mut errors = changed();
            errors.extend(status::validate(new, old));
            return errors;
        }
        let mut errors = metadata::again(new, true, NameRule::Subdomain);
        errors.extend(update::whole(new));
        match context.subresource {
            Some(EphemeralContainers) => {
                errors.extend(changed());
                errors.extend(update::ephemeral(new, old));
            }
            Some(Resize) => errors.extend(resize::validate(new, old)),
            _ => {
                errors.extend(changed());
                errors.extend(update::validate(new, old));
            }
        }
        errors
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        if old.is_none() {
            return warnings::of_pod(object);
        }
        let mut all = Vec::new();
        for addresses in ["podIPs", "hostIPs"] {
            for address in At::object(object).get("status").get(addresses).items() {
                let ip = address.get("ip");
                all.extend(names::ip_warnings(&ip.path, ip.text()));
            }
        }
        all
    }

    fn row_conditions(&self, object: &Value) -> Vec<Value> {
        let (reason, message) = match text(object, &["status", "phase"]) {
            "Succeeded" => ("Succeeded", "The pod has completed successfully."),
            "Failed" => ("Failed", "The pod failed."),
            _ => return Vec::new(),
        };
        vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
    }

    fn name_rule(&self) -> NameRule {
        spec::NAME
    }

    fn selectable(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    fn selected(&self, object: &Value, field: &str) -> String {
        match field {
            "spec.hostNetwork" => (at(object, &["spec", "hostNetwork"]) == true).to_string(),
            "status.podIP" | "status.podIPs" => list(object, &["status", "podIPs"])
                .first()
                .map_or("", |first| text(first, &["ip"]))
                .to_owned(),
            _ => text(object, &field.split('.').collect::<Vec<_>>()).to_owned(),
        }
    }

    /// Pods that run nowhere, or have ended, go at once.
    fn grace_period(&self, object: &Value, asked: Option<i64>) -> i64 {
        let own = at(object, &["spec", "terminationGracePeriodSeconds"]).as_i64().unwrap_or_default();
        let ended = matches!(text(object, &["status", "phase"]), "Failed" | "Succeeded");
        match asked.unwrap_or(own) {
            _ if ended || text(object, &["spec", "nodeName"]).is_empty() => 0,
            ..0 => 1,
            seconds => seconds,
        }
    }
}

/// A subresource of the spec changes nothing of the metadata (`ResetObjectMetaForStatus`).
fn keep_metadata(new: &mut Value, old: &Value) {
    if let Some(metadata) = child(new, "metadata") {
        for field in
            ["deletionTimestamp", "generation", "labels", "annotations", "finalizers", "ownerReferences"]
        {
            restore(metadata, at(old, &["metadata"]), field);
        }
    }
}

/// What a Binding must say (`ValidatePodBinding`).
pub fn validate_binding(binding: &Value) -> Errors {
    let target = At::object(binding).get("target");
    let (kind, name) = (target.get("kind"), target.get("name"));
    let mut errors = Errors::new();
    if !matches!(kind.text(), "" | "Node") {
        let path = Path::new("target").child("kind");
        errors.push(FieldError::not_supported(&path, kind.value, &["Node", "<empty>"]));
    }
    if name.text().is_empty() {
        errors.push(name.required(""));
    }
    errors
}
