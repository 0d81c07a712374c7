//! What is known of the server's objects.
//!
//! Owns: the rule by which news and own writes are merged. News come late and in the order of versions; an own write is
//! known as soon as it is answered, so that nobody decides without it: that takes the place of the original's expectations,
//! and needs no time limit. Never: knows what a kind is for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use control_core::edit;
use serde_json::Value;

use crate::{Kind, object};

/// All kinds that are followed.
#[derive(Debug, Default)]
pub struct World {
    kinds: BTreeMap<Kind, Objects>,
}

/// What happened to an object that is known, or was.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub kind: Kind,
    pub old: Option<Arc<Value>>,
    pub new: Option<Arc<Value>>,
}

#[derive(Debug, Default)]
struct Objects {
    known: BTreeMap<ObjectName, Known>,
    /// Names by the uid of the owner that manages them.
    managed: HashMap<Box<str>, BTreeSet<ObjectName>>,
    /// The news are complete up to this version; `None` before the first list.
    seen: Option<u64>,
}

#[derive(Clone, Debug)]
struct Known {
    object: Arc<Value>,
    version: u64,
    /// We asked for its deletion, which the server has acknowledged, when the news were complete up to this version.
    deleted: Option<u64>,
}

impl Change {
    /// The object as it is, or as it was last.
    pub fn object(&self) -> &Arc<Value> {
        self.new.as_ref().or(self.old.as_ref()).expect("a change has one of them")
    }

    /// As it is and as it was.
    pub fn both(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.new.iter().chain(&self.old)
    }
}

impl World {
    /// Nothing is known yet of these kinds.
    pub fn following(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self { kinds: kinds.into_iter().map(|kind| (kind, Objects::default())).collect() }
    }

    /// All objects of these kinds are known.
    pub fn knows(&self, kinds: &[Kind]) -> bool {
        kinds.iter().all(|kind| self.kinds.get(kind).is_some_and(|objects| objects.seen.is_some()))
    }

    /// All that happened to objects of a kind up to this version is known; `None` before the first list. Versions of all kinds
    /// of a server are of one sequence, that of its etcd.
    pub fn seen(&self, kind: Kind) -> Option<u64> {
        self.kinds.get(&kind)?.seen
    }

    pub fn get(&self, kind: Kind, key: &ObjectName) -> Option<&Arc<Value>> {
        Some(&self.kinds.get(&kind)?.known.get(key)?.object)
    }

    /// All objects of a kind, by namespace and name.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &Arc<Value>> {
        self.kinds
            .get(&kind)
            .into_iter()
            .flat_map(|objects| objects.known.values().map(|known| &known.object))
    }

    /// Those of a namespace, by name.
    pub fn within<'a>(&'a self, kind: Kind, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Value>> {
        let from = Bound::Included(ObjectName::new(namespace, ""));
        let objects = self.kinds.get(&kind).into_iter();
        let within = objects.flat_map(move |objects| objects.known.range((from.clone(), Bound::Unbounded)));
        within.take_while(move |(key, _)| &*key.namespace == namespace).map(|(_, known)| &known.object)
    }

    /// Those that the owner with this uid manages, by name.
    pub fn managed<'a>(&'a self, kind: Kind, uid: &str) -> impl Iterator<Item = &'a Arc<Value>> {
        let objects = self.kinds.get(&kind);
        let names = objects.and_then(|objects| objects.managed.get(uid)).into_iter().flatten();
        names.filter_map(move |name| Some(&objects?.known.get(name)?.object))
    }

    /// News: all objects of a kind at a version.
    pub fn replace(&mut self, kind: Kind, version: u64, list: Vec<Arc<Value>>) -> Vec<Change> {
        let Some(objects) = self.kinds.get_mut(&kind) else { return Vec::new() };
        let listed: BTreeSet<ObjectName> = list.iter().map(|object| object::key(object)).collect();
        let vanished = objects.known.iter().filter(|(key, known)| {
            // A later one is our own write, of which this list does not know yet.
            !listed.contains(*key) && known.version <= version
        });
        let vanished: Vec<ObjectName> = vanished.map(|(key, _)| key.clone()).collect();
        let mut changes = Vec::new();
        changes.extend(vanished.iter().filter_map(|key| objects.set(kind, key, None)));
        for known in objects.known.values_mut() {
            known.deleted = known.deleted.filter(|since| *since > version);
        }
        // Versions may be lower than before where a server was restored from a backup.
        let later = |known: &Known| known.version > version;
        changes.extend(list.into_iter().filter_map(|object| objects.put(kind, object, later)));
        objects.seen = Some(version);
        changes
    }

    /// News: an object is new or has changed.
    pub fn put(&mut self, kind: Kind, object: Arc<Value>) -> Option<Change> {
        let objects = self.kinds.get_mut(&kind)?;
        let version = object::version(&object);
        objects.see(version);
        objects.put(kind, object, |known| known.version >= version)
    }

    /// News: an object is gone; its version is that of its deletion.
    pub fn gone(&mut self, kind: Kind, object: &Value) -> Option<Change> {
        let objects = self.kinds.get_mut(&kind)?;
        let (key, version) = (object::key(object), object::version(object));
        objects.see(version);
        let known = objects.known.get(&key)?;
        // A later one is another of the same name, which we made.
        if known.version > version {
            return None;
        }
        objects.set(kind, &key, None)
    }

    /// News: nothing happened up to this version.
    pub fn until(&mut self, kind: Kind, version: u64) {
        if let Some(objects) = self.kinds.get_mut(&kind) {
            objects.see(version);
        }
    }

    /// An own write, as the server answered it.
    pub fn wrote(&mut self, kind: Kind, object: Arc<Value>) -> Option<Change> {
        let objects = self.kinds.get_mut(&kind)?;
        let version = object::version(&object);
        // What the news have passed they have brought, or something later.
        if objects.seen.is_some_and(|seen| version <= seen) {
            return None;
        }
        objects.put(kind, object, |known| known.version >= version)
    }

    /// An own deletion that the server has acknowledged: the object counts as being deleted until the news say more.
    pub fn deleted(&mut self, kind: Kind, key: &ObjectName, uid: &str, now: SystemTime) -> Option<Change> {
        let objects = self.kinds.get_mut(&kind)?;
        let seen = objects.seen.unwrap_or_default();
        let known = objects.known.get_mut(key)?;
        if !uid.is_empty() && object::uid(&known.object) != uid || object::is_deleting(&known.object) {
            return None;
        }
        let old = Arc::clone(&known.object);
        known.object = going(&known.object, now);
        known.deleted = Some(seen);
        Some(Change { kind, old: Some(old), new: Some(Arc::clone(&known.object)) })
    }
}

