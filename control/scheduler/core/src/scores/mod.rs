//! Which of the nodes that a pod may go to is the best?
//!
//! Owns: the sum of the profile's scores, each between 0 and 100 and times its weight. A score that is the same for all
//! nodes is left out. Facts: the original's plugins, whose whole-number arithmetic is kept, so that equal stays equal.

mod affinity;
mod resources;
mod spread;

use crate::cluster::NodeId;
use crate::node::Node;
use crate::plugin::Plugin;
use crate::pod::{Pod, toleration};
use crate::profile::Profile;
use crate::world::World;

/// The best score of a plugin.
pub const MOST: i64 = 100;

/// Adds up the scores of the nodes, which must be there. `totals` has their places; `room` is only for keeping.
pub fn add(
    world: &mut World,
    profile: &Profile,
    pod: &Pod,
    nodes: &[NodeId],
    totals: &mut Vec<i64>,
    room: &mut Vec<i64>,
) {
    totals.clear();
    totals.resize(nodes.len(), 0);
    for (plugin, weight) in &profile.scores {
        room.clear();
        let counts = match plugin {
            Plugin::TaintToleration => taints(world, pod, nodes, room),
            Plugin::NodeAffinity => node_affinity(world, profile, pod, nodes, room),
            Plugin::NodeResourcesFit => resources::fit(world, profile, pod, nodes, room),
            Plugin::NodeResourcesBalancedAllocation => resources::balanced(world, profile, pod, nodes, room),
            Plugin::PodTopologySpread => spread::score(world, profile, pod, nodes, room),
            Plugin::InterPodAffinity => affinity::score(world, profile, pod, nodes, room),
            Plugin::ImageLocality => images(world, pod, nodes, room),
            _ => false,
        };
        if counts {
            totals.iter_mut().zip(room.iter()).for_each(|(total, score)| *total += weight * score);
        }
    }
}

fn each(
    world: &World,
    nodes: &[NodeId],
    room: &mut Vec<i64>,
    score: impl Fn(&crate::node::NodeInfo, &Node) -> i64,
) {
    room.extend(nodes.iter().map(|id| {
        let info = world.cluster.node(*id);
        info.node.as_deref().map_or(0, |node| score(info, node))
    }));
}

/// Stretches them so that the largest is 100; the other way round where less is better.
fn normalize(scores: &mut [i64], less_is_better: bool) {
    let most = scores.iter().copied().max().unwrap_or_default();
    for score in scores {
        *score = match (most, less_is_better) {
            (0, false) => 0,
            (0, true) => MOST,
            (_, false) => MOST * *score / most,
            (_, true) => MOST - MOST * *score / most,
        };
    }
}

fn taints(world: &World, pod: &Pod, nodes: &[NodeId], room: &mut Vec<i64>) -> bool {
    each(world, nodes, room, |_, node| toleration::unwelcome(&node.taints, &pod.spec.tolerations));
    normalize(room, true);
    true
}

fn node_affinity(world: &World, profile: &Profile, pod: &Pod, nodes: &[NodeId], room: &mut Vec<i64>) -> bool {
    if pod.spec.node_rules.preferred.is_empty() && profile.added.preferred.is_empty() {
        return false;
    }
    each(world, nodes, room, |_, node| pod.spec.node_rules.preference(node) + profile.added.preference(node));
    normalize(room, false);
    true
}

const MIB: i64 = 1024 * 1024;

/// Images smaller than this are fetched soon.
const SMALL: i64 = 23 * MIB;

/// No image counts as more than this.
const LARGE: i64 = 1000 * MIB;

fn images(world: &World, pod: &Pod, nodes: &[NodeId], room: &mut Vec<i64>) -> bool {
    let all = world.cluster.order().len() as f64;
    let known: Vec<_> = pod
        .spec
        .images
        .iter()
        .filter_map(|image| {
            let (size, nodes) = world.cluster.image(image)?;
            Some((image, (size as f64 * (f64::from(nodes) / all)) as i64))
        })
        .collect();
    if known.is_empty() {
        return false;
    }
    let containers = i64::try_from(pod.spec.containers).unwrap_or(i64::MAX);
    let most = LARGE.saturating_mul(containers);
    each(world, nodes, room, |_, node| {
        let here = known.iter().filter(|(image, _)| node.has_image(image)).map(|(_, size)| *size);
        let sum = here.sum::<i64>().min(most).max(SMALL);
        MOST * (sum - SMALL) / (most - SMALL)
    });
    true
}
