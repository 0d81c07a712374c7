//! Whom a claim is reserved for: those who are gone or done are struck off.

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::{list, remove, set, text};
use serde_json::Value;

use super::{ACCOUNT, NAME, is_done, names};
use crate::kinds::{PODS, RESOURCE_CLAIMS};
use crate::volumes::without_finalizer;
use crate::{Act, Change, Context, Controller, Decision, Kind, World, object};

/// Holds a claim while devices are allocated to it.
const ALLOCATED: &str = "resource.kubernetes.io/delete-protection";

/// Keys are claims.
#[derive(Debug)]
pub struct Reservations;

impl Controller for Reservations {
    fn name(&self) -> &'static str {
        NAME
    }

    fn account(&self) -> &'static str {
        ACCOUNT
    }

    fn follows(&self) -> &[Kind] {
        &[PODS, RESOURCE_CLAIMS]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        if change.kind == RESOURCE_CLAIMS {
            keys.extend(change.new.iter().map(|claim| object::key(claim)));
            return;
        }
        if change.new.as_ref().is_some_and(|pod| !is_done(pod)) {
            return;
        }
        for pod in change.both() {
            let own = world.managed(RESOURCE_CLAIMS, object::uid(pod)).map(|claim| object::key(claim));
            keys.extend(own);
            keys.extend(names(pod).into_iter().map(|name| ObjectName::new(object::namespace(pod), name)));
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        let Some(claim) = world.get(RESOURCE_CLAIMS, key) else { return Decision::nothing() };
        let users = list(claim, &["status", "reservedFor"]);
        let (mut left, mut doubtful) = (Vec::new(), None);
        for user in users {
            match end(world, &key.namespace, user) {
                End::No => left.push(user.clone()),
                End::Yes => {}
                // The server is asked about one at a time.
                End::Perhaps(pod) if doubtful.is_none() => doubtful = Some((pod, text(user, &["uid"]))),
                End::Perhaps(_) => left.push(user.clone()),
            }
        }
        if left.len() < users.len() {
            let mut act = Act::status(RESOURCE_CLAIMS, without_users(claim, left));
            if let Some((pod, uid)) = doubtful {
                act = act.while_absent(PODS, pod, uid);
            }
            return Decision::nothing().then(act);
        }
        if !left.is_empty() {
            return Decision::nothing();
        }
        if object::is_deleting(claim) {
            return let_go(claim);
        }
        let owner = object::controller(claim).filter(|owner| text(owner, &["kind"]) == "Pod");
        let pod = owner
            .and_then(|owner| world.get(PODS, &ObjectName::new(&*key.namespace, text(owner, &["name"]))));
        // Where its pod is not known it is the garbage collector's.
        let over =
            pod.is_some_and(|pod| object::controller_uid(claim) != Some(object::uid(pod)) || is_done(pod));
        if over { Decision::nothing().then(Act::delete(RESOURCE_CLAIMS, claim)) } else { Decision::nothing() }
    }
}

/// Whether a user needs a claim no more.
enum End {
    No,
    Yes,
    /// Nothing is known of it: it is new, or gone.
    Perhaps(ObjectName),
}

fn end(world: &World, namespace: &str, user: &Value) -> End {
    if text(user, &["resource"]) != "pods" || !text(user, &["apiGroup"]).is_empty() {
        return End::No;
    }
    let key = ObjectName::new(namespace, text(user, &["name"]));
    match world.get(PODS, &key) {
        None => End::Perhaps(key),
        Some(pod) if object::uid(pod) != text(user, &["uid"]) || is_done(pod) => End::Yes,
        Some(_) => End::No,
    }
}

/// The last user leaves its devices to others.
fn without_users(claim: &Arc<Value>, left: Vec<Value>) -> Value {
    let mut claim = Value::clone(claim);
    let held = list(&claim, &["metadata", "finalizers"]).iter().any(|one| one == ALLOCATED);
    if left.is_empty() {
        if held {
            remove(&mut claim["status"], "allocation");
        }
        remove(&mut claim["status"], "reservedFor");
    } else {
        set(&mut claim["status"], "reservedFor", left);
    }
    claim
}

/// Nobody uses it and it is to go: its devices first.
fn let_go(claim: &Arc<Value>) -> Decision {
    let Some(free) = without_finalizer(claim, ALLOCATED) else { return Decision::nothing() };
    if claim["status"]["allocation"].is_null() {
        return Decision::nothing().then(Act::update(RESOURCE_CLAIMS, free));
    }
    Decision::nothing().then(Act::status(RESOURCE_CLAIMS, without_users(claim, Vec::new())))
}
