//! How many pods match which rule, and where: kept up by each pod that comes and goes, so that a rule costs no walk over
//! the pods.
//!
//! Owns: pods grouped by what rules can see of them (namespace, labels, whether they are going); for each rule that was
//! asked about, the groups that match it and their counts by node and by domain; for each rule that placed pods have, the
//! counts of those who have it. Never: holds a pod.

use std::collections::HashMap;

use super::NodeId;
use super::slots::Slots;
use super::topology::{Domain, KeyId, NOWHERE, Topology};
use crate::Labels;
use crate::pod::affinity::PodTerm;

pub type GroupId = usize;
pub type MatcherId = usize;
pub type RuleId = usize;

/// What rules can see of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupKey {
    pub namespace: String,
    pub labels: Labels,
    pub deleting: bool,
}

#[derive(Debug)]
struct Group {
    key: GroupKey,
    pods: u32,
    by_node: HashMap<NodeId, u32>,
    /// What matches it.
    matchers: Vec<MatcherId>,
    /// Rules of placed pods that are about it.
    rules: Vec<RuleId>,
    used: u64,
}

/// Which pods are counted: those that match all terms.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MatcherKey {
    pub terms: Vec<PodTerm>,
    /// Not those that are going.
    pub staying: bool,
}

#[derive(Debug)]
struct Matcher {
    key: MatcherKey,
    total: u32,
    by_node: Vec<u32>,
    by_domain: Vec<(KeyId, Vec<i64>)>,
    used: u64,
}

/// Why a placed pod has a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Others must stay away.
    Anti,
    /// It must be near them: they count its wish by the profile's weight.
    Near,
    /// It likes them, by the rule's weight.
    Likes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleKey {
    pub term: PodTerm,
    pub key: KeyId,
    pub kind: Kind,
}

#[derive(Debug)]
struct Rule {
    key: RuleKey,
    owners: u32,
    /// Owners, or their weights, by domain.
    by_domain: Vec<i64>,
}

/// The counts.
#[derive(Debug, Default)]
pub struct Index {
    groups: Slots<Group>,
    group_ids: HashMap<GroupKey, GroupId>,
    matchers: Slots<Matcher>,
    matcher_ids: HashMap<MatcherKey, MatcherId>,
    rules: Slots<Rule>,
    rule_ids: HashMap<RuleKey, RuleId>,
    namespaces: HashMap<String, Labels>,
    nothing: Labels,
    /// Questions so far, to forget what nobody asks about any more.
    time: u64,
    swept: u64,
}

/// Between two looks for what nobody asks about any more, in questions.
const SWEEP: u64 = 20_000;

impl Index {
    /// The group of such pods.
    pub fn group(&mut self, key: &GroupKey) -> GroupId {
        self.time += 1;
        if let Some(id) = self.group_ids.get(key) {
            self.groups[*id].used = self.time;
            return *id;
        }
        let labels = self.namespaces.get(&key.namespace).unwrap_or(&self.nothing);
        let matchers = self.matchers.iter().filter(|(_, matcher)| matcher.key.matches(key, labels));
        let matchers = matchers.map(|(id, _)| id).collect();
        let about = |rule: &Rule| rule.key.term.matches(&key.namespace, &key.labels, labels);
        let rules = self.rules.iter().filter(|(_, rule)| about(rule)).map(|(id, _)| id).collect();
        let group =
            Group { key: key.clone(), pods: 0, by_node: HashMap::new(), matchers, rules, used: self.time };
        let id = self.groups.insert(group);
        self.group_ids.insert(key.clone(), id);
        id
    }

    /// What counts the pods that match; `key` is the label whose domains are counted, if any.
    pub fn matcher(&mut self, key: &MatcherKey, label: Option<KeyId>, topology: &Topology) -> MatcherId {
        self.time += 1;
        let id = match self.matcher_ids.get(key) {
            Some(id) => *id,
            None => self.new_matcher(key),
        };
        self.matchers[id].used = self.time;
        if let Some(label) = label
            && !self.matchers[id].by_domain.iter().any(|(known, _)| *known == label)
        {
            let mut counts = Vec::new();
            for (node, count) in self.matchers[id].by_node.iter().enumerate() {
                grow(&mut counts, topology.domain(label, node), i64::from(*count));
            }
            self.matchers[id].by_domain.push((label, counts));
        }
        id
    }

