//! What is written and read: pods, as a controller makes them and a scheduler has bound them.

/// The namespace of all.
pub const NAMESPACE: &str = "bench";
/// All pods of the cluster.
pub const ALL: &str = "/api/v1/pods";
/// Where pods are created.
pub const PODS: &str = "/api/v1/namespaces/bench/pods";
/// Where etcd has them.
pub const KEYS: &str = "/registry/pods/bench/";

const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"NAME","namespace":"bench","labels":{"app":"web","pod-template-hash":"5d69b7c9f8","tier":"front"},"annotations":{"bench/round":"ROUND","prometheus.io/port":"8080","prometheus.io/scrape":"true"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-5d69b7c9f8","uid":"4e0f9ae1-5a3b-4f0e-9a52-0a4c5d3c7e11","controller":true,"blockOwnerDeletion":true}]},"spec":{"nodeName":"node-NODE","serviceAccountName":"default","containers":[{"name":"web","image":"registry.example/web:1.27.3","ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],"env":[{"name":"POD_NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}},{"name":"LOG_LEVEL","value":"info"}],"resources":{"requests":{"cpu":"100m","memory":"128Mi"},"limits":{"memory":"256Mi"}},"readinessProbe":{"httpGet":{"path":"/ready","port":"http"},"periodSeconds":5},"volumeMounts":[{"name":"config","mountPath":"/etc/web","readOnly":true}]}],"volumes":[{"name":"config","configMap":{"name":"web"}}],"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}]}}"#;

/// Nodes that the pods are spread over.
const NODES: u32 = 100;

/// A pod's name.
pub fn name(number: u32) -> String {
    format!("web-5d69b7c9f8-{number:05}")
}

/// A pod, in JSON. Every round differs from the others.
pub fn pod(number: u32, round: &str) -> Vec<u8> {
    let text = POD.replacen("NAME", &name(number), 1).replacen("ROUND", round, 1);
    text.replacen("NODE", &(number % NODES).to_string(), 1).into_bytes()
}

/// What a controller applies: a label of its own.
pub fn applied(number: u32, round: &str) -> Vec<u8> {
    let name = name(number);
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","namespace":"{NAMESPACE}","labels":{{"bench/applied":"{round}"}}}}}}"#
    )
    .into_bytes()
}

/// A pod's path.
pub fn path(number: u32) -> String {
    format!("{PODS}/{}", name(number))
}

/// Pods in no order, each once before the first comes again: neighbours in time are no neighbours in storage.
pub fn scattered(nth: u32, pods: u32) -> u32 {
    const STEP: u64 = 7919;
    let step = if u64::from(pods).is_multiple_of(STEP) { 1 } else { STEP };
    u32::try_from(u64::from(nth) * step % u64::from(pods.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn pods_are_json_and_differ_by_name_node_and_round() {
        let pod: Value = serde_json::from_slice(&pod(123, "r1")).unwrap();
        assert_eq!(pod["metadata"]["name"], "web-5d69b7c9f8-00123");
        assert_eq!(pod["metadata"]["annotations"]["bench/round"], "r1");
        assert_eq!(pod["spec"]["nodeName"], "node-23");
        let applied: Value = serde_json::from_slice(&applied(123, "r2")).unwrap();
        assert_eq!(applied["metadata"]["labels"]["bench/applied"], "r2");
        assert_eq!(path(123), "/api/v1/namespaces/bench/pods/web-5d69b7c9f8-00123");
    }

    #[test]
    fn every_pod_has_its_turn() {
        for pods in [100, 7919, 10_000] {
            let all: BTreeSet<u32> = (0..pods).map(|nth| scattered(nth, pods)).collect();
            assert_eq!(all.len(), pods as usize, "{pods}");
        }
    }
}
