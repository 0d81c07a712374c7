//! Which objects an owner manages: those that it has, those that it takes, those that it lets go.
//!
//! The original's rules (`ControllerRefManager`): an owner takes what nobody manages and its selector matches, lets go what it
//! manages and its selector does not match any more, and does neither while it is going itself.

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::text;
use control_core::selectors::Selector;
use serde_json::{Value, json};

use crate::{Act, Kind, World, Write, object};

/// An owner's objects of one kind.
#[derive(Debug, Default)]
pub struct Claim {
    /// Its own, and those that are about to be.
    pub held: Vec<Arc<Value>>,
    /// Adoptions and releases.
    pub acts: Vec<Act>,
}

/// `owned`: the kind of the objects; `may`: which of them can be taken at all.
pub fn claim(
    world: &World,
    owned: Kind,
    owner_kind: Kind,
    owner: &Arc<Value>,
    selector: &Selector<'_>,
    may: impl Fn(&Value) -> bool,
) -> Claim {
    let mut claim = Claim::default();
    let (uid, going) = (object::uid(owner), object::is_deleting(owner));
    for own in world.managed(owned, uid) {
        if selector.matches(object::labels(own)) || !may(own) {
            claim.held.push(Arc::clone(own));
        } else if !going {
            claim.acts.push(release(owned, own, uid));
        }
    }
    if going || selector.is_empty() {
        return claim;
    }
    for orphan in world.within(owned, object::namespace(owner)) {
        let free = object::controller(orphan).is_none() && !object::is_deleting(orphan);
        if free && may(orphan) && selector.matches(object::labels(orphan)) {
            claim.held.push(Arc::clone(orphan));
            claim.acts.push(adopt(owned, orphan, owner_kind, owner));
        }
    }
    claim
}

fn adopt(owned: Kind, orphan: &Value, owner_kind: Kind, owner: &Arc<Value>) -> Act {
    let reference = object::controller_reference(&owner_kind, owner);
    let patch = json!({"metadata": {"ownerReferences": [reference], "uid": object::uid(orphan)}});
    Act::new(owned, Write::Strategic { name: object::key(orphan), part: "", patch })
        .while_alive(owner_kind, owner)
}

fn release(owned: Kind, own: &Value, owner: &str) -> Act {
    let patch = json!({
        "metadata": {"ownerReferences": [{"$patch": "delete", "uid": owner}], "uid": object::uid(own)},
    });
    Act::new(owned, Write::Strategic { name: object::key(own), part: "", patch })
}

/// The owners of a kind that an object may concern: the one that manages it, or else all in its namespace that select it.
pub fn owners_of(world: &World, owner_kind: Kind, object: &Value, keys: &mut Vec<ObjectName>) {
    let namespace = object::namespace(object);
    if let Some(owner) = object::controller(object) {
        let name = ObjectName::new(namespace, text(owner, &["name"]));
        let group = owner_kind.api_version();
        if text(owner, &["kind"]) == owner_kind.name && same_group(text(owner, &["apiVersion"]), &group) {
            keys.push(name);
        }
        return;
    }
    let selecting = world.within(owner_kind, namespace).filter(|owner| {
        selector_of(owner_kind, owner).is_some_and(|selector| {
            Selector::of(&selector)
                .is_some_and(|selector| !selector.is_empty() && selector.matches(object::labels(object)))
        })
    });
    keys.extend(selecting.map(|owner| object::key(owner)));
}

/// The selector of an owner as a `LabelSelector`: a ReplicationController has a map of labels instead.
pub fn selector_of(kind: Kind, owner: &Value) -> Option<Value> {
    let selector = &owner["spec"]["selector"];
    match kind {
        crate::kinds::REPLICATION_CONTROLLERS => {
            selector.is_object().then(|| json!({"matchLabels": selector}))
        }
        _ => (!selector.is_null()).then(|| selector.clone()),
    }
}

fn same_group(a: &str, b: &str) -> bool {
    let group = |api_version: &str| api_version.rsplit_once('/').map_or("", |(group, _)| group).to_owned();
    group(a) == group(b)
}