    fn new_matcher(&mut self, key: &MatcherKey) -> MatcherId {
        let (mut total, mut by_node) = (0, Vec::new());
        let id = self.matchers.vacant();
        for (_, group) in self.groups.iter_mut() {
            let labels = self.namespaces.get(&group.key.namespace).unwrap_or(&self.nothing);
            if key.matches(&group.key, labels) {
                group.matchers.push(id);
                total += group.pods;
                for (node, count) in &group.by_node {
                    count_at(&mut by_node, *node, |have| have + count);
                }
            }
        }
        let matcher = Matcher { key: key.clone(), total, by_node, by_domain: Vec::new(), used: 0 };
        self.matchers.insert(matcher);
        self.matcher_ids.insert(key.clone(), id);
        id
    }

    /// A rule that a pod has, which is placed or about to be.
    pub fn rule(&mut self, key: &RuleKey) -> RuleId {
        if let Some(id) = self.rule_ids.get(key) {
            return *id;
        }
        let id = self.rules.insert(Rule { key: key.clone(), owners: 0, by_domain: Vec::new() });
        for (_, group) in self.groups.iter_mut() {
            let labels = self.namespaces.get(&group.key.namespace).unwrap_or(&self.nothing);
            if key.term.matches(&group.key.namespace, &group.key.labels, labels) {
                group.rules.push(id);
            }
        }
        self.rule_ids.insert(key.clone(), id);
        id
    }

    /// A pod comes (`sign` 1) or goes (-1).
    pub fn count(&mut self, group: GroupId, node: NodeId, sign: i64, topology: &Topology) {
        let Self { groups, matchers, .. } = self;
        let group = &mut groups[group];
        let one = |count: u32| if sign > 0 { count + 1 } else { count.saturating_sub(1) };
        group.pods = one(group.pods);
        let here = group.by_node.entry(node).or_default();
        *here = one(*here);
        if *here == 0 {
            group.by_node.remove(&node);
        }
        for id in &group.matchers {
            let matcher = &mut matchers[*id];
            matcher.total = one(matcher.total);
            count_at(&mut matcher.by_node, node, one);
            for (key, counts) in &mut matcher.by_domain {
                grow(counts, topology.domain(*key, node), sign);
            }
        }
    }

    /// The same of a rule's owner. `weight` is 1 but for [`Kind::Likes`].
    pub fn count_owner(&mut self, rule: RuleId, node: NodeId, sign: i64, weight: i64, topology: &Topology) {
        let rule = &mut self.rules[rule];
        rule.owners = if sign > 0 { rule.owners + 1 } else { rule.owners.saturating_sub(1) };
        grow(&mut rule.by_domain, topology.domain(rule.key.key, node), sign * weight);
    }

    /// Rules of placed pods that are about a group.
    pub fn rules_about(&self, group: GroupId, kind: Kind) -> impl Iterator<Item = RuleId> {
        let rules = self.groups[group].rules.iter().copied();
        rules.filter(move |id| self.rules[*id].key.kind == kind && self.rules[*id].owners > 0)
    }

    pub fn rule_key(&self, rule: RuleId) -> KeyId {
        self.rules[rule].key.key
    }

    /// Of a rule's owners in a domain.
    pub fn owners(&self, rule: RuleId, domain: Domain) -> i64 {
        at(&self.rules[rule].by_domain, domain)
    }

    /// All that match, wherever they are.
    pub fn total(&self, matcher: MatcherId) -> u32 {
        self.matchers[matcher].total
    }

    pub fn on_node(&self, matcher: MatcherId, node: NodeId) -> u32 {
        self.matchers[matcher].by_node.get(node).copied().unwrap_or_default()
    }

    pub fn in_domain(&self, matcher: MatcherId, key: KeyId, domain: Domain) -> i64 {
        let counts = self.matchers[matcher].by_domain.iter().find(|(known, _)| *known == key);
        counts.map_or(0, |(_, counts)| at(counts, domain))
    }

    /// Some are on nodes that have the label.
    pub fn anywhere(&self, matcher: MatcherId, key: KeyId) -> bool {
        let counts = self.matchers[matcher].by_domain.iter().find(|(known, _)| *known == key);
        counts.is_some_and(|(_, counts)| counts.iter().any(|count| *count > 0))
    }

