//! Which pods are lost first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use crate::kinds::PODS;
use crate::{Kind, World, object, pods};

/// `surplus` of the active pods, by the original's order.
pub fn of<'a>(
    world: &World,
    kind: Kind,
    set: &Value,
    active: &'a [Arc<Value>],
    surplus: usize,
    now: SystemTime,
) -> Vec<&'a Arc<Value>> {
    if surplus >= active.len() {
        return active.iter().collect();
    }
    let ready = ready_relatives(world, kind, set);
    let rank = |pod: &Value| ready.get(pods::node(pod)).copied().unwrap_or_default();
    let mut ranked: Vec<(&Arc<Value>, usize)> = active.iter().map(|pod| (pod, rank(pod))).collect();
    ranked.sort_by(|a, b| pods::better_to_lose((a.0, a.1), (b.0, b.1), now));
    ranked.into_iter().take(surplus).map(|(pod, _)| pod).collect()
}

/// How many active pods of all sets with the same owner each node has: a roll-out spreads by it.
fn ready_relatives(world: &World, kind: Kind, set: &Value) -> HashMap<String, usize> {
    let sets: Vec<&str> = match object::controller_uid(set) {
        Some(owner) => world.managed(kind, owner).map(|set| object::uid(set)).collect(),
        None => vec![object::uid(set)],
    };
    let mut ready = HashMap::new();
    for pod in sets.into_iter().flat_map(|uid| world.managed(PODS, uid)) {
        if pods::is_active(pod) && !pods::node(pod).is_empty() {
            *ready.entry(pods::node(pod).to_owned()).or_default() += 1;
        }
    }
    ready
}
