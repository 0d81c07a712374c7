//! Which pods are like a pod, for those without spread constraints of their own: as its Services and its controller select.
//!
//! Facts: the original's `plugins/helper/spread.go`: selectors of all Services that select the pod, and its controller's.

use std::collections::{BTreeSet, HashMap};

use apiclient_core::names::ObjectName;
use apiclient_core::selector::{LabelSelector, Requirement, Test};
use serde_json::Value;

use crate::Labels;
use crate::pod::Spec;
use crate::read::{self, BadObject};

/// Kinds whose selectors say which pods are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Service,
    ReplicationController,
    ReplicaSet,
    StatefulSet,
}

#[derive(Debug, Default)]
pub struct Selectors {
    /// By namespace and name.
    services: HashMap<String, HashMap<String, Labels>>,
    controllers: HashMap<(Kind, String, String), LabelSelector>,
}

impl Selectors {
    /// # Errors
    /// A selector that cannot be read.
    pub fn set(&mut self, kind: Kind, object: &Value) -> Result<(), BadObject> {
        let (metadata, selector) = (&object["metadata"], &object["spec"]["selector"]);
        let (namespace, name) = (read::text(metadata, "namespace"), read::text(metadata, "name"));
        self.remove(kind, namespace, name);
        match kind {
            Kind::Service if read::is_set(selector) => {
                let services = self.services.entry(namespace.to_owned()).or_default();
                services.insert(name.to_owned(), read::labels(selector));
            }
            Kind::Service => {}
            Kind::ReplicationController => {
                let key = (kind, namespace.to_owned(), name.to_owned());
                self.controllers.insert(key, of_labels(&read::labels(selector)));
            }
            Kind::ReplicaSet | Kind::StatefulSet => {
                if let Some(selector) = read::selector("spec.selector", selector)? {
                    self.controllers.insert((kind, namespace.to_owned(), name.to_owned()), selector);
                }
            }
        }
        Ok(())
    }

    pub fn remove(&mut self, kind: Kind, namespace: &str, name: &str) {
        if kind == Kind::Service {
            if let Some(services) = self.services.get_mut(namespace) {
                services.remove(name);
                if services.is_empty() {
                    self.services.remove(namespace);
                }
            }
            return;
        }
        self.controllers.remove(&(kind, namespace.to_owned(), name.to_owned()));
    }

    pub fn names(&self, kind: Kind) -> Vec<ObjectName> {
        if kind == Kind::Service {
            let of = |(namespace, services): (&String, &HashMap<String, Labels>)| -> Vec<ObjectName> {
                services.keys().map(|name| ObjectName::new(namespace.as_str(), name.as_str())).collect()
            };
            return self.services.iter().flat_map(of).collect();
        }
        let same = self.controllers.keys().filter(|(known, ..)| *known == kind);
        same.map(|(_, namespace, name)| ObjectName::new(namespace.as_str(), name.as_str())).collect()
    }

    /// `None` where nothing says which pods are alike.
    pub fn of(&self, pod: &Spec) -> Option<LabelSelector> {
        let mut found: Vec<Requirement> = Vec::new();
        for selector in self.services.get(&pod.namespace).into_iter().flat_map(HashMap::values) {
            if selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value)) {
                found.extend(requirements(selector));
            }
        }
        let owner = pod.owner.as_ref().and_then(|owner| {
            let kind = match (owner.api_version.as_str(), owner.kind.as_str()) {
                ("v1", "ReplicationController") => Kind::ReplicationController,
                ("apps/v1", "ReplicaSet") => Kind::ReplicaSet,
                ("apps/v1", "StatefulSet") => Kind::StatefulSet,
                _ => return None,
            };
            self.controllers.get(&(kind, pod.namespace.clone(), owner.name.clone()))
        });
        found.extend(owner.iter().flat_map(|selector| selector.requirements().iter().cloned()));
        found.sort();
        found.dedup();
        LabelSelector::new(found).ok().filter(|selector| !selector.requirements().is_empty())
    }
}

fn requirements(labels: &Labels) -> impl Iterator<Item = Requirement> {
    labels
        .iter()
        .map(|(key, value)| Requirement { key: key.clone(), test: Test::In(BTreeSet::from([value.clone()])) })
}

fn of_labels(labels: &Labels) -> LabelSelector {
    // The server has checked these; what it would refuse selects nothing that exists.
    LabelSelector::new(requirements(labels)).unwrap_or_default()
}
