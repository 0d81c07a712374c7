//! Volumes for claims that wait for a pod.
//!
//! Facts: the original's `volumebinding/binder.go` and component-helpers' `storage/volume/pv_helpers.go`: the smallest volume
//! that is large enough, unless one was made for the claim; where there is none, one is to be made if the class can.

use std::sync::Arc;

use apiclient_core::names::Name;

use super::objects::{Claim, Volume};
use super::{Plan, Storage};
use crate::node::Node;

const NODE: u8 = 1;
const NONE: u8 = 2;
const SPACE: u8 = 4;
const LOST: u8 = 8;

/// What is wrong with a node, as bits of [`crate::filters::Reason::BINDING`], and what to do there.
pub fn find(storage: &Storage, bound: &[Arc<Claim>], waiting: &[Arc<Claim>], node: &Node) -> (u8, Plan) {
    let (mut bits, mut plan) = (0, Plan::default());
    for claim in bound {
        match storage.volumes.get(&claim.volume) {
            None => {
                bits |= LOST;
                break;
            }
            Some(volume) if !volume.reaches(node) => {
                bits |= NODE;
                break;
            }
            Some(_) => {}
        }
    }
    let (mut to_match, mut to_make): (Vec<&Arc<Claim>>, Vec<&Arc<Claim>>) = (Vec::new(), Vec::new());
    for claim in waiting {
        match storage.selected(claim) {
            Some(selected) if *selected != *node.name => return (bits | NONE, Plan::default()),
            Some(_) => to_make.push(claim),
            None => to_match.push(claim),
        }
    }
    to_match.sort_by_key(|claim| claim.size.unwrap_or_default());
    for claim in to_match {
        match volume_for(storage, claim, node, &plan.bindings) {
            Some(volume) => plan.bindings.push((volume.name.clone(), claim.name.clone())),
            None => to_make.push(claim),
        }
    }
    for claim in to_make {
        let class = storage.classes.get(&claim.class).filter(|class| class.provisions(node));
        let Some(class) = class else { return (bits | NONE, plan) };
        if !has_space(storage, &class.provisioner, claim, node) {
            return (bits | SPACE, plan);
        }
        plan.provisions.push(claim.name.clone());
    }
    (bits, plan)
}

fn volume_for<'a>(
    storage: &'a Storage,
    claim: &Claim,
    node: &Node,
    taken: &[(Name, apiclient_core::names::ObjectName)],
) -> Option<&'a Arc<Volume>> {
    let mut best: Option<&Arc<Volume>> = None;
    for volume in storage.volumes.values().filter(|volume| volume.class == claim.class) {
        if taken.iter().any(|(name, _)| *name == volume.name) {
            continue;
        }
        let owner = storage.claimed(volume);
        if owner.is_some_and(|owner| !owner.is(claim))
            || volume.capacity < claim.size.unwrap_or_default()
            || volume.has.block != claim.wants.block
            || volume.has.attributes_class != claim.wants.attributes_class
            || volume.deleting
        {
            continue;
        }
        if owner.is_some() {
            // Made for it: this one or none.
            return volume.reaches(node).then_some(volume);
        }
        let fits = volume.available
            && claim.selector.as_ref().is_none_or(|selector| selector.matches(&volume.labels))
            && claim.wants.access_modes.is_subset(&volume.has.access_modes)
            && volume.reaches(node);
        if fits && best.is_none_or(|best| volume.capacity < best.capacity) {
            best = Some(volume);
        }
    }
    best
}

fn has_space(storage: &Storage, provisioner: &str, claim: &Claim, node: &Node) -> bool {
    let Some(size) = claim.size else { return true };
    if !storage.counting_drivers.contains(provisioner) {
        return true;
    }
    storage.capacities.values().any(|capacity| {
        capacity.class == claim.class
            && capacity.largest.is_some_and(|largest| largest >= size)
            && capacity.nodes.as_ref().is_some_and(|nodes| nodes.matches(&node.labels))
    })
}
