//! A pod as the scheduler sees it, read once from its JSON.
//!
//! Owns: [`Pod`], and what pods of one template have in common, [`Spec`], which they share in memory.
//! Never: keeps the JSON.

pub mod affinity;
pub mod requests;
pub mod selector;
pub mod spread;
pub mod toleration;
pub mod uses;

use std::collections::HashSet;
use std::sync::Arc;

use apiclient_core::names::{Name, ObjectName};
use serde_json::Value;

use crate::Labels;
use crate::read::{self, BadObject};
use crate::resources::Resources;
use affinity::PodAffinity;
use requests::Requests;
use selector::NodeRules;
use spread::Constraint;
use toleration::Toleration;
use uses::{Owner, Port, Volume};

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: ObjectName,
    pub uid: Name,
    /// Of its spec, when it was read.
    pub generation: i64,
    /// Where it is bound, or where we assume it to be.
    pub node: Option<Name>,
    /// Where room is made for it.
    pub nominated: Option<Name>,
    /// Seconds since 1970.
    pub created: i64,
    /// The same, of its start.
    pub started: Option<i64>,
    pub deleting: bool,
    /// Deleted to make room for another one.
    pub preempted: bool,
    /// Succeeded or failed.
    pub ended: bool,
    /// What is written in it about why it was not scheduled: reason and message.
    pub verdict: Option<(String, String)>,
    /// What keeps it from being scheduled.
    pub gates: Vec<String>,
    pub spec: Arc<Spec>,
}

/// What pods of one template have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spec {
    pub namespace: String,
    pub labels: Labels,
    pub owner: Option<Owner>,
    pub scheduler: String,
    pub priority: i32,
    /// Others may be deleted to make room for it.
    pub preempts: bool,
    /// What it asks for.
    pub requests: Resources,
    /// CPU and memory where containers without requests count as some.
    pub nonzero: (i64, i64),
    pub ports: Vec<Port>,
    pub node_rules: NodeRules,
    pub affinity: PodAffinity,
    pub constraints: Vec<Constraint>,
    pub tolerations: Vec<Toleration>,
    pub volumes: Vec<Volume>,
    /// Containers and init containers, and the images of those and of volumes.
    pub containers: usize,
    pub images: Vec<Name>,
    pub uses_resource_claims: bool,
}

impl Pod {
    /// Reads a Pod.
    ///
    /// # Errors
    /// A field that no API server would let in; a remedy is to write the pod again.
    pub fn read(object: &Value, specs: &mut Specs) -> Result<Self, BadObject> {
        let (metadata, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
        let name = ObjectName::new(read::text(metadata, "namespace"), read::text(metadata, "name"));
        if name.name.is_empty() {
            return Err(read::bad("metadata.name", "empty"));
        }
        let conditions = read::list(&status["conditions"]);
        Ok(Self {
            uid: read::name(metadata, "uid"),
            generation: metadata["generation"].as_i64().unwrap_or_default(),
            node: read::some_name(spec, "nodeName"),
            nominated: read::some_name(status, "nominatedNodeName"),
            created: read::seconds(&metadata["creationTimestamp"]).unwrap_or_default(),
            started: read::seconds(&status["startTime"]),
            deleting: !metadata["deletionTimestamp"].is_null(),
            preempted: conditions.iter().any(|condition| {
                read::text(condition, "type") == "DisruptionTarget"
                    && read::text(condition, "status") == "True"
                    && read::text(condition, "reason") == "PreemptionByScheduler"
            }),
            ended: matches!(read::text(status, "phase"), "Succeeded" | "Failed"),
            verdict: conditions
                .iter()
                .find(|condition| {
                    read::text(condition, "type") == "PodScheduled"
                        && read::text(condition, "status") == "False"
                })
                .map(|condition| {
                    (read::text(condition, "reason").to_owned(), read::text(condition, "message").to_owned())
                }),
            gates: read::list(&spec["schedulingGates"])
                .iter()
                .map(|gate| read::text(gate, "name").to_owned())
                .collect(),
            spec: specs.share(Spec::read(object, &name.name)?),
            name,
        })
    }

    pub fn priority(&self) -> i32 {
        self.spec.priority
    }

    /// When it started, for the choice among victims; a pod that did not start counts as created then.
    pub fn age(&self) -> i64 {
        self.started.unwrap_or(i64::MAX)
    }
}

impl Spec {
    fn read(object: &Value, pod: &str) -> Result<Self, BadObject> {
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let namespace = read::text(metadata, "namespace").to_owned();
        let labels = read::labels(&metadata["labels"]);
        let Requests { requests, nonzero } = Requests::read(object)?;
        let containers = read::list(&spec["containers"]).len() + read::list(&spec["initContainers"]).len();
        Ok(Self {
            owner: Owner::read(metadata),
            scheduler: read::text(spec, "schedulerName").to_owned(),
            priority: read::int32(spec, "priority")?.unwrap_or_default(),
            preempts: read::text(spec, "preemptionPolicy") != "Never",
            requests,
            nonzero,
            ports: uses::ports(spec),
            node_rules: NodeRules::read(spec)?,
            affinity: PodAffinity::read(spec, &namespace)?,
            constraints: spread::read(&spec["topologySpreadConstraints"], &labels)?,
            tolerations: toleration::read(&spec["tolerations"]),
            volumes: uses::volumes(spec, pod),
            containers,
            images: uses::images(spec),
            uses_resource_claims: !read::list(&spec["resourceClaims"]).is_empty(),
            namespace,
            labels,
        })
    }

    /// It has rules about the pods beside it.
    pub fn has_affinity(&self) -> bool {
        !self.affinity.is_empty()
    }
}

/// One copy of each [`Spec`] in use.
#[derive(Debug, Default)]
pub struct Specs {
    known: HashSet<Arc<Spec>>,
    /// Sweeps when it has grown to this.
    full: usize,
}

impl Specs {
    fn share(&mut self, spec: Spec) -> Arc<Spec> {
        if let Some(known) = self.known.get(&spec) {
            return known.clone();
        }
        if self.known.len() >= self.full.max(1024) {
            self.known.retain(|spec| Arc::strong_count(spec) > 1);
            self.full = self.known.len() * 2;
        }
        let spec = Arc::new(spec);
        self.known.insert(spec.clone());
        spec
    }

    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}
