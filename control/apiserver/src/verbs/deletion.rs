//! What a deletion does to an object. Pure.
//!
//! Owns: preconditions, grace, the finalizers of propagation policies (`BeforeDelete` and `Store.Delete` of the original).
//! Begin at [`decide`].

use std::time::{Duration, SystemTime};

use apiclient_core::time;
use apiclient_core::wire::Status;
use control_core::kind::Kind;
use control_core::{edit, refusal};
use serde_json::Value;

use crate::request::options::{DeleteOptions, Propagation};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What becomes of the object.
#[derive(Clone, Debug, PartialEq)]
pub enum Deletion {
    /// It goes; this is what the client sees of it. `changed`: it is marked, or has lost a finalizer, before it goes, and
    /// who watches is told of that too.
    Remove { object: Value, changed: bool },
    /// It is marked and stays until its finalizers have gone, or its time is over.
    Mark(Value),
    /// It is on its way already, and nothing changes.
    Pending,
}

/// # Errors
/// 409: a precondition does not hold.
pub fn decide(
    kind: &Kind,
    object: &Value,
    options: &DeleteOptions,
    now: SystemTime,
) -> Result<Deletion, Status> {
    check_preconditions(kind, object, options)?;
    if kind.strategy.holds_deletion(object) {
        return Ok(held(kind, object, options, now));
    }
    let mut object = object.clone();
    let graceful = match grace(kind, &mut object, options, now) {
        Grace::Pending => return Ok(Deletion::Pending),
        Grace::None => false,
        Grace::Begins => true,
    };
    let finalizers = finalizers_after(kind, &object, options);
    let has_finalizers = !finalizers.is_empty();
    let changed = graceful || finalizers != edit::list(&object, &["metadata", "finalizers"]);
    if let Some(metadata) = edit::child(&mut object, "metadata") {
        if has_finalizers {
            edit::set(metadata, "finalizers", finalizers);
        } else {
            edit::remove(metadata, "finalizers");
        }
    }
    if graceful {
        let seconds = edit::at(&object, &["metadata", "deletionGracePeriodSeconds"]).as_i64();
        let waits = has_finalizers || seconds.unwrap_or(0) > 0;
        return Ok(if waits { Deletion::Mark(object) } else { Deletion::Remove { object, changed } });
    }
    if !has_finalizers {
        return Ok(Deletion::Remove { object, changed });
    }
    mark(&mut object, now);
    Ok(Deletion::Mark(object))
}

/// The object has finalizers of its own kind (namespaces): it is marked once, and waits for them.
fn held(kind: &Kind, object: &Value, options: &DeleteOptions, now: SystemTime) -> Deletion {
    if !edit::text(object, &["metadata", "deletionTimestamp"]).is_empty() {
        return Deletion::Pending;
    }
    let mut object = object.clone();
    let finalizers = finalizers_after(kind, &object, options);
    if let Some(metadata) = edit::child(&mut object, "metadata") {
        edit::set(metadata, "deletionTimestamp", time::seconds(now));
        if !finalizers.is_empty() {
            edit::set(metadata, "finalizers", finalizers);
        }
    }
    kind.strategy.mark_deletion(&mut object);
    Deletion::Mark(object)
}

fn check_preconditions(kind: &Kind, object: &Value, options: &DeleteOptions) -> Result<(), Status> {
    let text = |field| edit::text(object, &["metadata", field]);
    if kind.traits.own_deletion {
        return check_own_preconditions(kind, object, options);
    }
    // The original names the kind here, where elsewhere it names the plural.
    let refuse =
        |why: String| Err(refusal::conflict_on(kind.group_in_work(), &kind.kind, text("name"), &why));
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != text("uid")) {
        return refuse(format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            text("uid")
        ));
    }
    let version = text("resourceVersion");
    if let Some(wanted) = options.resource_version.as_deref().filter(|wanted| *wanted != version) {
        return refuse(format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({version}). The object might have been modified"
        ));
    }
    Ok(())
}

fn check_own_preconditions(kind: &Kind, object: &Value, options: &DeleteOptions) -> Result<(), Status> {
    let text = |field| edit::text(object, &["metadata", field]);
    for (what, field, wanted) in
        [("UID", "uid", &options.uid), ("ResourceVersion", "resourceVersion", &options.resource_version)]
    {
        if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != text(field)) {
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {}",
                text(field)
            );
            return Err(refusal::conflict(kind, text("name"), &why));
        }
    }
    Ok(())
}

