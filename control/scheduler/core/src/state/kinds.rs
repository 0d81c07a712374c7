//! The kinds of objects that decide where pods go.

/// A kind, each of which is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Pod,
    Node,
    Namespace,
    Service,
    ReplicationController,
    ReplicaSet,
    StatefulSet,
    Budget,
    Claim,
    Volume,
    Class,
    NodeDrivers,
    Driver,
    Capacity,
    Attachment,
}

pub const ALL: [Kind; 15] = [
    Kind::Pod,
    Kind::Node,
    Kind::Namespace,
    Kind::Service,
    Kind::ReplicationController,
    Kind::ReplicaSet,
    Kind::StatefulSet,
    Kind::Budget,
    Kind::Claim,
    Kind::Volume,
    Kind::Class,
    Kind::NodeDrivers,
    Kind::Driver,
    Kind::Capacity,
    Kind::Attachment,
];

impl Kind {
    /// The API's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::ReplicationController => "ReplicationController",
            Self::ReplicaSet => "ReplicaSet",
            Self::StatefulSet => "StatefulSet",
            Self::Budget => "PodDisruptionBudget",
            Self::Claim => "PersistentVolumeClaim",
            Self::Volume => "PersistentVolume",
            Self::Class => "StorageClass",
            Self::NodeDrivers => "CSINode",
            Self::Driver => "CSIDriver",
            Self::Capacity => "CSIStorageCapacity",
            Self::Attachment => "VolumeAttachment",
        }
    }
}
