//! Are the right pods near, and the wrong ones not? Rules of the pod, and those of others about it.

use super::{Reason, Rejection};
use crate::cluster::index::{Kind, MatcherId, MatcherKey, RuleId};
use crate::cluster::topology::{KeyId, NOWHERE};
use crate::cluster::{Cluster, NodeId};
use crate::pod::Pod;

#[derive(Debug, Default)]
pub struct Affinity {
    near: Option<Near>,
    away: Vec<(MatcherId, KeyId)>,
    /// Rules of placed pods that keep this one away.
    others: Vec<(RuleId, KeyId)>,
}

#[derive(Debug)]
struct Near {
    /// Pods that match all rules.
    matcher: MatcherId,
    keys: Vec<KeyId>,
    /// There is no such pod anywhere, and this one is such a pod: the first of its kind may go anywhere.
    first: bool,
    itself: bool,
}

impl Affinity {
    pub fn new(cluster: &mut Cluster, pod: &Pod) -> Self {
        let group = cluster.group(pod);
        let rules = &pod.spec.affinity;
        let near = (!rules.required.is_empty()).then(|| {
            let terms = rules.required.iter().map(|rule| rule.term.clone()).collect();
            let key = MatcherKey { terms, staying: false };
            let keys: Vec<KeyId> =
                rules.required.iter().map(|rule| cluster.key(&rule.topology_key)).collect();
            let mut matcher = cluster.matcher(&key, None);
            for label in &keys {
                matcher = cluster.matcher(&key, Some(*label));
            }
            Near { matcher, keys, first: false, itself: cluster.index().matches(matcher, group) }
        });
        let away = rules
            .anti_required
            .iter()
            .map(|rule| {
                let key = cluster.key(&rule.topology_key);
                let matcher = MatcherKey { terms: vec![rule.term.clone()], staying: false };
                (cluster.matcher(&matcher, Some(key)), key)
            })
            .collect();
        let index = cluster.index();
        let others = index.rules_about(group, Kind::Anti).map(|rule| (rule, index.rule_key(rule))).collect();
        let mut found = Self { near, away, others };
        found.refresh(cluster);
        found
    }

    pub fn is_empty(&self) -> bool {
        self.near.is_none() && self.away.is_empty() && self.others.is_empty()
    }

    /// Counts have changed.
    pub fn refresh(&mut self, cluster: &Cluster) {
        if let Some(near) = &mut self.near {
            let index = cluster.index();
            let none = || near.keys.iter().all(|key| !index.anywhere(near.matcher, *key));
            near.first = near.itself && none();
        }
    }

    pub fn check(&self, cluster: &Cluster, id: NodeId) -> Option<Rejection> {
        let index = cluster.index();
        if let Some(near) = &self.near {
            let mut found = true;
            for key in &near.keys {
                let domain = cluster.domain(*key, id);
                if domain == NOWHERE {
                    return Some(Reason::Affinity.hopeless());
                }
                found &= index.in_domain(near.matcher, *key, domain) > 0;
            }
            if !found && !near.first {
                return Some(Reason::Affinity.hopeless());
            }
        }
        for (matcher, key) in &self.away {
            if index.in_domain(*matcher, *key, cluster.domain(*key, id)) > 0 {
                return Some(Reason::AntiAffinity.for_now());
            }
        }
        for (rule, key) in &self.others {
            if index.owners(*rule, cluster.domain(*key, id)) > 0 {
                return Some(Reason::OthersAntiAffinity.for_now());
            }
        }
        None
    }
}