impl Objects {
    fn see(&mut self, version: u64) {
        self.seen = self.seen.map(|seen| seen.max(version));
    }

    /// An object, unless what is known of its name is `later`.
    fn put(&mut self, kind: Kind, object: Arc<Value>, later: impl Fn(&Known) -> bool) -> Option<Change> {
        let (key, version) = (object::key(&object), object::version(&object));
        let mut put = Known { object, version, deleted: None };
        if let Some(known) = self.known.get(&key) {
            let same_version = known.version == version && known.deleted.is_none();
            if same_version || later(known) {
                return None;
            }
            let same = object::uid(&known.object) == object::uid(&put.object);
            if let Some(since) = known.deleted.filter(|_| same && !object::is_deleting(&put.object)) {
                let when = object::moment(&known.object, &["metadata", "deletionTimestamp"]);
                put.object = going(&put.object, when.unwrap_or(SystemTime::UNIX_EPOCH));
                put.deleted = Some(since);
            }
        }
        self.set(kind, &key, Some(put))
    }

    fn set(&mut self, kind: Kind, key: &ObjectName, new: Option<Known>) -> Option<Change> {
        let manager = |known: &Known| object::controller_uid(&known.object).map(Box::<str>::from);
        let managed_now = new.as_ref().and_then(manager);
        let put = new.as_ref().map(|known| Arc::clone(&known.object));
        let old = match new {
            Some(new) => self.known.insert(key.clone(), new),
            None => self.known.remove(key),
        };
        let managed_before = old.as_ref().and_then(manager);
        if managed_before != managed_now {
            if let Some(uid) = managed_before
                && let Some(names) = self.managed.get_mut(&uid)
            {
                names.remove(key);
                if names.is_empty() {
                    self.managed.remove(&uid);
                }
            }
            if let Some(uid) = managed_now {
                self.managed.entry(uid).or_default().insert(key.clone());
            }
        }
        let change = Change { kind, old: old.map(|known| known.object), new: put };
        (change.old.is_some() || change.new.is_some()).then_some(change)
    }
}

