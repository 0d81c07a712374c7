//! Where the pods are that it likes, and that like it.

use super::MOST;
use crate::cluster::NodeId;
use crate::cluster::index::{Kind, MatcherKey};
use crate::cluster::topology::{Domain, KeyId};
use crate::pod::Pod;
use crate::profile::Profile;
use crate::world::World;

pub fn score(world: &mut World, profile: &Profile, pod: &Pod, nodes: &[NodeId], room: &mut Vec<i64>) -> bool {
    let wishes = &pod.spec.affinity.preferred;
    if profile.ignore_likes_of_others && wishes.is_empty() {
        return false;
    }
    let cluster = &mut world.cluster;
    let group = cluster.group(pod);
    // Sums by label and domain, so that a node costs one look for each label.
    let mut sums: Vec<(KeyId, Vec<i64>)> = Vec::new();
    let mut add = |key: KeyId, domains: usize, weight: i64, count: &dyn Fn(Domain) -> i64| {
        let at = sums.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            sums.push((key, vec![0; domains]));
            sums.len() - 1
        });
        for (domain, sum) in (0..).zip(&mut sums[at].1) {
            *sum += weight * count(domain);
        }
    };
    for (weight, rule) in wishes {
        let key = cluster.key(&rule.topology_key);
        let matcher = MatcherKey { terms: vec![rule.term.clone()], staying: false };
        let matcher = cluster.matcher(&matcher, Some(key));
        let domains = cluster.topology().domains(key);
        add(key, domains, i64::from(*weight), &|domain| cluster.index().in_domain(matcher, key, domain));
    }
    let index = cluster.index();
    for (kind, weight) in [(Kind::Near, profile.near_weight), (Kind::Likes, 1)] {
        if weight == 0 {
            continue;
        }
        for rule in index.rules_about(group, kind) {
            let key = index.rule_key(rule);
            add(key, cluster.topology().domains(key), weight, &|domain| index.owners(rule, domain));
        }
    }
    if sums.is_empty() {
        return false;
    }
    room.extend(nodes.iter().map(|id| -> i64 {
        let of = |(key, sums): &(KeyId, Vec<i64>)| sums.get(cluster.domain(*key, *id) as usize).copied();
        sums.iter().filter_map(of).sum()
    }));
    let (least, most) = (room.iter().min().copied(), room.iter().max().copied());
    let (Some(least), Some(most)) = (least, most) else { return false };
    for score in room {
        *score = match most - least {
            0 => 0,
            range => (MOST as f64 * ((*score - least) as f64 / range as f64)) as i64,
        };
    }
    true
}
