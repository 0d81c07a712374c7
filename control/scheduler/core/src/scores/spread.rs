//! Where fewer pods like it are. Constraints that are wishes.

use super::MOST;
use crate::cluster::index::MatcherId;
use crate::cluster::topology::{KeyId, NOWHERE};
use crate::cluster::{HOSTNAME, NodeId};
use crate::filters::spread::{constraints, counts, matcher};
use crate::pod::Pod;
use crate::profile::Profile;
use crate::world::World;

struct Soft {
    key: KeyId,
    matcher: Option<MatcherId>,
    /// Nodes are their own domains: counted one by one.
    by_node: bool,
    /// By domain; `None` where no node comes into question.
    counts: Vec<Option<i64>>,
    weight: f64,
    max_skew: i32,
    affinity: bool,
    taints: bool,
}

pub fn score(world: &mut World, profile: &Profile, pod: &Pod, nodes: &[NodeId], room: &mut Vec<i64>) -> bool {
    let wanted = constraints(world, profile, pod, false);
    if wanted.is_empty() {
        return false;
    }
    let all_labels = !pod.spec.constraints.is_empty() || !profile.spread.of_system;
    let cluster = &mut world.cluster;
    let mut softs: Vec<Soft> = wanted
        .iter()
        .map(|constraint| {
            let key = cluster.key(&constraint.topology_key);
            Soft {
                key,
                matcher: matcher(cluster, pod, constraint),
                by_node: constraint.topology_key == HOSTNAME,
                counts: vec![None; cluster.topology().domains(key)],
                weight: 0.0,
                max_skew: constraint.max_skew,
                affinity: constraint.honor_affinity && !pod.spec.node_rules.are_empty(),
                taints: constraint.honor_taints,
            }
        })
        .collect();
    let cluster = &world.cluster;
    let lacks = |softs: &[Soft], id: NodeId| {
        all_labels && softs.iter().any(|soft| cluster.domain(soft.key, id) == NOWHERE)
    };
    // Domains of nodes that come into question; to have no label is one as well.
    let mut considered = 0_usize;
    let mut without = vec![0_usize; softs.len()];
    for id in nodes {
        if lacks(&softs, *id) {
            continue;
        }
        considered += 1;
        for (soft, without) in softs.iter_mut().zip(&mut without) {
            match cluster.domain(soft.key, *id) {
                NOWHERE => *without = 1,
                domain => _ = soft.counts[domain as usize].get_or_insert(0),
            }
        }
    }
    for (soft, without) in softs.iter_mut().zip(without) {
        let size = if soft.by_node { considered } else { soft.counts.iter().flatten().count() + without };
        soft.weight = ((size + 2) as f64).ln();
    }
    if softs.iter().any(|soft| !soft.by_node) {
        for id in cluster.order() {
            let Some(node) = cluster.node(*id).node.as_deref() else { continue };
            if lacks(&softs, *id) {
                continue;
            }
            for soft in softs.iter_mut().filter(|soft| !soft.by_node) {
                let (Some(matcher), domain) = (soft.matcher, cluster.domain(soft.key, *id)) else { continue };
                if domain != NOWHERE
                    && let Some(count) = &mut soft.counts[domain as usize]
                    && counts(pod, node, soft.affinity, soft.taints)
                {
                    *count += i64::from(cluster.index().on_node(matcher, *id));
                }
            }
        }
    }
    room.extend(nodes.iter().map(|id| {
        if lacks(&softs, *id) {
            return -1;
        }
        let of = |soft: &Soft| {
            let domain = cluster.domain(soft.key, *id);
            if domain == NOWHERE {
                return 0.0;
            }
            let count = match (soft.by_node, soft.matcher) {
                (_, None) => 0,
                (true, Some(matcher)) => i64::from(cluster.index().on_node(matcher, *id)),
                (false, Some(_)) => soft.counts[domain as usize].unwrap_or_default(),
            };
            count as f64 * soft.weight + f64::from(soft.max_skew - 1)
        };
        softs.iter().map(of).sum::<f64>().round() as i64
    }));
    reverse(room);
    true
}

/// Fewest is best; a node that lacks a label gets nothing.
fn reverse(scores: &mut [i64]) {
    let valid = scores.iter().copied().filter(|score| *score >= 0);
    let (least, most) = (valid.clone().min().unwrap_or_default(), valid.max().unwrap_or_default());
    for score in scores {
        *score = match (*score, most) {
            (-1, _) => 0,
            (_, 0) => MOST,
            (score, most) => MOST * (most + least - score) / most,
        };
    }
}
