//! The new ReplicaSet: its name, its labels, the annotations that number it and hold its past.

use std::sync::Arc;

use control_core::edit;
use serde_json::{Value, json};

use super::sets::{Sets, replicas};
use super::status::Draft;
use crate::hash::Hash;
use crate::kinds::{DEPLOYMENTS, REPLICA_SETS};
use crate::{Act, object};

pub const HASH_LABEL: &str = "pod-template-hash";
pub const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
pub const ROLLBACK: &str = "deprecated.deployment.rollback.to";

/// Annotations that a set and its Deployment have each for itself.
const OWN: [&str; 6] =
    ["kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAXIMUM, ROLLBACK];

/// Longest history, in characters.
const LONGEST: usize = 2000;

/// Longest name of a set.
const NAME: usize = 253;

pub fn is_own(annotation: &str) -> bool {
    OWN.contains(&annotation)
}

/// The revision of a set, 0 where it has none; `None` where it is no number.
pub fn of(set: &Value) -> Option<i64> {
    object::annotation(set, REVISION).map_or(Some(0), |text| text.parse().ok())
}

/// Brings the new set's annotations, and the Deployment's revision, up to date. A set is written before anything else.
pub fn revise(sets: &Sets<'_>, draft: &mut Draft<'_>) -> Option<Act> {
    let new = sets.new.as_ref()?;
    let mut revised = annotated(sets, new, next(sets));
    let least = &sets.deployment["spec"]["minReadySeconds"];
    let same_least = object::int(new, &["spec", "minReadySeconds"]) == least.as_i64().unwrap_or_default();
    if revised["metadata"]["annotations"] != new["metadata"]["annotations"] || !same_least {
        revised["spec"]["minReadySeconds"] = least.clone();
        return Some(Act::update(REPLICA_SETS, revised));
    }
    draft.found(new, object::annotation(new, REVISION).unwrap_or_default());
    None
}

/// The revision of a set that is new.
fn next(sets: &Sets<'_>) -> i64 {
    sets.old.iter().filter_map(|set| of(set)).max().unwrap_or_default() + 1
}

/// A set with the Deployment's annotations and at least this revision; the one that it had goes into its history.
fn annotated(sets: &Sets<'_>, set: &Value, revision: i64) -> Value {
    let mut annotations = object::texts(&set["metadata"]["annotations"]);
    for (name, value) in object::texts(&sets.deployment["metadata"]["annotations"]) {
        if !is_own(&name) {
            annotations.insert(name, value);
        }
    }
    let before = annotations.get(REVISION).cloned();
    // One that is no number is somebody else's, and stays.
    let number =
        before.as_deref().map_or(Some(0), |text| if text.is_empty() { Some(0) } else { text.parse().ok() });
    if number.is_some_and(|number: i64| number < revision) {
        annotations.insert(REVISION.to_owned(), revision.to_string());
        if let Some(before) = before {
            let history = annotations.get(HISTORY).map(String::as_str).unwrap_or_default();
            let history = extended(history, &before);
            annotations.insert(HISTORY.to_owned(), history);
        }
    }
    let mut set = set.clone();
    if let Some(metadata) = edit::child(&mut set, "metadata")
        && !annotations.is_empty()
    {
        edit::set(metadata, "annotations", json!(annotations));
    }
    set
}

/// Another revision at the end of a history; what is oldest goes where it would become too long.
fn extended(history: &str, revision: &str) -> String {
    if history.is_empty() {
        return revision.to_owned();
    }
    let mut kept = history;
    while kept.len() + 1 + revision.len() > LONGEST {
        match kept.split_once(',') {
            Some((_, rest)) => kept = rest,
            None => return history.to_owned(),
        }
    }
    format!("{kept},{revision}")
}

/// A set of the Deployment's template that does not exist yet.
pub fn new_set(sets: &Sets<'_>, replicas: i64) -> Value {
    let deployment = sets.deployment;
    let spec = &deployment["spec"];
    let collisions = deployment["status"]["collisionCount"].as_i64();
    let hash = Hash::default().value(&spec["template"]).collisions(collisions).label();
    let labelled = |labels: &Value| {
        let mut labels = object::texts(labels);
        labels.insert(HASH_LABEL.to_owned(), hash.clone());
        json!(labels)
    };
    let labels = labelled(&spec["template"]["metadata"]["labels"]);
    let mut template = spec["template"].clone();
    template["metadata"]["labels"] = labels.clone();
    let mut selector = spec["selector"].clone();
    selector["matchLabels"] = labelled(&selector["matchLabels"]);
    let name = object::name(deployment);
    let kept = name.floor_char_boundary(NAME - 1 - hash.len());
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", &name[..kept]),
            "namespace": object::namespace(deployment),
            "ownerReferences": [object::controller_reference(&DEPLOYMENTS, deployment)],
            "labels": labels,
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    });
    let mut set = sized(sets, &annotated(sets, &set, next(sets)), replicas);
    if let Some(least) = spec.get("minReadySeconds") {
        set["spec"]["minReadySeconds"] = least.clone();
    }
    set
}

/// A set of another size, and the sizes that its Deployment had at that time.
pub fn sized(sets: &Sets<'_>, set: &Value, size: i64) -> Value {
    let mut set = set.clone();
    set["spec"]["replicas"] = size.into();
    if let Some(annotations) =
        edit::child(&mut set, "metadata").and_then(|metadata| edit::child(metadata, "annotations"))
    {
        let (desired, maximum) = sizes(sets);
        edit::set(annotations, DESIRED, desired);
        edit::set(annotations, MAXIMUM, maximum);
    }
    set
}

/// The sizes of its Deployment that a set has noted are those of today.
pub fn is_sized(sets: &Sets<'_>, set: &Arc<Value>) -> bool {
    let (desired, maximum) = sizes(sets);
    object::annotation(set, DESIRED) == Some(&desired) && object::annotation(set, MAXIMUM) == Some(&maximum)
}

fn sizes(sets: &Sets<'_>) -> (String, String) {
    let wanted = replicas(sets.deployment);
    (wanted.to_string(), (wanted + sets.fences().0).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_grows_at_its_end_and_loses_its_beginning() {
        assert_eq!(extended("", "1"), "1");
        assert_eq!(extended("1,2", "3"), "1,2,3");
        let long = vec!["1000"; 400].join(",");
        let longer = extended(&long, "7");
        assert!(longer.len() <= LONGEST && longer.ends_with("1000,7"), "{}", longer.len());
    }
}
