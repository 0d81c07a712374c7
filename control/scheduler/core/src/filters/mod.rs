//! May a pod go to a node?
//!
//! Owns: [`Prepared`], what is worked out once for a pod, and [`Prepared::check`], which asks the profile's plugins in order
//! about one node and ends at the first that says no. Checking allocates nothing and walks over no pods.

mod affinity;
mod fit;
mod reason;
pub mod spread;

use std::collections::BTreeSet;

use crate::cluster::{Cluster, NodeId};
use crate::node::{Node, NodeInfo};
use crate::plugin::{Plugin, Plugins};
use crate::pod::{Pod, toleration};
use crate::profile::Profile;
use crate::volumes::Volumes;
use crate::world::World;
use affinity::Affinity;
use spread::Spread;

pub use fit::fits_empty;
pub use reason::{Reason, Rejection};

/// Those that look at claims, in order.
const VOLUMES: [Plugin; 4] =
    [Plugin::VolumeRestrictions, Plugin::NodeVolumeLimits, Plugin::VolumeBinding, Plugin::VolumeZone];

/// What a pod with resource claims is told.
const CLAIMS: &str = "this scheduler allocates no resource claims: have kube-scheduler place this pod";

/// Why no node will do, whatever the nodes are like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub plugin: Plugin,
    pub message: String,
    /// No preemption can help.
    pub unresolvable: bool,
}

/// What holds for a pod on every node.
#[derive(Debug)]
pub struct Prepared<'a> {
    pub pod: &'a Pod,
    pub profile: &'a Profile,
    /// Those of the profile that have something to check.
    active: Plugins,
    spread: Spread,
    affinity: Affinity,
    volumes: Volumes,
    /// Only these nodes come into question.
    pub only: Option<BTreeSet<String>>,
}

impl<'a> Prepared<'a> {
    /// Works out what can be worked out before a node is looked at.
    ///
    /// # Errors
    /// The pod cannot go anywhere.
    pub fn new(world: &mut World, profile: &'a Profile, pod: &'a Pod) -> Result<Self, Refusal> {
        let (mut active, spec) = (profile.filters, &pod.spec);
        let mut only = None;
        if spec.uses_resource_claims {
            return Err(Refusal {
                plugin: Plugin::DynamicResources,
                message: CLAIMS.to_owned(),
                unresolvable: true,
            });
        }
        if active.has(Plugin::NodeAffinity) {
            if let Some(names) = spec.node_rules.names() {
                if names.is_empty() {
                    return Err(Refusal {
                        plugin: Plugin::NodeAffinity,
                        message: "pod affinity terms conflict".to_owned(),
                        unresolvable: true,
                    });
                }
                only = Some(names.into_iter().map(str::to_owned).collect());
            }
            if spec.node_rules.are_empty() && profile.added.required.is_none() {
                active.remove(Plugin::NodeAffinity);
            }
        }
        if spec.ports.is_empty() {
            active.remove(Plugin::NodePorts);
        }
        if pod.node.is_none() {
            active.remove(Plugin::NodeName);
        }
        let volumes = Volumes::new(world, active, pod)?;
        let has_volumes = volumes.plugins();
        for plugin in [Plugin::NodeVolumeLimits, Plugin::VolumeBinding, Plugin::VolumeZone] {
            if !has_volumes.has(plugin) {
                active.remove(plugin);
            }
        }
        let spread = match active.has(Plugin::PodTopologySpread) {
            true => Spread::hard(world, profile, pod),
            false => Spread::default(),
        };
        let affinity = match active.has(Plugin::InterPodAffinity) {
            true => Affinity::new(&mut world.cluster, pod),
            false => Affinity::default(),
        };
        if spread.is_empty() {
            active.remove(Plugin::PodTopologySpread);
        }
        if affinity.is_empty() {
            active.remove(Plugin::InterPodAffinity);
        }
        Ok(Self { pod, profile, active, spread, affinity, volumes, only })
    }

    /// The first objection to a node that is there.
    pub fn check(&self, world: &World, id: NodeId) -> Option<Rejection> {
        let info = world.cluster.node(id);
        let node = info.node.as_deref()?;
        let (spec, on) = (&self.pod.spec, |plugin| self.active.has(plugin));
        if on(Plugin::NodeUnschedulable) && node.unschedulable && !tolerates_cordon(self.pod) {
            return Some(Reason::Unschedulable.hopeless());
        }
        if on(Plugin::NodeName) && self.pod.node.as_ref().is_some_and(|name| *name != node.name) {
            return Some(Reason::NodeName.hopeless());
        }
        if on(Plugin::TaintToleration) && !toleration::admits(&node.taints, &spec.tolerations) {
            return Some(Reason::Taints.hopeless());
        }
        if on(Plugin::NodeAffinity) {
            if let Some(terms) = &self.profile.added.required
                && !crate::pod::selector::any(terms, node)
            {
                return Some(Reason::EnforcedAffinity.hopeless());
            }
            if !spec.node_rules.allow(node) {
                return Some(Reason::NodeAffinity.hopeless());
            }
        }
        if on(Plugin::NodePorts) && ports_collide(self.pod, info) {
            return Some(Reason::Ports.for_now());
        }
        if on(Plugin::NodeResourcesFit)
            && let Some(rejection) = fit::check(&spec.requests, info, node, &self.profile.fit)
        {
            return Some(rejection);
        }
        if on(Plugin::VolumeRestrictions) && disks_collide(self.pod, info) {
            return Some(Reason::Disk.for_now());
        }
        for plugin in VOLUMES.into_iter().filter(|plugin| on(*plugin)) {
            let rejection = self.volumes.check(world, plugin, self.pod, id);
            if rejection.is_some() {
                return rejection;
            }
        }
        if on(Plugin::PodTopologySpread)
            && let Some(rejection) = self.spread.check(&world.cluster, id)
        {
            return Some(rejection);
        }
        if on(Plugin::InterPodAffinity) {
            return self.affinity.check(&world.cluster, id);
        }
        None
    }

    /// A pod was added to a node (`sign` 1) or taken away (-1) for a try: what was worked out follows.
    pub fn shift(&mut self, cluster: &mut Cluster, other: &Pod, node: NodeId, sign: i64) {
        if !self.spread.is_empty() {
            self.spread.shift(cluster, other, node, sign);
        }
        self.affinity.refresh(cluster);
    }
}

/// It may go to nodes that are closed to others.
fn tolerates_cordon(pod: &Pod) -> bool {
    let taint = toleration::Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        value: String::new(),
        effect: toleration::Effect::NoSchedule,
    };
    toleration::tolerated(&pod.spec.tolerations, &taint)
}

fn ports_collide(pod: &Pod, info: &NodeInfo) -> bool {
    pod.spec.ports.iter().any(|port| info.ports.iter().any(|taken| port.collides(taken)))
}

fn disks_collide(pod: &Pod, info: &NodeInfo) -> bool {
    !info.disks.is_empty()
        && pod.spec.volumes.iter().any(|volume| info.disks.iter().any(|taken| volume.collides(taken)))
}

/// The node, as far as it alone decides: for hints, and for daemons.
pub fn admits(pod: &Pod, node: &Node) -> bool {
    (!node.unschedulable || tolerates_cordon(pod))
        && toleration::admits(&node.taints, &pod.spec.tolerations)
        && pod.spec.node_rules.allow(node)
}
