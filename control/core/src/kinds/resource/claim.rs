//! ResourceClaim.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::configuration::{MOST, at_most, names, reference};
use super::{device_status, request};
use crate::at::{At, Errors};
use crate::edit::{at, default, existing, list, remove, restore, semantic_eq, set, text};
use crate::field::FieldError;
use crate::internal;
use crate::kind::Context;
use crate::kinds::status;
use crate::kinds::storage::driver;

const CONSUMERS: usize = 256;

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, claim: &mut Value) {
        default(claim, "spec", Map::new());
        if let Some(spec) = existing(claim, "spec") {
            request::set_defaults(spec);
        }
    }

    fn prepare_create(&self, claim: &mut Value, _: &Context<'_>) {
        remove(claim, "status");
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        if status::is_status(context) {
            restore(new, old, "spec");
            status::keep_metadata(new, old);
            drop_deallocated(new, old);
        } else {
            restore(new, old, "status");
        }
    }

    fn validate_create(&self, claim: &Value, _: &Context<'_>) -> Errors {
        request::validate(&At::object(claim).get("spec"))
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let claim = At::object(new);
        if status::is_status(context) {
            return validate_status(&claim, old);
        }
        let (spec, before) = (claim.get("spec"), at(old, &["spec"]));
        internal::immutable(&spec, before, "resource.ResourceClaimSpec", false).into_iter().collect()
    }
}

/// A device by its driver, pool, name and share.
fn device(of: &Value) -> [&str; 4] {
    ["driver", "pool", "device", "shareID"].map(|field| text(of, &[field]))
}

/// What is reported of a device goes when the claim loses it.
fn drop_deallocated(new: &mut Value, old: &Value) {
    const RESULTS: [&str; 4] = ["status", "allocation", "devices", "results"];
    let now: Vec<[String; 4]> =
        list(new, &RESULTS).iter().map(|one| device(one).map(str::to_owned)).collect();
    let held = |own: &Value| now.iter().any(|now| now.each_ref().map(String::as_str) == device(own));
    let lost: Vec<&Value> = list(old, &RESULTS).iter().filter(|own| !held(own)).collect();
    let kept = |own: &&Value| !lost.iter().any(|lost| device(lost) == device(own));
    let devices: Vec<Value> = list(new, &["status", "devices"]).iter().filter(kept).cloned().collect();
    if let Some(status) = existing(new, "status") {
        if devices.is_empty() {
            remove(status, "devices");
        } else {
            set(status, "devices", devices);
        }
    }
}

fn validate_status(claim: &At<'_>, old: &Value) -> Errors {
    let status = claim.get("status");
    let (reserved, allocation) = (status.get("reservedFor"), status.get("allocation"));
    let mut errors: Errors = at_most(&reserved, CONSUMERS).into_iter().collect();
    let mut seen = BTreeSet::new();
    for consumer in reserved.items() {
        for field in ["resource", "name", "uid"] {
            if consumer.get(field).is_empty() {
                errors.push(consumer.get(field).required(""));
            }
        }
        let uid = consumer.get("uid").text();
        if !seen.insert(uid) {
            errors.push(FieldError::duplicate(&consumer.path, &Value::from(uid)));
        }
    }
    errors.extend(device_status::validate(&status));
    if !reserved.is_empty() && allocation.is_absent() {
        errors.push(reserved.forbidden("may not be specified when `allocated` is not set"));
    } else if claim.get("metadata").has("deletionTimestamp") {
        let before = list(old, &["status", "reservedFor"]);
        let new = |consumer: At<'_>| !before.iter().any(|old| semantic_eq(old, consumer.value));
        if reserved.items().any(new) {
            errors.push(reserved.forbidden(
                "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set",
            ));
        }
    }
    let before = at(old, &["status", "allocation"]);
    match (before.is_null(), allocation.is_absent()) {
        (_, true) => {}
        (false, false) => {
            errors.extend(internal::immutable(&allocation, before, "resource.AllocationResult", true));
        }
        (true, false) => errors.extend(validate_allocation(&allocation, claim)),
    }
    errors
}

fn validate_allocation(allocation: &At<'_>, claim: &At<'_>) -> Errors {
    let names = names(&claim.get("spec").get("devices"));
    let results = allocation.get("devices").get("results");
    let mut errors: Errors = at_most(&results, MOST).into_iter().collect();
    for result in results.items() {
        errors.extend(reference(&result.get("request"), &names));
        errors.extend(driver::name(&result.get("driver")));
        errors.extend(super::slice::pool_name(&result.get("pool")));
        let device = result.get("device");
        errors.extend(device.invalid_each(crate::names::dns1123_label(device.text())));
    }
    errors
}
