//! LimitRanger: defaults for what containers ask for, and bounds on it.

use apiclient_core::quantity::Quantity;
use apiclient_core::wire::Status;
use serde_json::Value;

use super::pod::{Resources, resources, total};
use super::{Admission, AdmissionRequest, Notes, World};
use crate::edit::{self, list, text};

#[derive(Debug)]
pub struct LimitRanger;

impl Admission for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn mutate(&self, request: &mut AdmissionRequest<'_>, world: &World<'_>) -> Result<(), Status> {
        if concerns(request) && request.resource == "pods" {
            for range in world.objects.list("limitranges", request.namespace) {
                set_defaults(request.object, &range);
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
        for range in world.objects.list("limitranges", request.namespace) {
            let wrong = if request.resource == "pods" {
                pod(request.object, &range)
            } else {
                claim(request.object, &range)
            };
            match wrong.as_slice() {
                [] => {}
                [one] => return Err(request.forbidden(one)),
                all => return Err(request.forbidden(&format!("[{}]", all.join(", ")))),
            }
        }
        Ok(())
    }
}

/// New pods, pods in a resize, and claims; nothing that is being deleted.
fn concerns(request: &AdmissionRequest<'_>) -> bool {
    if !request.group.is_empty()
        || request.old.is_some_and(|old| old["metadata"]["deletionTimestamp"].is_string())
    {
        return false;
    }
    match (request.resource, request.subresource) {
        ("pods", "") => request.is_create(),
        ("pods", "resize") => request.is_update(),
        ("persistentvolumeclaims", "") => request.is_create() || request.is_update(),
        _ => false,
    }
}

fn limits_of<'a>(range: &'a Value, sort: &'a str) -> impl Iterator<Item = &'a Value> {
    list(range, &["spec", "limits"]).iter().filter(move |limit| text(limit, &["type"]) == sort)
}

fn set_defaults(pod: &mut Value, range: &Value) {
    let mut said = Vec::new();
    let defaults = |from: &str| -> Vec<(String, Value)> {
        let maps = limits_of(range, "Container").filter_map(|limit| limit[from].as_object());
        maps.flatten().map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let (limits, requests) = (defaults("default"), defaults("defaultRequest"));
    let Some(spec) = edit::existing(pod, "spec") else { return };
    for (field, what) in [("containers", "container"), ("initContainers", "init container")] {
        for container in edit::items(spec, field) {
            let name = text(container, &["name"]).to_owned();
            let Some(own) = edit::child(container, "resources") else { continue };
            for (map, kind, defaults) in [("requests", "request", &requests), ("limits", "limit", &limits)] {
                let mut set: Vec<&str> = Vec::new();
                for (resource, value) in defaults {
                    if own[map].get(resource).is_none()
                        && let Some(map) = edit::child(own, map)
                    {
                        edit::set(map, resource, value.clone());
                        set.push(resource);
                    }
                }
                if !set.is_empty() {
                    set.sort_unstable();
                    said.push(format!("{} {kind} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if said.is_empty() {
        return;
    }
    if let Some(annotations) =
        edit::child(pod, "metadata").and_then(|metadata| edit::child(metadata, "annotations"))
    {
        let text = format!("LimitRanger plugin set: {}", said.join("; "));
        edit::set(annotations, "kubernetes.io/limit-ranger", text);
    }
}

/// What is wrong with a pod, in the order of the range.
fn pod(pod: &Value, range: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for limit in list(range, &["spec", "limits"]) {
        match text(limit, &["type"]) {
            sort @ "Container" => {
                for kind in ["containers", "initContainers"] {
                    for container in list(pod, &["spec", kind]) {
                        let own = |what: &str| resources(&container["resources"][what]);
                        wrong.extend(bounds(limit, sort, &own("requests"), &own("limits")));
                    }
                }
            }
            sort @ "Pod" => wrong.extend(bounds(limit, sort, &total(pod, "requests"), &total(pod, "limits"))),
            _ => {}
        }
    }
    wrong
}

fn claim(claim: &Value, range: &Value) -> Vec<String> {
    let requests = resources(&claim["spec"]["resources"]["requests"]);
    let mut wrong = Vec::new();
    let sort = "PersistentVolumeClaim";
    for limit in limits_of(range, sort) {
        for (name, bound) in resources(&limit["min"]) {
            wrong.extend(least(sort, &name, bound, &requests, &Resources::new()));
        }
        for (name, bound) in resources(&limit["max"]) {
            let head = format!("maximum {name} usage per {sort} is {bound}");
            match requests.get(&name) {
                None => wrong.push(format!("{head}.  No request is specified")),
                Some(request) if *request > bound => wrong.push(format!("{head}, but request is {request}")),
                Some(_) => {}
            }
        }
    }
    wrong
}

fn bounds(limit: &Value, sort: &str, requests: &Resources, limits: &Resources) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, bound) in resources(&limit["min"]) {
        wrong.extend(least(sort, &name, bound, requests, limits));
    }
    for (name, bound) in resources(&limit["max"]) {
        wrong.extend(most(sort, &name, bound, requests, limits));
    }
    for (name, bound) in resources(&limit["maxLimitRequestRatio"]) {
        wrong.extend(ratio(sort, &name, bound, requests, limits));
    }
    wrong
}

fn least(
    sort: &str,
    name: &str,
    bound: Quantity,
    requests: &Resources,
    limits: &Resources,
) -> Option<String> {
    let head = format!("minimum {name} usage per {sort} is {bound}");
    let Some(request) = requests.get(name) else { return Some(format!("{head}.  No request is specified")) };
    if *request < bound {
        return Some(format!("{head}, but request is {request}"));
    }
    limits.get(name).filter(|limit| **limit < bound).map(|limit| format!("{head}, but limit is {limit}"))
}

fn most(sort: &str, name: &str, bound: Quantity, requests: &Resources, limits: &Resources) -> Option<String> {
    let head = format!("maximum {name} usage per {sort} is {bound}");
    let Some(limit) = limits.get(name) else { return Some(format!("{head}.  No limit is specified")) };
    if *limit > bound {
        return Some(format!("{head}, but limit is {limit}"));
    }
    requests
        .get(name)
        .filter(|request| **request > bound)
        .map(|request| format!("{head}, but request is {request}"))
}

#[expect(clippy::cast_precision_loss, reason = "the original compares ratios as floating point numbers")]
fn ratio(
    sort: &str,
    name: &str,
    bound: Quantity,
    requests: &Resources,
    limits: &Resources,
) -> Option<String> {
    let head = format!("{name} max limit to request ratio per {sort} is {bound}");
    let some = |of: &Resources| of.get(name).copied().filter(|amount| !amount.is_zero());
    let Some(request) = some(requests) else {
        return Some(format!("{head}, but no request is specified or request is 0"));
    };
    let Some(limit) = some(limits) else {
        return Some(format!("{head}, but no limit is specified or limit is 0"));
    };
    let ratio = limit.milli_value() as f64 / request.milli_value() as f64;
    let most = bound.milli_value() as f64 / 1000.0;
    (ratio > most).then(|| format!("{head}, but provided ratio is {ratio:.6}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, Stored};
    use super::*;
    use serde_json::json;

    fn world(limit: Value) -> Stored {
        Stored::default().with(
            "limitranges",
            json!({"metadata": {"namespace": "a", "name": "r"}, "spec": {"limits": [limit]}}),
        )
    }

    fn pod_of(requests: Value, limits: Value) -> Case {
        let resources = json!({"requests": requests, "limits": limits});
        let containers = json!([{"name": "c", "resources": resources}]);
        Case {
            name: "p",
            ..Case::create("", "pods", json!({"metadata": {"name": "p"}, "spec": {"containers": containers}}))
        }
    }

    #[test]
    fn containers_get_defaults_and_a_note_of_them() {
        let limit = json!({"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}});
        let made = pod_of(json!({}), json!({"memory": "2Gi"}))
            .mutated(&LimitRanger, &world(limit))
            .expect("admitted");
        let resources = &made["spec"]["containers"][0]["resources"];
        assert_eq!(resources, &json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "2Gi"}}));
        let note = "LimitRanger plugin set: cpu request for container c; cpu limit for container c";
        assert_eq!(made["metadata"]["annotations"]["kubernetes.io/limit-ranger"], note);
    }

    #[test]
    fn amounts_out_of_bounds_are_refused_in_the_originals_words() {
        let refused = |limit: Value, requests: Value, limits: Value| {
            let tried = pod_of(requests, limits).validated(&LimitRanger, &world(limit));
            tried.expect_err("a refusal").message.replace(r#"pods "p" is forbidden: "#, "")
        };
        let min = json!({"type": "Container", "min": {"cpu": "100m"}});
        assert_eq!(
            refused(min.clone(), json!({"cpu": "50m"}), json!({})),
            "minimum cpu usage per Container is 100m, but request is 50m"
        );
        assert_eq!(
            refused(min, json!({}), json!({})),
            "minimum cpu usage per Container is 100m.  No request is specified"
        );
        let max = json!({"type": "Pod", "max": {"memory": "1Gi", "cpu": "1"}});
        assert_eq!(
            refused(max, json!({}), json!({"memory": "2Gi"})),
            "[maximum cpu usage per Pod is 1.  No limit is specified, maximum memory usage per Pod is 1Gi, but limit is 2Gi]"
        );
        let ratio = json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}});
        assert_eq!(
            refused(ratio, json!({"cpu": "100m"}), json!({"cpu": "300m"})),
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000"
        );
    }

    #[test]
    fn claims_have_bounds_of_their_own() {
        let limit =
            json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}});
        let tried = |size: &str| {
            let claim =
                json!({"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": size}}}});
            Case::create("", "persistentvolumeclaims", claim).validated(&LimitRanger, &world(limit.clone()))
        };
        tried("1500Mi").expect("admitted");
        assert!(
            tried("3Gi")
                .expect_err("a refusal")
                .message
                .ends_with("maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi")
        );
    }
}
