//! Whose end makes room for a pod that fits nowhere?
//!
//! Owns: whether a pod may preempt, which pods of a node have to go (as few and as unimportant as possible), and which node
//! is best. Nodes are tried on the cluster itself: pods are taken out and put back. Facts: the original's
//! `framework/preemption` and `plugins/defaultpreemption`. Never: deletes anything.

pub mod budget;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use apiclient_core::names::Name;

use crate::attempt::check;
use crate::cluster::NodeId;
use crate::diagnosis::Diagnosis;
use crate::filters::{Prepared, Rejection};
use crate::pod::Pod;
use crate::profile::Profile;
use crate::queue::nominated::Nominated;
use crate::world::World;

/// What a preemption would do.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// These pods of a node go.
    Room(Candidate),
    /// Nothing: why, for the pod's message. `forget`: what was meant for it before is of no use.
    Nothing { message: String, forget: bool },
}

/// A node, and the pods that would have to go, the most important first.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub node: NodeId,
    pub victims: Vec<Arc<Pod>>,
    /// Victims whose end breaks a budget.
    pub breaches: usize,
}

/// Why a node is no candidate.
enum No {
    NoVictims,
    Still(Rejection),
}

/// Nodes where room can be made for a pod that was refused everywhere. `doomed`: UIDs of victims that are on their way.
///
/// # Errors
/// Why there are none, as [`Outcome::Nothing`].
pub fn candidates(
    world: &mut World,
    profile: &Profile,
    pod: &Pod,
    diagnosis: &Diagnosis,
    nominated: &Nominated,
    doomed: &HashSet<Name>,
    seed: u64,
) -> Result<Vec<Candidate>, Outcome> {
    if !pod.spec.preempts {
        return Err(nothing("not eligible due to preemptionPolicy=Never.", false));
    }
    if waits(world, pod, diagnosis, doomed) {
        return Err(nothing("not eligible due to a terminating pod on the nominated node.", false));
    }
    let potential = potential(world, diagnosis);
    let wanted = (potential.len() * profile.preemption.percentage / 100)
        .max(profile.preemption.least)
        .min(potential.len());
    let (mut found, mut clean) = (Vec::new(), 0);
    let mut texts: BTreeMap<String, usize> = BTreeMap::new();
    if let (false, Ok(mut prepared)) = (potential.is_empty(), Prepared::new(world, profile, pod)) {
        let offset = usize::try_from(seed % potential.len() as u64).unwrap_or_default();
        for nth in 0..potential.len() {
            let id = potential[(offset + nth) % potential.len()];
            match on_node(world, &mut prepared, id, nominated) {
                Ok(candidate) => {
                    clean += usize::from(candidate.breaches == 0);
                    found.push(candidate);
                }
                Err(No::NoVictims) => {
                    let text = "No preemption victims found for incoming pod".to_owned();
                    *texts.entry(text).or_default() += 1;
                }
                Err(No::Still(rejection)) => {
                    for text in rejection.texts(pod) {
                        *texts.entry(text).or_default() += 1;
                    }
                }
            }
            if clean > 0 && found.len() >= wanted {
                break;
            }
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let hopeless = diagnosis.nodes - potential.len();
    if hopeless > 0 {
        texts.insert("Preemption is not helpful for scheduling".to_owned(), hopeless);
    }
    let mut lines: Vec<String> = texts.into_iter().map(|(text, count)| format!("{count} {text}")).collect();
    lines.sort();
    let message = format!("0/{} nodes are available: {}.", diagnosis.nodes, lines.join(", "));
    Err(nothing(&message, true))
}

fn nothing(message: &str, forget: bool) -> Outcome {
    Outcome::Nothing { message: format!("preemption: {message}"), forget }
}

/// Room is being made for it already.
fn waits(world: &World, pod: &Pod, diagnosis: &Diagnosis, doomed: &HashSet<Name>) -> bool {
    let Some(id) = pod.nominated.as_ref().and_then(|name| world.cluster.id(name)) else { return false };
    let hopeless = diagnosis.rejections.iter().any(|(node, no)| *node == id && no.unresolvable);
    !hopeless
        && world.cluster.node(id).pods.iter().any(|other| {
            other.priority() < pod.priority()
                && ((other.deleting && other.preempted) || doomed.contains(&other.uid))
        })
}

/// Nodes whose refusal may be over when pods go.
fn potential(world: &World, diagnosis: &Diagnosis) -> Vec<NodeId> {
    if let Some(refusal) = &diagnosis.refusal {
        return if refusal.unresolvable { Vec::new() } else { world.cluster.order().to_vec() };
    }
    let refused = diagnosis.rejections.iter().filter(|(_, no)| !no.unresolvable).map(|(id, _)| *id);
    let extended = diagnosis.extenders.iter().filter(|(.., hopeless)| !hopeless).map(|(id, ..)| *id);
    refused.chain(extended).collect()
}

/// Tries one node; leaves the cluster as it was.
fn on_node(
    world: &mut World,
    prepared: &mut Prepared<'_>,
    id: NodeId,
    nominated: &Nominated,
) -> Result<Candidate, No> {
    let urgency = prepared.pod.priority();
    let here = &world.cluster.node(id).pods;
    let mut lesser: Vec<Arc<Pod>> = here.iter().filter(|other| other.priority() < urgency).cloned().collect();
    if lesser.is_empty() {
        return Err(No::NoVictims);
    }
    lesser.sort_by_key(|pod| importance(pod));
    for other in &lesser {
        world.cluster.remove_pod(&other.uid);
        prepared.shift(&mut world.cluster, other, id, -1);
    }
    if let Some(rejection) = check(world, prepared, id, nominated) {
        restore(world, prepared, id, &lesser);
        return Err(No::Still(rejection));
    }
    let (protected, others) = world.budgets.split(lesser);
    let (mut victims, mut breaches) = (Vec::new(), 0);
    for (nth, other) in protected.iter().chain(&others).enumerate() {
        world.cluster.add_pod(other.clone());
        prepared.shift(&mut world.cluster, other, id, 1);
        if check(world, prepared, id, nominated).is_some() {
            world.cluster.remove_pod(&other.uid);
            prepared.shift(&mut world.cluster, other, id, -1);
            breaches += usize::from(nth < protected.len());
            victims.push(other.clone());
        }
    }
    restore(world, prepared, id, &victims);
    if victims.is_empty() {
        // It fits although nobody goes: what was refused has changed. The next attempt will see.
        return Err(No::NoVictims);
    }
    victims.sort_by_key(|pod| importance(pod));
    Ok(Candidate { node: id, victims, breaches })
}

fn restore(world: &mut World, prepared: &mut Prepared<'_>, id: NodeId, pods: &[Arc<Pod>]) {
    for other in pods {
        world.cluster.add_pod(other.clone());
        prepared.shift(&mut world.cluster, other, id, 1);
    }
}

/// The most urgent first, then the one that has run longest.
fn importance(pod: &Pod) -> (Reverse<i32>, i64) {
    (Reverse(pod.priority()), pod.age())
}

/// The best: fewest broken budgets, least urgent victims, smallest sum of urgency, fewest victims, youngest.
pub fn best(candidates: Vec<Candidate>) -> Option<Candidate> {
    candidates.into_iter().min_by_key(|candidate| {
        let victims = &candidate.victims;
        let first = victims.first().map_or(i32::MIN, |pod| pod.priority());
        // Shifted so that many pods of negative urgency do not count as less than one.
        let shifted = |pod: &Arc<Pod>| i64::from(pod.priority()) + i64::from(i32::MAX) + 1;
        let sum: i64 = victims.iter().map(shifted).sum();
        let oldest = victims.iter().filter(|pod| pod.priority() == first).map(|pod| pod.age()).min();
        (candidate.breaches, first, sum, victims.len(), Reverse(oldest))
    })
}
