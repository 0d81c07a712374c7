//! /metrics beside kube-apiserver's: names, types, labels and buckets, and each difference with its reason.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::apiserver::{Side, Which, authorization};
use tests::metrics::read;

/// What kube-apiserver exposes and we do not: how the names begin, and why.
const LACKING: &[(&str, &str)] = &[
    ("go_", "the Go runtime's"),
    ("grpc_", "of Go's gRPC client"),
    ("rest_client_", "of Go's API client"),
    ("workqueue_", "of client-go's controllers"),
    ("cardinality_enforcement_", "of the library of its metrics"),
    ("disabled_metrics_total", "of the library of its metrics"),
    ("hidden_metrics_total", "of the library of its metrics"),
    ("registered_metrics_total", "of the library of its metrics"),
    ("field_validation_", "of the library of its metrics"),
    ("kubernetes_feature_enabled", "there are no feature gates"),
    ("version_info", "says what kubernetes_build_info says"),
    ("aggregator_", "APIServices with a service behind them are not carried out yet"),
    ("apiserver_kube_aggregator_", "APIServices with a service behind them are not carried out yet"),
    ("apiserver_webhooks_", "webhooks are not carried out yet"),
    ("apiserver_audit_", "there is no audit log yet"),
    ("apiserver_envelope_encryption_", "encryption at rest is refused at start"),
    ("apiserver_storage_envelope_", "encryption at rest is refused at start"),
    ("apiserver_storage_data_key_", "encryption at rest is refused at start"),
    ("apiserver_storage_events_received_total", "one watch feeds all kinds"),
    ("apiserver_storage_list_", "of lists from etcd; ours come from memory"),
    ("apiserver_cache_list_", "of a cache for each kind; ours is one"),
    ("apiserver_watch_cache_", "of a cache for each kind; ours is one"),
    ("watch_cache_capacity", "of a cache for each kind; ours is one"),
    ("etcd_bookmark_", "of a watch for each kind; ours is one"),
    ("etcd_lease_object_counts", "not counted yet"),
    ("apiserver_watch_list_", "not counted yet"),
    ("apiserver_admission_step_admission_duration_seconds_summary", "the histogram of this name says it"),
    ("apiserver_cel_", "not counted yet"),
    ("apiextensions_apiserver_validation_ratcheting_seconds", "not counted yet"),
    ("apiserver_current_inqueue_requests", "see apiserver_flowcontrol_current_inqueue_requests"),
    (
        "apiserver_flowcontrol_",
        "of the original's own way to share; what ours counts is compared where both have it",
    ),
    ("apiserver_nodeport_repair_", "Events tell"),
    ("apiserver_request_filter_duration_seconds", "of the original's own filters"),
    ("apiserver_request_timestamp_comparison_time", "of the original's own filters"),
    ("apiserver_resource_size_estimate_bytes", "not counted yet"),
    ("apiserver_selfrequest_total", "requests of the server to itself are counted as all others"),
    ("apiserver_validation_", "of the original's two ways to validate; ours is one"),
    ("authentication_token_cache_", "not counted yet"),
    ("kube_apiserver_clusterip_allocator_", "not counted yet"),
    ("pod_security_", "not counted yet"),
    ("serviceaccount_", "not counted yet"),
];

/// What kube-apiserver shows only once it has a value: not in every run.
const SOMETIMES: [&str; 2] = ["apiserver_init_events_total", "apiserver_request_terminations_total"];

/// Counters whose names do not end like a counter's, which our library of metrics calls gauges.
const GAUGES: [&str; 2] = ["authenticated_user_requests", "authentication_attempts"];

