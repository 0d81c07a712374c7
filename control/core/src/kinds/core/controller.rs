//! ReplicationControllers and PodTemplates: what holds a template of a pod in the core group.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::cells;
use super::pod::{template, warnings};
use crate::at::{At, Errors};
use crate::edit::{at, default, existing, set, set_generation, text};
use crate::field::FieldError;
use crate::kind::{Context, NameRule, Strategy};
use crate::kinds::status::{self, count_generation, is_status};
use crate::table::BuiltIn;
use crate::{ages, metadata, names};

#[derive(Debug)]
pub struct ReplicationController;

impl Strategy for ReplicationController {
    fn set_defaults(&self, object: &mut Value) {
        let labels = at(object, &["spec", "template", "metadata", "labels"]).clone();
        let Some(spec) = existing(object, "spec") else {
            return;
        };
        default(spec, "replicas", 1);
        if let Some(template) = existing(spec, "template") {
            template::set_defaults(template);
        }
        let empty = |value: &Value| value.as_object().is_none_or(serde_json::Map::is_empty);
        if empty(&labels) {
            return;
        }
        if empty(at(spec, &["selector"])) {
            set(spec, "selector", labels.clone());
        }
        if let Some(metadata) = existing(object, "metadata")
            && empty(at(metadata, &["labels"]))
        {
            set(metadata, "labels", labels);
        }
    }

    fn prepare_create(&self, object: &mut Value, _context: &Context<'_>) {
        status::prepare_create(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        status::prepare_update(new, old, context);
    }

    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        spec(&At::object(object).get("spec"))
    }

    fn validate_update(&self, new: &Value, _old: &Value, context: &Context<'_>) -> Errors {
        let object = At::object(new);
        if is_status(context) { replicas(&object.get("status")) } else { spec(&object.get("spec")) }
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let at = At::object(object);
        let name = at.get("metadata").get("name").text();
        let wrong = names::dns1123_label(name);
        let mut all = Vec::new();
        if old.is_none() && !wrong.is_empty() {
            all.push(format!(
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
                wrong.join(" ")
            ));
        }
        let changed = |old: &Value| crate::edit::generation(old) != crate::edit::generation(object);
        if old.is_none_or(changed) {
            all.extend(warnings::of(&at.get("spec").get("template")));
        }
        all
    }

    fn name_rule(&self) -> NameRule {
        NameRule::LongName
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn selected(&self, object: &Value, _field: &str) -> String {
        at(object, &["status", "replicas"]).as_i64().unwrap_or_default().to_string()
    }
}

fn spec(spec: &At<'_>) -> Errors {
    let (selector, count, template) = (spec.get("selector"), spec.get("replicas"), spec.get("template"));
    let mut errors: Errors = metadata::not_negative(&spec.get("minReadySeconds")).into_iter().collect();
    if selector.is_empty() {
        errors.push(selector.required(""));
    }
    if count.is_absent() {
        errors.push(count.required(""));
    }
    errors.extend(metadata::not_negative(&count));
    if template.is_absent() {
        errors.push(template.required(""));
        return errors;
    }
    let labels = template.get("metadata").get("labels");
    let matches = selector.entries().all(|(key, value)| labels.value.get(key) == Some(value.value));
    if !matches {
        let shown = if labels.is_absent() { json!(null) } else { labels.value.clone() };
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&labels.path, &shown, detail));
    }
    errors.extend(template::validate(&template));
    let restart = template.get("spec").get("restartPolicy");
    if restart.text() != "Always" {
        errors.push(restart.not_supported(&["Always"]));
    }
    let deadline = template.get("spec").get("activeDeadlineSeconds");
    if !deadline.is_absent() {
        errors.push(deadline.forbidden("activeDeadlineSeconds in ReplicationController is not Supported"));
    }
    errors
}

fn replicas(status: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let int = |field: &str| status.get(field).int().unwrap_or_default();
    for field in
        ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"]
    {
        errors.extend(metadata::not_negative(&status.get(field)));
    }
    for field in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        if int(field) > int("replicas") {
            errors.push(status.get(field).invalid("cannot be greater than status.replicas"));
        }
    }
    if int("availableReplicas") > int("readyReplicas") {
        errors.push(status.get("availableReplicas").invalid("cannot be greater than readyReplicas"));
    }
    errors
}

pub const REPLICATION_CONTROLLER: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Desired", "integer", "How many pods there should be."),
    BuiltIn::new("Current", "integer", "How many pods there are."),
    BuiltIn::new("Ready", "integer", "How many of them are ready."),
    BuiltIn::age(),
    BuiltIn::new("Containers", "string", "The names of the template's containers.").wide(),
    BuiltIn::new("Images", "string", "The images of the template's containers.").wide(),
    BuiltIn::new("Selector", "string", "The labels of the pods that are counted.").wide(),
];

pub fn replication_controller(object: &Value, now: SystemTime) -> Vec<Value> {
    let int = |path: &[&str]| -> Value { at(object, path).as_i64().unwrap_or_default().into() };
    let [names, images] = cells::containers(at(object, &["spec", "template", "spec"]));
    vec![
        cells::name(object),
        int(&["spec", "replicas"]),
        int(&["status", "replicas"]),
        int(&["status", "readyReplicas"]),
        ages::of(object, now).into(),
        names,
        images,
        cells::labels(at(object, &["spec", "selector"])),
    ]
}

#[derive(Debug)]
pub struct PodTemplate;

impl Strategy for PodTemplate {
    fn set_defaults(&self, object: &mut Value) {
        if let Some(template) = existing(object, "template") {
            template::set_defaults(template);
        }
    }

    fn prepare_create(&self, object: &mut Value, _context: &Context<'_>) {
        set_generation(object, 1);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, _context: &Context<'_>) {
        count_generation(new, old, &["template"]);
    }

    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        template::validate(&At::object(object).get("template"))
    }

    fn validate_update(&self, new: &Value, _old: &Value, context: &Context<'_>) -> Errors {
        self.validate_create(new, context)
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let changed = |old: &Value| crate::edit::generation(old) != crate::edit::generation(object);
        if old.is_none_or(changed) { warnings::of(&At::object(object).get("template")) } else { Vec::new() }
    }
}

pub const POD_TEMPLATE: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Containers", "string", "The names of the template's containers."),
    BuiltIn::new("Images", "string", "The images of the template's containers."),
    BuiltIn::new("Pod Labels", "string", "The labels of the template."),
];

pub fn pod_template(object: &Value, _now: SystemTime) -> Vec<Value> {
    let [names, images] = cells::containers(at(object, &["template", "spec"]));
    vec![cells::name(object), names, images, cells::labels(at(object, &["template", "metadata", "labels"]))]
}

pub const COMPONENT_STATUS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Status", "string", "Whether the component is healthy."),
    BuiltIn::new("Message", "string", "What the component says of itself."),
    BuiltIn::new("Error", "string", "Why the component could not be asked."),
];

pub fn component_status(object: &Value, _now: SystemTime) -> Vec<Value> {
    let conditions = crate::edit::list(object, &["conditions"]);
    let healthy = conditions.iter().find(|condition| text(condition, &["type"]) == "Healthy");
    let status = match healthy.map(|condition| text(condition, &["status"])) {
        Some("True") => "Healthy",
        Some(_) => "Unhealthy",
        None => "Unknown",
    };
    let said = |field: &str| healthy.map_or("", |condition| text(condition, &[field]));
    vec![cells::name(object), status.into(), said("message").into(), said("error").into()]
}
