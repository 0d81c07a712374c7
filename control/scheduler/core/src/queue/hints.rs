//! May a change let a pod go somewhere that a plugin has refused?
//!
//! Wrong hints cost: a "no" too many leaves a pod waiting until the five-minute flush, a "yes" too many costs an attempt. In
//! doubt it is "yes". Facts: the QueueingHint functions of the original's plugins.

use super::change::Change;
use crate::filters;
use crate::node::Node;
use crate::plugin::Plugin;
use crate::pod::affinity::Rule;
use crate::pod::spread::Constraint;
use crate::pod::uses::Volume;
use crate::pod::{Pod, toleration};
use crate::profile::Profile;

/// Whether `plugin`, which has refused `pod`, may answer otherwise after `change`.
pub fn may_help(profile: &Profile, plugin: Plugin, pod: &Pod, change: &Change) -> bool {
    match plugin {
        Plugin::NodeUnschedulable => match change {
            Change::NodeAdded(node) => !node.unschedulable,
            Change::NodeChanged { old, new } => old.unschedulable && !new.unschedulable,
            _ => false,
        },
        Plugin::TaintToleration => {
            becomes(change, |node| toleration::admits(&node.taints, &pod.spec.tolerations))
        }
        Plugin::NodeAffinity => becomes(change, |node| {
            pod.spec.node_rules.allow(node)
                && profile.added.required.as_ref().is_none_or(|terms| crate::pod::selector::any(terms, node))
        }),
        Plugin::NodePorts => match change {
            Change::PodGone(gone) => {
                gone.node.is_some()
                    && gone.spec.ports.iter().any(|port| pod.spec.ports.iter().any(|own| own.collides(port)))
            }
            change => matches!(change, Change::NodeAdded(_)),
        },
        Plugin::NodeResourcesFit => fit(profile, pod, change),
        Plugin::VolumeRestrictions => match change {
            Change::PodGone(gone) => shares_volume(pod, gone),
            _ => true,
        },
        Plugin::PodTopologySpread => spread(profile, pod, change),
        Plugin::InterPodAffinity => affinity(pod, change),
        _ => true,
    }
}

/// A node that would not do before does now.
fn becomes(change: &Change, good: impl Fn(&Node) -> bool) -> bool {
    match change {
        Change::NodeAdded(node) => good(node),
        Change::NodeChanged { old, new } => !good(old) && good(new),
        _ => false,
    }
}

fn fit(profile: &Profile, pod: &Pod, change: &Change) -> bool {
    match change {
        Change::PodGone(gone) => gone.node.is_some() || gone.nominated.is_some(),
        Change::PodChanged { old, new } => {
            let (asked, before, now) = (&pod.spec.requests, &old.spec.requests, &new.spec.requests);
            (asked.cpu > 0 && now.cpu < before.cpu)
                || (asked.memory > 0 && now.memory < before.memory)
                || (asked.ephemeral > 0 && now.ephemeral < before.ephemeral)
                || asked.others.iter().any(|(name, _)| now.other(name) < before.other(name))
        }
        Change::NodeAdded(node) => filters::fits_empty(pod, node, &profile.fit),
        Change::NodeChanged { old, new } => {
            filters::fits_empty(pod, new, &profile.fit) && has_more(pod, old, new)
        }
        _ => true,
    }
}

/// More of something that the pod asks for.
fn has_more(pod: &Pod, old: &Node, new: &Node) -> bool {
    let (asked, before, now) = (&pod.spec.requests, &old.allocatable, &new.allocatable);
    new.pods > old.pods
        || (asked.cpu > 0 && now.cpu > before.cpu)
        || (asked.memory > 0 && now.memory > before.memory)
        || (asked.ephemeral > 0 && now.ephemeral > before.ephemeral)
        || asked.others.iter().any(|(name, _)| now.other(name) > before.other(name))
}

fn shares_volume(pod: &Pod, gone: &Pod) -> bool {
    pod.spec.volumes.iter().any(|own| {
        gone.spec.volumes.iter().any(|other| match (own, other) {
            (Volume::Claim { name, .. }, Volume::Claim { name: other, .. }) => {
                name == other && pod.spec.namespace == gone.spec.namespace
            }
            _ => own.collides(other),
        })
    })
}

fn spread(profile: &Profile, pod: &Pod, change: &Change) -> bool {
    let own = &pod.spec.constraints;
    let defaults = profile.spread.constraints.iter().any(|constraint| constraint.hard);
    if own.is_empty() {
        // Its selector is other objects': any change may count.
        return defaults;
    }
    let hard = || own.iter().filter(|constraint| constraint.hard);
    let counts = |other: &Pod| {
        let matches = |constraint: &Constraint| {
            constraint.selector.as_ref().is_some_and(|selector| selector.matches(&other.spec.labels))
        };
        other.spec.namespace == pod.spec.namespace && hard().any(matches)
    };
    let has_labels =
        |node: &Node| hard().all(|constraint| node.labels.contains_key(&constraint.topology_key));
    match change {
        Change::PodPlaced(other) | Change::PodGone(other) => counts(other),
        Change::PodChanged { old, new } => {
            (old.spec.labels != new.spec.labels || old.deleting != new.deleting)
                && (counts(old) || counts(new))
        }
        Change::NodeAdded(node) | Change::NodeGone(node) => has_labels(node),
        Change::NodeChanged { old, new } => {
            let differs = |constraint: &Constraint| {
                let key = &constraint.topology_key;
                old.labels.get(key) != new.labels.get(key)
            };
            (has_labels(old) || has_labels(new))
                && (hard().any(differs)
                    || old.taints != new.taints
                    || pod.spec.node_rules.allow(old) != pod.spec.node_rules.allow(new))
        }
        Change::Storage(_) => false,
    }
}

fn affinity(pod: &Pod, change: &Change) -> bool {
    let rules = &pod.spec.affinity;
    // A namespace's labels are not at hand here: a rule that asks for them may be about any pod.
    let about = |rule: &Rule, other: &Pod| {
        let term = &rule.term;
        term.selector.as_ref().is_some_and(|selector| selector.matches(&other.spec.labels))
            && (term.namespace_selector.is_some() || term.namespaces.contains(&other.spec.namespace))
    };
    let wants = |other: &Pod| rules.required.iter().any(|rule| about(rule, other));
    let shuns = |other: &Pod| rules.anti_required.iter().any(|rule| about(rule, other));
    let shunned = |other: &Pod| other.spec.affinity.anti_required.iter().any(|rule| about(rule, pod));
    match change {
        Change::PodPlaced(other) => wants(other),
        Change::PodGone(other) => shuns(other) || shunned(other) || wants(other),
        Change::PodChanged { old, new } => {
            (!wants(old) && wants(new)) || (shuns(old) && !shuns(new)) || wants(old) != wants(new)
        }
        Change::NodeAdded(_) => true,
        Change::NodeChanged { old, new } => old.labels != new.labels,
        Change::NodeGone(_) | Change::Storage(_) => false,
    }
}
