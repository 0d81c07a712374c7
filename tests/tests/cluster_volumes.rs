//! Volumes in a whole control plane: claims of pods on fake nodes, from the first day to the last.
//!
//! Needs etcd.

use std::ffi::OsString;

use host::netns::Namespace;
use host::programs::{Daemon, Signal};
use serde_json::{Value, json};
use tests::apiserver::control::{Control, READY};
use tests::testbed::weft;
use tests::wait::until_explained;

const VOLUMES: &str = "/api/v1/persistentvolumes";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";

/// `weft control`, and nodes beside it.
struct Cluster {
    control: Control,
    nodes: Daemon,
}

impl Cluster {
    fn with_nodes(count: usize) -> Self {
        let control = Control::new();
        control.start();
        control.wait_ready();
        let here = Namespace::current().unwrap_or_else(|error| panic!("{error}"));
        let nodes = Daemon::new("weft lab nodes".to_owned(), here, control.directory.path(), "nodes");
        let cluster = Self { control, nodes };
        if count > 0 {
            let program = weft().binary.program().unwrap_or_else(|error| panic!("{error}"));
            let words = ["lab", "nodes", &count.to_string(), "--kubeconfig"].map(OsString::from);
            let kubeconfig = cluster.control.root.join("admin.kubeconfig").into_os_string();
            let words: Vec<OsString> = words.into_iter().chain([kubeconfig]).collect();
            cluster.nodes.start(&program, &words, &[]).unwrap_or_else(|error| panic!("{error}"));
        }
        cluster.wait("/api/v1/namespaces/default/serviceaccounts/default", "an account", |_| true);
        cluster
    }

    fn logs(&self) -> String {
        format!("{}\n{}", self.control.daemon.log_tail(20), self.nodes.log_tail(5))
    }

    fn create(&self, path: &str, object: &Value) -> Value {
        let (code, answer) = self.control.ask("POST", path, object).expect("an answer");
        assert_eq!(code, 201, "POST {path}: {answer}");
        answer
    }

    fn delete(&self, path: &str) {
        let (code, answer) = self.control.ask("DELETE", path, &Value::Null).expect("an answer");
        assert!(code == 200 || code == 202, "DELETE {path}: {answer}");
    }

    fn get(&self, path: &str) -> Option<Value> {
        let (code, object) = self.control.ask("GET", path, &Value::Null)?;
        (code == 200).then_some(object)
    }

    /// Changes an object as somebody who reads it first, and again where somebody else was quicker.
    fn change(&self, path: &str, part: &str, change: impl Fn(&mut Value)) {
        let changed = || {
            let mut object = self.get(path)?;
            change(&mut object);
            let (code, answer) = self.control.ask("PUT", &format!("{path}{part}"), &object)?;
            assert!(code == 200 || code == 409, "PUT {path}{part}: {answer}");
            (code == 200).then_some(())
        };
        until_explained(&format!("PUT {path}{part}"), READY, changed, || self.logs());
    }

    fn wait(&self, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let explain = || format!("{:#}\n{}", self.get(path).unwrap_or_default(), self.logs());
        until_explained(what, READY, || self.get(path).filter(|object| holds(object)), explain)
    }

    fn gone(&self, path: &str) {
        let absent = || {
            let (code, _) = self.control.ask("GET", path, &Value::Null)?;
            (code == 404).then_some(())
        };
        let explain = || format!("{:#}\n{}", self.get(path).unwrap_or_default(), self.logs());
        until_explained(&format!("{path} is gone"), READY, absent, explain);
    }

    fn running(&self, pod: &str) -> Value {
        self.wait(&format!("{PODS}/{pod}"), &format!("{pod} runs"), |pod| {
            pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null()
        })
    }

    fn bound(&self, claim: &str) -> Value {
        self.wait(&format!("{CLAIMS}/{claim}"), &format!("{claim} is bound"), |claim| phase(claim) == "Bound")
    }