enum Grace {
    /// The kind does not wait, or has waited.
    None,
    /// The object is marked with when it will go.
    Begins,
    /// It is waiting already, and no longer than asked.
    Pending,
}

fn grace(kind: &Kind, object: &mut Value, options: &DeleteOptions, now: SystemTime) -> Grace {
    if !kind.traits.graceful {
        return Grace::None;
    }
    let asked = options.grace_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let own = edit::at(object, &["metadata", "deletionGracePeriodSeconds"]).as_i64();
    let own = own.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let marked = time::parse(edit::text(object, &["metadata", "deletionTimestamp"]));
    let Some(marked) = marked else {
        let seconds = kind.strategy.grace_period(object, asked);
        let generation = edit::generation(object);
        if generation > 0 {
            edit::set_generation(object, generation + 1);
        }
        set_times(object, now + seconds_of(seconds), seconds);
        return Grace::Begins;
    };
    let Some(own) = own.filter(|seconds| *seconds > 0) else { return Grace::None };
    let Some(mut period) = asked.filter(|asked| *asked < own) else { return Grace::Pending };
    let mut at = marked - seconds_of(own) + seconds_of(period);
    if at < now {
        at = now;
        period = period.min(1);
    }
    set_times(object, at, period);
    Grace::Begins
}

fn seconds_of(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(1 << 32))
}

fn set_times(object: &mut Value, at: SystemTime, seconds: i64) {
    if let Some(metadata) = edit::child(object, "metadata") {
        edit::set(metadata, "deletionTimestamp", time::seconds(at));
        edit::set(metadata, "deletionGracePeriodSeconds", seconds);
    }
}

fn mark(object: &mut Value, now: SystemTime) {
    let marked = time::parse(edit::text(object, &["metadata", "deletionTimestamp"]));
    let generation = edit::generation(object);
    if marked.is_none() && generation > 0 {
        edit::set_generation(object, generation + 1);
    }
    set_times(object, marked.filter(|marked| *marked <= now).unwrap_or(now), 0);
}

/// The finalizers that the object has after the wish of what becomes of its dependents.
fn finalizers_after(kind: &Kind, object: &Value, options: &DeleteOptions) -> Vec<Value> {
    let own = edit::list(object, &["metadata", "finalizers"]);
    let first = own.iter().filter_map(Value::as_str).find(|name| matches!(*name, ORPHAN | FOREGROUND));
    let supported = !kind.traits.no_garbage_collection;
    let wants = |propagation, finalizer: &str| match options.propagation {
        Some(wanted) => wanted == propagation,
        None => first == Some(finalizer),
    };
    let by_default = kind.traits.orphans && options.propagation.is_none() && first.is_none();
    let orphan =
        supported && options.orphan.unwrap_or_else(|| by_default || wants(Propagation::Orphan, ORPHAN));
    let foreground = supported && options.orphan.is_none() && wants(Propagation::Foreground, FOREGROUND);
    let others = own.iter().filter(|name| !matches!(name.as_str(), Some(ORPHAN | FOREGROUND)));
    let mut after: Vec<Value> = others.cloned().collect();
    after.extend(orphan.then(|| ORPHAN.into()));
    after.extend(foreground.then(|| FOREGROUND.into()));
    // The same ones stay in their order.
    let same = after.len() == own.len() && own.iter().all(|name| after.contains(name));
    if same { own.to_vec() } else { after }
}

