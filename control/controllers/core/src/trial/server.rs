//! A server that is a map, as the API describes servers, as far as controllers can tell.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use control_core::edit;
use serde_json::{Value, json};

use crate::{Kind, kinds, object, pods};

/// A server as the API describes it, as far as controllers can tell.
#[derive(Default)]
pub struct Server {
    pub objects: BTreeMap<(Kind, ObjectName), Arc<Value>>,
    pub version: u64,
    uids: u64,
    /// By kind, in the order of versions; delivered late.
    pub news: BTreeMap<Kind, VecDeque<News>>,
}

pub enum News {
    Put(Arc<Value>),
    Gone(Arc<Value>),
}

impl Server {
    pub fn put(&mut self, kind: Kind, mut object: Value) -> Arc<Value> {
        self.version += 1;
        edit::set(&mut object["metadata"], "resourceVersion", self.version.to_string());
        let object = Arc::new(object);
        self.objects.insert((kind, object::key(&object)), Arc::clone(&object));
        self.news.entry(kind).or_default().push_back(News::Put(Arc::clone(&object)));
        object
    }

    pub fn create(&mut self, kind: Kind, mut object: Value, now: SystemTime) -> Result<Arc<Value>, u16> {
        if self.objects.contains_key(&(kind, object::key(&object))) {
            return Err(409);
        }
        self.uids += 1;
        let metadata = &mut object["metadata"];
        edit::set(metadata, "uid", format!("u{}", self.uids));
        edit::set(metadata, "creationTimestamp", time::seconds(now));
        edit::set(metadata, "generation", 1);
        if kind == kinds::PODS {
            edit::default(&mut object, "status", json!({"phase": "Pending"}));
        }
        Ok(self.put(kind, object))
    }

    pub fn update(&mut self, kind: Kind, part: &str, object: &Value) -> Result<Arc<Value>, u16> {
        let known = self.objects.get(&(kind, object::key(object))).ok_or(404_u16)?;
        let version = object::version(object);
        if version != 0 && version != object::version(known) || object::uid(object) != object::uid(known) {
            return Err(409);
        }
        let mut new = Value::clone(known);
        match part {
            "" => {
                for field in [
                    "metadata",
                    "spec",
                    "data",
                    "revision",
                    "subsets",
                    "endpoints",
                    "ports",
                    "secrets",
                    "rules",
                ] {
                    edit::restore(&mut new, object, field);
                }
                if new["spec"] != known["spec"] {
                    edit::set_generation(&mut new, edit::generation(known) + 1);
                }
            }
            part => {
                // Conditions of a request for a certificate are part of its status.
                let field = if part == "approval" { "status" } else { part };
                edit::restore(&mut new, object, field);
                // A status is written with its object's annotations and finalizers.
                for field in ["annotations", "finalizers"] {
                    edit::restore(&mut new["metadata"], &object["metadata"], field);
                }
            }
        }
        // The last finalizer of an object that is going lets it go.
        let held = !edit::list(&new, &["metadata", "finalizers"]).is_empty();
        if kind != kinds::PODS && object::is_deleting(&new) && !held {
            let key = object::key(&new);
            return Ok(self.remove(kind, &key));
        }
        Ok(self.put(kind, new))
    }

    pub fn patch(
        &mut self,
        kind: Kind,
        name: &ObjectName,
        part: &str,
        patch: &Value,
    ) -> Result<Arc<Value>, u16> {
        let known = self.objects.get(&(kind, name.clone())).ok_or(404_u16)?;
        let uid = edit::text(patch, &["metadata", "uid"]);
        if !uid.is_empty() && uid != object::uid(known) {
            return Err(409);
        }
        let mut new = Value::clone(known);
        merge(&mut new, patch);
        let _ = part;
        Ok(self.put(kind, new))
    }

    pub fn delete(
        &mut self,
        kind: Kind,
        name: &ObjectName,
        uid: &str,
        now: SystemTime,
    ) -> Result<Arc<Value>, u16> {
        let known = self.objects.get(&(kind, name.clone())).ok_or(404_u16)?;
        if !uid.is_empty() && uid != object::uid(known) {
            return Err(409);
        }
        let graceful = kind == kinds::PODS && !pods::node(known).is_empty() && !pods::has_ended(known);
        let held = !edit::list(known, &["metadata", "finalizers"]).is_empty();
        if graceful || held {
            if object::is_deleting(known) {
                return Ok(Arc::clone(known));
            }
            let mut going = Value::clone(known);
            edit::set(&mut going["metadata"], "deletionTimestamp", time::seconds(now));
            return Ok(self.put(kind, going));
        }
        Ok(self.remove(kind, name))
    }

    pub fn remove(&mut self, kind: Kind, name: &ObjectName) -> Arc<Value> {
        let mut last = Value::clone(&self.objects.remove(&(kind, name.clone())).expect("it is there"));
        self.version += 1;
        edit::set(&mut last["metadata"], "resourceVersion", self.version.to_string());
        let last = Arc::new(last);
        self.news.entry(kind).or_default().push_back(News::Gone(Arc::clone(&last)));
        last
    }
}

/// A merge patch; lists of owners by uid, as the strategic one has it.
fn merge(into: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in fields {
        if name == "ownerReferences" {
            let mut owners = edit::list(into, &[name]).to_vec();
            for change in value.as_array().expect("owners are a list") {
                owners.retain(|owner| owner["uid"] != change["uid"]);
                if change["$patch"] != "delete" {
                    owners.push(change.clone());
                }
            }
            edit::set(into, name, owners);
        } else if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            let mut kept = edit::list(into, &[list]).to_vec();
            kept.retain(|item| !edit::list(patch, &[name]).contains(item));
            edit::set(into, list, kept);
        } else if name == "finalizers" {
            let mut all = edit::list(into, &[name]).to_vec();
            all.extend(value.as_array().into_iter().flatten().cloned());
            all.dedup();
            edit::set(into, name, all);
        } else if value.is_null() {
            edit::remove(into, name);
        } else {
            edit::default(into, name, Value::Null);
            merge(&mut into[name], value);
        }
    }
}
