//! CSIDriver.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::super::cells;
use super::super::status::count_generation;
use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{at, child, default, existing, list, remove, semantic_eq, set, text};
use crate::field::FieldError;
use crate::kind::Context;
use crate::metadata::IMMUTABLE;
use crate::names;
use crate::table::BuiltIn;

/// Seconds that a token must live at least.
const TOKEN: i64 = 600;

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, driver: &mut Value) {
        default(driver, "spec", Map::new());
        let Some(spec) = existing(driver, "spec") else {
            return;
        };
        default(spec, "attachRequired", true);
        for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            default(spec, field, false);
        }
        default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if list(spec, &["volumeLifecycleModes"]).is_empty() {
            set(spec, "volumeLifecycleModes", json!(["Persistent"]));
        }
    }

    fn prepare_create(&self, driver: &mut Value, _: &Context<'_>) {
        drop_disabled(driver, &Value::Null);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, _: &Context<'_>) {
        drop_disabled(new, old);
        count_generation(new, old, &["spec"]);
    }

    fn validate_create(&self, driver: &Value, _: &Context<'_>) -> Errors {
        let driver = At::object(driver);
        validate(&driver.get("spec"))
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let spec = At::object(new).get("spec");
        let mut errors = validate(&spec);
        // The original writes the first field's name so.
        for (field, shown) in
            [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
        {
            if !semantic_eq(spec.get(field).value, at(old, &["spec", field])) {
                errors.push(FieldError::invalid(&spec.path.child(shown), spec.get(field).value, IMMUTABLE));
            }
        }
        errors
    }

    fn warnings(&self, driver: &Value, old: Option<&Value>) -> Vec<String> {
        let tokens = at(driver, &["spec", "tokenRequests"]);
        let changed = old.is_none_or(|old| !semantic_eq(tokens, at(old, &["spec", "tokenRequests"])));
        let has_tokens = !list(driver, &["spec", "tokenRequests"]).is_empty();
        if changed && has_tokens && at(driver, &["spec", "serviceAccountTokenInSecrets"]).is_null() {
            return vec!["spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes".to_owned()];
        }
        Vec::new()
    }
}

/// A field that is off by default: kept only where it was stored already.
fn drop_disabled(driver: &mut Value, old: &Value) {
    const FIELD: &str = "preventPodSchedulingIfMissing";
    if at(old, &["spec", FIELD]).is_null()
        && let Some(spec) = child(driver, "spec")
    {
        remove(spec, FIELD);
    }
}

fn validate(spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (policy, period) = (spec.get("fsGroupPolicy"), spec.get("nodeAllocatableUpdatePeriodSeconds"));
    if !policy.is_absent() && !matches!(policy.text(), "File" | "None" | "ReadWriteOnceWithFSType") {
        errors.push(policy.not_supported(&["File", "None", "ReadWriteOnceWithFSType"]));
    }
    errors.extend(token_requests(&spec.get("tokenRequests")));
    let modes = spec.get("volumeLifecycleModes");
    for mode in modes.items().filter(|mode| !matches!(mode.text(), "Persistent" | "Ephemeral")) {
        let supported = ["Persistent", "Ephemeral"];
        errors.push(FieldError::not_supported(&modes.path, mode.value, &supported));
    }
    if period.int().is_some_and(|seconds| seconds < 10) {
        errors.push(period.invalid("must be greater than or equal to 10 seconds"));
    }
    let in_secrets = spec.get("serviceAccountTokenInSecrets");
    if !in_secrets.is_absent() && spec.get("tokenRequests").is_empty() {
        let problem = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.push(in_secrets.invalid(problem));
    }
    errors
}

fn token_requests(requests: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut audiences = BTreeSet::new();
    for request in requests.items() {
        let (audience, seconds) = (request.get("audience"), request.get("expirationSeconds"));
        if !audiences.insert(audience.text()) {
            errors.push(FieldError::duplicate(&audience.path, &Value::from(audience.text())));
            continue;
        }
        match seconds.int() {
            Some(..TOKEN) => errors.push(seconds.invalid("may not specify a duration less than 10 minutes")),
            Some(long) if long > 1 << 32 => {
                errors.push(seconds.invalid("may not specify a duration larger than 2^32 seconds"));
            }
            _ => {}
        }
    }
    errors
}

/// The name of a driver in another object; case does not matter.
pub fn name(name: &At<'_>) -> Errors {
    if name.is_empty() {
        return vec![name.required("")];
    }
    let mut errors = Errors::new();
    if name.text().len() > 63 {
        errors.push(FieldError::too_long(&name.path, 63));
    }
    errors.extend(name.invalid_each(names::dns1123_subdomain(&name.text().to_lowercase())));
    errors
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("AttachRequired", "boolean", "Whether volumes are attached before they are mounted."),
    BuiltIn::new("PodInfoOnMount", "boolean", "Whether the driver is told about the pod."),
    BuiltIn::new("StorageCapacity", "boolean", "Whether pods wait until there is capacity."),
    BuiltIn::new("TokenRequests", "string", "The audiences of the tokens that the driver gets."),
    BuiltIn::new("RequiresRepublish", "boolean", "Whether the driver is called again and again."),
    BuiltIn::new("Modes", "string", "The kinds of volumes that the driver has."),
    BuiltIn::age(),
];

pub fn row(driver: &Value, now: SystemTime) -> Vec<Value> {
    let spec = |field| at(driver, &["spec", field]);
    let requests = list(driver, &["spec", "tokenRequests"]).iter();
    let audiences: Vec<&str> = requests.map(|request| text(request, &["audience"])).collect();
    let modes = list(driver, &["spec", "volumeLifecycleModes"]).iter().filter_map(Value::as_str);
    let modes: Vec<&str> = modes.collect();
    vec![
        cells::name(driver),
        spec("attachRequired").as_bool().unwrap_or(true).into(),
        cells::flag(driver, &["spec", "podInfoOnMount"]),
        cells::flag(driver, &["spec", "storageCapacity"]),
        if spec("tokenRequests").is_null() { "<unset>".into() } else { audiences.join(",").into() },
        cells::flag(driver, &["spec", "requiresRepublish"]),
        if modes.is_empty() { "<none>".into() } else { modes.join(",").into() },
        ages::of(driver, now).into(),
    ]
}
