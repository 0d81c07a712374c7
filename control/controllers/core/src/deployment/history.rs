//! What is kept of the past, and the way back to it.

use std::cmp::Ordering;
use std::sync::Arc;

use control_core::edit;
use serde_json::{Value, json};

use super::revision::{self, HASH_LABEL, ROLLBACK, is_own};
use super::sets::{Sets, by_age, replicas, same_template};
use crate::kinds::{DEPLOYMENTS, REPLICA_SETS};
use crate::{Act, Decision, Note, Stage, object};

/// Old sets beyond the limit are deleted, the lowest revisions first, but none that has pods or may have.
pub fn clean(sets: &Sets<'_>) -> Vec<Act> {
    let limit = sets.deployment["spec"]["revisionHistoryLimit"].as_u64();
    let Some(limit) = limit.filter(|limit| *limit != u64::from(i32::MAX.unsigned_abs())) else {
        return Vec::new();
    };
    let mut old: Vec<&Arc<Value>> = sets.old.iter().filter(|set| !object::is_deleting(set)).collect();
    let beyond = old.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    old.sort_by(|a, b| by_revision(a, b));
    old.truncate(beyond);
    let is_empty = |set: &&Arc<Value>| {
        let seen = object::int(set, &["status", "observedGeneration"]);
        object::int(set, &["status", "replicas"]) == 0 && replicas(set) == 0 && edit::generation(set) <= seen
    };
    old.into_iter().filter(is_empty).map(|set| Act::delete(REPLICA_SETS, set)).collect()
}

fn by_revision(a: &Value, b: &Value) -> Ordering {
    let by_number = match (revision::of(a), revision::of(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => Ordering::Equal,
    };
    by_number.then_with(|| by_age(a, b))
}

/// The revision that a client of `extensions/v1beta1` asked for, 0 for the one before; an annotation carries it today.
pub fn rollback_to(deployment: &Value) -> Option<i64> {
    object::annotation(deployment, ROLLBACK)?.parse().ok()
}

/// The Deployment's template becomes that of a revision.
pub fn rollback(sets: &Sets<'_>, revision: i64) -> Decision {
    let revision = if revision == 0 { last(sets) } else { revision };
    if revision == 0 {
        return give_up(
            sets,
            "DeploymentRollbackRevisionNotFound",
            "Unable to find last revision.".to_owned(),
        );
    }
    let Some(set) = sets.all().find(|set| revision::of(set) == Some(revision)) else {
        let text = "Unable to find the revision to rollback to.".to_owned();
        return give_up(sets, "DeploymentRollbackRevisionNotFound", text);
    };
    let name = object::name(sets.deployment);
    if same_template(sets.deployment, set) {
        let text = format!("The rollback revision contains the same template as current deployment {name:?}");
        return give_up(sets, "DeploymentRollbackTemplateUnchanged", text);
    }
    let mut back = without_request(sets.deployment);
    back["spec"]["template"] = set["spec"]["template"].clone();
    if let Some(labels) = edit::existing(&mut back["spec"]["template"]["metadata"], "labels") {
        edit::remove(labels, HASH_LABEL);
    }
    // Else the annotations of today would be copied to the set of yesterday.
    let mut annotations = object::texts(&back["metadata"]["annotations"]);
    annotations.retain(|name, _| is_own(name));
    let of_then = object::texts(&set["metadata"]["annotations"]).into_iter();
    annotations.extend(of_then.filter(|(name, _)| !is_own(name)));
    back["metadata"]["annotations"] = json!(annotations);
    let text = format!("Rolled back deployment {name:?} to revision {revision}");
    let note = Note::normal(DEPLOYMENTS, sets.deployment, "DeploymentRollback", text);
    Decision::nothing().then(Act::update(DEPLOYMENTS, back).telling(note))
}

/// The second highest revision, 0 where there is none.
fn last(sets: &Sets<'_>) -> i64 {
    let mut revisions: Vec<i64> = sets.all().filter_map(|set| revision::of(set)).collect();
    revisions.sort_unstable();
    revisions.iter().rev().nth(1).copied().unwrap_or_default()
}

fn give_up(sets: &Sets<'_>, reason: &'static str, text: String) -> Decision {
    let note = Note::warning(DEPLOYMENTS, sets.deployment, reason, text);
    let mut decision = Decision::nothing();
    decision.stages.push(Stage::Tell(note));
    decision.then(Act::update(DEPLOYMENTS, without_request(sets.deployment)))
}

fn without_request(deployment: &Value) -> Value {
    let mut deployment = deployment.clone();
    if let Some(annotations) = edit::existing(&mut deployment["metadata"], "annotations") {
        edit::remove(annotations, ROLLBACK);
    }
    deployment
}
