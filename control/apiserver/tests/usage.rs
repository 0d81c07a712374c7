//! `metrics.k8s.io`, by what agents of nodes say.

mod common;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Bed, within};
use control_apiserver::run::elsewhere;
use control_core::kinds;
use control_schema::builtin;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

const PODS: &str = "/apis/metrics.k8s.io/v1beta1/pods";
const NODES: &str = "/apis/metrics.k8s.io/v1beta1/nodes";

async fn bed() -> Bed {
    let bed = Bed::start().await;
    let all = kinds::all(&builtin::library()).into_iter().chain(kinds::metrics::kinds());
    bed.server.registry().replace(all.map(Arc::new));
    bed
}

fn stats(name: Option<&str>, nanos: u64, bytes: u64) -> Value {
    let at = "2026-01-01T00:00:07Z";
    let mut stats = json!({
        "cpu": {"time": at, "usageNanoCores": nanos}, "memory": {"time": at, "workingSetBytes": bytes},
    });
    if let Some(name) = name {
        stats["name"] = name.into();
    }
    stats
}

/// An agent that says of pods `a` and `b` what they use. Returns its port, and how often it was asked.
async fn agent() -> (u16, Arc<AtomicUsize>) {
    let pod = |name: &str, nanos| json!({"podRef": {"namespace": "default", "name": name}, "containers": [stats(Some("c"), nanos, 64 << 20)]});
    let summary = json!({
        "node": stats(None, 2_000_000_000, 1 << 30), "pods": [pod("a", 250_000_000), pod("b", 1)],
    });
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (tls, asked) = (TlsAcceptor::from(Arc::new(config)), Arc::new(AtomicUsize::new(0)));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::clone(&asked));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = tls.accept(stream).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            assert_eq!(line, "GET /stats/summary?only_cpu_and_memory=true HTTP/1.1");
            count.fetch_add(1, Ordering::SeqCst);
            let body = summary.to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    (port, asked)
}

async fn made(bed: &Bed, path: &str, object: Value) {
    let answer = bed.ask("POST", path, object.to_string()).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
}

async fn node(bed: &Bed, name: &str, port: u16) {
    let status = json!({
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    });
    made(bed, "/api/v1/nodes", json!({"metadata": {"name": name, "labels": {"n": name}}, "status": status}))
        .await;
}

async fn pod(bed: &Bed, name: &str, node: &str) {
    let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
    if !node.is_empty() {
        spec["nodeName"] = node.into();
    }
    let pod = json!({"metadata": {"name": name, "labels": {"p": name}}, "spec": spec});
    made(bed, "/api/v1/namespaces/default/pods", pod).await;
}

async fn names(bed: &Bed, path: &str) -> Vec<String> {
    let answer = bed.ask("GET", path, "").await;
    assert_eq!(answer.code, 200, "{}", answer.text);
    let list = answer.json();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nodes_and_pods_use_is_asked_of_their_agents() {
    let bed = bed().await;
    let (port, asked) = agent().await;
    // Nobody listens at the second one's port.
    let silent = host::sockets::free_port(Ipv4Addr::LOCALHOST.into()).unwrap();
    node(&bed, "one", port).await;
    node(&bed, "two", silent).await;
    for (name, node) in [("a", "one"), ("b", "one"), ("c", "one"), ("d", "two"), ("e", "")] {
        pod(&bed, name, node).await;
    }
    assert_eq!(names(&bed, PODS).await, ["a", "b"], "of the others nobody knows");
    assert_eq!(names(&bed, NODES).await, ["one"]);
    assert_eq!(names(&bed, &format!("{PODS}?labelSelector=p%3Db")).await, ["b"]);
    assert_eq!(names(&bed, &format!("{NODES}?labelSelector=n%3Dtwo")).await, [""; 0]);
    assert_eq!(names(&bed, "/apis/metrics.k8s.io/v1beta1/namespaces/other/pods").await, [""; 0]);
    let one = bed.ask("GET", "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/a", "").await.json();
    assert_eq!((&one["kind"], &one["apiVersion"]), (&json!("PodMetrics"), &json!("metrics.k8s.io/v1beta1")));
    assert_eq!(one["containers"], json!([{"name": "c", "usage": {"cpu": "250m", "memory": "64Mi"}}]));
    assert_eq!((&one["timestamp"], &one["window"]), (&json!("2026-01-01T00:00:07Z"), &json!("10s")));
    let node = bed.ask("GET", &format!("{NODES}/one"), "").await.json();
    assert_eq!(node["usage"], json!({"cpu": "2", "memory": "1Gi"}));
    for (path, message) in [
        (format!("{NODES}/two"), "nodes.metrics.k8s.io \"two\" not found"),
        (format!("{NODES}/three"), "nodes \"three\" not found"),
        (
            "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/d".to_owned(),
            "pods.metrics.k8s.io \"default/d\" not found",
        ),
    ] {
        let answer = bed.ask("GET", &path, "").await;
        assert_eq!((answer.code, answer.message().as_str()), (404, message));
    }
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = bed.ask_as("GET", PODS, &accept, "").await.json();
    let columns: Vec<_> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(columns, ["Name", "cpu", "memory", "Window"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", "250m", "64Mi", "10s"]));
    for method in ["POST", "DELETE"] {
        assert_eq!(bed.ask(method, NODES, "{}").await.code, 405, "{method}");
    }
    assert_eq!(bed.ask("GET", &format!("{NODES}?watch=true"), "").await.code, 405);
    let discovered = bed.ask("GET", "/apis/metrics.k8s.io/v1beta1", "").await.json();
    let resources = discovered["resources"].as_array().unwrap().iter();
    let shown: Vec<_> = resources.map(|one| (&one["name"], &one["kind"], &one["verbs"])).collect();
    let read = json!(["get", "list"]);
    assert_eq!(
        shown,
        [(&json!("nodes"), &json!("NodeMetrics"), &read), (&json!("pods"), &json!("PodMetrics"), &read)]
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one answer is for all who ask within ten seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_left_to_the_service_that_is_named_for_it() {
    let bed = bed().await;
    let leaving = tokio::spawn(elsewhere::run(Arc::clone(&bed.server)));
    let served = async |wanted: bool| {
        let becomes = async {
            while bed.server.registry().table().group("metrics.k8s.io").is_some() != wanted {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        within("the group is served, or is not", becomes).await;
    };
    served(true).await;
    let name = "/apis/apiregistration.k8s.io/v1/apiservices";
    let spec = json!({"group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
        "insecureSkipTLSVerify": true, "service": {"namespace": "kube-system", "name": "metrics-server"}});
    made(&bed, name, json!({"metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": spec})).await;
    served(false).await;
    assert_eq!(bed.ask("GET", NODES, "").await.code, 404);
    assert!(!bed.ask("GET", "/apis", "").await.text.contains("metrics.k8s.io"));
    let answer = bed.ask("DELETE", &format!("{name}/v1beta1.metrics.k8s.io"), "").await;
    assert_eq!(answer.code, 200, "{}", answer.text);
    served(true).await;
    leaving.abort();
}
