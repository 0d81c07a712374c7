//! Claims, volumes and classes, read once.

use std::collections::BTreeSet;

use apiclient_core::names::{Name, ObjectName};
use apiclient_core::selector::LabelSelector;
use serde_json::Value;

use crate::Labels;
use crate::node::Node;
use crate::pod::selector::{Term, any, terms};
use crate::read::{self, BadObject};

/// A provisioner of this name makes nothing.
const NONE: &str = "kubernetes.io/no-provisioner";
const SELECTED: &str = "volume.kubernetes.io/selected-node";
const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const PROVISIONER: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub name: ObjectName,
    pub uid: String,
    pub class: String,
    /// Empty while it has none.
    pub volume: Name,
    pub bound: bool,
    pub lost: bool,
    pub deleting: bool,
    pub selected_node: Option<String>,
    pub provisioner: String,
    pub wants: Traits,
    pub size: Option<i64>,
    pub selector: Option<LabelSelector>,
    /// UID of the controller that made it.
    pub owner: String,
}

/// What a claim wants and a volume has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    pub access_modes: BTreeSet<String>,
    pub block: bool,
    pub attributes_class: String,
}

/// A PersistentVolume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub name: Name,
    pub class: String,
    pub labels: Labels,
    pub capacity: i64,
    pub has: Traits,
    /// The claim that has it.
    pub claim: Option<Claimed>,
    pub available: bool,
    pub deleting: bool,
    affinity: Option<Vec<Term>>,
    /// Driver and handle.
    pub csi: Option<(Name, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub name: ObjectName,
    /// Empty where any claim of that name will do.
    pub uid: String,
}

/// A StorageClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Claims wait for a pod.
    pub waits: bool,
    pub provisioner: String,
    /// Alternatives: labels and their values.
    topologies: Vec<Vec<(String, BTreeSet<String>)>>,
}

impl Traits {
    fn read(spec: &Value) -> Self {
        Self {
            access_modes: read::texts(&spec["accessModes"]).into_iter().collect(),
            block: read::text(spec, "volumeMode") == "Block",
            attributes_class: read::text(spec, "volumeAttributesClassName").to_owned(),
        }
    }
}

fn class_of(metadata: &Value, spec: &Value) -> String {
    match metadata["annotations"][CLASS].as_str() {
        Some(class) => class.to_owned(),
        None => read::text(spec, "storageClassName").to_owned(),
    }
}

impl Claim {
    /// # Errors
    /// A field that no API server would let in.
    pub fn read(object: &Value) -> Result<Self, BadObject> {
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let annotation = |name: &str| metadata["annotations"][name].as_str();
        let size = &spec["resources"]["requests"]["storage"];
        let volume = read::name(spec, "volumeName");
        Ok(Self {
            name: ObjectName::new(read::text(metadata, "namespace"), read::text(metadata, "name")),
            uid: read::text(metadata, "uid").to_owned(),
            class: class_of(metadata, spec),
            bound: !volume.is_empty() && annotation(COMPLETED).is_some(),
            volume,
            lost: read::text(&object["status"], "phase") == "Lost",
            deleting: !metadata["deletionTimestamp"].is_null(),
            selected_node: annotation(SELECTED).map(str::to_owned),
            provisioner: PROVISIONER.into_iter().find_map(annotation).unwrap_or_default().to_owned(),
            wants: Traits::read(spec),
            size: match size {
                Value::Null => None,
                size => Some(read::quantity("spec.resources.requests.storage", size)?.value()),
            },
            selector: read::selector("spec.selector", &spec["selector"])?,
            owner: crate::pod::uses::Owner::read(metadata).map(|owner| owner.uid).unwrap_or_default(),
        })
    }
}

impl Volume {
    /// # Errors
    /// A field that no API server would let in.
    pub fn read(object: &Value) -> Result<Self, BadObject> {
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let capacity = match &spec["capacity"]["storage"] {
            Value::Null => 0,
            capacity => read::quantity("spec.capacity.storage", capacity)?.value(),
        };
        let (claim, required, csi) = (&spec["claimRef"], &spec["nodeAffinity"]["required"], &spec["csi"]);
        Ok(Self {
            name: read::name(metadata, "name"),
            class: class_of(metadata, spec),
            labels: read::labels(&metadata["labels"]),
            capacity,
            has: Traits::read(spec),
            claim: claim.is_object().then(|| Claimed {
                name: ObjectName::new(read::text(claim, "namespace"), read::text(claim, "name")),
                uid: read::text(claim, "uid").to_owned(),
            }),
            available: read::text(&object["status"], "phase") == "Available",
            deleting: !metadata["deletionTimestamp"].is_null(),
            affinity: required.is_object().then(|| terms(&required["nodeSelectorTerms"])),
            csi: csi
                .is_object()
                .then(|| (read::name(csi, "driver"), read::text(csi, "volumeHandle").to_owned())),
        })
    }

    /// A node can reach it.
    pub fn reaches(&self, node: &Node) -> bool {
        self.affinity.as_ref().is_none_or(|terms| any(terms, node))
    }
}

impl Claimed {
    pub fn is(&self, claim: &Claim) -> bool {
        self.name == claim.name && (self.uid.is_empty() || self.uid == claim.uid)
    }
}

impl Class {
    pub fn read(object: &Value) -> Self {
        let topology = |term: &Value| {
            let of = |expression: &Value| {
                let values = read::texts(&expression["values"]).into_iter().collect();
                (read::text(expression, "key").to_owned(), values)
            };
            read::list(&term["matchLabelExpressions"]).iter().map(of).collect()
        };
        Self {
            waits: read::text(object, "volumeBindingMode") == "WaitForFirstConsumer",
            provisioner: read::text(object, "provisioner").to_owned(),
            topologies: read::list(&object["allowedTopologies"]).iter().map(topology).collect(),
        }
    }

    /// It makes volumes for pods of that node.
    pub fn provisions(&self, node: &Node) -> bool {
        let has = |(key, values): &(String, BTreeSet<String>)| {
            node.labels.get(key).is_some_and(|value| values.contains(value))
        };
        !self.provisioner.is_empty()
            && self.provisioner != NONE
            && (self.topologies.is_empty() || self.topologies.iter().any(|terms| terms.iter().all(has)))
    }
}

/// A CSIStorageCapacity: how much a class has left where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    pub class: String,
    /// `None`: nowhere.
    pub nodes: Option<LabelSelector>,
    /// The largest volume that can be made.
    pub largest: Option<i64>,
}

impl Capacity {
    /// # Errors
    /// A field that no API server would let in.
    pub fn read(object: &Value) -> Result<Self, BadObject> {
        let amount = |field: &str| match &object[field] {
            Value::Null => Ok(None),
            amount => read::quantity(field, amount).map(|amount| Some(amount.value())),
        };
        let (most, all) = (amount("maximumVolumeSize")?, amount("capacity")?);
        Ok(Self {
            class: read::text(object, "storageClassName").to_owned(),
            nodes: read::selector("nodeTopology", &object["nodeTopology"])?,
            largest: most.or(all),
        })
    }
}
