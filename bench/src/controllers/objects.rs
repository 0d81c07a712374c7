//! What the controllers work on. Pure.

use serde_json::{Value, json};

/// The namespace of all that is measured.
pub const NAMESPACE: &str = "bench";
/// The namespace of what is there only to see the controllers at work.
pub const FIRST: &str = "first";
/// The Deployment that is measured.
pub const DEPLOYMENT: &str = "web";
/// The node of the pods that are endpoints.
pub const NODE: &str = "node-1";

pub const NAMESPACES: &str = "/api/v1/namespaces";
pub const NODES: &str = "/api/v1/nodes";
pub const PODS: &str = "/api/v1/namespaces/bench/pods";
pub const CONFIG_MAPS: &str = "/api/v1/namespaces/bench/configmaps";
pub const SECRETS: &str = "/api/v1/namespaces/bench/secrets";
pub const SERVICES: &str = "/api/v1/namespaces/bench/services";
pub const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/bench/deployments";
pub const JOBS: &str = "/apis/batch/v1/namespaces/bench/jobs";
pub const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/bench/endpointslices";

/// Some moment in the past.
const PAST: &str = "2026-01-01T00:00:00Z";

pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn spec() -> Value {
    json!({
        "terminationGracePeriodSeconds": 0,
        "containers": [{
            "name": "web", "image": "registry.k8s.io/pause:3.10.2", "ports": [{"containerPort": 8080}],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        }],
    })
}

/// Whose pods have the label `app` of its name.
pub fn deployment(name: &str, replicas: u32) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec()},
        },
    })
}

/// A merge patch that gives it another template.
pub fn update() -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"bench/round": "2"}}}}})
}

/// A pod as a ReplicaSet would make it.
pub fn pod() -> Value {
    let metadata = json!({
        "generateName": "web-5d69b7c9f8-", "labels": {"app": DEPLOYMENT, "pod-template-hash": "5d69b7c9f8"},
        "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d69b7c9f8",
            "uid": "4e0f9ae1-5a3b-4f0e-9a52-0a4c5d3c7e11", "controller": true, "blockOwnerDeletion": true,
        }],
    });
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec()})
}

/// What fills a namespace, with its path: pods, ConfigMaps and Secrets.
pub fn filling(number: u32) -> (&'static str, Value) {
    let metadata = json!({"name": format!("object-{number:05}")});
    match number % 4 {
        0 => (CONFIG_MAPS, json!({"metadata": metadata, "data": {"key": "a value"}})),
        1 => (SECRETS, json!({"metadata": metadata, "stringData": {"key": "a value"}})),
        _ => (PODS, json!({"metadata": metadata, "spec": spec()})),
    }
}

/// A node that is ready, and stays so where nobody looks after nodes.
pub fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn service_name(number: u32) -> String {
    format!("service-{number:05}")
}

pub fn service(number: u32) -> Value {
    let name = service_name(number);
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    })
}

/// The pod behind a Service, on the node, with the path of its status.
pub fn endpoint(number: u32) -> (String, Value) {
    let name = service_name(number);
    let mut spec = spec();
    spec["nodeName"] = json!(NODE);
    let pod = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec});
    (status_path(&name), pod)
}

pub fn status_path(pod: &str) -> String {
    format!("{PODS}/{pod}/status")
}

/// A merge patch of the status of a pod that runs, at an address of its own.
pub fn running(number: u32, ready: bool) -> Value {
    let [_, high, middle, low] = number.to_be_bytes();
    let address = format!("10.{}.{middle}.{low}", 128 | high);
    let ready = if ready { "True" } else { "False" };
    let condition = |kind| json!({"type": kind, "status": ready, "lastTransitionTime": PAST});
    json!({"status": {
        "phase": "Running", "startTime": PAST, "podIP": address, "podIPs": [{"ip": address}],
        "conditions": [condition("Ready"), condition("ContainersReady")],
    }})
}

