//! Why a node is refused, small enough to keep for thousands of nodes, and in the original's words where a person asks.

use crate::plugin::Plugin;
use crate::pod::Pod;

/// What a plugin has against a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Unschedulable,
    NodeName,
    Taints,
    EnforcedAffinity,
    NodeAffinity,
    Ports,
    /// Bits: 0 pods, 1 CPU, 2 memory, 3 ephemeral storage, from 4 on the pod's other resources in order.
    Fit(u64),
    Disk,
    ReadWriteOncePod,
    VolumeCount,
    /// Bits as of [`Reason::BINDING`].
    VolumeBinding(u8),
    VolumeZone,
    SpreadLabel,
    Spread,
    Affinity,
    AntiAffinity,
    OthersAntiAffinity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub reason: Reason,
    /// No preemption can help.
    pub unresolvable: bool,
}

impl Reason {
    /// The texts of the bits of [`Reason::VolumeBinding`].
    pub const BINDING: [&'static str; 4] = [
        "node(s) didn't match PersistentVolume's node affinity",
        "node(s) didn't find available persistent volumes to bind",
        "node(s) did not have enough free storage",
        "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
    ];

    pub fn hopeless(self) -> Rejection {
        Rejection { reason: self, unresolvable: true }
    }

    pub fn for_now(self) -> Rejection {
        Rejection { reason: self, unresolvable: false }
    }
}

impl Rejection {
    pub fn plugin(self) -> Plugin {
        match self.reason {
            Reason::Unschedulable => Plugin::NodeUnschedulable,
            Reason::NodeName => Plugin::NodeName,
            Reason::Taints => Plugin::TaintToleration,
            Reason::EnforcedAffinity | Reason::NodeAffinity => Plugin::NodeAffinity,
            Reason::Ports => Plugin::NodePorts,
            Reason::Fit(_) => Plugin::NodeResourcesFit,
            Reason::Disk | Reason::ReadWriteOncePod => Plugin::VolumeRestrictions,
            Reason::VolumeCount => Plugin::NodeVolumeLimits,
            Reason::VolumeBinding(_) => Plugin::VolumeBinding,
            Reason::VolumeZone => Plugin::VolumeZone,
            Reason::SpreadLabel | Reason::Spread => Plugin::PodTopologySpread,
            Reason::Affinity | Reason::AntiAffinity | Reason::OthersAntiAffinity => Plugin::InterPodAffinity,
        }
    }

    /// The original's words.
    pub fn texts(self, pod: &Pod) -> Vec<String> {
        let one = match self.reason {
            Reason::Unschedulable => "node(s) were unschedulable",
            Reason::NodeName => "node(s) didn't match the requested node name",
            Reason::Taints => "node(s) had untolerated taint(s)",
            Reason::EnforcedAffinity => "node(s) didn't match scheduler-enforced node affinity",
            Reason::NodeAffinity => "node(s) didn't match Pod's node affinity/selector",
            Reason::Ports => "node(s) didn't have free ports for the requested pod ports",
            Reason::Fit(bits) => return short_of(pod, bits),
            Reason::Disk => "node(s) had no available disk",
            Reason::ReadWriteOncePod => {
                "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already \
                 in-use by another pod"
            }
            Reason::VolumeCount => "node(s) exceed max volume count",
            Reason::VolumeBinding(bits) => {
                let texts = Reason::BINDING.iter().enumerate();
                return texts
                    .filter(|(bit, _)| bits & (1 << bit) != 0)
                    .map(|(_, text)| (*text).to_owned())
                    .collect();
            }
            Reason::VolumeZone => "node(s) had no available volume zone",
            Reason::SpreadLabel => {
                "node(s) didn't match pod topology spread constraints (missing required label)"
            }
            Reason::Spread => "node(s) didn't match pod topology spread constraints",
            Reason::Affinity => "node(s) didn't match pod affinity rules",
            Reason::AntiAffinity => "node(s) didn't match pod anti-affinity rules",
            Reason::OthersAntiAffinity => "node(s) didn't satisfy existing pods anti-affinity rules",
        };
        vec![one.to_owned()]
    }
}

fn short_of(pod: &Pod, bits: u64) -> Vec<String> {
    let fixed =
        ["Too many pods", "Insufficient cpu", "Insufficient memory", "Insufficient ephemeral-storage"];
    let fixed = fixed.into_iter().map(str::to_owned);
    let others = pod.spec.requests.others.iter().map(|(name, _)| format!("Insufficient {name}"));
    fixed
        .chain(others)
        .enumerate()
        .filter(|(bit, _)| *bit < 64 && bits & (1 << bit) != 0)
        .map(|(_, text)| text)
        .collect()
}
