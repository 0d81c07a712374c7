//! Schedulers on a real kube-apiserver: what they are given, and what becomes of it.

pub mod random;

use std::time::Duration;

use host::programs::Signal;
use originals::{Api, ControlPlane, KubeScheduler, User};
use serde_json::{Value, json};

use crate::testbed::weft;
use crate::wait::until_explained;

/// For everything that schedulers do, on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(120);

/// An API server over etcd, and nothing else.
pub struct Cluster {
    pub control_plane: ControlPlane,
    pub api: Api,
}

impl Cluster {
    /// # Panics
    /// One of the originals is missing or does not come up.
    #[expect(clippy::new_without_default, reason = "it starts programs")]
    pub fn new() -> Self {
        let control_plane = ControlPlane::here().unwrap_or_else(|error| panic!("{error}"));
        control_plane.start_etcd().unwrap_or_else(|error| panic!("{error}"));
        control_plane.start_server().unwrap_or_else(|error| panic!("{error}"));
        control_plane.wait_server().unwrap_or_else(|error| panic!("{error}"));
        let api = control_plane.admin().unwrap_or_else(|error| panic!("{error}"));
        Self { control_plane, api }
    }

    /// The original.
    pub fn theirs(&self, flags: &[String]) -> KubeScheduler {
        let kubeconfig = self.control_plane.kubeconfig(User::Admin);
        KubeScheduler::start(&kubeconfig, flags).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Ours.
    pub fn ours(&self, flags: &[String]) -> KubeScheduler {
        let kubeconfig = self.control_plane.kubeconfig(User::Admin);
        // By its own name it is the program of the first word.
        let name = self.control_plane.directory().join("kube-scheduler");
        let program = weft().binary.program().unwrap_or_else(|error| panic!("{error}"));
        if !name.exists() {
            std::os::unix::fs::symlink(program, &name).unwrap_or_else(|error| panic!("{error}"));
        }
        KubeScheduler::start_program(&name, &kubeconfig, flags).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes an object of a kind, given by its plural and the path of its group and version.
    pub fn make(&self, collection: &str, object: &Value) -> Value {
        self.api.must("POST", collection, Some(object)).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn node(&self, node: &Value) {
        let made = self.make("/api/v1/nodes", node);
        let mut full = node.clone();
        full["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
        let path = format!("/api/v1/nodes/{}/status", text(node, "name"));
        self.api.must("PUT", &path, Some(&full)).unwrap_or_else(|error| panic!("{error}"));
        // The server adds the taint of nodes that are not ready; no controller takes it off.
        let patch = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": text(node, "name")}});
        let taints = json!({"spec": {"taints": node["spec"]["taints"]}});
        self.api.merge(&patch, &taints).unwrap_or_else(|error| panic!("{error}"));
    }

    pub fn pod(&self, pod: &Value) -> Value {
        self.make("/api/v1/namespaces/default/pods", pod)
    }

    pub fn get_pod(&self, name: &str) -> Value {
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        self.api.must("GET", &path, None).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn delete_pod(&self, name: &str) {
        let path = format!("/api/v1/namespaces/default/pods/{name}?gracePeriodSeconds=0");
        self.api.must("DELETE", &path, None).unwrap_or_else(|error| panic!("{error}"));
    }

    pub fn list(&self, path: &str) -> Vec<Value> {
        let list = self.api.must("GET", path, None).unwrap_or_else(|error| panic!("{error}"));
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Waits for what a scheduler makes of a pod: the node, or the message why there is none.
    pub fn verdict(&self, name: &str, scheduler: &KubeScheduler) -> Result<String, String> {
        until_explained(
            &format!("a verdict about {name}"),
            LIMIT,
            || verdict(&self.get_pod(name)),
            || format!("{}\n{}", self.get_pod(name), scheduler.daemon().log_tail(20)),
        )
    }
}

/// The node of a pod, or the message why there is none; `None`: nobody has said.
pub fn verdict(pod: &Value) -> Option<Result<String, String>> {
    if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
        return Some(Ok(node.to_owned()));
    }
    let conditions = pod["status"]["conditions"].as_array()?;
    let condition = conditions.iter().find(|condition| condition["type"] == "PodScheduled")?;
    (condition["status"] == "False")
        .then(|| Err(condition["message"].as_str().unwrap_or_default().to_owned()))
}

pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Ends one by force.
pub fn kill(scheduler: &KubeScheduler) {
    scheduler.stop(Signal::SIGKILL).unwrap_or_else(|error| panic!("{error}"));
}

/// A node with thousandths of a CPU, GiB of memory and room for pods, in a zone.
pub fn node(name: &str, zone: &str, cpu: u64, memory: u64, pods: u64) -> Value {
    let amounts =
        json!({"cpu": format!("{cpu}m"), "memory": format!("{memory}Gi"), "pods": pods.to_string()});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}},
        "spec": {"taints": []},
        "status": {"allocatable": amounts, "capacity": amounts},
    })
}

/// A pod that asks for thousandths of a CPU and MiB of memory.
pub fn pod(name: &str, cpu: u64, memory: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "a"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "i", "resources": {
            "requests": {"cpu": format!("{cpu}m"), "memory": format!("{memory}Mi")}}}]},
    })
}
