//! The update of a DaemonSet, node by node.

use std::sync::Arc;

use serde_json::Value;

use super::placement::Placement;
use crate::object;

/// Nodes that get a new pod beside the old one, and old pods that go.
#[derive(Debug, Default, PartialEq)]
pub struct Step<'a> {
    pub begin: Vec<&'a str>,
    pub end: Vec<&'a Arc<Value>>,
}

/// A node's pods: at most one of the present template and one of another.
#[derive(Debug)]
struct Here<'a> {
    new: Option<&'a Arc<Value>>,
    old: Option<&'a Arc<Value>>,
}

/// One step of the update; what it does not count as available, the other decisions about a node take care of.
pub fn step<'a>(placement: &Placement<'a>) -> Step<'a> {
    if !placement.rolls() {
        return Step::default();
    }
    let (surge, unavailable) = placement.fences();
    if surge == 0 { replace(placement, unavailable) } else { exceed(placement, surge) }
}

/// Old pods go first: as many as may be unavailable.
fn replace<'a>(placement: &Placement<'a>, most: i64) -> Step<'a> {
    let mut unavailable = 0;
    let mut step = Step::default();
    let mut candidates = Vec::new();
    for node in concerned(placement) {
        match here(placement, node) {
            Some(Here { new: Some(new), old: None }) => {
                unavailable += i64::from(!placement.is_available(new))
            }
            // What is of no use may go at once.
            Some(Here { new: None, old: Some(old) }) if !placement.is_available(old) => {
                step.end.push(old);
                unavailable += 1;
            }
            Some(Here { new: None, old: Some(old) }) => candidates.push(old),
            _ => unavailable += 1,
        }
    }
    let more = usize::try_from(most - unavailable).unwrap_or_default();
    step.end.extend(candidates.into_iter().take(more));
    step
}

/// New pods come first: as many as may be surplus.
fn exceed<'a>(placement: &Placement<'a>, most: i64) -> Step<'a> {
    let (mut surplus, mut available) = (0, 0);
    let mut step = Step::default();
    let (mut candidates, mut misplaced) = (Vec::new(), Vec::new());
    for node in concerned(placement) {
        let Some(Here { new, old }) = here(placement, node) else {
            surplus += 1;
            continue;
        };
        available += i64::from(old.or(new).is_some_and(|pod| placement.is_available(pod)));
        match (new, old) {
            (_, None) => {}
            (None, Some(old)) => match (placement.is_available(old), placement.fits(node)) {
                (true, true) => candidates.push(node),
                (true, false) => misplaced.push(old),
                (false, true) => step.begin.push(node),
                (false, false) => step.end.push(old),
            },
            (Some(new), Some(_)) if !placement.is_available(new) => surplus += 1,
            (Some(_), Some(old)) => step.end.push(old),
        }
    }
    // A pod that is not where it belongs serves until enough others do.
    let spare = usize::try_from(available - placement.desired()).unwrap_or_default();
    step.end.extend(misplaced.into_iter().take(spare));
    let more = usize::try_from(most - surplus).unwrap_or_default();
    step.begin.extend(candidates.into_iter().take(more));
    step
}

/// Nodes that have pods, or are to have one.
fn concerned<'a>(placement: &Placement<'a>) -> Vec<&'a str> {
    let wanted = placement.nodes.iter().filter(|(_, (_, fit))| fit.begins).map(|(name, _)| *name);
    let mut names: Vec<&str> = placement.pods.keys().copied().chain(wanted).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// `None` where there are more pods than an update makes.
fn here<'a>(placement: &Placement<'a>, node: &str) -> Option<Here<'a>> {
    let mut here = Here { new: None, old: None };
    let pods = placement.pods.get(node).into_iter().flatten();
    for pod in pods.filter(|pod| !object::is_deleting(pod)) {
        let place = if placement.is_updated(pod) { &mut here.new } else { &mut here.old };
        if place.replace(pod).is_some() {
            return None;
        }
    }
    Some(here)
}
