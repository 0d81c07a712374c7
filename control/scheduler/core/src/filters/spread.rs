//! Would a pod stand too close to others like it? Constraints that are filters.

use super::{Reason, Rejection};
use crate::cluster::index::{MatcherId, MatcherKey};
use crate::cluster::topology::{KeyId, NOWHERE};
use crate::cluster::{Cluster, NodeId};
use crate::pod::affinity::PodTerm;
use crate::pod::spread::Constraint;
use crate::pod::{Pod, toleration};
use crate::profile::Profile;
use crate::world::World;

/// The constraints of one pod, with the counts of today.
#[derive(Debug, Default)]
pub struct Spread(Vec<One>);

#[derive(Debug)]
struct One {
    key: KeyId,
    matcher: Option<MatcherId>,
    /// By domain; `None` where no node counts.
    counts: Vec<Option<i64>>,
    min: i64,
    itself: i64,
    max_skew: i64,
    min_domains: usize,
    honor_affinity: bool,
    honor_taints: bool,
}

/// A pod's own constraints, else the profile's with a selector for pods like it.
pub fn constraints(world: &World, profile: &Profile, pod: &Pod, hard: bool) -> Vec<Constraint> {
    let wanted = |all: &[Constraint]| -> Vec<Constraint> {
        all.iter().filter(|constraint| constraint.hard == hard).cloned().collect()
    };
    if !pod.spec.constraints.is_empty() {
        return wanted(&pod.spec.constraints);
    }
    let mut found = wanted(&profile.spread.constraints);
    if found.is_empty() {
        return found;
    }
    let Some(selector) = world.selectors.of(&pod.spec) else { return Vec::new() };
    for constraint in &mut found {
        constraint.selector = Some(selector.clone());
    }
    found
}

/// What counts a constraint's pods. `None`: none count, although the pod itself may (an empty selector, as in the original).
pub fn matcher(cluster: &mut Cluster, pod: &Pod, constraint: &Constraint) -> Option<MatcherId> {
    let selector = constraint.selector.as_ref()?;
    if selector.requirements().is_empty() {
        return None;
    }
    let term = PodTerm {
        namespaces: [pod.spec.namespace.clone()].into(),
        namespace_selector: None,
        selector: Some(selector.clone()),
    };
    Some(cluster.matcher(&MatcherKey { terms: vec![term], staying: true }, None))
}

/// A node that a constraint counts.
pub fn counts(pod: &Pod, node: &crate::node::Node, affinity: bool, taints: bool) -> bool {
    (!affinity || pod.spec.node_rules.allow(node))
        && (!taints || toleration::admits(&node.taints, &pod.spec.tolerations))
}

impl Spread {
    pub fn hard(world: &mut World, profile: &Profile, pod: &Pod) -> Self {
        let constraints = constraints(world, profile, pod, true);
        let cluster = &mut world.cluster;
        let mut all: Vec<One> = constraints
            .iter()
            .map(|constraint| {
                let key = cluster.key(&constraint.topology_key);
                let selector = constraint.selector.as_ref();
                One {
                    key,
                    matcher: matcher(cluster, pod, constraint),
                    counts: vec![None; cluster.topology().domains(key)],
                    min: 0,
                    itself: i64::from(selector.is_some_and(|selector| selector.matches(&pod.spec.labels))),
                    max_skew: i64::from(constraint.max_skew),
                    min_domains: usize::try_from(constraint.min_domains).unwrap_or(1),
                    honor_affinity: constraint.honor_affinity && !pod.spec.node_rules.are_empty(),
                    honor_taints: constraint.honor_taints,
                }
            })
            .collect();
        if all.is_empty() {
            return Self::default();
        }
        for id in cluster.order() {
            let Some(node) = cluster.node(*id).node.as_deref() else { continue };
            if all.iter().any(|one| cluster.domain(one.key, *id) == NOWHERE) {
                continue;
            }
            for one in &mut all {
                if counts(pod, node, one.honor_affinity, one.honor_taints) {
                    let here = one.matcher.map_or(0, |matcher| cluster.index().on_node(matcher, *id));
                    let domain = cluster.domain(one.key, *id) as usize;
                    let count = one.counts[domain].get_or_insert(0);
                    *count += i64::from(here);
                }
            }
        }
        all.iter_mut().for_each(One::settle);
        Self(all)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn check(&self, cluster: &Cluster, id: NodeId) -> Option<Rejection> {
        for one in &self.0 {
            let domain = cluster.domain(one.key, id);
            if domain == NOWHERE {
                return Some(Reason::SpreadLabel.hopeless());
            }
            let count = one.counts.get(domain as usize).copied().flatten().unwrap_or_default();
            if count + one.itself - one.min > one.max_skew {
                return Some(Reason::Spread.for_now());
            }
        }
        None
    }

    pub fn shift(&mut self, cluster: &mut Cluster, other: &Pod, id: NodeId, sign: i64) {
        if self.0.iter().any(|one| cluster.domain(one.key, id) == NOWHERE) {
            return;
        }
        let group = cluster.group(other);
        for one in &mut self.0 {
            let matches = one.matcher.is_some_and(|matcher| cluster.index().matches(matcher, group));
            let domain = cluster.domain(one.key, id) as usize;
            if matches && let Some(Some(count)) = one.counts.get_mut(domain) {
                *count += sign;
                one.settle();
            }
        }
    }
}

impl One {
    fn settle(&mut self) {
        let domains = self.counts.iter().flatten();
        let enough = domains.clone().count() >= self.min_domains;
        self.min = domains.min().copied().filter(|_| enough).unwrap_or_default();
    }
}