    /// Volumes are folders on the node of the first pod that uses them.
    fn local_class(&self) {
        let class = json!({
            "metadata": {"name": "local"}, "provisioner": "weft.dev/local-path",
            "volumeBindingMode": "WaitForFirstConsumer", "parameters": {"path": "/data"},
        });
        self.create("/apis/storage.k8s.io/v1/storageclasses", &class);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.nodes.stop(Signal::SIGKILL);
    }
}

fn phase(object: &Value) -> &str {
    object["status"]["phase"].as_str().unwrap_or_default()
}

fn claim_spec() -> Value {
    json!({
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "local",
    })
}

fn containers() -> Value {
    json!([{"name": "c", "image": "example.org/app:1"}])
}

/// The node that alone can use a volume.
fn host(volume: &Value) -> &Value {
    let terms = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
    &terms[0]["matchExpressions"][0]["values"][0]
}

#[test]
fn each_pod_of_a_stateful_set_has_a_volume_on_its_node_and_comes_back_to_it() {
    let cluster = Cluster::with_nodes(3);
    cluster.local_class();
    let set = json!({
        "metadata": {"name": "db"},
        "spec": {
            "replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}}, "spec": {"containers": containers()},
            },
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim_spec()}],
        },
    });
    cluster.create(SETS, &set);
    let place = |number: usize| {
        let pod = cluster.running(&format!("db-{number}"));
        let claim = cluster.bound(&format!("data-db-{number}"));
        let name = claim["spec"]["volumeName"].as_str().expect("a volume").to_owned();
        let volume = cluster
            .wait(&format!("{VOLUMES}/{name}"), "the volume is bound", |volume| phase(volume) == "Bound");
        assert_eq!(*host(&volume), pod["spec"]["nodeName"]);
        assert_eq!(volume["spec"]["hostPath"]["path"], format!("/data/{name}_default_data-db-{number}"));
        (name, pod["spec"]["nodeName"].clone())
    };
    let first = [place(0), place(1)];
    // A claim that is deleted while its pod runs stays, and goes with the pod; the volume goes with it.
    cluster.delete(&format!("{CLAIMS}/data-db-1"));
    let going = cluster.get(&format!("{CLAIMS}/data-db-1")).expect("a pod uses it");
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    let scale = |replicas: usize| {
        cluster.change(&format!("{SETS}/db"), "", |set| set["spec"]["replicas"] = replicas.into())
    };
    scale(0);
    cluster.gone(&format!("{PODS}/db-0"));
    cluster.gone(&format!("{CLAIMS}/data-db-1"));
    cluster.gone(&format!("{VOLUMES}/{}", first[1].0));
    // What was left waits for its pod, which can run nowhere else.
    scale(2);
    assert_eq!(place(0), first[0]);
    assert_ne!(place(1).0, first[1].0);
}

#[test]
fn a_pods_own_claim_comes_and_goes_with_it() {
    let cluster = Cluster::with_nodes(1);
    cluster.local_class();
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {
            "containers": containers(),
            "volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": claim_spec()}}}],
        },
    });
    cluster.create(PODS, &pod);
    let pod = cluster.running("p");
    let claim = cluster.bound("p-scratch");
    assert_eq!(claim["metadata"]["ownerReferences"][0]["uid"], pod["metadata"]["uid"]);
    let volume = format!("{VOLUMES}/{}", claim["spec"]["volumeName"].as_str().expect("a volume"));
    cluster.delete(&format!("{PODS}/p"));
    cluster.gone(&format!("{PODS}/p"));
    cluster.gone(&format!("{CLAIMS}/p-scratch"));
    cluster.gone(&volume);
}

