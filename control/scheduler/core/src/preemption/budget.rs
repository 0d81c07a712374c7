//! PodDisruptionBudgets, as far as a preemption heeds them: it prefers victims that none protects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use apiclient_core::names::ObjectName;
use apiclient_core::selector::LabelSelector;
use serde_json::Value;

use crate::pod::Pod;
use crate::read::{self, BadObject};

#[derive(Debug, Default)]
pub struct Budgets(BTreeMap<ObjectName, Budget>);

#[derive(Clone, Debug)]
struct Budget {
    selector: LabelSelector,
    /// How many more may be disrupted.
    allowed: i32,
    /// Pods whose end is accounted for.
    disrupted: BTreeSet<String>,
}

impl Budgets {
    /// # Errors
    /// A selector or a number that cannot be read.
    pub fn set(&mut self, object: &Value) -> Result<(), BadObject> {
        let metadata = &object["metadata"];
        let name = ObjectName::new(read::text(metadata, "namespace"), read::text(metadata, "name"));
        self.0.remove(&name);
        let selector = read::selector("spec.selector", &object["spec"]["selector"])?;
        // None, and an empty one, select nothing here.
        let Some(selector) = selector.filter(|selector| !selector.requirements().is_empty()) else {
            return Ok(());
        };
        let status = &object["status"];
        let allowed = read::int32(status, "disruptionsAllowed")?.unwrap_or_default();
        let disrupted = read::map(&status["disruptedPods"]).map(|(name, _)| name.clone()).collect();
        self.0.insert(name, Budget { selector, allowed, disrupted });
        Ok(())
    }

    pub fn remove(&mut self, name: &ObjectName) {
        self.0.remove(name);
    }

    pub fn names(&self) -> impl Iterator<Item = &ObjectName> {
        self.0.keys()
    }

    /// Splits pods, the most important first, into those whose end would break a budget and the others.
    pub fn split(&self, pods: Vec<Arc<Pod>>) -> (Vec<Arc<Pod>>, Vec<Arc<Pod>>) {
        let mut left: BTreeMap<&ObjectName, i32> = BTreeMap::new();
        pods.into_iter().partition(|pod| {
            let mut broken = false;
            for (name, budget) in &self.0 {
                let covers = *name.namespace == *pod.spec.namespace
                    && !pod.spec.labels.is_empty()
                    && budget.selector.matches(&pod.spec.labels)
                    && !budget.disrupted.contains(&*pod.name.name);
                if covers {
                    let left = left.entry(name).or_insert(budget.allowed);
                    *left -= 1;
                    broken |= *left < 0;
                }
            }
            broken
        })
    }
}
