//! Which volume a claim gets.
//!
//! The original's order: the fewest access modes that are enough; among those a volume that is for the claim already, or else
//! the smallest that is large enough. Among equals the original takes any: here each claim has an order of its own, so that
//! claims that are bound at the same time do not fight for one volume.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use apiclient_core::quantity::Quantity;
use control_core::edit::{list, text};
use control_core::selectors::Selector;
use serde_json::Value;

use super::phase;
use crate::hash::Hash;
use crate::kinds::VOLUMES;
use crate::volumes::{amount, class_of, is_for, wanted};
use crate::{World, object};

/// Nobody has it, and whoever it fits may.
pub fn is_free(volume: &Value) -> bool {
    volume["spec"]["claimRef"].is_null() && phase(volume) == "Available" && !object::is_deleting(volume)
}

/// The best volume for a claim. One that `waits` for a pod gets only what is for it already: the scheduler chooses.
pub fn best<'a>(world: &'a World, claim: &Value, waits: bool) -> Option<&'a Arc<Value>> {
    let (size, modes) = (wanted(claim), access_modes(claim));
    let selector = &claim["spec"]["selector"];
    let selector = match selector {
        Value::Null => None,
        // What cannot be read selects nothing.
        selector => Some(Selector::of(selector)?),
    };
    let mut found: BTreeMap<(usize, Vec<&str>), Candidate<'a>> = BTreeMap::new();
    for volume in world.all(VOLUMES) {
        let own = is_for(volume, claim);
        if !own && (waits || !is_free(volume) || class_of(volume) != class_of(claim)) {
            continue;
        }
        let (has, capacity) = (access_modes(volume), capacity(volume));
        if !modes.is_subset(&has)
            || capacity < size
            || object::is_deleting(volume)
            || is_block(volume) != is_block(claim)
            || attributes_class(volume) != attributes_class(claim)
            || !own && selector.as_ref().is_some_and(|selector| !selector.matches(object::labels(volume)))
        {
            continue;
        }
        let group = (has.len(), has.into_iter().collect());
        let better = found.get(&group).is_none_or(|other| {
            let order = other.own.cmp(&own).then_with(|| capacity.cmp(&other.capacity));
            order.then_with(|| rank(claim, volume).cmp(&rank(claim, other.volume))) == Ordering::Less
        });
        if better {
            found.insert(group, Candidate { volume, capacity, own });
        }
    }
    found.into_values().next().map(|found| found.volume)
}

/// The best volume so far among those of the same access modes.
struct Candidate<'a> {
    volume: &'a Arc<Value>,
    capacity: Quantity,
    /// It is for the claim already.
    own: bool,
}

/// Why a volume that a claim asks for by name cannot be its volume, in the original's words.
pub fn objection(volume: &Value, claim: &Value) -> Option<String> {
    let says = |text: &str| Some(text.to_owned());
    match () {
        () if object::is_deleting(volume) => {
            Some(format!("the volume is marked for deletion {:?}", object::name(volume)))
        }
        () if capacity(volume) < wanted(claim) => says("requested PV is too small"),
        () if class_of(volume) != class_of(claim) => says("storageClassName does not match"),
        () if attributes_class(volume) != attributes_class(claim) => {
            says("volumeAttributesClassName does not match")
        }
        () if is_block(volume) != is_block(claim) => says("incompatible volumeMode"),
        () if !access_modes(claim).is_subset(&access_modes(volume)) => says("incompatible accessMode"),
        () => None,
    }
}

pub fn is_block(object: &Value) -> bool {
    text(object, &["spec", "volumeMode"]) == "Block"
}

fn capacity(volume: &Value) -> Quantity {
    amount(volume, &["spec", "capacity", "storage"])
}

fn attributes_class(object: &Value) -> &str {
    text(object, &["spec", "volumeAttributesClassName"])
}

fn access_modes(object: &Value) -> BTreeSet<&str> {
    list(object, &["spec", "accessModes"]).iter().filter_map(Value::as_str).collect()
}

/// The place of a volume in a claim's own order.
fn rank<'a>(claim: &Value, volume: &'a Value) -> (u32, &'a str) {
    let name = object::name(volume);
    (Hash::default().bytes(object::uid(claim).as_bytes()).bytes(name.as_bytes()).number(), name)
}
