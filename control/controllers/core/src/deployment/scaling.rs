//! Another size in the middle of a roll-out: sets grow and shrink in proportion, so that a bad template gains no ground.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::Value;

use super::revision::{self, DESIRED, MAXIMUM};
use super::rolling::resize;
use super::sets::{Sets, available, by_age, is_rolling, replicas};
use crate::kinds::REPLICA_SETS;
use crate::{Act, object};

/// A set has noted another size of its Deployment than it has today.
pub fn is_due(sets: &Sets<'_>) -> bool {
    sets.active().into_iter().any(|set| noted(set, DESIRED).is_some_and(|noted| noted != sets.wanted()))
}

pub fn scale(sets: &Sets<'_>) -> Vec<Act> {
    let wanted = sets.wanted();
    let active = sets.active();
    let latest = || sets.new.as_ref().or(sets.old.last());
    let only = match &*active {
        [] => latest(),
        [only] => Some(*only),
        _ => None,
    };
    if let Some(only) = only {
        return resize(sets, only, wanted).into_iter().collect();
    }
    if active.is_empty() {
        return Vec::new();
    }
    if sets.new.as_ref().is_some_and(|new| is_saturated(sets, new)) {
        return sets.old.iter().filter_map(|old| resize(sets, old, 0)).collect();
    }
    if !is_rolling(sets.deployment) {
        return Vec::new();
    }
    let sized = |(set, size): (&Arc<Value>, i64)| {
        resize(sets, set, size).or_else(|| {
            (!revision::is_sized(sets, set))
                .then(|| Act::update(REPLICA_SETS, revision::sized(sets, set, size)))
        })
    };
    proportional(sets, active).into_iter().filter_map(sized).collect()
}

/// The sizes of all active sets.
fn proportional<'a>(sets: &Sets<'_>, mut active: Vec<&'a Arc<Value>>) -> Vec<(&'a Arc<Value>, i64)> {
    let wanted = sets.wanted();
    let allowed = if wanted > 0 { wanted + sets.fences().0 } else { 0 };
    let change = allowed - active.iter().map(|set| replicas(set)).sum::<i64>();
    if change == 0 {
        return active.into_iter().map(|set| (set, replicas(set))).collect();
    }
    // The largest first; among equals the newest grows, and the oldest shrinks.
    active.sort_by(|a, b| replicas(b).cmp(&replicas(a)).then_with(|| aged(change, a, b)));
    let mut done = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for set in active {
        let left = change - done;
        let share = share(sets, set);
        let share = match change {
            _ if left == 0 => 0,
            1.. => share.min(left),
            _ => share.max(left),
        };
        done += share;
        sizes.push((set, replicas(set) + share));
    }
    if let Some((_, largest)) = sizes.first_mut() {
        *largest = (*largest + change - done).max(0);
    }
    sizes
}

fn aged(change: i64, a: &Value, b: &Value) -> Ordering {
    if change > 0 { by_age(b, a) } else { by_age(a, b) }
}

/// By how much a set would change in proportion.
fn share(sets: &Sets<'_>, set: &Value) -> i64 {
    let (size, wanted) = (replicas(set), sets.wanted());
    if wanted == 0 {
        return -size;
    }
    let before = noted(set, MAXIMUM).filter(|before| *before > 0);
    // Without a note the present size is the best guess.
    let before = before.unwrap_or_else(|| object::int(sets.deployment, &["status", "replicas"]));
    if before == 0 {
        return 0;
    }
    let exact = size * (wanted + sets.fences().0);
    // Rounds half up: all of them are positive.
    (2 * exact + before).div_euclid(2 * before) - size
}

/// The new set has, and knows, all that the Deployment wants.
fn is_saturated(sets: &Sets<'_>, new: &Value) -> bool {
    let wanted = sets.wanted();
    replicas(new) == wanted && noted(new, DESIRED) == Some(wanted) && available(new) == wanted
}

/// A number in an annotation that is one of 31 bits.
fn noted(set: &Value, annotation: &str) -> Option<i64> {
    let number: u32 = object::annotation(set, annotation)?.parse().ok()?;
    i32::try_from(number).ok().map(i64::from)
}
