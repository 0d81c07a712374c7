//! IngressClass.

use std::time::SystemTime;

use serde_json::Value;

use super::super::cells;
use super::super::status::count_generation;
use crate::at::{At, Errors};
use crate::edit::{at, default, existing, set_generation, text};
use crate::field::FieldError;
use crate::kind::Context;
use crate::metadata::immutable_text;
use crate::table::BuiltIn;
use crate::{ages, domains, names};

/// Bytes of the controller's name.
const CONTROLLER: usize = 250;

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, class: &mut Value) {
        if let Some(parameters) = existing(class, "spec").and_then(|spec| existing(spec, "parameters")) {
            default(parameters, "scope", "Cluster");
        }
    }

    fn prepare_create(&self, class: &mut Value, _: &Context<'_>) {
        set_generation(class, 1);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, _: &Context<'_>) {
        count_generation(new, old, &["spec"]);
    }

    fn validate_create(&self, class: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(class).get("spec"))
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let spec = At::object(new).get("spec");
        let changed = immutable_text(&spec.get("controller"), at(old, &["spec", "controller"]));
        changed.into_iter().chain(validate(&spec)).collect()
    }
}

fn validate(spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let controller = spec.get("controller");
    if controller.text().len() > CONTROLLER {
        errors.push(FieldError::too_long(&controller.path, CONTROLLER));
    }
    errors.extend(domains::with_path(&controller));
    if spec.has("parameters") {
        errors.extend(parameters(&spec.get("parameters")));
    }
    errors
}

fn parameters(parameters: &At<'_>) -> Errors {
    let mut errors = super::backend::reference(parameters);
    let (scope, namespace) = (parameters.get("scope"), parameters.get("namespace"));
    match scope.text() {
        "" if scope.is_absent() => errors.push(scope.required("")),
        "Namespace" if namespace.is_absent() => {
            errors.push(namespace.required("`parameters.scope` is set to 'Namespace'"));
        }
        "Namespace" => errors.extend(namespace.invalid_each(names::dns1123_label(namespace.text()))),
        "Cluster" if !namespace.is_absent() => {
            errors.push(namespace.forbidden("`parameters.scope` is set to 'Cluster'"));
        }
        "Cluster" => {}
        _ => errors.push(scope.not_supported(&["Cluster", "Namespace"])),
    }
    errors
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Controller", "string", "The controller that serves the class."),
    BuiltIn::new("Parameters", "string", "The object with the class's parameters."),
    BuiltIn::age(),
];

pub fn row(class: &Value, now: SystemTime) -> Vec<Value> {
    let parameters = At::object(at(class, &["spec", "parameters"]));
    let (kind, name) = (parameters.get("kind"), parameters.get("name"));
    let shown = match (parameters.is_absent(), parameters.get("apiGroup").value.as_str()) {
        (true, _) => "<none>".to_owned(),
        (false, None) => format!("{}/{}", kind.text(), name.text()),
        (false, Some(group)) => format!("{}.{group}/{}", kind.text(), name.text()),
    };
    vec![
        cells::default_name(class, text(class, &["metadata", "annotations", DEFAULT]) == "true"),
        cells::text_or(class, &["spec", "controller"], ""),
        shown.into(),
        ages::of(class, now).into(),
    ]
}

/// The annotation of the class that Ingresses without a class get.
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
