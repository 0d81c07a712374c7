//! Templates of pods (`PodTemplateSpec`), in the spec of Deployments, Jobs and the like.

use serde_json::Value;

use crate::at::{At, Errors};

/// The defaults of a template: those of a pod's spec, its containers and volumes, but not those that only a pod has.
pub fn set_defaults(_template: &mut Value) {}

/// What a template must be: labels, annotations and spec. The rules of the kind that holds it (selector, restart policy)
/// are its own.
pub fn validate(_template: &At<'_>) -> Errors {
    Errors::new()
}
