//! A pod's rules about the pods beside it.
//!
//! Owns: [`PodAffinity`] and [`PodTerm`], which says which pods are meant; where they must be is the topology key beside it.

use std::collections::BTreeSet;

use apiclient_core::selector::LabelSelector;
use serde_json::Value;

use crate::Labels;
use crate::read::{self, BadObject};

/// Which pods a term is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodTerm {
    pub namespaces: BTreeSet<String>,
    /// Also pods of namespaces with such labels.
    pub namespace_selector: Option<LabelSelector>,
    /// `None` selects nothing.
    pub selector: Option<LabelSelector>,
}

/// A term and the label of nodes that says what "beside" means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    pub term: PodTerm,
    pub topology_key: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodAffinity {
    pub required: Vec<Rule>,
    pub anti_required: Vec<Rule>,
    /// With weights; those of anti-affinity are negative.
    pub preferred: Vec<(i32, Rule)>,
}

impl PodAffinity {
    /// Of a PodSpec.
    ///
    /// # Errors
    /// A selector or a weight that cannot be read.
    pub fn read(spec: &Value, namespace: &str) -> Result<Self, BadObject> {
        let mut found = Self::default();
        for (field, sign) in [("podAffinity", 1), ("podAntiAffinity", -1)] {
            let affinity = &spec["affinity"][field];
            let required = if sign > 0 { &mut found.required } else { &mut found.anti_required };
            for term in read::list(&affinity["requiredDuringSchedulingIgnoredDuringExecution"]) {
                required.push(Rule::read(term, namespace)?);
            }
            for term in read::list(&affinity["preferredDuringSchedulingIgnoredDuringExecution"]) {
                let weight = read::int32(term, "weight")?.unwrap_or_default();
                found.preferred.push((sign * weight, Rule::read(&term["podAffinityTerm"], namespace)?));
            }
        }
        Ok(found)
    }

    pub fn is_empty(&self) -> bool {
        self.required.is_empty() && self.anti_required.is_empty() && self.preferred.is_empty()
    }
}

impl Rule {
    fn read(term: &Value, namespace: &str) -> Result<Self, BadObject> {
        let mut namespaces: BTreeSet<String> = read::texts(&term["namespaces"]).into_iter().collect();
        let namespace_selector = read::selector("namespaceSelector", &term["namespaceSelector"])?;
        if namespaces.is_empty() && namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        Ok(Self {
            term: PodTerm {
                namespaces,
                namespace_selector,
                selector: read::selector("labelSelector", &term["labelSelector"])?,
            },
            topology_key: read::text(term, "topologyKey").to_owned(),
        })
    }
}

impl PodTerm {
    /// `of_namespace` are the labels of the pod's namespace.
    pub fn matches(&self, namespace: &str, labels: &Labels, of_namespace: &Labels) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.matches(labels))
            && (self.namespaces.contains(namespace)
                || self.namespace_selector.as_ref().is_some_and(|selector| selector.matches(of_namespace)))
    }
}
