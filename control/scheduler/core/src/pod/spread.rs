//! How evenly the pods like this one must stand: `topologySpreadConstraints`.

use std::collections::BTreeSet;

use apiclient_core::selector::{LabelSelector, Requirement, Test};
use serde_json::Value;

use crate::Labels;
use crate::read::{self, BadObject};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Constraint {
    pub topology_key: String,
    pub max_skew: i32,
    pub min_domains: i32,
    /// A filter, not a score.
    pub hard: bool,
    /// `None` selects nothing.
    pub selector: Option<LabelSelector>,
    /// Only nodes that the pod's own rules allow count.
    pub honor_affinity: bool,
    /// Only nodes whose taints it tolerates count.
    pub honor_taints: bool,
}

/// `labels` are the pod's own, for `matchLabelKeys`.
///
/// # Errors
/// A selector or a number that cannot be read.
pub fn read(constraints: &Value, labels: &Labels) -> Result<Vec<Constraint>, BadObject> {
    read::list(constraints).iter().map(|constraint| one(constraint, labels)).collect()
}

fn one(constraint: &Value, labels: &Labels) -> Result<Constraint, BadObject> {
    let mut selector = read::selector("labelSelector", &constraint["labelSelector"])?;
    let keys = read::texts(&constraint["matchLabelKeys"]);
    let own: Vec<_> = keys.iter().filter_map(|key| Some((key, labels.get(key)?))).collect();
    if let Some(given) = selector.as_ref().filter(|_| !own.is_empty()) {
        let added = own.into_iter().map(|(key, value)| Requirement {
            key: key.clone(),
            test: Test::In(BTreeSet::from([value.clone()])),
        });
        let all = given.requirements().iter().cloned().chain(added);
        selector =
            Some(LabelSelector::new(all).map_err(|error| read::bad("matchLabelKeys", error.to_string()))?);
    }
    Ok(Constraint {
        topology_key: read::text(constraint, "topologyKey").to_owned(),
        max_skew: read::int32(constraint, "maxSkew")?.unwrap_or(1),
        min_domains: read::int32(constraint, "minDomains")?.unwrap_or(1),
        hard: read::text(constraint, "whenUnsatisfiable") != "ScheduleAnyway",
        selector,
        honor_affinity: read::text(constraint, "nodeAffinityPolicy") != "Ignore",
        honor_taints: read::text(constraint, "nodeTaintsPolicy") == "Honor",
    })
}
