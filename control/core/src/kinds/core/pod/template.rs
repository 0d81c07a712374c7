//! Templates of pods (`PodTemplateSpec`), in the spec of Deployments, Jobs and the like.

use serde_json::Value;

use super::{annotations, defaults, spec};
use crate::at::{At, Errors};
use crate::edit::child;
use crate::metadata;

/// The defaults of a template: those of a pod's spec, its containers and volumes, but not those that only a pod has.
pub fn set_defaults(template: &mut Value) {
    if let Some(spec) = child(template, "spec") {
        defaults::spec(spec);
    }
}

/// What a template must be: labels, annotations and spec. The rules of the kind that holds it (selector, restart policy)
/// are its own.
pub fn validate(template: &At<'_>) -> Errors {
    // Where the original finds annotations, and labels, is without `metadata`.
    let at = |field: &str| At::new(template.get("metadata").get(field).value, template.path.child(field));
    let (labels, notes, own) = (at("labels"), at("annotations"), template.get("spec"));
    let mut errors = metadata::labels(&labels);
    errors.extend(metadata::annotations(&notes));
    errors.extend(annotations::validate(&notes, &own));
    errors.extend(spec::validate(&own, None));
    errors.extend(annotations::match_fields(&At::new(notes.value, notes.path.clone()), &own));
    if !own.get("ephemeralContainers").is_empty() {
        errors.push(
            own.get("ephemeralContainers").forbidden("ephemeral containers not allowed in pod template"),
        );
    }
    errors
}
