//! ResourceSlice: devices that a driver offers on a node.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::at::{At, Errors};
use crate::edit::{at, existing, items, remove, set_generation, text};
use crate::field::{FieldError, quote};
use crate::kind::Context;
use crate::kinds::status::count_generation;
use crate::kinds::storage::driver;
use crate::metadata::{immutable, immutable_text};
use crate::names;

const DEVICES: usize = 128;
const POOL: usize = 253;

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn prepare_create(&self, slice: &mut Value, _: &Context<'_>) {
        set_generation(slice, 1);
        drop_disabled(slice);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, _: &Context<'_>) {
        count_generation(new, old, &["spec"]);
        drop_disabled(new);
    }

    fn validate_create(&self, slice: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(slice).get("spec"), None)
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(new).get("spec"), Some(at(old, &["spec"])))
    }

    fn warnings(&self, slice: &Value, _: Option<&Value>) -> Vec<String> {
        let driver = text(slice, &["spec", "driver"]);
        let upper = driver.chars().any(char::is_uppercase);
        let warning = || {
            let shown = quote(driver);
            format!("spec.driver: driver names should be lowercase; {shown} contains uppercase characters")
        };
        upper.then(warning).into_iter().collect()
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.nodeName", "spec.driver"]
    }

    fn unknown_selector(&self, field: &str) -> String {
        format!("field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {field}")
    }

    fn selected(&self, slice: &Value, field: &str) -> String {
        text(slice, &["spec", field.strip_prefix("spec.").unwrap_or(field)]).to_owned()
    }
}

/// A field that is off by default in 1.36.
fn drop_disabled(slice: &mut Value) {
    if let Some(spec) = existing(slice, "spec") {
        items(spec, "devices").for_each(|device| remove(device, "nodeAllocatableResourceMappings"));
    }
}

fn validate(spec: &At<'_>, old: Option<&Value>) -> Errors {
    let mut errors = driver::name(&spec.get("driver"));
    let pool = spec.get("pool");
    errors.extend(pool_name(&pool.get("name")));
    if pool.get("resourceSliceCount").int().unwrap_or_default() <= 0 {
        errors.push(pool.get("resourceSliceCount").invalid_int("must be greater than zero"));
    }
    if pool.get("generation").int().is_some_and(|generation| generation < 0) {
        errors.push(pool.get("generation").invalid("must be greater than or equal to zero"));
    }
    if let Some(old) = old {
        errors.extend(immutable_text(&pool.get("name"), at(old, &["pool", "name"])));
        errors.extend(immutable_text(&spec.get("driver"), at(old, &["driver"])));
        errors.extend(immutable(&spec.get("nodeName"), at(old, &["nodeName"])));
    }
    errors.extend(place(spec));
    errors.extend(devices(&spec.get("devices")));
    errors
}

/// Parts of a name, with `/` between them.
pub fn pool_name(name: &At<'_>) -> Errors {
    if name.is_empty() {
        return vec![name.required("")];
    }
    let mut errors = Errors::new();
    if name.text().len() > POOL {
        errors.push(FieldError::too_long(&name.path, POOL));
    }
    for part in name.text().split('/') {
        let shown = Value::from(part);
        let problems = names::dns1123_subdomain(part).into_iter();
        errors.extend(problems.map(|problem| FieldError::invalid(&name.path, &shown, &problem)));
    }
    errors
}

/// Where the devices are: exactly one of four ways to say it.
fn place(spec: &At<'_>) -> Errors {
    const ONE: &str =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let mut errors = Errors::new();
    let mut set = Vec::new();
    let node = spec.get("nodeName");
    if node.is_absent() {
    } else if node.is_empty() {
        errors.push(node.invalid("must be either unset or set to a non-empty string"));
    } else {
        set.push("`nodeName`");
        errors.extend(node.invalid_each(names::dns1123_subdomain(node.text())));
    }
    let selector = spec.get("nodeSelector");
    if !selector.is_absent() {
        set.push("`nodeSelector`");
        let terms = selector.get("nodeSelectorTerms");
        if terms.len() != 1 {
            errors.push(terms.invalid("must have exactly one node selector term"));
        }
    }
    for (field, shown) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")]
    {
        let flag = spec.get(field);
        match (flag.is_absent(), flag.is_true()) {
            (true, _) => {}
            (false, true) => set.push(shown),
            (false, false) => errors.push(flag.invalid("must be either unset or set to true")),
        }
    }
    match set.len() {
        0 => errors.push(spec.required(ONE)),
        1 => {}
        _ => {
            let shown = Value::from(format!("{{{}}}", set.join(", ")));
            let problem = format!("{ONE}, but multiple fields are set");
            errors.push(FieldError::invalid(&spec.path, &shown, &problem));
        }
    }
    if spec.has("sharedCounters") && spec.has("devices") {
        let problem = "only one of `sharedCounters` or `devices` is allowed";
        errors.push(FieldError::invalid(&spec.path, &Value::from(""), problem));
    }
    errors
}

/// Bytes of an attribute that is a text.
const ATTRIBUTE: usize = 64;

fn devices(devices: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    if devices.len() > DEVICES {
        errors.push(FieldError::too_many(&devices.path, devices.len(), DEVICES));
    }
    let mut seen = BTreeSet::new();
    for device in devices.items() {
        let name = device.get("name");
        errors.extend(name.invalid_each(names::dns1123_label(name.text())));
        for (key, attribute) in device.get("attributes").entries() {
            let values = attribute.entries().filter(|(_, value)| !value.is_absent()).count();
            let path = device.get("attributes").path.key(key);
            let text = attribute.get("string");
            if text.text().len() > ATTRIBUTE {
                errors.push(FieldError::too_long(&path.child("string"), ATTRIBUTE));
            }
            if values != 1 {
                let problem = "exactly one value must be specified";
                errors.push(FieldError::invalid(&path, &Value::from(""), problem));
            }
        }
        if !seen.insert(name.text()) {
            errors.push(FieldError::duplicate(&device.path, &Value::from(name.text())));
        }
    }
    errors
}
