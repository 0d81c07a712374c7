//! DefaultTolerationSeconds and TaintNodesByCondition: how long a pod stays on a node that is gone, and what keeps pods
//! off a node that is not there yet.

use apiclient_core::wire::Status;
use serde_json::{Value, json};

use super::{Admission, AdmissionRequest, World};
use crate::edit::{self, list, text};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// `--default-not-ready-toleration-seconds`, `--default-unreachable-toleration-seconds`.
#[derive(Debug)]
pub struct DefaultTolerationSeconds {
    pub not_ready: i64,
    pub unreachable: i64,
}

impl Default for DefaultTolerationSeconds {
    fn default() -> Self {
        Self { not_ready: 300, unreachable: 300 }
    }
}

impl Admission for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn mutate(&self, request: &mut AdmissionRequest<'_>, _world: &World<'_>) -> Result<(), Status> {
        if !request.is("", "pods") || !(request.is_create() || request.is_update()) {
            return Ok(());
        }
        for (key, seconds) in [(NOT_READY, self.not_ready), (UNREACHABLE, self.unreachable)] {
            let tolerates = |one: &Value| {
                let (own, effect) = (text(one, &["key"]), text(one, &["effect"]));
                (own == key || own.is_empty()) && (effect == "NoExecute" || effect.is_empty())
            };
            if list(request.object, &["spec", "tolerations"]).iter().any(tolerates) {
                continue;
            }
            let toleration = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
            if let Some(spec) = edit::child(request.object, "spec") {
                push(spec, "tolerations", toleration);
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
pub struct TaintNodesByCondition;

impl Admission for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn mutate(&self, request: &mut AdmissionRequest<'_>, _world: &World<'_>) -> Result<(), Status> {
        if !request.is("", "nodes") || !request.is_create() {
            return Ok(());
        }
        let same =
            |taint: &Value| text(taint, &["key"]) == NOT_READY && text(taint, &["effect"]) == "NoSchedule";
        if !list(request.object, &["spec", "taints"]).iter().any(same)
            && let Some(spec) = edit::child(request.object, "spec")
        {
            push(spec, "taints", json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
        Ok(())
    }
}

fn push(object: &mut Value, field: &str, item: Value) {
    match object.get_mut(field).and_then(Value::as_array_mut) {
        Some(list) => list.push(item),
        None => edit::set(object, field, vec![item]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, Stored};
    use super::*;

    fn tolerations(given: Value) -> Vec<String> {
        let case = Case::create("", "pods", json!({"spec": {"tolerations": given}}));
        let pod = case.mutated(&DefaultTolerationSeconds::default(), &Stored::default()).expect("admitted");
        let all = list(&pod, &["spec", "tolerations"]).iter();
        all.map(|one| format!("{} {}", text(one, &["key"]), one["tolerationSeconds"])).collect()
    }

    #[test]
    fn a_pod_leaves_a_lost_node_after_five_minutes_unless_it_says_otherwise() {
        let (not_ready, unreachable) = (format!("{NOT_READY} 300"), format!("{UNREACHABLE} 300"));
        assert_eq!(tolerations(json!(null)), [not_ready, unreachable.clone()]);
        let own =
            json!([{"key": NOT_READY, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]);
        assert_eq!(tolerations(own), [format!("{NOT_READY} 5"), unreachable]);
        assert_eq!(tolerations(json!([{"operator": "Exists"}])), [" null"]);
        assert_eq!(tolerations(json!([{"operator": "Exists", "effect": "NoSchedule"}])).len(), 3);
    }

    #[test]
    fn a_new_node_takes_no_pods_until_it_is_ready() {
        let made = |node: Value| {
            Case::create("", "nodes", node)
                .mutated(&TaintNodesByCondition, &Stored::default())
                .expect("admitted")
        };
        let node = made(json!({"metadata": {"name": "n"}}));
        assert_eq!(node["spec"]["taints"], json!([{"key": NOT_READY, "effect": "NoSchedule"}]));
        assert_eq!(made(node.clone()), node);
    }
}
