//! The kinds of `apiregistration.k8s.io`: APIService. Stored and served; what serves a group is decided elsewhere.

use std::sync::Arc;
use std::time::SystemTime;

use control_schema::library::Library;
use serde_json::{Value, json};

use super::entry::Group;
use super::{cells, status};
use crate::at::{At, Errors};
use crate::edit::{at, default, existing, list, remove, restore, set, text};
use crate::field::{FieldError, quote};
use crate::kind::{Context, Kind, NameRule, Subresource, Traits};
use crate::table::BuiltIn;
use crate::{ages, names};

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let group = Group {
        library,
        name: "apiregistration.k8s.io",
        package: "io.k8s.kube-aggregator.pkg.apis.apiregistration",
        versions: &["v1"],
    };
    vec![
        group
            .cluster_kind("APIService", "apiservices")
            .category("api-extensions")
            .stored_under("apiregistration.k8s.io/apiservices")
            .subresources(&[Subresource::Status])
            .traits(Traits { json: true, ..Traits::default() })
            .columns(COLUMNS, row)
            .strategy(Strategy)
            .into(),
    ]
}

#[derive(Debug)]
struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn set_defaults(&self, service: &mut Value) {
        if let Some(reference) = existing(service, "spec").and_then(|spec| existing(spec, "service")) {
            default(reference, "port", 443);
        }
    }

    fn prepare_create(&self, service: &mut Value, context: &Context<'_>) {
        remove(service, "status");
        // A group without a service is this server's, and there at once.
        if at(service, &["spec", "service"]).is_null() {
            let condition = json!({"type": "Available", "status": "True", "reason": "Local",
                "message": "Local APIServices are always available",
                "lastTransitionTime": apiclient_core::time::seconds(context.now)});
            set(service, "status", json!({"conditions": [condition]}));
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        if status::is_status(context) {
            restore(new, old, "spec");
            status::keep_metadata(new, old);
        } else {
            restore(new, old, "status");
        }
    }

    fn validate_create(&self, service: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(service))
    }

    fn validate_update(&self, new: &Value, _: &Value, context: &Context<'_>) -> Errors {
        let new = At::object(new);
        if !status::is_status(context) {
            return validate(&new);
        }
        let wrong = |condition: At<'_>| {
            let status = condition.get("status");
            let known = matches!(status.text(), "True" | "False" | "Unknown");
            (!known).then(|| status.not_supported(&["True", "False", "Unknown"]))
        };
        new.get("status").get("conditions").items().filter_map(wrong).collect()
    }
}

fn validate(service: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (name, spec) = (service.get("metadata").get("name"), service.get("spec"));
    let (group, version) = (spec.get("group"), spec.get("version"));
    let wanted = format!("{}.{}", version.text(), group.text());
    if name.text() != wanted && names::path_segment(name.text()).is_empty() {
        errors.push(name.invalid(&format!("must be `spec.version+\".\"+spec.group`: {}", quote(&wanted))));
    }
    if group.is_empty() && version.text() != "v1" {
        errors.push(group.required("only v1 may have an empty group and it better be legacy kube"));
    }
    if !group.is_empty() {
        errors.extend(group.invalid_each(names::dns1123_subdomain(group.text())));
    }
    errors.extend(version.invalid_each(names::dns1035_label(version.text())));
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let priority = spec.get(field);
        if !(1..=most).contains(&priority.int().unwrap_or_default()) {
            errors.push(priority.invalid_int(&format!("must be positive and less than {most}")));
        }
    }
    errors.extend(reference(&spec));
    errors
}

fn reference(spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (service, bundle, insecure) =
        (spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify"));
    if service.is_absent() {
        if !bundle.is_empty() {
            let size = Value::from(format!("{} bytes", decoded_size(bundle.text())));
            let problem = "local APIServices may not have a caBundle";
            errors.push(FieldError::invalid(&bundle.path, &size, problem));
        }
        if insecure.is_true() {
            errors.push(insecure.invalid("local APIServices may not have insecureSkipTLSVerify"));
        }
        return errors;
    }
    for field in ["namespace", "name"] {
        if service.get(field).is_empty() {
            errors.push(service.get(field).required(""));
        }
    }
    let port = service.get("port");
    let problems = names::port_number(port.int().unwrap_or_default());
    if !problems.is_empty() {
        errors.push(port.invalid_int(&format!("port is not valid: {}", problems.join(", "))));
    }
    if insecure.is_true() && !bundle.is_empty() {
        errors.push(insecure.invalid("may not be true if caBundle is present"));
    }
    errors
}

/// How many bytes a text in base64 holds.
fn decoded_size(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Service", "string", "The Service that serves the group, or Local."),
    BuiltIn::new("Available", "string", "Whether it answers."),
    BuiltIn::age(),
];

fn row(service: &Value, now: SystemTime) -> Vec<Value> {
    let reference = At::object(at(service, &["spec", "service"]));
    let served_by = match reference.is_absent() {
        true => "Local".to_owned(),
        false => format!("{}/{}", reference.get("namespace").text(), reference.get("name").text()),
    };
    let conditions = list(service, &["status", "conditions"]);
    let available = conditions.iter().find(|condition| text(condition, &["type"]) == "Available");
    let available = available.map_or_else(
        || "Unknown".to_owned(),
        |condition| match (text(condition, &["status"]), text(condition, &["reason"])) {
            ("True", _) => "True".to_owned(),
            (status, reason) => format!("{status} ({reason})"),
        },
    );
    vec![cells::name(service), served_by.into(), available.into(), ages::of(service, now).into()]
}
