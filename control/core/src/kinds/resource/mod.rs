//! The kinds of `resource.k8s.io`: devices of nodes, and claims to them.

use std::sync::Arc;
use std::time::SystemTime;

use control_schema::library::Library;
use serde_json::Value;

use super::cells;
use super::entry::Group;
use crate::ages;
use crate::edit::{at, list, text};
use crate::kind::{Kind, Subresource};
use crate::table::BuiltIn;

mod claim;
mod class;
mod configuration;
mod device_status;
mod request;
mod slice;
mod template;

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let resource =
        Group { library, name: "resource.k8s.io", package: "io.k8s.api.resource", versions: &["v1"] };
    vec![
        resource
            .cluster_kind("DeviceClass", "deviceclasses")
            .columns(NAMED, named)
            .strategy(class::Strategy)
            .into(),
        resource
            .kind("ResourceClaim", "resourceclaims")
            .subresources(&[Subresource::Status])
            .columns(CLAIM, claim_row)
            .strategy(claim::Strategy)
            .into(),
        resource
            .kind("ResourceClaimTemplate", "resourceclaimtemplates")
            .columns(NAMED, named)
            .strategy(template::Strategy)
            .into(),
        resource
            .cluster_kind("ResourceSlice", "resourceslices")
            .columns(SLICE, slice_row)
            .strategy(slice::Strategy)
            .into(),
    ]
}

const NAMED: &[BuiltIn] = &[BuiltIn::name(), BuiltIn::age()];

fn named(object: &Value, now: SystemTime) -> Vec<Value> {
    vec![cells::name(object), ages::of(object, now).into()]
}

const CLAIM: &[BuiltIn] =
    &[BuiltIn::name(), BuiltIn::new("State", "string", "What has become of the claim."), BuiltIn::age()];

fn claim_row(claim: &Value, now: SystemTime) -> Vec<Value> {
    let deleted = !at(claim, &["metadata", "deletionTimestamp"]).is_null();
    let allocated = !at(claim, &["status", "allocation"]).is_null();
    let reserved = allocated && !list(claim, &["status", "reservedFor"]).is_empty();
    let states = [
        (deleted, "deleted"),
        (!deleted && !allocated, "pending"),
        (allocated, "allocated"),
        (reserved, "reserved"),
    ];
    let states: Vec<&str> = states.into_iter().filter(|(is, _)| *is).map(|(_, state)| state).collect();
    vec![cells::name(claim), states.join(",").into(), ages::of(claim, now).into()]
}

const SLICE: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Node", "string", "The node that has the devices."),
    BuiltIn::new("Driver", "string", "The driver of the devices."),
    BuiltIn::new("Pool", "string", "The pool that the slice is a part of."),
    BuiltIn::age(),
];

fn slice_row(slice: &Value, now: SystemTime) -> Vec<Value> {
    vec![
        cells::name(slice),
        text(slice, &["spec", "nodeName"]).into(),
        text(slice, &["spec", "driver"]).into(),
        text(slice, &["spec", "pool", "name"]).into(),
        ages::of(slice, now).into(),
    ]
}
