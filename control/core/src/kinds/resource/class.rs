//! DeviceClass.

use serde_json::Value;

use super::configuration::{self, names, selectors};
use crate::at::{At, Errors};
use crate::edit::set_generation;
use crate::kind::Context;
use crate::kinds::core::resources;
use crate::kinds::status::count_generation;

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn prepare_create(&self, class: &mut Value, _: &Context<'_>) {
        set_generation(class, 1);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, _: &Context<'_>) {
        count_generation(new, old, &["spec"]);
    }

    fn validate_create(&self, class: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(class).get("spec"))
    }

    fn validate_update(&self, new: &Value, _: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(new).get("spec"))
    }
}

fn validate(spec: &At<'_>) -> Errors {
    let mut errors = selectors(&spec.get("selectors"));
    errors.extend(configuration::all(&spec.get("config"), &names(&At::object(&Value::Null)), false));
    let extended = spec.get("extendedResourceName");
    if !extended.is_absent() && !resources::is_extended(extended.text()) {
        errors.push(extended.invalid("must be a valid extended resource name"));
    }
    errors
}
