//! How long the encodings of one pod take: `cargo run --release -p control-schema --example timing`. Prints, and judges
//! nothing.

use std::hint::black_box;
use std::time::Instant;

use control_schema::codec::{json, protobuf};
use control_schema::{builtin, defaults};
use serde_json::json;

fn main() {
    let start = Instant::now();
    let schema = builtin::kind("v1", "Pod").expect("Pod");
    println!("{:>10.1} us  reading the schemas of the built-in kinds", start.elapsed().as_secs_f64() * 1e6);
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-7d4b9c6f5-x2x8z", "generateName": "web-7d4b9c6f5-", "namespace": "default",
            "uid": "6e3b6b8e-6a0f-4f0e-9d2f-0a8e3f3c2b11", "resourceVersion": "12345678", "generation": 1,
            "creationTimestamp": "2026-11-29T06:00:00Z", "labels": {"app": "web", "pod-template-hash": "7d4b9c6f5"},
            "annotations": {"kubernetes.io/psp": "restricted"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c6f5",
                "uid": "0c0b7c1c-9a2c-4f4b-8f1f-5a8a4a8c9d22", "controller": true, "blockOwnerDeletion": true}],
            "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                "time": "2026-11-29T06:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {".": {},
                "f:app": {}}, "f:ownerReferences": {".": {}}}, "f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {".": {},
                "f:image": {}, "f:name": {}}}}}}]},
        "spec": {"volumes": [{"name": "kube-api-access-2x8zq", "projected": {"sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}]}}],
            "containers": [{"name": "web", "image": "registry.example.com/web:1.27",
                "ports": [{"name": "http", "containerPort": 8080}],
                "env": [{"name": "A", "value": "b"}, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
                "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
                "volumeMounts": [{"name": "kube-api-access-2x8zq", "readOnly": true, "mountPath": "/var/run/secrets/x"}]}],
            "serviceAccountName": "default", "nodeName": "node-17"},
        "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-29T06:00:05Z"},
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-29T06:00:00Z"}],
            "hostIP": "192.168.1.17", "podIP": "10.244.17.5", "podIPs": [{"ip": "10.244.17.5"}],
            "startTime": "2026-11-29T06:00:00Z", "qosClass": "Burstable",
            "containerStatuses": [{"name": "web", "ready": true, "restartCount": 0, "image": "web:1.27",
                "imageID": "sha256:0123456789abcdef", "state": {"running": {"startedAt": "2026-11-29T06:00:04Z"}}}]},
    });
    defaults::apply(&schema, &mut pod);
    let text = json::encode(&schema, &pod);
    let bytes = protobuf::encode(&schema, "v1", "Pod", &pod);
    println!("           a pod of {} bytes in JSON, {} in protobuf", text.len(), bytes.len());
    time("JSON, read", || drop(black_box(json::decode(&schema, black_box(&text)))));
    time("JSON, written", || drop(black_box(json::encode(&schema, black_box(&pod)))));
    time("protobuf, read", || drop(black_box(protobuf::decode(&schema, black_box(&bytes)))));
    time("protobuf, written", || drop(black_box(protobuf::encode(&schema, "v1", "Pod", black_box(&pod)))));
    time("defaults, of what has them", || defaults::apply(&schema, black_box(&mut pod)));
    time("serde_json, read", || {
        drop(black_box(serde_json::from_slice::<serde_json::Value>(black_box(&text))))
    });
    time("serde_json, written", || drop(black_box(serde_json::to_vec(black_box(&pod)))));
    time("a copy", || drop(black_box(black_box(&pod).clone())));
}

fn time(what: &str, mut run: impl FnMut()) {
    let rounds: u32 = 20_000;
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..rounds {
            run();
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(rounds));
    }
    println!("{:>10.2} us  {what}", best * 1e6);
}
