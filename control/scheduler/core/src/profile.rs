//! One profile: which plugins decide for the pods that name it, and their settings.
//!
//! Owns: [`Profile`], whose default is the original's. Reading it from a configuration file is the shell's.

use std::collections::BTreeSet;

use apiclient_core::selector::LabelSelector;

use crate::cluster::{HOSTNAME, ZONE};
use crate::plugin::{Plugin, Plugins};
use crate::pod::selector::NodeRules;
use crate::pod::spread::Constraint;

#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The `schedulerName` of its pods.
    pub name: String,
    pub pre_enqueue: Plugins,
    pub filters: Plugins,
    /// With their weights.
    pub scores: Vec<(Plugin, i64)>,
    pub post_filter: Plugins,
    pub bind: Plugins,
    /// Of all nodes; `None` or 0: fewer, the more nodes there are.
    pub percentage: Option<i32>,
    pub fit: Fit,
    /// Resources whose use should be even on a node.
    pub balanced: Vec<String>,
    /// What every node must fulfil, and what is liked, besides the pods' own rules.
    pub added: NodeRules,
    /// Of rules of placed pods that must be near this one.
    pub near_weight: i64,
    pub ignore_likes_of_others: bool,
    pub spread: DefaultSpread,
    pub preemption: Candidates,
    /// A volume that is not there after so many seconds is given up.
    pub volume_timeout: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Extended resources that somebody else looks after.
    pub ignored: BTreeSet<String>,
    /// The same, by what stands before the `/`.
    pub ignored_groups: BTreeSet<String>,
    pub strategy: Strategy,
    /// Resources that count in the score, with their weights.
    pub resources: Vec<(String, i64)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    LeastAllocated,
    MostAllocated,
    /// Points of utilization in percent and score out of ten, in order.
    RequestedToCapacityRatio(Vec<(i64, i64)>),
}

/// Constraints of pods that have none.
#[derive(Clone, Debug, PartialEq)]
pub struct DefaultSpread {
    /// These are the system's: nodes without one of the labels count as well.
    pub of_system: bool,
    pub constraints: Vec<Constraint>,
}

/// How many nodes a preemption looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidates {
    pub percentage: usize,
    pub least: usize,
}

impl Default for Profile {
    fn default() -> Self {
        let filters = [
            Plugin::NodeUnschedulable,
            Plugin::NodeName,
            Plugin::TaintToleration,
            Plugin::NodeAffinity,
            Plugin::NodePorts,
            Plugin::NodeResourcesFit,
            Plugin::VolumeRestrictions,
            Plugin::NodeVolumeLimits,
            Plugin::VolumeBinding,
            Plugin::VolumeZone,
            Plugin::PodTopologySpread,
            Plugin::InterPodAffinity,
        ];
        let both = || vec![("cpu".to_owned(), 1), ("memory".to_owned(), 1)];
        Self {
            name: "default-scheduler".to_owned(),
            pre_enqueue: [Plugin::SchedulingGates].into_iter().collect(),
            filters: filters.into_iter().collect(),
            scores: vec![
                (Plugin::TaintToleration, 3),
                (Plugin::NodeAffinity, 2),
                (Plugin::NodeResourcesFit, 1),
                (Plugin::PodTopologySpread, 2),
                (Plugin::InterPodAffinity, 2),
                (Plugin::NodeResourcesBalancedAllocation, 1),
                (Plugin::ImageLocality, 1),
            ],
            post_filter: [Plugin::DefaultPreemption].into_iter().collect(),
            bind: [Plugin::DefaultBinder].into_iter().collect(),
            percentage: None,
            fit: Fit {
                ignored: BTreeSet::new(),
                ignored_groups: BTreeSet::new(),
                strategy: Strategy::LeastAllocated,
                resources: both(),
            },
            balanced: both().into_iter().map(|(name, _)| name).collect(),
            added: NodeRules::default(),
            near_weight: 1,
            ignore_likes_of_others: false,
            spread: DefaultSpread::default(),
            preemption: Candidates { percentage: 10, least: 100 },
            volume_timeout: 600,
        }
    }
}

impl Default for DefaultSpread {
    fn default() -> Self {
        let soft = |key: &str, max_skew| Constraint {
            topology_key: key.to_owned(),
            max_skew,
            min_domains: 1,
            hard: false,
            selector: Some(LabelSelector::default()),
            honor_affinity: true,
            honor_taints: false,
        };
        Self { of_system: true, constraints: vec![soft(HOSTNAME, 3), soft(ZONE, 5)] }
    }
}

/// With fewer nodes than this, all are looked at.
const FEW: usize = 100;

impl Profile {
    /// After how many fitting nodes the search ends.
    pub fn enough(&self, nodes: usize, common: i32) -> usize {
        if nodes < FEW {
            return nodes;
        }
        let chosen = self.percentage.unwrap_or(common);
        let percentage = match usize::try_from(chosen) {
            Ok(percentage) if percentage > 0 => percentage,
            _ => 50_usize.saturating_sub(nodes / 125).max(5),
        };
        (nodes * percentage / 100).max(FEW).min(nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_ends_earlier_the_more_nodes_there_are() {
        let profile = Profile::default();
        for (nodes, common, want) in [
            (1, 0, 1),
            (99, 0, 99),
            (100, 0, 100),
            (1000, 0, 420),
            (5000, 0, 500),
            (6000, 0, 300),
            (5000, 40, 2000),
            (5000, 100, 5000),
            (150, 10, 100),
        ] {
            assert_eq!(profile.enough(nodes, common), want, "{nodes} nodes, {common} %");
        }
        let own = Profile { percentage: Some(100), ..profile };
        assert_eq!(own.enough(5000, 10), 5000);
    }
}