/// An update takes the last finalizer of an object that was to be deleted: it goes.
pub fn ends_with_update(kind: &Kind, new: &Value, old: &Value) -> bool {
    let seconds = edit::at(old, &["metadata", "deletionGracePeriodSeconds"]).as_i64();
    edit::list(new, &["metadata", "finalizers"]).is_empty()
        && !kind.strategy.holds_deletion(new)
        && !edit::text(old, &["metadata", "deletionTimestamp"]).is_empty()
        && seconds.unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use control_core::kinds;
    use control_schema::builtin;
    use serde_json::json;
    use std::time::UNIX_EPOCH;

    fn kind(plural: &str) -> Kind {
        let all = kinds::all(&builtin::library());
        all.into_iter().find(|kind| kind.plural == plural && kind.group.is_empty()).expect(plural)
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn decided(plural: &str, object: &Value, options: DeleteOptions) -> Deletion {
        decide(&kind(plural), object, &options, at(1000)).expect("no precondition")
    }

    fn finalizers(deletion: &Deletion) -> Value {
        match deletion {
            Deletion::Mark(object) => object["metadata"]["finalizers"].clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_object_without_finalizers_goes_at_once() {
        let object = json!({"metadata": {"name": "a"}});
        assert_eq!(
            decided("configmaps", &object, DeleteOptions::default()),
            Deletion::Remove { object: object.clone(), changed: false }
        );
        let background =
            DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
        assert!(matches!(decided("configmaps", &object, background), Deletion::Remove { .. }));
    }

    #[test]
    fn a_policy_becomes_a_finalizer_and_replaces_that_of_another() {
        let wish = |propagation| DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        let object = json!({"metadata": {"name": "a", "finalizers": ["x/y", "orphan"]}});
        let of = |options| finalizers(&decided("configmaps", &object, options));
        assert_eq!(of(DeleteOptions::default()), json!(["x/y", "orphan"]));
        assert_eq!(of(wish(Propagation::Foreground)), json!(["x/y", "foregroundDeletion"]));
        assert_eq!(of(wish(Propagation::Background)), json!(["x/y"]));
        assert_eq!(
            of(DeleteOptions { orphan: Some(true), ..DeleteOptions::default() }),
            json!(["x/y", "orphan"])
        );
        assert_eq!(of(DeleteOptions { orphan: Some(false), ..DeleteOptions::default() }), json!(["x/y"]));
        // What was so in the first days is so for ever.
        let controller = json!({"metadata": {"name": "a"}});
        let of = |options| decided("replicationcontrollers", &controller, options);
        assert_eq!(finalizers(&of(DeleteOptions::default())), json!(["orphan"]));
        assert!(matches!(of(wish(Propagation::Background)), Deletion::Remove { changed: false, .. }));
        // Events know no dependents.
        let event = json!({"metadata": {"name": "a"}});
        assert!(matches!(decided("events", &event, wish(Propagation::Foreground)), Deletion::Remove { .. }));
    }

    #[test]
    fn a_pod_waits_for_its_grace_and_a_shorter_one_shortens_it() {
        let pod = json!({"metadata": {"name": "a", "generation": 1},
            "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}, "status": {"phase": "Running"}});
        let asked = |seconds| DeleteOptions { grace_seconds: Some(seconds), ..DeleteOptions::default() };
        let Deletion::Mark(marked) = decided("pods", &pod, DeleteOptions::default()) else {
            panic!("not marked")
        };
        assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
        assert_eq!(marked["metadata"]["deletionTimestamp"], time::seconds(at(1030)));
        assert_eq!(marked["metadata"]["generation"], 2);
        assert_eq!(decided("pods", &marked, DeleteOptions::default()), Deletion::Pending);
        assert_eq!(decided("pods", &marked, asked(60)), Deletion::Pending);
        let Deletion::Mark(shorter) = decided("pods", &marked, asked(5)) else { panic!("not marked") };
        assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
        assert_eq!(shorter["metadata"]["deletionTimestamp"], time::seconds(at(1005)));
        // Who watches is told of the end before it comes.
        assert!(matches!(decided("pods", &marked, asked(0)), Deletion::Remove { changed: true, .. }));
    }

    #[test]
    fn a_namespace_waits_for_its_own_finalizers() {
        let namespace = json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"}});
        let Deletion::Mark(marked) = decided("namespaces", &namespace, DeleteOptions::default()) else {
            panic!("not marked")
        };
        assert_eq!(marked["status"]["phase"], "Terminating");
        assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], Value::Null);
        assert_eq!(decided("namespaces", &marked, DeleteOptions::default()), Deletion::Pending);
        let mut freed = marked.clone();
        assert!(!ends_with_update(&kind("namespaces"), &freed, &marked));
        freed["spec"]["finalizers"] = json!([]);
        assert!(ends_with_update(&kind("namespaces"), &freed, &marked));
    }
}