    pub fn matches(&self, matcher: MatcherId, group: GroupId) -> bool {
        self.groups[group].matchers.contains(&matcher)
    }

    /// Namespaces whose labels are known.
    pub fn namespaces(&self) -> impl Iterator<Item = &String> {
        self.namespaces.keys()
    }

    /// A namespace's labels are these now; `None`: it is gone. Rules that ask for labels of namespaces are counted again.
    pub fn namespace(&mut self, name: &str, labels: Option<Labels>, topology: &Topology) {
        let changed = match labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels.clone()) != Some(labels),
            None => self.namespaces.remove(name).is_some(),
        };
        if !changed {
            return;
        }
        let of: Vec<GroupId> =
            self.groups.iter().filter(|(_, group)| group.key.namespace == name).map(|(id, _)| id).collect();
        for id in of {
            self.regroup(id, topology);
        }
    }

    /// Finds out again what matches a group, and moves its counts.
    fn regroup(&mut self, id: GroupId, topology: &Topology) {
        let key = self.groups[id].key.clone();
        let pods: Vec<(NodeId, u32)> =
            self.groups[id].by_node.iter().map(|(node, count)| (*node, *count)).collect();
        let each = |index: &mut Self, sign: i64| {
            for (node, count) in &pods {
                (0..*count).for_each(|_| index.count(id, *node, sign, topology));
            }
        };
        each(self, -1);
        let labels = self.namespaces.get(&key.namespace).unwrap_or(&self.nothing);
        let matchers = self.matchers.iter().filter(|(_, matcher)| matcher.key.matches(&key, labels));
        let matchers = matchers.map(|(id, _)| id).collect();
        let about = |rule: &Rule| rule.key.term.matches(&key.namespace, &key.labels, labels);
        let rules = self.rules.iter().filter(|(_, rule)| about(rule)).map(|(id, _)| id).collect();
        (self.groups[id].matchers, self.groups[id].rules) = (matchers, rules);
        each(self, 1);
    }

    /// Forgets what nobody asked about for long and nobody has. Only between two attempts: numbers may be given again.
    pub fn sweep(&mut self) {
        if self.time < self.swept + SWEEP {
            return;
        }
        let since = std::mem::replace(&mut self.swept, self.time);
        let idle: Vec<GroupId> = self
            .groups
            .iter()
            .filter(|(_, group)| group.pods == 0 && group.used < since)
            .map(|(id, _)| id)
            .collect();
        for id in idle {
            let group = self.groups.remove(id);
            self.group_ids.remove(&group.key);
        }
        let matchers: Vec<_> =
            self.matchers.iter().filter(|(_, matcher)| matcher.used < since).map(|(id, _)| id).collect();
        let rules: Vec<_> =
            self.rules.iter().filter(|(_, rule)| rule.owners == 0).map(|(id, _)| id).collect();
        for id in &matchers {
            let matcher = self.matchers.remove(*id);
            self.matcher_ids.remove(&matcher.key);
        }
        for id in &rules {
            let rule = self.rules.remove(*id);
            self.rule_ids.remove(&rule.key);
        }
        if !(matchers.is_empty() && rules.is_empty()) {
            for (_, group) in self.groups.iter_mut() {
                group.matchers.retain(|id| !matchers.contains(id));
                group.rules.retain(|id| !rules.contains(id));
            }
        }
    }
}

impl MatcherKey {
    fn matches(&self, group: &GroupKey, of_namespace: &Labels) -> bool {
        !(self.staying && group.deleting)
            && self.terms.iter().all(|term| term.matches(&group.namespace, &group.labels, of_namespace))
    }
}

fn at(counts: &[i64], domain: Domain) -> i64 {
    counts.get(domain as usize).copied().unwrap_or_default()
}

fn grow(counts: &mut Vec<i64>, domain: Domain, by: i64) {
    if domain == NOWHERE {
        return;
    }
    let at = domain as usize;
    if counts.len() <= at {
        counts.resize(at + 1, 0);
    }
    counts[at] += by;
}

fn count_at(counts: &mut Vec<u32>, node: NodeId, change: impl Fn(u32) -> u32) {
    if counts.len() <= node {
        counts.resize(node + 1, 0);
    }
    counts[node] = change(counts[node]);
}
