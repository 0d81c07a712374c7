//! On which nodes a DaemonSet's pod may begin, and on which it may stay.

use control_core::edit::{at, list, text};
use serde_json::Value;

use super::template::tolerations;
use crate::object;

/// What a node means to a DaemonSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// A pod begins where there is none.
    pub begins: bool,
    /// A pod that is there stays.
    pub stays: bool,
}

impl Fit {
    const NO: Self = Self { begins: false, stays: false };
}

/// What a DaemonSet asks of nodes.
#[derive(Debug)]
pub struct Needs<'a> {
    spec: &'a Value,
    tolerations: Vec<Value>,
}

impl<'a> Needs<'a> {
    pub fn of(set: &'a Value) -> Self {
        let spec = &set["spec"]["template"]["spec"];
        Self { spec, tolerations: tolerations(spec) }
    }

    /// The DaemonSet's view of a node.
    pub fn fit(&self, node: &Value) -> Fit {
        let name = text(self.spec, &["nodeName"]);
        if !name.is_empty() && name != object::name(node) || !is_selected(self.spec, node) {
            return Fit::NO;
        }
        let stands = |effects: &[&str]| {
            let taints = list(node, &["spec", "taints"]).iter();
            let mut taints = taints.filter(|taint| effects.contains(&text(taint, &["effect"])));
            taints.all(|taint| self.tolerations.iter().any(|toleration| tolerates(toleration, taint)))
        };
        Fit { begins: stands(&["NoSchedule", "NoExecute"]), stays: stands(&["NoExecute"]) }
    }
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let field = |name: &'static str| text(toleration, &[name]);
    let same = |name: &'static str| field(name) == text(taint, &[name]);
    (field("effect").is_empty() || same("effect"))
        && (field("key").is_empty() || same("key"))
        && match field("operator") {
            "Exists" => true,
            "" | "Equal" => same("value"),
            _ => false,
        }
}

/// The template's node selector and its required node affinity let it be there.
fn is_selected(spec: &Value, node: &Value) -> bool {
    let labels = object::labels(node);
    let wanted = spec["nodeSelector"].as_object().into_iter().flatten();
    let required = at(spec, &["affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"]);
    wanted.into_iter().all(|(key, value)| labels.get(key) == Some(value))
        && (required.is_null() || list(required, &["nodeSelectorTerms"]).iter().any(|term| holds(term, node)))
}

/// All requirements of a term hold; one without requirements holds nowhere.
fn holds(term: &Value, node: &Value) -> bool {
    let (expressions, fields) = (list(term, &["matchExpressions"]), list(term, &["matchFields"]));
    let labelled = |expression: &Value| {
        requirement(expression, at(node, &["metadata", "labels", text(expression, &["key"])]).as_str())
    };
    let named = |expression: &Value| {
        text(expression, &["key"]) == "metadata.name" && requirement(expression, Some(object::name(node)))
    };
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(labelled)
        && fields.iter().all(named)
}

fn requirement(expression: &Value, value: Option<&str>) -> bool {
    let values = list(expression, &["values"]);
    let listed = || values.iter().any(|listed| listed.as_str() == value);
    let number = |compare: fn(i64, i64) -> bool| {
        let bound = values.first().and_then(Value::as_str).and_then(|bound| bound.parse().ok());
        let value = value.and_then(|value| value.parse().ok());
        value.zip(bound).is_some_and(|(value, bound)| compare(value, bound))
    };
    match text(expression, &["operator"]) {
        "In" => value.is_some() && listed(),
        "NotIn" => value.is_none() || !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number(|value, bound| value > bound),
        "Lt" => number(|value, bound| value < bound),
        _ => false,
    }
}
