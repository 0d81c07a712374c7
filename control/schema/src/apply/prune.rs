//! The object that an apply makes: merged, and without what the manager applied before and nobody applies any more.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::compare;
use super::managed::{Managed, Manager, Owned};
use super::ownership::{reconciled, take_from_others};
use super::set::Set;
use super::{ApplyError, Write, merge, own};

pub(super) type Conflicts<'a> = Vec<(Manager<'a>, Set<'a>)>;

/// The merged object without what the manager applied before and nobody applies any more, and the entries for it.
pub(super) fn merge_and_track<'a>(
    write: &Write<'a>,
    live: &Value,
    patch: &'a Value,
    managed: Managed<'a>,
    force: bool,
) -> Result<Result<(Value, Managed<'a>), Conflicts<'a>>, ApplyError> {
    let mut managed = reconciled(write, live, managed);
    let failed = |what: &str, error: String| ApplyError::Internal(format!("failed to {what}: {error}"));
    let merged = merge::merge(write.schema, live, patch).map_err(|error| failed("merge config", error))?;
    let set = own::set(write.schema, patch).map_err(|error| failed("get field set", error))?;
    let set = set.less(write.reset, true);
    let manager = Manager::new(write.manager, true, write.api_version, write.subresource);
    let time = managed.get(&manager).and_then(|before| before.time.clone());
    let before = managed.insert(manager.clone(), Owned { set, version: write.api_version.into(), time });
    let merged = match before {
        Some(before) => {
            prune(write, merged, &managed, &before).map_err(|error| failed("prune fields", error))?
        }
        None => merged,
    };
    let difference = compare(write.schema, live, &merged, false)
        .map_err(|error| failed("compare objects", error))?
        .without(write.reset);
    let conflicts =
        take_from_others(write, live, &merged, &difference, &mut managed, Some((&manager, force)))
            .map_err(|error| failed("compare objects", error))?;
    drop(difference);
    Ok(if conflicts.is_empty() { Ok((merged, managed)) } else { Err(conflicts) })
}

/// The merged object without the fields that were in the manager's last set and that nobody owns now.
fn prune(write: &Write<'_>, merged: Value, managed: &Managed<'_>, last: &Owned<'_>) -> Result<Value, String> {
    if last.set.is_empty() {
        return Ok(merged);
    }
    let here = |object: &Value, version: &str| {
        let is_there = object.get("apiVersion").and_then(Value::as_str) == Some(version);
        match is_there && version == write.api_version {
            true => Some((object.clone(), write.schema.clone())),
            false => (write.convert)(object, version),
        }
    };
    let Some((in_last, schema)) = here(&merged, &last.version) else {
        return Ok(merged);
    };
    let mut pruned = own::without(&schema, &in_last, &own::with_named(&schema, &last.set));
    let mut owned: BTreeMap<&str, Set<'_>> = BTreeMap::new();
    for entry in managed.values() {
        let set = owned.entry(&*entry.version).or_default();
        *set = std::mem::take(set).union(entry.set.clone());
    }
    // The last version first: a conversion may need fields that would be missing.
    let first = owned.remove_entry(&*last.version);
    for (version, owned) in first.into_iter().chain(owned) {
        let (Some((merged, schema)), Some((without, _))) = (here(&merged, version), here(&pruned, version))
        else {
            continue;
        };
        let keep =
            own::with_named(&schema, &own::set(&schema, &without)?).union(own::with_named(&schema, &owned));
        let gone = own::with_named(&schema, &own::set(&schema, &merged)?).difference(&keep);
        pruned = own::without(&schema, &merged, &gone);
    }
    let Some((pruned, _)) = here(&pruned, &last.version) else {
        return Ok(merged);
    };
    let kept = own::with_named(&schema, &own::set(&schema, &pruned)?);
    let had = own::with_named(&schema, &own::set(&schema, &in_last)?);
    let gone = had.difference(&kept).intersection(&own::with_named(&schema, &last.set));
    let result = own::without(&schema, &in_last, &gone);
    match here(&result, write.api_version) {
        Some((result, _)) => Ok(result),
        None => Err(format!("failed to convert to {}", write.api_version)),
    }
}
