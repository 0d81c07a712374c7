//! One step of a roll-out: the new set grows as far as surge allows, the old ones shrink as far as availability allows.

use std::sync::Arc;

use serde_json::Value;

use super::revision;
use super::sets::{Sets, available, is_rolling, replicas};
use crate::kinds::{DEPLOYMENTS, REPLICA_SETS};
use crate::{Act, Note, object};

/// Replicas of a set that is about to be created.
pub fn first(sets: &Sets<'_>) -> i64 {
    if is_rolling(sets.deployment) { grown(sets, 0) } else { sets.wanted() }
}

/// The writes of one step; none where nothing can be done now.
pub fn roll(sets: &Sets<'_>) -> Vec<Act> {
    let Some(new) = &sets.new else { return Vec::new() };
    let wanted = sets.wanted();
    let size = if replicas(new) > wanted { wanted } else { grown(sets, replicas(new)) };
    match resize(sets, new, size) {
        Some(act) => vec![act],
        None => shrink(sets, new),
    }
}

/// The size of the new set, given the one that it has.
fn grown(sets: &Sets<'_>, size: i64) -> i64 {
    let (surge, _) = sets.fences();
    let total: i64 = sets.all().map(|set| replicas(set)).sum();
    let room = sets.wanted() + surge - total;
    if room <= 0 { size } else { size + room.min(sets.wanted() - size) }
}

/// Old sets lose first what is not available anyway, then as many as are available beyond what must be.
fn shrink(sets: &Sets<'_>, new: &Arc<Value>) -> Vec<Act> {
    let (_, unavailable) = sets.fences();
    let least = sets.wanted() - unavailable;
    let total: i64 = sets.all().map(|set| replicas(set)).sum();
    // Pods of the new set that are not available yet must not count for it.
    let most = total - least - (replicas(new) - available(new));
    if most <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i64> = sets.old.iter().map(|old| replicas(old)).collect();
    let mut left = most;
    for (old, size) in sets.old.iter().zip(&mut sizes) {
        let broken = (*size - available(old)).clamp(0, left);
        *size -= broken;
        left -= broken;
    }
    let mut beyond = sets.all().map(|set| available(set)).sum::<i64>() - least;
    for size in &mut sizes {
        let lost = (*size).min(beyond.max(0));
        *size -= lost;
        beyond -= lost;
    }
    sets.old.iter().zip(sizes).filter_map(|(old, size)| resize(sets, old, size)).collect()
}

/// Gives a set another size.
pub fn resize(sets: &Sets<'_>, set: &Arc<Value>, size: i64) -> Option<Act> {
    let before = replicas(set);
    if before == size {
        return None;
    }
    let way = if before < size { "up" } else { "down" };
    let text = format!("Scaled {way} replica set {} from {before} to {size}", object::name(set));
    let act = Act::update(REPLICA_SETS, revision::sized(sets, set, size));
    Some(act.telling(Note::normal(DEPLOYMENTS, sets.deployment, "ScalingReplicaSet", text)))
}
