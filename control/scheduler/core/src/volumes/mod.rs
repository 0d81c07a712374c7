//! Can a pod have its volumes on a node, and what has to be bound for it?
//!
//! Owns: [`Storage`], what is known of claims, volumes and classes; [`Volumes`], what was worked out of them for one pod;
//! and the [`Plan`] of what to bind on the node that was chosen. Never: writes.

mod limits;
mod matching;
pub mod objects;
mod zone;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use apiclient_core::names::{Name, ObjectName};

use crate::cluster::NodeId;
use crate::filters::{Reason, Refusal, Rejection};
use crate::plugin::{Plugin, Plugins};
use crate::pod::Pod;
use crate::pod::uses;
use crate::world::World;
use objects::{Capacity, Claim, Claimed, Class, Volume};

/// What is known of storage.
#[derive(Debug, Default)]
pub struct Storage {
    pub claims: HashMap<ObjectName, Arc<Claim>>,
    /// In order, so that the choice among equals is always the same.
    pub volumes: BTreeMap<Name, Arc<Volume>>,
    pub classes: HashMap<String, Class>,
    pub capacities: HashMap<ObjectName, Capacity>,
    /// Drivers that say how much they have left.
    pub counting_drivers: BTreeSet<String>,
    /// How many volumes of a driver a node takes.
    pub limits: HashMap<Name, HashMap<String, i64>>,
    /// Names of volumes that are attached to a node, or about to be, by the attachment's name.
    pub attachments: HashMap<Name, (Name, Name)>,
    /// Volumes that we have given to a claim and that do not say so yet.
    given: HashMap<Name, Claimed>,
    /// Nodes that we have chosen for claims that do not say so yet.
    chosen: HashMap<ObjectName, String>,
}

/// What to do for a pod on the node that was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Volumes, and the claims that get them.
    pub bindings: Vec<(Name, ObjectName)>,
    /// Claims for which a volume is to be made.
    pub provisions: Vec<ObjectName>,
}

/// One pod's.
#[derive(Debug, Default)]
pub struct Volumes {
    /// Claims that only one pod may use at a time.
    exclusive: Vec<Name>,
    bound: Vec<Arc<Claim>>,
    waiting: Vec<Arc<Claim>>,
    zones: Vec<(String, BTreeSet<String>)>,
    /// Driver and handle of those that count towards a node's limit.
    counted: Vec<(Name, String)>,
}

fn refuse(plugin: Plugin, message: String) -> Refusal {
    Refusal { plugin, message, unresolvable: true }
}

impl Volumes {
    /// # Errors
    /// The pod cannot go anywhere as things are.
    pub fn new(world: &World, active: Plugins, pod: &Pod) -> Result<Self, Refusal> {
        let mut found = Self::default();
        let storage = &world.storage;
        let claims: Vec<(&Name, bool)> = pod
            .spec
            .volumes
            .iter()
            .filter_map(|volume| match volume {
                uses::Volume::Claim { name, ephemeral } => Some((name, *ephemeral)),
                _ => None,
            })
            .collect();
        if claims.is_empty() {
            return Ok(found);
        }
        let of = |name: &Name| {
            storage.claims.get(&ObjectName::new(pod.spec.namespace.as_str(), name.clone())).cloned()
        };
        let missing = |name: &Name| format!("persistentvolumeclaim {name:?} not found");
        if active.has(Plugin::VolumeRestrictions) {
            for (name, _) in claims.iter().filter(|(_, ephemeral)| !ephemeral) {
                let claim = of(name).ok_or_else(|| refuse(Plugin::VolumeRestrictions, missing(name)))?;
                if claim.wants.access_modes.contains("ReadWriteOncePod") {
                    found.exclusive.push((*name).clone());
                }
            }
        }
        if active.has(Plugin::NodeVolumeLimits) {
            found.counted = limits::counted(storage, pod);
        }
        if active.has(Plugin::VolumeBinding) {
            let mut immediate = false;
            for (name, ephemeral) in &claims {
                let Some(claim) = of(name) else {
                    let message = match ephemeral {
                        true => format!(
                            "waiting for ephemeral volume controller to create the \
                             persistentvolumeclaim {name:?}"
                        ),
                        false => missing(name),
                    };
                    return Err(refuse(Plugin::VolumeBinding, message));
                };
                unusable(&claim, pod, *ephemeral)
                    .map_or(Ok(()), |message| Err(refuse(Plugin::VolumeBinding, message)))?;
                if claim.bound {
                    found.bound.push(claim);
                } else if claim.volume.is_empty()
                    && storage.classes.get(&claim.class).is_some_and(|class| class.waits)
                {
                    found.waiting.push(claim);
                } else {
                    immediate = true;
                }
            }
            if immediate {
                let message = "pod has unbound immediate PersistentVolumeClaims".to_owned();
                return Err(refuse(Plugin::VolumeBinding, message));
            }
        }
        if active.has(Plugin::VolumeZone) {
            found.zones =
                zone::wanted(storage, pod).map_err(|message| refuse(Plugin::VolumeZone, message))?;
        }
        Ok(found)
    }

