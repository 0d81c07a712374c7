//! Which nodes a pod may go to, and which it likes: `nodeSelector` and `nodeAffinity`.
//!
//! Facts: component-helpers' `scheduling/corev1/nodeaffinity`. Terms are alternatives; an empty term matches nothing; a term
//! that cannot be read matches nothing.

use std::collections::BTreeSet;

use apiclient_core::selector::{LabelSelector, Requirement, Test};
use serde_json::Value;

use crate::Labels;
use crate::node::Node;
use crate::read::{self, BadObject};

/// A pod's rules about nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeRules {
    pub selector: Labels,
    /// Alternatives; `None`: every node will do.
    pub required: Option<Vec<Term>>,
    pub preferred: Vec<(i32, Term)>,
}

/// Requirements on a node's labels and on its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Term {
    /// `None`: cannot be read, so that it matches nothing.
    labels: Option<LabelSelector>,
    /// Whether the name must be this one or must not.
    names: Vec<(bool, String)>,
    empty: bool,
}

impl NodeRules {
    /// Of a PodSpec.
    ///
    /// # Errors
    /// A weight that is no number.
    pub fn read(spec: &Value) -> Result<Self, BadObject> {
        let affinity = &spec["affinity"]["nodeAffinity"];
        Ok(Self { selector: read::labels(&spec["nodeSelector"]), ..Self::affinity(affinity)? })
    }

    /// Of a NodeAffinity.
    ///
    /// # Errors
    /// A weight that is no number.
    pub fn affinity(affinity: &Value) -> Result<Self, BadObject> {
        let required = &affinity["requiredDuringSchedulingIgnoredDuringExecution"];
        let mut preferred = Vec::new();
        for term in read::list(&affinity["preferredDuringSchedulingIgnoredDuringExecution"]) {
            let weight = read::int32(term, "weight")?.unwrap_or_default();
            if weight != 0 {
                preferred.push((weight, Term::read(&term["preference"])));
            }
        }
        Ok(Self {
            selector: Labels::new(),
            required: (!required.is_null()).then(|| terms(&required["nodeSelectorTerms"])),
            preferred,
        })
    }

    pub fn are_empty(&self) -> bool {
        self.selector.is_empty() && self.required.is_none()
    }

    pub fn allow(&self, node: &Node) -> bool {
        self.selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
            && self.required.as_ref().is_none_or(|terms| any(terms, node))
    }

    /// The weights of the preferences that a node fulfils.
    pub fn preference(&self, node: &Node) -> i64 {
        self.preferred
            .iter()
            .filter(|(_, term)| term.matches(node))
            .map(|(weight, _)| i64::from(*weight))
            .sum()
    }

    /// The only nodes that can match by their names: `None` where any may.
    pub fn names(&self) -> Option<BTreeSet<&str>> {
        let terms = self.required.as_ref().filter(|terms| !terms.is_empty())?;
        let mut all = BTreeSet::new();
        for term in terms {
            let mut of_term: Option<BTreeSet<&str>> = None;
            for (_, name) in term.names.iter().filter(|(wanted, _)| *wanted) {
                let one = BTreeSet::from([name.as_str()]);
                of_term = Some(of_term.map_or_else(|| one.clone(), |known| &known & &one));
            }
            all.extend(of_term?);
        }
        Some(all)
    }
}

pub fn terms(list: &Value) -> Vec<Term> {
    read::list(list).iter().map(Term::read).collect()
}

pub fn any(terms: &[Term], node: &Node) -> bool {
    terms.iter().any(|term| term.matches(node))
}

impl Term {
    fn read(term: &Value) -> Self {
        let (expressions, fields) = (read::list(&term["matchExpressions"]), read::list(&term["matchFields"]));
        let requirements: Option<Vec<Requirement>> = expressions.iter().map(requirement).collect();
        let names: Option<Vec<(bool, String)>> = fields.iter().map(name_rule).collect();
        Self {
            empty: expressions.is_empty() && fields.is_empty(),
            labels: names
                .as_ref()
                .and(requirements)
                .and_then(|requirements| LabelSelector::new(requirements).ok()),
            names: names.unwrap_or_default(),
        }
    }

    pub fn matches(&self, node: &Node) -> bool {
        !self.empty
            && self.names.iter().all(|(wanted, name)| (**name == *node.name) == *wanted)
            && self.labels.as_ref().is_some_and(|labels| labels.matches(&node.labels))
    }
}

fn requirement(expression: &Value) -> Option<Requirement> {
    let values: BTreeSet<String> = read::texts(&expression["values"]).into_iter().collect();
    let number = || values.iter().next().filter(|_| values.len() == 1)?.parse().ok();
    let test = match read::text(expression, "operator") {
        "In" if !values.is_empty() => Test::In(values),
        "NotIn" if !values.is_empty() => Test::NotIn(values),
        "Exists" if values.is_empty() => Test::Exists,
        "DoesNotExist" if values.is_empty() => Test::DoesNotExist,
        "Gt" => Test::GreaterThan(number()?),
        "Lt" => Test::LessThan(number()?),
        _ => return None,
    };
    Some(Requirement { key: read::text(expression, "key").to_owned(), test })
}

/// The API takes `metadata.name` and one value only.
fn name_rule(field: &Value) -> Option<(bool, String)> {
    let [value] = read::list(&field["values"]) else { return None };
    let wanted = match read::text(field, "operator") {
        "In" => true,
        "NotIn" => false,
        _ => return None,
    };
    (read::text(field, "key") == "metadata.name").then(|| Some((wanted, value.as_str()?.to_owned())))?
}
