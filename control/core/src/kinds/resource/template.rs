//! ResourceClaimTemplate.

use serde_json::{Map, Value};

use super::request;
use crate::at::{At, Errors};
use crate::edit::{at, child, default, existing};
use crate::internal;
use crate::kind::Context;
use crate::metadata;

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, template: &mut Value) {
        default(template, "spec", Map::new());
        if let Some(spec) = existing(template, "spec").and_then(|spec| child(spec, "spec")) {
            request::set_defaults(spec);
        }
    }

    fn validate_create(&self, template: &Value, _: &Context<'_>) -> Errors {
        let spec = At::object(template).get("spec");
        let mut errors = metadata::annotations(&spec.get("metadata").get("annotations"));
        errors.extend(metadata::labels(&spec.get("metadata").get("labels")));
        errors.extend(request::validate(&spec.get("spec")));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let mut errors = self.validate_create(new, context);
        let (spec, before) = (At::object(new).get("spec"), at(old, &["spec"]));
        errors.extend(internal::immutable(&spec, before, "resource.ResourceClaimTemplateSpec", false));
        errors
    }
}
