//! The kinds of `coordination.k8s.io`: Lease.

use std::sync::Arc;
use std::time::SystemTime;

use control_schema::library::Library;
use serde_json::Value;

use super::cells;
use super::entry::Group;
use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{at, child, remove};
use crate::kind::{Context, Kind, Traits};
use crate::table::BuiltIn;

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let coordination =
        Group { library, name: "coordination.k8s.io", package: "io.k8s.api.coordination", versions: &["v1"] };
    let traits = Traits { create_on_update: true, ..Traits::default() };
    vec![coordination.kind("Lease", "leases").traits(traits).columns(COLUMNS, row).strategy(Strategy).into()]
}

/// Fields of coordinated leader election, which is off by default: they are kept only where they were stored already.
const COORDINATED: [&str; 2] = ["strategy", "preferredHolder"];

#[derive(Debug)]
struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn prepare_create(&self, lease: &mut Value, _: &Context<'_>) {
        drop_coordination(lease, &Value::Null);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, _: &Context<'_>) {
        drop_coordination(new, old);
    }

    fn validate_create(&self, lease: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(lease).get("spec"))
    }

    fn validate_update(&self, new: &Value, _: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(new).get("spec"))
    }
}

fn drop_coordination(lease: &mut Value, old: &Value) {
    for field in COORDINATED {
        if at(old, &["spec", field]).is_null()
            && let Some(spec) = child(lease, "spec")
        {
            remove(spec, field);
        }
    }
}

fn validate(spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (duration, transitions) = (spec.get("leaseDurationSeconds"), spec.get("leaseTransitions"));
    if duration.int().is_some_and(|seconds| seconds <= 0) {
        errors.push(duration.invalid("must be greater than 0"));
    }
    if transitions.int().is_some_and(|count| count < 0) {
        errors.push(transitions.invalid("must be greater than or equal to 0"));
    }
    errors
}

const COLUMNS: &[BuiltIn] =
    &[BuiltIn::name(), BuiltIn::new("Holder", "string", "Who holds the lease."), BuiltIn::age()];

fn row(lease: &Value, now: SystemTime) -> Vec<Value> {
    let holder = cells::text_or(lease, &["spec", "holderIdentity"], "");
    vec![cells::name(lease), holder, ages::of(lease, now).into()]
}