pub fn job(number: u32) -> Value {
    let mut spec = spec();
    spec["restartPolicy"] = json!("Never");
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": format!("job-{number:05}")},
        "spec": {"template": {"spec": spec}},
    })
}

/// A merge patch of the status of a pod that has succeeded.
pub fn succeeded() -> Value {
    json!({"status": {"phase": "Succeeded", "startTime": PAST}})
}

/// The generation that a Deployment has reached with all of so many replicas new and available, from an event.
pub fn rolled_out(event: &str, replicas: u32) -> Option<String> {
    let event: Value = serde_json::from_str(event).ok()?;
    let object = &event["object"];
    let (generation, status) = (&object["metadata"]["generation"], &object["status"]);
    let all = ["replicas", "updatedReplicas", "availableReplicas"];
    let reached =
        status["observedGeneration"] == *generation && all.iter().all(|key| status[key] == replicas);
    reached.then(|| generation.to_string())
}

/// The Service of a slice and whether its endpoint is ready, from an event.
pub fn endpoint_of(event: &str) -> Option<(String, bool)> {
    let event: Value = serde_json::from_str(event).ok()?;
    let object = &event["object"];
    let service = object["metadata"]["labels"]["kubernetes.io/service-name"].as_str()?.to_owned();
    Some((service, object["endpoints"][0]["conditions"]["ready"].as_bool()?))
}

/// The name of a Job that is complete, from an event.
pub fn complete(event: &str) -> Option<String> {
    // Most events are of Jobs that are not, and a look costs less than parsing.
    if !event.contains(r#""Complete""#) {
        return None;
    }
    let event: Value = serde_json::from_str(event).ok()?;
    let object = &event["object"];
    let is_complete = |condition: &Value| condition["type"] == "Complete" && condition["status"] == "True";
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().any(is_complete).then(|| object["metadata"]["name"].as_str().map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(object: &Value) -> String {
        json!({"type": "MODIFIED", "object": object}).to_string()
    }

    #[test]
    fn a_roll_out_has_ended_when_all_replicas_are_new_and_nothing_is_left_to_see() {
        let of = |generation: u32, updated: u32| {
            let status = json!({
                "observedGeneration": generation, "replicas": 4, "updatedReplicas": updated, "availableReplicas": 4,
            });
            rolled_out(&event(&json!({"metadata": {"generation": 2}, "status": status})), 4)
        };
        assert_eq!((of(2, 4), of(2, 3), of(1, 4)), (Some("2".to_owned()), None, None));
    }

    #[test]
    fn slices_say_whose_endpoint_is_ready() {
        let slice = |endpoints: Value| {
            let labels = json!({"kubernetes.io/service-name": "service-00007"});
            endpoint_of(&event(&json!({"metadata": {"labels": labels}, "endpoints": endpoints})))
        };
        let found = slice(json!([{"conditions": {"ready": false}}]));
        assert_eq!(found, Some(("service-00007".to_owned(), false)));
        assert_eq!(slice(json!([])), None);
        assert_eq!(running(65_537, true)["status"]["podIP"], "10.129.0.1");
    }

    #[test]
    fn a_job_is_complete_by_its_condition() {
        let job = |kind: &str, status: &str| {
            let conditions =
                json!([{"type": kind, "status": status}, {"type": "SuccessCriteriaMet", "status": "True"}]);
            complete(&event(&json!({"metadata": {"name": "a"}, "status": {"conditions": conditions}})))
        };
        assert_eq!(job("Complete", "True"), Some("a".to_owned()));
        assert_eq!((job("Complete", "False"), job("Failed", "True")), (None, None));
    }

    #[test]
    fn a_namespace_is_filled_with_three_kinds() {
        let paths: std::collections::BTreeSet<_> = (0..8).map(|number| filling(number).0).collect();
        assert_eq!(paths.len(), 3);
    }
}