#[test]
fn a_volume_that_somebody_made_is_bound_released_and_let_go() {
    let cluster = Cluster::with_nodes(0);
    let volume = |name: &str, size: &str| {
        json!({
            "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}, "hostPath": {"path": "/srv"},
                "storageClassName": "manual",
            },
        })
    };
    cluster.create(VOLUMES, &volume("large", "9Gi"));
    cluster.create(VOLUMES, &volume("small", "2Gi"));
    for name in ["large", "small"] {
        cluster
            .wait(&format!("{VOLUMES}/{name}"), "the volume is there", |volume| phase(volume) == "Available");
    }
    let mut spec = claim_spec();
    spec["storageClassName"] = "manual".into();
    cluster.create(CLAIMS, &json!({"metadata": {"name": "c"}, "spec": spec}));
    let claim = cluster.bound("c");
    assert_eq!(
        (&claim["spec"]["volumeName"], &claim["status"]["capacity"]["storage"]),
        (&json!("small"), &json!("2Gi"))
    );
    let path = format!("{VOLUMES}/small");
    cluster.wait(&path, "the volume is bound", |volume| phase(volume) == "Bound");
    cluster.delete(&path);
    let going = cluster.get(&path).expect("it is bound");
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    cluster.delete(&format!("{CLAIMS}/c"));
    cluster.gone(&format!("{CLAIMS}/c"));
    cluster.gone(&path);
    let large = cluster.get(&format!("{VOLUMES}/large")).expect("nobody touched it");
    assert_eq!(phase(&large), "Available");
}

#[test]
fn a_drivers_volume_is_attached_to_the_pods_node() {
    let cluster = Cluster::with_nodes(0);
    let managed = json!({"volumes.kubernetes.io/controller-managed-attach-detach": "true"});
    cluster.create("/api/v1/nodes", &json!({"metadata": {"name": "n", "annotations": managed}}));
    let volume = json!({
        "metadata": {"name": "v"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": "manual",
            "csi": {"driver": "csi.example.com", "volumeHandle": "h"},
        },
    });
    cluster.create(VOLUMES, &volume);
    let mut spec = claim_spec();
    spec["storageClassName"] = "manual".into();
    cluster.create(CLAIMS, &json!({"metadata": {"name": "c"}, "spec": spec}));
    cluster.bound("c");
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {
            "nodeName": "n", "containers": containers(),
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
        },
    });
    cluster.create(PODS, &pod);
    let all = "/apis/storage.k8s.io/v1/volumeattachments";
    let list = cluster
        .wait(all, "an attachment", |list| list["items"].as_array().is_some_and(|items| items.len() == 1));
    let attachment = &list["items"][0];
    assert_eq!(
        attachment["spec"],
        json!({"attacher": "csi.example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}}),
    );
    let path = format!("{all}/{}", attachment["metadata"]["name"].as_str().expect("a name"));
    cluster.change(&path, "/status", |attachment| attachment["status"] = json!({"attached": true}));
    cluster.wait("/api/v1/nodes/n", "the node says so", |node| {
        node["status"]["volumesAttached"][0]["name"] == "kubernetes.io/csi/csi.example.com^h"
    });
    cluster.change(&format!("{PODS}/p"), "/status", |pod| pod["status"]["phase"] = "Succeeded".into());
    cluster.gone(&path);
    cluster.wait("/api/v1/nodes/n", "the node says so", |node| node["status"]["volumesAttached"].is_null());
}

#[test]
fn a_pod_gets_the_resource_claim_of_its_template() {
    let cluster = Cluster::with_nodes(0);
    let claims = "/apis/resource.k8s.io/v1/namespaces/default";
    let request = json!({"name": "r", "exactly": {"deviceClassName": "gpu.example.com"}});
    let template = json!({
        "metadata": {"name": "gpus"}, "spec": {"spec": {"devices": {"requests": [request]}}},
    });
    cluster.create(&format!("{claims}/resourceclaimtemplates"), &template);
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {
            "containers": containers(), "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpus"}],
        },
    });
    cluster.create(PODS, &pod);
    let pod = cluster.wait(&format!("{PODS}/p"), "the claim's name", |pod| {
        pod["status"]["resourceClaimStatuses"][0]["resourceClaimName"].is_string()
    });
    let name = pod["status"]["resourceClaimStatuses"][0]["resourceClaimName"].as_str().expect("a name");
    let path = format!("{claims}/resourceclaims/{name}");
    let claim = cluster.get(&path).expect("it is there");
    assert_eq!(claim["metadata"]["ownerReferences"][0]["uid"], pod["metadata"]["uid"]);
    cluster.delete(&format!("{PODS}/p"));
    cluster.gone(&path);
}
