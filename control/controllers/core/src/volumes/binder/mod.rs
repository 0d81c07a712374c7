//! Gives claims their volumes, and takes volumes back.
//!
//! A binding is written on both sides, the volume's first: whoever is interrupted in between finds the volume that names the
//! claim, and goes on. Each write carries the version that was read, so that of two claims that want one volume one gets it.
//! A pass writes one side of each object; the next one, which that brings about, writes its status.
//!
//! Begin at [`claims::decide`] and [`volumes::decide`].

mod claims;
mod matching;
mod provision;
#[cfg(test)]
mod tests;
mod volumes;

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::text;
use serde_json::Value;

use super::{BIND_COMPLETED, claim_key, class_of, has_class, uses, volume_key, volume_name};
use crate::kinds::{CLAIMS, PODS, STORAGE_CLASSES, VOLUMES};
use crate::{Change, Context, Controller, Decision, Kind, World, object, pods};

/// Keys are claims, and volumes as [`volume_key`] has them.
#[derive(Debug)]
pub struct Binder;

impl Controller for Binder {
    fn name(&self) -> &'static str {
        "persistentvolume-binder-controller"
    }

    fn account(&self) -> &'static str {
        "persistent-volume-binder"
    }

    fn follows(&self) -> &[Kind] {
        &[CLAIMS, PODS, STORAGE_CLASSES, VOLUMES]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        match change.kind {
            CLAIMS => of_claim(world, change, keys),
            VOLUMES => of_volume(world, change, keys),
            PODS => of_pod(world, change, keys),
            _ => {
                let class = object::name(change.object());
                let waiting = world.all(CLAIMS).filter(|claim| is_unbound(claim));
                let waiting = waiting.filter(|claim| !has_class(claim) || class_of(claim) == class);
                keys.extend(waiting.map(|claim| object::key(claim)));
            }
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        if key.namespace.is_empty() {
            return world
                .get(VOLUMES, key)
                .map_or_else(Decision::nothing, |volume| volumes::decide(world, volume));
        }
        world.get(CLAIMS, key).map_or_else(Decision::nothing, |claim| claims::decide(world, claim))
    }
}

fn is_unbound(claim: &Value) -> bool {
    object::annotation(claim, BIND_COMPLETED).is_none()
}

fn of_claim(world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
    let key = object::key(change.object());
    let side = |claim: Option<&Arc<Value>>| {
        claim.map(|claim| (object::uid(claim).to_owned(), volume_name(claim).to_owned()))
    };
    if side(change.old.as_ref()) != side(change.new.as_ref()) {
        let naming = world.all(VOLUMES).filter(|volume| claim_key(volume).as_ref() == Some(&key));
        keys.extend(naming.map(|volume| object::key(volume)));
        let named = change.both().map(|claim| volume_name(claim)).filter(|name| !name.is_empty());
        keys.extend(named.map(volume_key));
    }
    keys.extend(change.new.is_some().then_some(key));
}

fn of_volume(world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
    let key = object::key(change.object());
    keys.extend(change.both().filter_map(|volume| claim_key(volume)));
    let claimed = |volume: Option<&Arc<Value>>| volume.map(|volume| volume["spec"]["claimRef"].clone());
    if claimed(change.old.as_ref()) != claimed(change.new.as_ref()) {
        let naming = world.all(CLAIMS).filter(|claim| *volume_name(claim) == *key.name);
        keys.extend(naming.map(|claim| object::key(claim)));
    }
    if let Some(free) = change.new.as_ref().filter(|volume| matching::is_free(volume))
        && change.old.as_ref().is_none_or(|old| !matching::is_free(old) || fit(old) != fit(free))
    {
        let fits = |claim: &&Arc<Value>| {
            is_unbound(claim) && volume_name(claim).is_empty() && class_of(claim) == class_of(free)
        };
        keys.extend(world.all(CLAIMS).filter(fits).map(|claim| object::key(claim)));
    }
    keys.extend(change.new.is_some().then_some(key));
}

/// What of a volume claims choose by.
fn fit(volume: &Value) -> [&Value; 4] {
    let spec = &volume["spec"];
    [&spec["capacity"], &spec["accessModes"], &spec["volumeAttributesClassName"], object::labels(volume)]
}

/// A claim that waits says whom it waits for.
fn of_pod(world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
    let waiting = |pod: &Arc<Value>| pods::node(pod).is_empty() && !pods::has_ended(pod);
    if change.old.as_ref().map(waiting) == change.new.as_ref().map(waiting) {
        return;
    }
    let pod = change.object();
    let claims = uses(pod).map(|used| ObjectName::new(object::namespace(pod), &*used.claim));
    let unbound = |key: &ObjectName| world.get(CLAIMS, key).is_some_and(|claim| is_unbound(claim));
    keys.extend(claims.filter(unbound));
}

fn phase(object: &Value) -> &str {
    text(object, &["status", "phase"])
}
