//! How many pods there should be, and how many of them healthy.

use std::collections::BTreeMap;
use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::text;
use serde_json::Value;

use crate::amount::{Round, scaled};
use crate::kinds::{DEPLOYMENTS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS};
use crate::{Kind, World, object};

/// Expected, wanted healthy, and whether some have no owner.
///
/// # Errors
/// An owner that cannot be asked for its number.
pub fn of(world: &World, budget: &Value, own: &[&Arc<Value>]) -> Result<(i64, i64, bool), String> {
    let spec = &budget["spec"];
    let bad = |amount: &Value| format!("invalid value for IntOrString: {amount}");
    if !spec["maxUnavailable"].is_null() {
        let (expected, unmanaged) = scale(world, own)?;
        let most = &spec["maxUnavailable"];
        let most = scaled(most, expected, Round::Up).ok_or_else(|| bad(most))?;
        return Ok((expected, (expected - most).max(0), unmanaged));
    }
    let least = &spec["minAvailable"];
    if let Some(least) = least.as_i64() {
        return Ok((i64::try_from(own.len()).unwrap_or(i64::MAX), least, false));
    }
    if least.is_null() {
        return Ok((0, 0, false));
    }
    let (expected, unmanaged) = scale(world, own)?;
    Ok((expected, scaled(least, expected, Round::Up).ok_or_else(|| bad(least))?, unmanaged))
}

/// The sum of what the owners of these pods ask for.
fn scale(world: &World, own: &[&Arc<Value>]) -> Result<(i64, bool), String> {
    let mut scales: BTreeMap<String, i64> = BTreeMap::new();
    let mut unmanaged = false;
    for pod in own {
        let Some(owner) = object::controller(pod) else {
            unmanaged = true;
            continue;
        };
        let (uid, replicas) = of_owner(world, object::namespace(pod), owner)
            .ok_or_else(|| format!("found no controllers for pod {:?}", object::name(pod)))?;
        scales.insert(uid, replicas);
    }
    Ok((scales.values().sum(), unmanaged))
}

fn of_owner(world: &World, namespace: &str, owner: &Value) -> Option<(String, i64)> {
    let group = text(owner, &["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
    let kinds = [REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS];
    let kind = kinds.into_iter().find(|kind| kind.name == text(owner, &["kind"]) && kind.group == group)?;
    let found = find(world, kind, namespace, owner)?;
    if kind == REPLICA_SETS
        && let Some(above) =
            object::controller(found).filter(|above| text(above, &["kind"]) == DEPLOYMENTS.name)
    {
        return find(world, DEPLOYMENTS, namespace, above).map(counted);
    }
    Some(counted(found))
}

fn find<'a>(world: &'a World, kind: Kind, namespace: &str, owner: &Value) -> Option<&'a Value> {
    let found = world.get(kind, &ObjectName::new(namespace, text(owner, &["name"])))?;
    (object::uid(found) == text(owner, &["uid"])).then_some(&**found)
}

fn counted(owner: &Value) -> (String, i64) {
    (object::uid(owner).to_owned(), object::int(owner, &["spec", "replicas"]))
}