    /// The plugins that have something to check on nodes.
    pub fn plugins(&self) -> Plugins {
        let some = [
            (Plugin::VolumeRestrictions, self.exclusive.is_empty()),
            (Plugin::NodeVolumeLimits, self.counted.is_empty()),
            (Plugin::VolumeBinding, self.bound.is_empty() && self.waiting.is_empty()),
            (Plugin::VolumeZone, self.zones.is_empty()),
        ];
        some.into_iter().filter(|(_, nothing)| !nothing).map(|(plugin, _)| plugin).collect()
    }

    /// Objections of one plugin to a node.
    pub fn check(&self, world: &World, plugin: Plugin, pod: &Pod, id: NodeId) -> Option<Rejection> {
        let info = world.cluster.node(id);
        let node = info.node.as_deref()?;
        match plugin {
            Plugin::VolumeRestrictions => self
                .exclusive
                .iter()
                .any(|claim| world.cluster.uses_claim(&pod.spec.namespace, claim) > 0)
                .then(|| Reason::ReadWriteOncePod.for_now()),
            Plugin::NodeVolumeLimits => {
                limits::exceeded(&world.storage, info, &self.counted).then(|| Reason::VolumeCount.for_now())
            }
            Plugin::VolumeBinding => {
                let (bits, _) = matching::find(&world.storage, &self.bound, &self.waiting, node);
                (bits != 0).then(|| Reason::VolumeBinding(bits).hopeless())
            }
            Plugin::VolumeZone => (!zone::allows(&self.zones, node)).then(|| Reason::VolumeZone.hopeless()),
            _ => None,
        }
    }
}

/// What is to be bound for a pod on a node that has passed all filters.
pub fn plan(world: &World, pod: &Pod, id: NodeId) -> Plan {
    let active: Plugins = [Plugin::VolumeBinding].into_iter().collect();
    let (Ok(volumes), Some(node)) = (Volumes::new(world, active, pod), &world.cluster.node(id).node) else {
        return Plan::default();
    };
    if volumes.waiting.is_empty() {
        return Plan::default();
    }
    matching::find(&world.storage, &volumes.bound, &volumes.waiting, node).1
}

/// Why a claim cannot be used by a pod.
fn unusable(claim: &Claim, pod: &Pod, ephemeral: bool) -> Option<String> {
    let name = &claim.name.name;
    if claim.lost {
        let volume = &claim.volume;
        return Some(format!(
            "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
        ));
    }
    if claim.deleting {
        return Some(format!("persistentvolumeclaim {name:?} is being deleted"));
    }
    if ephemeral && *claim.owner != *pod.uid {
        return Some(format!("PVC {} was not created for pod {} (pod is not owner)", claim.name, pod.name));
    }
    None
}

impl Storage {
    /// From now on the plan counts as done.
    pub fn assume(&mut self, plan: &Plan, node: &str) {
        for (volume, claim) in &plan.bindings {
            let uid = self.claims.get(claim).map_or_else(String::new, |claim| claim.uid.clone());
            self.given.insert(volume.clone(), Claimed { name: claim.clone(), uid });
        }
        for claim in &plan.provisions {
            self.chosen.insert(claim.clone(), node.to_owned());
        }
    }

    /// The plan came to nothing.
    pub fn forget(&mut self, plan: &Plan) {
        plan.bindings.iter().for_each(|(volume, _)| _ = self.given.remove(volume));
        plan.provisions.iter().for_each(|claim| _ = self.chosen.remove(claim));
    }

    pub fn set_claim(&mut self, claim: Claim) {
        if claim.selected_node.is_some() || claim.bound {
            self.chosen.remove(&claim.name);
        }
        self.claims.insert(claim.name.clone(), Arc::new(claim));
    }

    pub fn remove_claim(&mut self, name: &ObjectName) {
        self.chosen.remove(name);
        self.claims.remove(name);
    }

    pub fn set_volume(&mut self, volume: Volume) {
        if volume.claim.is_some() {
            self.given.remove(&volume.name);
        }
        self.volumes.insert(volume.name.clone(), Arc::new(volume));
    }

    pub fn remove_volume(&mut self, name: &str) {
        self.given.remove(name);
        self.volumes.remove(name);
    }

    /// The claim that has a volume, or is about to.
    fn claimed<'a>(&'a self, volume: &'a Volume) -> Option<&'a Claimed> {
        volume.claim.as_ref().or_else(|| self.given.get(&volume.name))
    }

    fn selected<'a>(&'a self, claim: &'a Claim) -> Option<&'a String> {
        claim.selected_node.as_ref().or_else(|| self.chosen.get(&claim.name))
    }
}
