//! Who owns what after a change: the writer what it changed, the others what they had of the rest.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use apiclient_core::time;
use serde_json::Value;

use super::Write;
use super::compare::{Difference, compare};
use super::managed::{self, Managed, Manager, Owned};
use super::own;
use super::set::Set;

/// What becomes of the entries when the object changes from `live` to `new` otherwise than by an apply.
pub(super) fn track<'a>(
    write: &Write<'a>,
    live: &'a Value,
    new: &'a Value,
    managed: Managed<'a>,
) -> Result<Managed<'a>, String> {
    let mut managed = reconciled(write, live, managed);
    let difference = compare(write.schema, live, new, true)?.without(write.reset);
    take_from_others(write, live, new, &difference, &mut managed, None)?;
    let mine = difference.modified.union(difference.added).less(&STRIPPED, false);
    if !mine.is_empty() {
        let manager = Manager::new(write.manager, false, write.api_version, write.subresource);
        // The original loses the time of an entry on its way from the scale to the object.
        let time = (write.subresource != "scale").then(|| time::seconds(write.now).into());
        let owned = Owned { set: mine, version: write.api_version.into(), time };
        match managed.remove(&manager) {
            Some(before) => {
                let set = owned.set.union(before.set);
                managed.insert(manager, Owned { set, ..owned });
            }
            None => {
                managed.insert(manager, owned);
            }
        }
    }
    managed::cap(&mut managed);
    Ok(managed)
}

/// What nobody owns, whoever writes it.
pub(super) static STRIPPED: LazyLock<Set<'static>> = LazyLock::new(|| {
    Set::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// The entries, with sets that fit the schemas of today, and without those of versions that are gone.
pub(super) fn reconciled<'a>(write: &Write<'_>, live: &Value, mut managed: Managed<'a>) -> Managed<'a> {
    managed.retain(|_, owned| {
        if owned.version == write.api_version {
            own::reconcile(write.schema, &mut owned.set);
            return true;
        }
        match (write.convert)(live, &owned.version) {
            Some((_, schema)) => {
                own::reconcile(&schema, &mut owned.set);
                true
            }
            None => false,
        }
    });
    managed
}

/// Takes fields that change from all entries but that of `applier`. With an applier, gives what the others own of the
/// fields that change; without one, takes those too.
pub(super) fn take_from_others<'a>(
    write: &Write<'_>,
    live: &Value,
    new: &Value,
    difference: &Difference<'_>,
    managed: &mut Managed<'a>,
    applier: Option<(&Manager<'_>, bool)>,
) -> Result<Vec<(Manager<'a>, Set<'a>)>, String> {
    let mut elsewhere: BTreeMap<String, Difference<'static>> = BTreeMap::new();
    let mut conflicts = Vec::new();
    let mut gone = Vec::new();
    let mut taken = Vec::new();
    for (manager, owned) in managed.iter() {
        if applier.is_some_and(|(applier, _)| applier == manager) {
            continue;
        }
        let difference = if owned.version == write.api_version {
            difference
        } else {
            if !elsewhere.contains_key(&*owned.version) {
                let Some((old, schema)) = (write.convert)(live, &owned.version) else {
                    gone.push(manager.clone());
                    continue;
                };
                let Some((new, _)) = (write.convert)(new, &owned.version) else {
                    gone.push(manager.clone());
                    continue;
                };
                let found = compare(&schema, &old, &new, applier.is_none())?.without(write.reset);
                elsewhere.insert(owned.version.to_string(), found.into_owned());
            }
            &elsewhere[&*owned.version]
        };
        let modified = owned.set.intersection(&difference.modified);
        let conflict = modified.union(owned.set.intersection(&difference.added));
        taken.push((manager.clone(), owned.set.difference(&conflict).difference(&difference.removed)));
        if !conflict.is_empty() {
            conflicts.push((manager.clone(), conflict));
        }
    }
    if !conflicts.is_empty() && applier.is_some_and(|(_, force)| !force) {
        return Ok(conflicts);
    }
    for manager in gone {
        managed.remove(&manager);
    }
    for (manager, left) in taken {
        if let Some(owned) = managed.get_mut(&manager) {
            owned.set = left;
        }
    }
    managed.retain(|_, owned| !owned.set.is_empty());
    Ok(Vec::new())
}
