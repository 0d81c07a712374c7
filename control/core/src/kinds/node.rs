//! The kinds of `node.k8s.io`: RuntimeClass.

use std::sync::Arc;
use std::time::SystemTime;

use control_schema::library::Library;
use serde_json::Value;

use super::cells;
use super::core::pod::{scheduling, warnings};
use super::core::resources;
use super::entry::Group;
use crate::ages;
use crate::at::{At, Errors};
use crate::edit::at;
use crate::field::FieldError;
use crate::kind::{Context, Kind, Traits};
use crate::metadata::{self, immutable_text};
use crate::table::BuiltIn;
use crate::{names, shown};

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let node = Group { library, name: "node.k8s.io", package: "io.k8s.api.node", versions: &["v1"] };
    let traits = Traits { create_on_update: true, ..Traits::default() };
    vec![
        node.cluster_kind("RuntimeClass", "runtimeclasses")
            .traits(traits)
            .columns(COLUMNS, row)
            .strategy(Strategy)
            .into(),
    ]
}

#[derive(Debug)]
struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn validate_create(&self, class: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(class))
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let new = At::object(new);
        let mut errors = validate(&new);
        errors.extend(immutable_text(&new.get("handler"), at(old, &["handler"])));
        errors
    }

    fn warnings(&self, class: &Value, _: Option<&Value>) -> Vec<String> {
        let selector = At::object(class).get("scheduling").get("nodeSelector");
        let warn = |(key, _): (&str, At<'_>)| {
            warnings::old_label(key).map(|advice| format!("{}: {advice}", selector.path))
        };
        selector.entries().filter_map(warn).collect()
    }
}

fn validate(class: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (handler, overhead, place) = (class.get("handler"), class.get("overhead"), class.get("scheduling"));
    if handler.is_empty() {
        errors.push(handler.required(""));
    } else {
        errors.extend(handler.invalid_each(names::dns1123_label(handler.text())));
    }
    // The original validates the overhead as limits of a container, and names it so.
    let limits = At::new(overhead.get("podFixed").value, overhead.path.child("limits"));
    for (name, amount, path) in resources::amounts(&limits) {
        errors.extend(resources::container_name(name, &path));
        errors.extend(resources::amount(name, amount, &path));
    }
    errors.extend(metadata::labels(&place.get("nodeSelector")));
    errors.extend(scheduling::tolerations(&place.get("tolerations")));
    errors.extend(duplicates(&place.get("tolerations")));
    errors
}

fn duplicates(tolerations: &At<'_>) -> Errors {
    let mut seen = Vec::new();
    let mut errors = Errors::new();
    for toleration in tolerations.items() {
        let key = ["key", "operator", "value", "effect"].map(|field| toleration.get(field).text());
        if seen.contains(&key) {
            let shown = shown::fields(&[
                ("Key", shown::text(&toleration.get("key"))),
                ("Operator", shown::text(&toleration.get("operator"))),
                ("Value", shown::text(&toleration.get("value"))),
                ("Effect", shown::text(&toleration.get("effect"))),
                ("TolerationSeconds", shown::any(&toleration.get("tolerationSeconds"))),
            ]);
            errors.push(FieldError::duplicate_shown(&toleration.path, &shown));
        }
        seen.push(key);
    }
    errors
}

const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Handler", "string", "The runtime's name for the class."),
    BuiltIn::age(),
];

fn row(class: &Value, now: SystemTime) -> Vec<Value> {
    vec![cells::name(class), cells::text_or(class, &["handler"], ""), ages::of(class, now).into()]
}
