//! Autoscalers in a control plane with fake nodes that say what their pods use.
//!
//! Needs etcd and kubectl.

use std::time::Duration;

use tests::controllers::{Cluster, Whose};
use tests::wait::until_explained;

/// A pod's use counts ten seconds after it is ready, is asked for every ten seconds, and looked at every fifteen.
const PATIENCE: Duration = Duration::from_secs(180);

const OBJECTS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations: {weft.dev/usage: "cpu=150m,memory=64Mi"}
    spec:
      containers:
      - {name: c, image: "example.org/app:1", resources: {requests: {cpu: 100m}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 3
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 0}
"#;

fn said(cluster: &Cluster, words: &[&str]) -> String {
    let output = cluster.kubectl(words, "");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn until(cluster: &Cluster, words: &[&str], wanted: &str) {
    let holds = || (said(cluster, words) == wanted).then_some(());
    let explain = || {
        let described = said(cluster, &["describe", "hpa", "web"]);
        format!("{}\n{described}\n{}", said(cluster, words), cluster.logs())
    };
    until_explained(&format!("{words:?} to say {wanted:?}"), PATIENCE, holds, explain);
}

#[test]
fn an_autoscaler_follows_what_pods_use_up_and_down() {
    let cluster = Cluster::up(Whose::Ours);
    let applied = cluster.kubectl(&["apply", "-f", "-"], OBJECTS);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let replicas = ["get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}"];
    until(&cluster, &replicas, "3");
    let status = "jsonpath={.status.currentMetrics[0].resource.current.averageUtilization} \
                  {.status.conditions[?(@.type=='ScalingLimited')].reason}";
    until(&cluster, &["get", "hpa", "web", "-o", status], "150 TooManyReplicas");
    let top = said(&cluster, &["top", "pods", "--no-headers"]);
    let rows: Vec<Vec<&str>> = top.lines().map(|line| line.split_whitespace().skip(1).collect()).collect();
    assert_eq!(rows, [["150m", "64Mi"]; 3], "{top}");
    let nodes = said(&cluster, &["top", "nodes", "--no-headers"]);
    assert_eq!(nodes.lines().count(), 3, "{nodes}");
    let used: u32 = nodes
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.strip_suffix('m')?.parse::<u32>().ok())
        .sum();
    assert_eq!(used, 450, "{nodes}");
    let told = said(
        &cluster,
        &[
            "get",
            "events",
            "--field-selector",
            "reason=SuccessfulRescale",
            "-o",
            "jsonpath={.items[*].message}",
        ],
    );
    let reason = "New size: 3; reason: cpu resource utilization (percentage of request) above target";
    assert!(told.contains(reason), "{told}");
    let calmed =
        cluster.kubectl(&["annotate", "pods", "-l", "app=web", "weft.dev/usage=cpu=5m", "--overwrite"], "");
    assert!(calmed.status.success(), "{}", String::from_utf8_lossy(&calmed.stderr));
    until(&cluster, &replicas, "1");
    let told = said(
        &cluster,
        &[
            "get",
            "events",
            "--field-selector",
            "reason=SuccessfulRescale",
            "-o",
            "jsonpath={.items[*].message}",
        ],
    );
    assert!(told.contains("New size: 1; reason: All metrics below target"), "{told}");
}

/// A machine joins: its requests are signed by the authority that the server believes.
#[test]
fn a_node_that_joins_gets_certificates_from_the_clusters_authority() {
    let cluster = Cluster::up(Whose::Ours);
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str| directory.path().join(name).display().to_string();
    let request = |name: &str, signer: &str, usages: &str, more: &[&str]| {
        let mut openssl = std::process::Command::new("openssl");
        openssl.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        openssl.args([
            "-subj",
            "/O=system:nodes/CN=system:node:joins",
            "-keyout",
            &file(&format!("{name}.key")),
        ]);
        openssl.args(["-outform", "PEM", "-out", &file(&format!("{name}.csr"))]).args(more);
        let made = openssl.output().expect("openssl runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let encoded = base64(&std::fs::read(file(&format!("{name}.csr"))).expect("a request"));
        let object = format!(
            "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: {name}}}\n\
             spec: {{signerName: kubernetes.io/{signer}, usages: [{usages}], request: {encoded}}}\n"
        );
        let created = cluster.kubectl(&["create", "-f", "-"], &object);
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    };
    let signed = |name: &str| {
        let path = ["get", "csr", name, "-o", "jsonpath={.status.certificate}"];
        let there = || Some(said(&cluster, &path)).filter(|encoded| !encoded.is_empty());
        let explain = || format!("{}\n{}", said(&cluster, &["get", "csr", "-o", "yaml"]), cluster.logs());
        let encoded = until_explained(&format!("the certificate of {name}"), PATIENCE, there, explain);
        std::fs::write(file(&format!("{name}.crt")), decoded(&encoded)).expect("a file");
    };
    // Who may do everything may ask for any node: nobody has to approve it.
    request("client", "kube-apiserver-client-kubelet", "digital signature, client auth", &[]);
    signed("client");
    let reason = "jsonpath={.status.conditions[0].type} {.status.conditions[0].reason}";
    assert_eq!(said(&cluster, &["get", "csr", "client", "-o", reason]), "Approved AutoApproved");
    let server = said(&cluster, &["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let authority = said(
        &cluster,
        &["config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.certificate-authority-data}"],
    );
    std::fs::write(file("ca.crt"), decoded(&authority)).expect("a file");
    std::fs::write(file("empty"), "").expect("a file");
    let who = cluster.kubectl(
        &[
            "--kubeconfig",
            &file("empty"),
            "--server",
            &server,
            "--certificate-authority",
            &file("ca.crt"),
            "--client-certificate",
            &file("client.crt"),
            "--client-key",
            &file("client.key"),
            "auth",
            "whoami",
            "-o",
            "jsonpath={.status.userInfo.username} {.status.userInfo.groups[0]}",
        ],
        "",
    );
    let name = String::from_utf8_lossy(&who.stdout).trim().to_owned();
    assert_eq!(name, "system:node:joins system:nodes", "{}", String::from_utf8_lossy(&who.stderr));
    // A server's certificate waits for a person.
    let usages = "digital signature, server auth";
    request("server", "kubelet-serving", usages, &["-addext", "subjectAltName=DNS:joins"]);
    assert_eq!(said(&cluster, &["get", "csr", "server", "-o", "jsonpath={.status}"]), "{}");
    let approved = cluster.kubectl(&["certificate", "approve", "server"], "");
    assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    signed("server");
    let mut verify = std::process::Command::new("openssl");
    verify.args(["verify", "-purpose", "sslserver", "-verify_hostname", "joins", "-CAfile", &file("ca.crt")]);
    let verified = verify.arg(file("server.crt")).output().expect("openssl runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

fn base64(bytes: &[u8]) -> String {
    piped(&["base64", "-A"], bytes).iter().map(|byte| char::from(*byte)).collect()
}

fn decoded(text: &str) -> Vec<u8> {
    piped(&["base64", "-A", "-d"], text.as_bytes())
}

fn piped(words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut file, input).expect("room");
    std::io::Seek::rewind(&mut file).expect("a file");
    let output =
        std::process::Command::new("openssl").args(words).stdin(file).output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
