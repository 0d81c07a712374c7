//! Scores of what is used of a node's resources.

use super::MOST;
use crate::cluster::NodeId;
use crate::node::{Node, NodeInfo};
use crate::pod::Pod;
use crate::profile::{Profile, Strategy};
use crate::world::World;

/// One resource, and how much of it the pod would take.
struct Take<'a> {
    what: What<'a>,
    pod: i64,
    weight: i64,
}

enum What<'a> {
    Cpu,
    Memory,
    Ephemeral,
    Other(&'a str),
}

/// What of a resource a node has, and what of it is taken.
fn have(take: &Take<'_>, info: &NodeInfo, node: &Node, nonzero: bool) -> (i64, i64) {
    let (all, used) = (&node.allocatable, &info.requested);
    match take.what {
        What::Cpu => (all.cpu, if nonzero { info.nonzero.0 } else { used.cpu }),
        What::Memory => (all.memory, if nonzero { info.nonzero.1 } else { used.memory }),
        What::Ephemeral => (all.ephemeral, used.ephemeral),
        What::Other(name) => (all.other(name), used.other(name)),
    }
}

/// Resources that the pod does not ask for are left out, but for the three that every node has.
fn takes<'a>(pod: &Pod, resources: impl Iterator<Item = (&'a str, i64)>, nonzero: bool) -> Vec<Take<'a>> {
    let asked = &pod.spec.requests;
    resources
        .filter_map(|(name, weight)| {
            let (what, pod) = match name {
                "cpu" => (What::Cpu, if nonzero { pod.spec.nonzero.0 } else { asked.cpu }),
                "memory" => (What::Memory, if nonzero { pod.spec.nonzero.1 } else { asked.memory }),
                "ephemeral-storage" => (What::Ephemeral, asked.ephemeral),
                other => (What::Other(other), asked.other(other)),
            };
            (pod != 0 || !matches!(what, What::Other(_))).then_some(Take { what, pod, weight })
        })
        .collect()
}

/// Where least (or most, or as a curve says) is taken.
pub fn fit(world: &World, profile: &Profile, pod: &Pod, nodes: &[NodeId], room: &mut Vec<i64>) -> bool {
    let resources = profile.fit.resources.iter().map(|(name, weight)| (name.as_str(), *weight));
    let takes = takes(pod, resources, true);
    let strategy = &profile.fit.strategy;
    super::each(world, nodes, room, |info, node| {
        let (mut sum, mut weights) = (0, 0);
        for take in &takes {
            let (all, used) = have(take, info, node, true);
            if all == 0 {
                continue;
            }
            let score = one(strategy, used.saturating_add(take.pod), all);
            if matches!(strategy, Strategy::RequestedToCapacityRatio(_)) && score <= 0 {
                continue;
            }
            sum += score * take.weight;
            weights += take.weight;
        }
        match strategy {
            _ if weights == 0 => 0,
            Strategy::RequestedToCapacityRatio(_) => (sum as f64 / weights as f64).round() as i64,
            _ => sum / weights,
        }
    });
    true
}

/// Products of bytes and percents may be larger than 64 bits.
fn percent(part: i64, of: i64) -> i64 {
    i64::try_from(i128::from(part) * i128::from(MOST) / i128::from(of)).unwrap_or(MOST)
}

fn one(strategy: &Strategy, used: i64, all: i64) -> i64 {
    match strategy {
        Strategy::LeastAllocated if used > all => 0,
        Strategy::LeastAllocated => percent(all - used, all),
        Strategy::MostAllocated => percent(used.min(all), all),
        Strategy::RequestedToCapacityRatio(points) => {
            curve(points, if used > all { 100 } else { percent(used, all) })
        }
    }
}

/// A line through points; scores are out of ten.
fn curve(points: &[(i64, i64)], at: i64) -> i64 {
    let scale = |score: i64| score * MOST / 10;
    let after = points.iter().position(|(utilization, _)| at <= *utilization);
    match after {
        None => points.last().map_or(0, |(_, score)| scale(*score)),
        Some(0) => scale(points[0].1),
        Some(nth) => {
            let ((x0, y0), (x1, y1)) = (points[nth - 1], points[nth]);
            scale(y0) + (scale(y1) - scale(y0)) * (at - x0) / (x1 - x0)
        }
    }
}

/// Where the pod makes the use of resources more even.
pub fn balanced(world: &World, profile: &Profile, pod: &Pod, nodes: &[NodeId], room: &mut Vec<i64>) -> bool {
    let resources = profile.balanced.iter().map(|name| (name.as_str(), 1));
    let takes = takes(pod, resources, false);
    if takes.iter().all(|take| take.pod == 0) {
        return false;
    }
    super::each(world, nodes, room, |info, node| {
        let shares = |with_pod: bool| {
            takes.iter().filter_map(move |take| {
                let (all, used) = have(take, info, node, false);
                let used = if with_pod { used.saturating_add(take.pod) } else { used };
                (all != 0).then(|| (used as f64 / all as f64).min(1.0))
            })
        };
        let (with, without) = (evenness(shares(true)), evenness(shares(false)));
        MOST / 2 + (MOST / 2 + with - without) / 2
    });
    true
}

/// 100 less the standard deviation in percent.
fn evenness(shares: impl Iterator<Item = f64> + Clone) -> i64 {
    let count = shares.clone().count();
    let deviation = match count {
        0 | 1 => 0.0,
        2 => {
            let mut shares = shares;
            let (one, other) = (shares.next().unwrap_or_default(), shares.next().unwrap_or_default());
            ((one - other) / 2.0).abs()
        }
        _ => {
            let mean = shares.clone().sum::<f64>() / count as f64;
            (shares.map(|share| (share - mean) * (share - mean)).sum::<f64>() / count as f64).sqrt()
        }
    };
    ((1.0 - deviation) * MOST as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_score_as_the_originals_do() {
        let ratio = Strategy::RequestedToCapacityRatio(vec![(0, 0), (50, 10), (100, 5)]);
        for (strategy, used, all, want) in [
            (&Strategy::LeastAllocated, 0, 4000, 100),
            (&Strategy::LeastAllocated, 1001, 4000, 74),
            (&Strategy::LeastAllocated, 4001, 4000, 0),
            (&Strategy::MostAllocated, 1001, 4000, 25),
            (&Strategy::MostAllocated, 5000, 4000, 100),
            (&ratio, 25, 100, 50),
            (&ratio, 50, 100, 100),
            (&ratio, 75, 100, 75),
            (&ratio, 200, 100, 50),
        ] {
            assert_eq!(one(strategy, used, all), want, "{strategy:?} {used}/{all}");
        }
        let huge = i64::MAX / 4;
        assert_eq!(one(&Strategy::LeastAllocated, huge / 2, huge), 50);
    }

    #[test]
    fn evenness_is_a_hundred_less_the_deviation() {
        for (shares, want) in
            [(&[][..], 100), (&[0.9], 100), (&[0.5, 0.5], 100), (&[0.2, 0.8], 70), (&[0.0, 0.5, 1.0], 59)]
        {
            assert_eq!(evenness(shares.iter().copied()), want, "{shares:?}");
        }
    }
}
