//! What can happen in a cluster that lets a pod go somewhere.

use std::sync::Arc;

use crate::node::Node;
use crate::plugin::{Plugin, Plugins};
use crate::pod::Pod;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Change {
    NodeAdded(Arc<Node>),
    NodeChanged {
        old: Arc<Node>,
        new: Arc<Node>,
    },
    NodeGone(Arc<Node>),
    /// A pod is on a node now, or assumed to be.
    PodPlaced(Arc<Pod>),
    /// A pod that was on a node, or for which room was made, is gone.
    PodGone(Arc<Pod>),
    /// A pod on a node is another now.
    PodChanged {
        old: Arc<Pod>,
        new: Arc<Pod>,
    },
    /// Something about volumes.
    Storage(Storage),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    Claim,
    Volume,
    Class,
    NodeDrivers,
    Driver,
    Capacity,
    Attachment,
}

impl Change {
    /// Those that may answer otherwise after it.
    pub fn concerns(&self) -> Plugins {
        let some: &[Plugin] = match self {
            Self::NodeAdded(_) => &[
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
            ],
            Self::NodeChanged { .. } => &[
                Plugin::NodeUnschedulable,
                Plugin::TaintToleration,
                Plugin::NodeAffinity,
                Plugin::NodeResourcesFit,
                Plugin::VolumeBinding,
                Plugin::VolumeZone,
                Plugin::PodTopologySpread,
                Plugin::InterPodAffinity,
            ],
            Self::NodeGone(_) => &[Plugin::PodTopologySpread],
            Self::PodPlaced(_) => &[Plugin::PodTopologySpread, Plugin::InterPodAffinity],
            Self::PodGone(_) => &[
                Plugin::NodePorts,
                Plugin::NodeResourcesFit,
                Plugin::VolumeRestrictions,
                Plugin::NodeVolumeLimits,
                Plugin::PodTopologySpread,
                Plugin::InterPodAffinity,
            ],
            Self::PodChanged { .. } => {
                &[Plugin::NodeResourcesFit, Plugin::PodTopologySpread, Plugin::InterPodAffinity]
            }
            Self::Storage(storage) => match storage {
                Storage::Claim => &[
                    Plugin::VolumeRestrictions,
                    Plugin::NodeVolumeLimits,
                    Plugin::VolumeBinding,
                    Plugin::VolumeZone,
                ],
                Storage::Volume | Storage::Class => &[Plugin::VolumeBinding, Plugin::VolumeZone],
                Storage::NodeDrivers => &[Plugin::VolumeBinding, Plugin::NodeVolumeLimits],
                Storage::Driver | Storage::Capacity => &[Plugin::VolumeBinding],
                Storage::Attachment => &[Plugin::NodeVolumeLimits],
            },
        };
        some.iter().copied().chain([Plugin::Extender]).collect()
    }
}
