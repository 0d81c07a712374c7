//! Nodes.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::pod::scheduling::effect;
use super::{cells, resources};
use crate::at::{At, Errors};
use crate::edit::{at, existing, list, remove, restore, set, text};
use crate::field::{FieldError, Path};
use crate::kind::{Context, NameRule, Strategy};
use crate::kinds::status::is_status;
use crate::table::BuiltIn;
use crate::{ages, cidrs, metadata, names};

#[derive(Debug)]
pub struct Node;

impl Strategy for Node {
    fn set_defaults(&self, object: &mut Value) {
        if let Some(status) = existing(object, "status") {
            resources::round_up(status, "capacity");
            resources::round_up(status, "allocatable");
        }
        if let Some(status) = existing(object, "status")
            && at(status, &["allocatable"]).is_null()
            && at(status, &["capacity"]).is_object()
        {
            let capacity = at(status, &["capacity"]).clone();
            set(status, "allocatable", capacity);
        }
        if let Some(spec) = existing(object, "spec") {
            sync_ranges(spec);
        }
    }

    /// A node may say its status from the start.
    fn prepare_create(&self, object: &mut Value, _context: &Context<'_>) {
        for (part, field) in [("spec", "configSource"), ("status", "config")] {
            if let Some(part) = existing(object, part) {
                remove(part, field);
            }
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        let (kept, part, field) = if is_status(context) {
            ("spec", "status", "config")
        } else {
            ("status", "spec", "configSource")
        };
        restore(new, old, kept);
        if at(old, &[part, field]).is_null()
            && let Some(part) = existing(new, part)
        {
            remove(part, field);
        }
    }

    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        let object = At::object(object);
        let (spec, status) = (object.get("spec"), object.get("status"));
        // The original's path of taints is that of the metadata.
        let taints = At::new(spec.get("taints").value, object.get("metadata").path.child("taints"));
        let mut errors = self::taints(&taints);
        errors.extend(amounts(&status));
        let swap = status.get("nodeInfo").get("swap").get("capacity");
        if swap.int().is_some_and(|capacity| capacity <= 0) {
            let path = object.get("metadata").path.child("nodeSwapStatus").child("capacity");
            errors.push(FieldError::invalid(&path, swap.value, resources::NOT_POSITIVE));
        }
        errors.extend(features(&status.get("declaredFeatures")));
        errors.extend(ranges(&spec.get("podCIDRs")));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let mut errors = Errors::new();
        if !is_status(context) {
            errors.extend(metadata::again(new, false, NameRule::Subdomain));
            errors.extend(self.validate_create(new, context));
        }
        errors.extend(changes(new, old));
        errors
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let spec = At::object(object).get("spec");
        let mut all = Vec::new();
        if spec.has("configSource") {
            all.push("spec.configSource: the feature is removed".to_owned());
        }
        if !spec.get("externalID").text().is_empty() {
            all.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
        }
        for range in spec.get("podCIDRs").items() {
            all.extend(cidrs::warnings(&range.path, range.text()));
        }
        all
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn selected(&self, object: &Value, _field: &str) -> String {
        (at(object, &["spec", "unschedulable"]) == true).to_string()
    }
}

/// `podCIDR` is the first of `podCIDRs`.
fn sync_ranges(spec: &mut Value) {
    let one = text(spec, &["podCIDR"]).to_owned();
    let first = list(spec, &["podCIDRs"]).first().and_then(Value::as_str).map(str::to_owned);
    match first {
        Some(first) if one.is_empty() => set(spec, "podCIDR", first),
        Some(first) if first == one => {}
        _ if !one.is_empty() => set(spec, "podCIDRs", vec![one]),
        _ => {}
    }
}

fn taints(list: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for taint in list.items() {
        let (key, value, what) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        errors.extend(metadata::label_name(&key));
        let wrong = names::label_value(value.text());
        if !wrong.is_empty() {
            errors.push(value.invalid_text(&wrong.join(";")));
        }
        errors.extend(effect(&what));
        if seen.contains(&(key.text(), what.text())) {
            let shown = json!(key.text()).to_string();
            let shown = format!(
                "{{\"Key\":{shown},\"Value\":{},\"Effect\":{},\"TimeAdded\":{}}}",
                json!(value.text()),
                json!(what.text()),
                taint.get("timeAdded").value
            );
            let mut error = FieldError::duplicate_shown(&taint.path, &shown);
            error.message.push_str(": taints must be unique by key and effect pair");
            errors.push(error);
        }
        seen.push((key.text(), what.text()));
    }
    errors
}

fn amounts(status: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for field in ["capacity", "allocatable"] {
        for (name, amount, _) in resources::amounts(&status.get(field)) {
            errors.extend(resources::amount(name, amount, &status.path.child(field).child(name)));
        }
    }
    errors
}

/// Names like `MyFeature/mySubFeature`, sorted.
fn features(list: &At<'_>) -> Errors {
    let segment = |text: &str| {
        text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let mut errors = Errors::new();
    let mut before: Option<&str> = None;
    for feature in list.items() {
        let name = feature.text();
        if name.len() > 253 {
            errors.push(
                feature
                    .invalid(&format!("invalid feature name {name:?}: must be no more than 253 characters")),
            );
        } else if !name.split('/').all(segment) || !name.starts_with(|first: char| first.is_ascii_uppercase())
        {
            errors.push(feature.invalid(&format!(
                "invalid feature name {name:?}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
            )));
        }
        match before {
            Some(before) if before == name => errors.push(feature.duplicate()),
            Some(before) if before > name => {
                errors.push(feature.invalid("list must be sorted alphabetically"));
            }
            _ => {}
        }
        before = Some(name);
    }
    errors
}

fn ranges(list: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for range in list.items() {
        errors.extend(range.invalid_each(cidrs::legacy(range.text())));
    }
    if list.len() > 1
        && let Some((n, wrong)) =
            list.items().enumerate().find(|(_, range)| !cidrs::legacy(range.text()).is_empty())
    {
        let detail = format!(
            "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[{n}]: <nil> (invalid CIDR \
             address: {})",
            wrong.text()
        );
        errors.push(FieldError::internal(&list.path, &detail));
    }
    let is_v6: BTreeSet<bool> = list.items().map(|range| range.text().contains(':')).collect();
    if list.len() > 1 && (list.len() > 2 || is_v6.len() < 2) {
        errors.push(list.invalid("may specify no more than one CIDR for each IP family"));
    }
    errors
}

/// What an update may change, of the node and of its status.
fn changes(new: &Value, old: &Value) -> Errors {
    let object = At::object(new);
    let (spec, status) = (object.get("spec"), object.get("status"));
    let mut errors = amounts(&status);
    errors.extend(features(&status.get("declaredFeatures")));
    let mut seen: Vec<&Value> = Vec::new();
    for address in status.get("addresses").items() {
        if seen.contains(&address.value) {
            let shown = format!(
                "{{\"Type\":{},\"Address\":{}}}",
                json!(address.get("type").text()),
                json!(address.get("address").text())
            );
            errors.push(FieldError::duplicate_shown(&address.path, &shown));
        }
        seen.push(address.value);
    }
    let before = list(old, &["spec", "podCIDRs"]);
    let after = list(new, &["spec", "podCIDRs"]);
    let refuse = |field: &str, what: &str| {
        let detail = format!("node updates may not change {what} except from \"\" to valid");
        FieldError::forbidden(&spec.path.child(field), &detail)
    };
    if !before.is_empty() {
        let changed = if before.len() == after.len() {
            before.iter().zip(after).filter(|(before, after)| before != after).count()
        } else {
            1
        };
        errors.extend((0..changed).map(|_| refuse("podCIDRs", "podCIDR")));
    }
    let provider = text(old, &["spec", "providerID"]);
    if !provider.is_empty() && provider != spec.get("providerID").text() {
        errors.push(refuse("providerID", "providerID"));
    }
    let taints = At::new(spec.get("taints").value, Path::new("metadata").child("taints"));
    errors.extend(self::taints(&taints));
    if spec.get("externalID").text() != text(old, &["spec", "externalID"]) {
        errors.push(spec.get("externalID").forbidden("may not be updated"));
    }
    errors
}

pub const NODE: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Status", "string", "Whether the node is ready, and takes new pods."),
    BuiltIn::new("Roles", "string", "What the node is for, by its labels."),
    BuiltIn::age(),
    BuiltIn::new("Version", "string", "The version of the node's kubelet."),
    BuiltIn::new("Internal-IP", "string", "The node's address for the cluster.").wide(),
    BuiltIn::new("External-IP", "string", "The node's address for others.").wide(),
    BuiltIn::new("OS-Image", "string", "The node's distribution.").wide(),
    BuiltIn::new("Kernel-Version", "string", "The node's kernel and its architecture.").wide(),
    BuiltIn::new("Container-Runtime", "string", "What runs the node's containers.").wide(),
];

pub fn node(object: &Value, now: SystemTime) -> Vec<Value> {
    let ready = list(object, &["status", "conditions"])
        .iter()
        .rfind(|condition| text(condition, &["type"]) == "Ready");
    let mut status = match ready.map(|condition| text(condition, &["status"])) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if at(object, &["spec", "unschedulable"]) == true {
        status.push_str(",SchedulingDisabled");
    }
    let info = |field: &str| match text(object, &["status", "nodeInfo", field]) {
        "" => "<unknown>".to_owned(),
        value => value.to_owned(),
    };
    let mut kernel = info("kernelVersion");
    let architecture = text(object, &["status", "nodeInfo", "architecture"]);
    if !architecture.is_empty() {
        kernel.push_str(&format!(" ({architecture})"));
    }
    vec![
        cells::name(object),
        status.into(),
        roles(object),
        ages::of(object, now).into(),
        text(object, &["status", "nodeInfo", "kubeletVersion"]).into(),
        address(object, "InternalIP"),
        address(object, "ExternalIP"),
        info("osImage").into(),
        kernel.into(),
        info("containerRuntimeVersion").into(),
    ]
}

fn address(node: &Value, kind: &str) -> Value {
    let found = list(node, &["status", "addresses"]).iter().find(|address| text(address, &["type"]) == kind);
    found.map_or_else(|| "<none>".into(), |address| text(address, &["address"]).into())
}

fn roles(node: &Value) -> Value {
    let labels = at(node, &["metadata", "labels"]).as_object().into_iter().flatten();
    let role = |(key, value): (&String, &Value)| match key.strip_prefix("node-role.kubernetes.io/") {
        Some(role) => Some(role.to_owned()),
        None if key == "kubernetes.io/role" => value.as_str().map(str::to_owned),
        None => None,
    };
    let roles: BTreeSet<String> = labels.filter_map(role).filter(|role| !role.is_empty()).collect();
    cells::or_none(&roles.into_iter().collect::<Vec<_>>().join(","))
}
