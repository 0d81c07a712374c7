//! Which objects a quota is about: its scopes.

use serde_json::Value;

use super::super::pod::{containers, resources};
use super::usage::{Sort, has_deadline};
use crate::edit::{list, text};

/// All of the quota's scopes hold for the object. One without scopes is about everything.
pub fn matches(sort: Sort<'_>, quota: &Value, object: &Value) -> bool {
    let spec = &quota["spec"];
    let plain = list(spec, &["scopes"])
        .iter()
        .all(|scope| holds(sort, scope.as_str().unwrap_or_default(), "Exists", &[], object));
    let selectors = list(spec, &["scopeSelector", "matchExpressions"]);
    plain
        && selectors.iter().all(|one| {
            holds(sort, text(one, &["scopeName"]), text(one, &["operator"]), list(one, &["values"]), object)
        })
}

fn holds(sort: Sort<'_>, scope: &str, operator: &str, values: &[Value], object: &Value) -> bool {
    match (sort, scope) {
        (Sort::Pods, "Terminating") => has_deadline(object),
        (Sort::Pods, "NotTerminating") => !has_deadline(object),
        (Sort::Pods, "BestEffort") => is_best_effort(object),
        (Sort::Pods, "NotBestEffort") => !is_best_effort(object),
        (Sort::Pods, "PriorityClass") => {
            selects(operator, values, &[text(object, &["spec", "priorityClassName"])])
        }
        (Sort::Pods, "CrossNamespacePodAffinity") => looks_elsewhere(&object["spec"]["affinity"]),
        (Sort::Claims, "VolumeAttributesClass") => {
            let names = [
                text(object, &["spec", "volumeAttributesClassName"]),
                text(object, &["status", "currentVolumeAttributesClassName"]),
                text(object, &["status", "modifyVolumeStatus", "targetVolumeAttributesClassName"]),
            ];
            selects(operator, values, &names)
        }
        _ => false,
    }
}

/// One of the names (empty ones are none) is selected; without a name, absence is.
fn selects(operator: &str, values: &[Value], names: &[&str]) -> bool {
    let names: Vec<_> = names.iter().filter(|name| !name.is_empty()).collect();
    let listed = |name: &&&str| values.iter().any(|value| value.as_str() == Some(**name));
    match operator {
        "Exists" => !names.is_empty(),
        "DoesNotExist" => names.is_empty(),
        "In" => names.iter().any(listed),
        "NotIn" => names.is_empty() || names.iter().any(|name| !listed(name)),
        _ => false,
    }
}

/// Neither the pod nor a container says what it needs of CPU and memory.
fn is_best_effort(pod: &Value) -> bool {
    let says = |of: &Value| {
        ["requests", "limits"].iter().any(|what| {
            let amounts = resources(&of["resources"][*what]);
            ["cpu", "memory"].iter().any(|name| amounts.get(*name).is_some_and(|amount| !amount.is_zero()))
        })
    };
    let ephemeral = list(pod, &["spec", "ephemeralContainers"]);
    !says(&pod["spec"]) && !containers(pod).filter(|one| !ephemeral.contains(one)).any(says)
}

fn looks_elsewhere(affinity: &Value) -> bool {
    let elsewhere =
        |term: &Value| !list(term, &["namespaces"]).is_empty() || term["namespaceSelector"].is_object();
    ["podAffinity", "podAntiAffinity"].iter().any(|sort| {
        let required = list(affinity, &[sort, "requiredDuringSchedulingIgnoredDuringExecution"]);
        let preferred = list(affinity, &[sort, "preferredDuringSchedulingIgnoredDuringExecution"]);
        required.iter().any(elsewhere) || preferred.iter().any(|one| elsewhere(&one["podAffinityTerm"]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scopes_choose_pods() {
        let scoped = |scope: &str| json!({"spec": {"scopes": [scope]}});
        let selected = |operator: &str, values: Value| {
            let one = json!({"scopeName": "PriorityClass", "operator": operator, "values": values});
            json!({"spec": {"scopeSelector": {"matchExpressions": [one]}}})
        };
        let bare = json!({"spec": {"containers": [{"name": "c"}]}});
        let busy = json!({"spec": {
            "activeDeadlineSeconds": 5,
            "priorityClassName": "high",
            "containers": [{"resources": {"limits": {"cpu": "1"}}}],
            "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["b"]}]}},
        }});
        let cases = [
            (scoped("Terminating"), false, true),
            (scoped("NotTerminating"), true, false),
            (scoped("BestEffort"), true, false),
            (scoped("NotBestEffort"), false, true),
            (scoped("PriorityClass"), false, true),
            (scoped("CrossNamespacePodAffinity"), false, true),
            (selected("In", json!(["high"])), false, true),
            (selected("NotIn", json!(["high"])), true, false),
            (selected("DoesNotExist", json!([])), true, false),
            (json!({"spec": {}}), true, true),
        ];
        for (quota, of_bare, of_busy) in cases {
            let found = (matches(Sort::Pods, &quota, &bare), matches(Sort::Pods, &quota, &busy));
            assert_eq!(found, (of_bare, of_busy), "{quota}");
        }
        assert!(!matches(Sort::Services, &scoped("BestEffort"), &json!({})), "a scope for pods only");
    }
}