/// The same object, being deleted.
fn going(object: &Arc<Value>, now: SystemTime) -> Arc<Value> {
    let mut object = Value::clone(object);
    if let Some(metadata) = edit::existing(&mut object, "metadata") {
        edit::set(metadata, "deletionTimestamp", time::seconds(now));
    }
    Arc::new(object)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::kinds::PODS;

    fn pod(name: &str, uid: &str, version: u64) -> Arc<Value> {
        Arc::new(json!({"metadata": {
            "namespace": "d", "name": name, "uid": uid, "resourceVersion": version.to_string(),
            "ownerReferences": [{"uid": "o", "controller": true}],
        }}))
    }

    fn key(name: &str) -> ObjectName {
        ObjectName::new("d", name)
    }

    fn world() -> World {
        let mut world = World::following([PODS]);
        world.replace(PODS, 10, vec![pod("a", "1", 5)]);
        world
    }

    #[test]
    fn own_writes_are_known_until_the_news_have_passed_them() {
        let mut world = world();
        assert!(world.wrote(PODS, pod("b", "2", 12)).is_some());
        assert_eq!(world.managed(PODS, "o").count(), 2);
        // A list from before the write does not take it away, one from after it does.
        world.replace(PODS, 11, vec![pod("a", "1", 5)]);
        assert!(world.get(PODS, &key("b")).is_some());
        world.replace(PODS, 13, vec![pod("a", "1", 5)]);
        assert!(world.get(PODS, &key("b")).is_none());
        // An answer that comes later than the news of the object's end brings nothing back.
        assert!(world.wrote(PODS, pod("b", "2", 12)).is_none());
        assert_eq!(world.managed(PODS, "o").count(), 1);
    }

    #[test]
    fn an_object_that_we_deleted_is_going_until_the_news_say_more() {
        let mut world = world();
        assert!(world.deleted(PODS, &key("a"), "another", SystemTime::UNIX_EPOCH).is_none());
        assert!(world.deleted(PODS, &key("a"), "1", SystemTime::UNIX_EPOCH).is_some());
        let going = |world: &World| object::is_deleting(world.get(PODS, &key("a")).expect("it is there"));
        assert!(going(&world));
        // News from before the deletion change nothing of that.
        world.put(PODS, pod("a", "1", 11));
        assert!(going(&world));
        // Another of its name is not going.
        world.put(PODS, pod("a", "9", 14));
        assert!(!going(&world));
        assert!(world.gone(PODS, &pod("a", "1", 13)).is_none(), "the end of the former one");
        assert!(world.get(PODS, &key("a")).is_some());
    }

    proptest! {
        /// Objects come, change and go; answers to own writes arrive before, between and after the news of them.
        #[test]
        fn whatever_the_order_the_world_is_the_servers_in_the_end(
            acts in prop::collection::vec((0..3_u8, 0..3_usize, any::<bool>(), 0..4_usize), 1..40),
        ) {
            let names = ["a", "b", "c"];
            let (mut world, mut version) = (World::following([PODS]), 1_u64);
            world.replace(PODS, version, Vec::new());
            let mut server: BTreeMap<&str, Arc<Value>> = BTreeMap::new();
            // News, and answers that come late, after so many news.
            let (mut news, mut answers) = (Vec::new(), Vec::new());
            for (act, name, own, late) in acts {
                version += 1;
                let name = names[name];
                let known = server.get(name).map(|known| object::uid(known).to_owned());
                match (act, known) {
                    (0 | 1, uid) => {
                        let object = pod(name, &uid.unwrap_or_else(|| version.to_string()), version);
                        server.insert(name, Arc::clone(&object));
                        news.push((true, Arc::clone(&object)));
                        if own {
                            answers.push((news.len() + late, object, false));
                        }
                    }
                    (_, Some(uid)) => {
                        server.remove(name);
                        let last = pod(name, &uid, version);
                        news.push((false, Arc::clone(&last)));
                        if own {
                            answers.push((news.len() + late, last, true));
                        }
                    }
                    (_, None) => {}
                }
            }
            for at in 0..news.len() + 5 {
                for (_, object, deleted) in answers.iter().filter(|(when, ..)| at + 3 == *when) {
                    if *deleted {
                        world.deleted(PODS, &object::key(object), object::uid(object), SystemTime::UNIX_EPOCH);
                    } else {
                        world.wrote(PODS, Arc::clone(object));
                    }
                }
                match news.get(at) {
                    Some((true, object)) => _ = world.put(PODS, Arc::clone(object)),
                    Some((false, object)) => _ = world.gone(PODS, object),
                    None => {}
                }
            }
            let known: Vec<_> = world.all(PODS).map(|object| (object::name(object).to_owned(), object::version(object))).collect();
            let wanted: Vec<_> = server.values().map(|object| (object::name(object).to_owned(), object::version(object))).collect();
            prop_assert_eq!(known, wanted);
            prop_assert_eq!(world.managed(PODS, "o").count(), server.len());
        }
    }
}
