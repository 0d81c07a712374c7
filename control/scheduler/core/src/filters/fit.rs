//! Has a node enough left of what a pod asks for?

use super::{Reason, Rejection};
use crate::node::{Node, NodeInfo};
use crate::pod::Pod;
use crate::profile::Fit;
use crate::resources::Resources;

/// Names without a `/`, and those of Kubernetes itself, are no extended resources.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

pub fn check(asked: &Resources, info: &NodeInfo, node: &Node, settings: &Fit) -> Option<Rejection> {
    let count = i64::try_from(info.pods.len()).unwrap_or(i64::MAX);
    let mut bits = u64::from(count.saturating_add(1) > node.pods);
    let mut hopeless = false;
    let mut look = |bit: usize, want: i64, have: i64, used: i64| {
        if want > 0 && want > have.saturating_sub(used) {
            bits |= 1 << bit.min(63);
            hopeless |= want > have;
        }
    };
    let (have, used) = (&node.allocatable, &info.requested);
    look(1, asked.cpu, have.cpu, used.cpu);
    look(2, asked.memory, have.memory, used.memory);
    look(3, asked.ephemeral, have.ephemeral, used.ephemeral);
    for (nth, (name, want)) in asked.others.iter().enumerate() {
        let ignored = is_extended(name)
            && (settings.ignored.contains(&**name)
                || name.split_once('/').is_some_and(|(group, _)| settings.ignored_groups.contains(group)));
        if !ignored {
            look(4 + nth, *want, have.other(name), used.other(name));
        }
    }
    (bits != 0).then_some(Rejection { reason: Reason::Fit(bits), unresolvable: hopeless })
}

/// It would fit if the node had no pods.
pub fn fits_empty(pod: &Pod, node: &Node, settings: &Fit) -> bool {
    check(&pod.spec.requests, &NodeInfo::default(), node, settings).is_none()
}
