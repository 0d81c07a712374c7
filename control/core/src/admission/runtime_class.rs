//! RuntimeClass: what a pod of a class costs besides its containers, and where it may run.

use std::sync::Arc;

use apiclient_core::wire::Status;
use serde_json::{Map, Value};

use super::pod::resources;
use super::{Admission, AdmissionRequest, Notes, World};
use crate::access::quoted;
use crate::edit::{self, list, text};

#[derive(Debug)]
pub struct RuntimeClass;

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
const WITHOUT: &str = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";

fn class(request: &AdmissionRequest<'_>, world: &World<'_>) -> Result<Option<Arc<Value>>, Status> {
    let Some(name) = request.object["spec"]["runtimeClassName"].as_str() else { return Ok(None) };
    let found = world.objects.get("runtimeclasses.node.k8s.io", "", name);
    let missing = || request.forbidden(&format!("pod rejected: RuntimeClass {} not found", quoted(name)));
    found.map(Some).ok_or_else(missing)
}

fn concerns(request: &AdmissionRequest<'_>) -> bool {
    request.is("", "pods") && request.is_create()
}

impl Admission for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn mutate(&self, request: &mut AdmissionRequest<'_>, world: &World<'_>) -> Result<(), Status> {
        if !concerns(request) {
            return Ok(());
        }
        let Some(class) = class(request, world)? else { return Ok(()) };
        let overhead = &class["overhead"]["podFixed"];
        if class["overhead"].is_object() {
            let own = resources(&request.object["spec"]["overhead"]);
            if !own.is_empty() && own != resources(overhead) {
                return Err(request.forbidden(MISMATCH));
            }
            if let (Some(spec), true) = (edit::child(request.object, "spec"), overhead.is_object()) {
                edit::set(spec, "overhead", overhead.clone());
            }
        }
        let scheduling = &class["scheduling"];
        if scheduling.is_object() {
            let selector = selector(&request.object["spec"]["nodeSelector"], &scheduling["nodeSelector"]);
            let selector = selector.map_err(|why| request.forbidden(&why))?;
            let own = list(request.object, &["spec", "tolerations"]);
            let tolerations = merged(own, list(scheduling, &["tolerations"]));
            if let Some(spec) = edit::child(request.object, "spec") {
                if !selector.is_empty() {
                    edit::set(spec, "nodeSelector", selector);
                }
                if !tolerations.is_empty() {
                    edit::set(spec, "tolerations", tolerations);
                }
            }
        }
        Ok(())
    }

    fn validate(
        &self,
        request: &AdmissionRequest<'_>,
        world: &World<'_>,
        _notes: &mut Notes,
    ) -> Result<(), Status> {
        if !concerns(request) {
            return Ok(());
        }
        let class = class(request, world)?;
        let own = &request.object["spec"]["overhead"];
        match class.as_ref().map(|class| &class["overhead"]).filter(|overhead| overhead.is_object()) {
            Some(overhead) if resources(&overhead["podFixed"]) != resources(own) => {
                Err(request.forbidden(MISMATCH))
            }
            None if own.is_object() => Err(request.forbidden(WITHOUT)),
            _ => Ok(()),
        }
    }
}

fn selector(own: &Value, of_class: &Value) -> Result<Map<String, Value>, String> {
    let mut all = own.as_object().cloned().unwrap_or_default();
    for (key, value) in of_class.as_object().into_iter().flatten() {
        let wanted = value.as_str().unwrap_or_default();
        if let Some(have) = all.get(key).and_then(Value::as_str).filter(|have| *have != wanted) {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {have}"
            ));
        }
        all.insert(key.clone(), value.clone());
    }
    Ok(all)
}

/// Both lists without what another one of them tolerates anyway; of equal ones the first stays.
fn merged(own: &[Value], of_class: &[Value]) -> Vec<Value> {
    let all: Vec<&Value> = own.iter().chain(of_class).collect();
    let mut kept: Vec<Value> = Vec::new();
    for (n, one) in all.iter().enumerate() {
        let before = kept.iter().any(|other| covers(other, one));
        let after = all[n + 1..].iter().any(|other| other != one && covers(other, one));
        if !before && !after {
            kept.push((*one).clone());
        }
    }
    kept
}

fn covers(wide: &Value, narrow: &Value) -> bool {
    let [(key, other), (effect, other_effect), (operator, other_operator), (value, other_value)] =
        ["key", "effect", "operator", "value"].map(|field| (text(wide, &[field]), text(narrow, &[field])));
    if wide == narrow {
        return true;
    }
    if key != other && !(key.is_empty() && operator == "Exists")
        || effect != other_effect && !effect.is_empty()
    {
        return false;
    }
    let seconds = |of: &Value| of["tolerationSeconds"].as_i64();
    if let (Some(most), "NoExecute") = (seconds(wide), effect)
        && seconds(narrow).is_none_or(|wanted| wanted > most)
    {
        return false;
    }
    match operator {
        "Exists" => true,
        "Equal" | "" => other_operator == "Equal" && value == other_value,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, Stored};
    use super::*;
    use serde_json::json;

    fn world() -> Stored {
        let class = json!({
            "metadata": {"name": "vm"},
            "overhead": {"podFixed": {"cpu": "250m"}},
            "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]},
        });
        Stored::default().with("runtimeclasses.node.k8s.io", class)
    }

    fn pod(spec: Value) -> Case {
        Case::create("", "pods", json!({"metadata": {"name": "p"}, "spec": spec}))
    }

    #[test]
    fn a_pod_of_a_class_gets_its_overhead_and_its_place() {
        let given = json!({"runtimeClassName": "vm", "nodeSelector": {"a": "b"}, "tolerations": [{"key": "vm", "operator": "Equal", "value": "x"}]});
        let spec = pod(given).mutated(&RuntimeClass, &world()).expect("admitted")["spec"].clone();
        assert_eq!(spec["overhead"], json!({"cpu": "250m"}));
        assert_eq!(spec["nodeSelector"], json!({"a": "b", "vm": "yes"}));
        assert_eq!(spec["tolerations"], json!([{"key": "vm", "operator": "Exists"}]));
    }

    #[test]
    fn what_contradicts_the_class_is_refused() {
        let refused =
            |spec: Value| pod(spec).mutated(&RuntimeClass, &world()).expect_err("a refusal").message;
        assert!(
            refused(json!({"runtimeClassName": "none"}))
                .ends_with(r#"pod rejected: RuntimeClass "none" not found"#)
        );
        assert!(refused(json!({"runtimeClassName": "vm", "overhead": {"cpu": "1"}})).ends_with(MISMATCH));
        assert!(refused(json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}})).ends_with(
            "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no"
        ));
        let without = pod(json!({"overhead": {"cpu": "1"}})).validated(&RuntimeClass, &world());
        assert!(without.expect_err("a refusal").message.ends_with(WITHOUT));
    }
}
