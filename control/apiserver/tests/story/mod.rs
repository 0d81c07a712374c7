//! What etcd says that happened, and what any question at any version should have been answered.

pub mod claims;

use std::collections::BTreeMap;

use control_schema::{builtin, codec};
use etcd::{Change, Client, Header, Span, WatchEvent};
use serde_json::Value;

use crate::common::within;

/// An object as clients see it: its version, its value, and whether it is selected by `even=true`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub version: i64,
    pub value: String,
    pub even: bool,
}

impl Seen {
    pub fn of(object: &Value) -> Self {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        Self {
            version: text("/metadata/resourceVersion").parse().unwrap_or(0),
            value: text("/data/v").to_owned(),
            even: text("/metadata/labels/even") == "true",
        }
    }
}

/// The object that ends the watches.
pub const END: &str = "z-end";

/// Objects by name.
pub type Objects = BTreeMap<String, Seen>;

/// Changes in their order: name, version, and what it became; None: it was deleted.
#[derive(Debug)]
pub struct Story(Vec<(String, i64, Option<Seen>)>);

/// A line of a watch: its type, the name, the version and the value.
pub type Told = (&'static str, String, i64, String);

impl Story {
    /// All changes of the ConfigMaps of a namespace.
    pub async fn read(etcd: &Client, namespace: &str, end: &str) -> Self {
        let schema = builtin::kind("v1", "ConfigMap").unwrap();
        let prefix = format!("/registry/configmaps/{namespace}/");
        let mut watch = etcd.watch(Span::prefix(prefix.clone()), Header::default(), false);
        let mut changes = Vec::new();
        loop {
            let event = within("etcd's history", watch.next()).await.unwrap();
            let WatchEvent::Changes(_, some) = event else { continue };
            for change in some {
                let kv = change.kv();
                let name = String::from_utf8(kv.key.clone()).unwrap().replacen(&prefix, "", 1);
                let seen = matches!(change, Change::Put { .. }).then(|| {
                    let object = codec::protobuf::decode(&schema, &kv.value).unwrap().value;
                    Seen { version: kv.mod_revision, ..Seen::of(&object) }
                });
                let last = name == end;
                changes.push((name, kv.mod_revision, seen));
                if last {
                    return Self(changes);
                }
            }
        }
    }

    /// All objects at a version.
    pub fn at(&self, version: i64) -> Objects {
        let mut objects = Objects::new();
        for (name, _, seen) in self.0.iter().filter(|(_, at, _)| *at <= version) {
            match seen {
                Some(seen) => objects.insert(name.clone(), seen.clone()),
                None => objects.remove(name),
            };
        }
        objects
    }

    /// Whether an object was so at some version that is not older than `floor`.
    pub fn was(&self, name: &str, found: Option<&Seen>, floor: i64) -> bool {
        let later = self.0.iter().filter(|(_, at, _)| *at > floor).map(|(_, at, _)| *at);
        std::iter::once(floor).chain(later).any(|version| self.at(version).get(name) == found)
    }

    /// Whether this was written.
    pub fn has(&self, name: &str, version: i64, value: Option<&str>) -> bool {
        self.0.iter().any(|(own, at, seen)| {
            own == name && *at == version && seen.as_ref().map(|seen| seen.value.as_str()) == value
        })
    }

    /// What a watch tells after a version, of all objects or of those that are selected.
    pub fn told(&self, after: i64, selected: bool) -> Vec<Told> {
        let admits = |seen: &Seen| !selected || seen.even;
        let mut before = self.at(after);
        let mut told = Vec::new();
        for (name, version, now) in self.0.iter().filter(|(_, at, _)| *at > after) {
            let old = match now {
                Some(now) => before.insert(name.clone(), now.clone()),
                None => before.remove(name),
            };
            let (old, now) = (old.filter(admits), now.clone().filter(admits));
            let line = match (old, now) {
                (None, None) => continue,
                (None, Some(now)) => ("ADDED", now.value),
                (Some(_), Some(now)) => ("MODIFIED", now.value),
                // As it was when it was last selected.
                (Some(old), None) => ("DELETED", old.value),
            };
            told.push((line.0, name.clone(), *version, line.1));
        }
        told
    }
}
