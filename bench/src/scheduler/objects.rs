//! What each workload is made of: nodes, the pods that are there before, and those that are measured. Pure.
//!
//! Sizes and shapes are those of upstream's scheduler_perf (test/integration/scheduler_perf in Kubernetes 1.36).

use serde_json::{Value, json};

use super::mode::{Size, Workload};

/// The namespaces of the pods that are there before, and of those that are measured.
pub const NAMESPACES: [&str; 2] = ["sched-0", "sched-1"];
/// The class of those that may send others away.
pub const CLASS: &str = "high";
/// So many pods of 100m fit on a node of four CPUs.
const FIT: u32 = 40;
/// Pods of 900m that fill a node.
const FILL: u32 = 4;
const ZONES: u32 = 3;

/// How many pods there are before, and how many are measured.
pub fn counts(workload: Workload, size: Size) -> (u32, u32) {
    let Size { nodes, pods } = size;
    match workload {
        Workload::Backlog => (0, pods),
        Workload::Basic | Workload::Affinity | Workload::Spreading => (pods / 10, pods),
        // Each pod needs a node of its own.
        Workload::AntiAffinity => (nodes / 5, pods.min(nodes - nodes / 5)),
        // Each pod sends four others away.
        Workload::Preemption => (nodes * FILL, pods.min(nodes)),
    }
}

/// Whether all pods of all workloads have room.
pub fn fits(size: Size) -> bool {
    size.nodes >= 5 && size.pods > 0 && size.pods + size.pods / 10 <= size.nodes * FIT
}

/// What is there once, with its path.
pub fn once() -> Vec<(&'static str, Value)> {
    let namespace = |name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": CLASS}, "value": 10,
    });
    let namespaces = NAMESPACES.map(|name| ("/api/v1/namespaces", namespace(name)));
    namespaces.into_iter().chain([("/apis/scheduling.k8s.io/v1/priorityclasses", class)]).collect()
}

/// A node with its resources, ready.
pub fn node(workload: Workload, number: u32) -> Value {
    let zone = if workload == Workload::Spreading { number % ZONES } else { 0 };
    let name = format!("node-{number:05}");
    let resources = json!({"pods": "110", "cpu": "4", "memory": "32Gi"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("zone-{zone}"),
        }},
        "status": {
            "capacity": resources, "allocatable": resources, "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// A pod's name: of those that are there before (`is_measured` is false), or of the others.
pub fn name(is_measured: bool, number: u32) -> String {
    format!("{}-{number:05}", if is_measured { "pod" } else { "before" })
}

/// Where pods are created.
pub fn path(is_measured: bool) -> String {
    format!("/api/v1/namespaces/{}/pods", NAMESPACES[usize::from(is_measured)])
}

/// A pod.
pub fn pod(workload: Workload, is_measured: bool, number: u32) -> Value {
    let cpu = match workload {
        Workload::Preemption if is_measured => "3000m",
        Workload::Preemption => "900m",
        _ => "100m",
    };
    let amounts = json!({"cpu": cpu, "memory": "500Mi"});
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name(is_measured, number), "labels": {}},
        "spec": {"containers": [{
            "name": "pause", "image": "registry.k8s.io/pause:3.10.2", "ports": [{"containerPort": 80}],
            "resources": {"limits": amounts, "requests": amounts},
        }]},
    });
    let like = |color: &str| json!({"matchLabels": {"color": color}});
    let term = |color: &str, key: &str| {
        json!({"requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": like(color), "topologyKey": key, "namespaces": NAMESPACES},
        ]})
    };
    let (color, key, value) = match workload {
        Workload::Affinity => {
            ("blue", "affinity", json!({"podAffinity": term("blue", "topology.kubernetes.io/zone")}))
        }
        Workload::AntiAffinity => {
            ("green", "affinity", json!({"podAntiAffinity": term("green", "kubernetes.io/hostname")}))
        }
        Workload::Spreading => (
            "blue",
            "topologySpreadConstraints",
            json!([{
                "maxSkew": 5, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": like("blue"),
            }]),
        ),
        Workload::Preemption if is_measured => ("red", "priorityClassName", json!(CLASS)),
        // Nobody is there who would end a pod that may take its time.
        Workload::Preemption => ("blue", "terminationGracePeriodSeconds", json!(0)),
        Workload::Backlog | Workload::Basic => return pod,
    };
    pod["metadata"]["labels"]["color"] = json!(color);
    pod["spec"][key] = value;
    pod
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_fits_where_its_size_does() {
        assert!(fits(Size { nodes: 100, pods: 1000 }) && fits(Size { nodes: 5000, pods: 10_000 }));
        assert!(!fits(Size { nodes: 100, pods: 4000 }) && !fits(Size { nodes: 4, pods: 1 }));
        let size = Size { nodes: 100, pods: 1000 };
        assert_eq!(counts(Workload::AntiAffinity, size), (20, 80));
        assert_eq!(counts(Workload::Preemption, size), (400, 100));
        assert_eq!(counts(Workload::Basic, size), (100, 1000));
    }

    #[test]
    fn pods_want_what_their_workload_is_about() {
        let of = |workload, measured| pod(workload, measured, 7);
        assert_eq!(of(Workload::Basic, true)["metadata"]["name"], "pod-00007");
        let anti = of(Workload::AntiAffinity, false);
        assert_eq!(anti["metadata"]["labels"]["color"], "green");
        assert!(anti.pointer("/spec/affinity/podAntiAffinity").is_some());
        assert_eq!(of(Workload::Preemption, true)["spec"]["priorityClassName"], CLASS);
        assert_eq!(of(Workload::Preemption, false)["spec"]["terminationGracePeriodSeconds"], 0);
        assert_eq!(
            node(Workload::Spreading, 5)["metadata"]["labels"]["topology.kubernetes.io/zone"],
            "zone-2"
        );
    }
}