/// What dashboards and alerts stand on: these must be there, whatever else is missing.
const USED: &[&str] = &[
    "apiserver_admission_controller_admission_duration_seconds",
    "apiserver_admission_step_admission_duration_seconds",
    "apiserver_client_certificate_expiration_seconds",
    "apiserver_flowcontrol_current_executing_requests",
    "apiserver_flowcontrol_current_inqueue_requests",
    "apiserver_flowcontrol_dispatched_requests_total",
    "apiserver_flowcontrol_nominal_limit_seats",
    "apiserver_request_body_size_bytes",
    "apiserver_tls_handshake_errors_total",
    "authenticated_user_requests",
    "authentication_attempts",
    "authentication_duration_seconds",
    "authorization_attempts_total",
    "authorization_duration_seconds",
    "apiserver_current_inflight_requests",
    "apiserver_longrunning_requests",
    "apiserver_request_duration_seconds",
    "apiserver_requested_deprecated_apis",
    "apiserver_request_sli_duration_seconds",
    "apiserver_request_total",
    "apiserver_response_sizes",
    "apiserver_storage_objects",
    "apiserver_storage_size_bytes",
    "apiserver_watch_events_sizes",
    "apiserver_watch_events_total",
    "etcd_request_duration_seconds",
    "etcd_requests_total",
    "kube_apiserver_nodeport_allocator_allocated_ports",
    "kube_apiserver_nodeport_allocator_available_ports",
    "kubernetes_build_info",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
];

/// The page after a create, a list and a watch that is over.
fn page(which: Which) -> String {
    let side = Side::new(which, &[]);
    side.start();
    const PATH: &str = "/api/v1/namespaces/default/configmaps";
    side.must("POST", PATH, "application/json", &json!({"metadata": {"name": "a"}}));
    side.must("GET", PATH, "application/json", &Value::Null);
    side.must("GET", "/api/v1/endpoints", "application/json", &Value::Null);
    let mut client = side.client();
    let mut text = |path: &str| {
        let reply =
            client.ask("GET", path, &authorization("admin"), &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(reply.status, 200, "{path}");
        String::from_utf8_lossy(&reply.body).into_owned()
    };
    text(&format!("{PATH}?watch=true&timeoutSeconds=1"));
    text("/metrics")
}

#[test]
fn metrics_are_the_originals_with_a_reason_for_each_difference() {
    let (theirs, text) = (read(&page(Which::Original)), page(Which::Ours));
    let ours = read(&text);
    let mut wrong = Vec::new();
    let mut unused: BTreeSet<&str> = LACKING.iter().map(|(name, _)| *name).collect();
    for (name, their) in &theirs {
        let lacking = LACKING.iter().find(|(lacking, _)| name.starts_with(lacking));
        if let Some((lacking, _)) = lacking {
            unused.remove(lacking);
        }
        match ours.get(name) {
            None if lacking.is_none() && !SOMETIMES.contains(&name.as_str()) => {
                wrong.push(format!("{name} is missing"))
            }
            None => {}
            Some(our) => {
                let kind = if GAUGES.contains(&name.as_str()) { "gauge" } else { their.kind.as_str() };
                if our.kind != kind || our.buckets != their.buckets {
                    wrong.push(format!("{name}: {our:?}, the original's is {their:?}"));
                }
                // The build's labels are each builder's own.
                let labelled = lacking.is_none() && !their.labels.is_empty() && !our.labels.is_empty();
                if labelled && our.labels != their.labels && name != "kubernetes_build_info" {
                    wrong.push(format!(
                        "{name}: labels {:?}, the original's are {:?}",
                        our.labels, their.labels
                    ));
                }
            }
        }
    }
    wrong.extend(
        USED.iter().filter(|name| !ours.contains_key(**name)).map(|name| format!("{name} is not counted")),
    );
    let strange = ours.keys().filter(|name| {
        !theirs.contains_key(*name)
            && !name.starts_with("weft_")
            && !SOMETIMES.contains(&name.as_str())
            && !name.starts_with("apiserver_flowcontrol_")
    });
    wrong.extend(strange.map(|name| format!("{name} is not the original's")));
    wrong.extend(unused.iter().map(|name| format!("{name}: no difference any more")));
    assert!(wrong.is_empty(), "{}\n{text}", wrong.join("\n"));
}
