//! What was reported of API servers in public, tried on ours. Each test names the report, by its number at
//! kubernetes/kubernetes.
//!
//! Needs etcd and etcdctl.

use host::programs::Signal;
use serde_json::{Value, json};
use tests::apiserver::authorization;
use tests::apiserver::fleet::{Etcd, Fleet};
use tests::wait::until;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";

fn one() -> Fleet {
    Fleet::up(1, 1, &Etcd::default(), &[])
}

fn must(fleet: &Fleet, method: &str, path: &str, body: &Value) -> Value {
    let (code, answer) = fleet.ask(0, method, path, body);
    assert!((200..300).contains(&code), "{method} {path}: {code}: {answer}");
    answer
}

fn restart(fleet: &Fleet) {
    fleet.stop_server(0, Signal::SIGKILL);
    fleet.start_server(0);
    fleet.wait_for_server(0);
}

fn node_port(name: &str, port: Option<&Value>) -> Value {
    let mut service =
        json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    if let Some(port) = port {
        service["spec"]["ports"][0]["nodePort"] = port.clone();
    }
    service
}

/// 120536: the last finalizer goes by an update of the status, and the Service with it.
#[test]
fn the_ports_of_a_service_whose_finalizer_goes_by_its_status_are_free_again() {
    let fleet = one();
    let mut service = node_port("a", None);
    service["metadata"]["finalizers"] = json!(["example.com/balancer"]);
    let made = must(&fleet, "POST", SERVICES, &service);
    let (port, address) = (&made["spec"]["ports"][0]["nodePort"], &made["spec"]["clusterIP"]);
    must(&fleet, "DELETE", &format!("{SERVICES}/a"), &Value::Null);
    let mut held = must(&fleet, "GET", &format!("{SERVICES}/a"), &Value::Null);
    assert!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
    held["metadata"]["finalizers"] = json!([]);
    must(&fleet, "PUT", &format!("{SERVICES}/a/status"), &held);
    // Where an update of the status may not touch finalizers, the object's own does.
    if fleet.ask(0, "GET", &format!("{SERVICES}/a"), &Value::Null).0 == 200 {
        must(&fleet, "PUT", &format!("{SERVICES}/a"), &held);
    }
    assert_eq!(fleet.ask(0, "GET", &format!("{SERVICES}/a"), &Value::Null).0, 404);
    let mut next = node_port("b", Some(port));
    next["spec"]["clusterIP"] = address.clone();
    must(&fleet, "POST", SERVICES, &next);
}

/// 54885: repair after a restart knows the port of health checks, too.
#[test]
fn the_port_of_a_services_health_check_stays_its_own_over_a_restart() {
    let fleet = one();
    let balanced = json!({"metadata": {"name": "a"}, "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local",
        "ports": [{"port": 80}]}});
    let made = must(&fleet, "POST", SERVICES, &balanced);
    let checks = made["spec"]["healthCheckNodePort"].clone();
    assert!(checks.as_i64().is_some_and(|port| port > 0), "{made}");
    for _ in 0..2 {
        let (code, status) = fleet.ask(0, "POST", SERVICES, &node_port("b", Some(&checks)));
        assert_eq!(code, 422, "{status}");
        restart(&fleet);
    }
}

/// 69579: one object in storage is no object. Nothing else suffers, and it can be taken away.
#[test]
fn a_damaged_object_in_storage_harms_nothing_but_itself() {
    let fleet = one();
    for name in ["a", "z"] {
        must(&fleet, "POST", CONFIG_MAPS, &json!({"metadata": {"name": name}}));
    }
    let damaged = [
        ("configmaps/default/m", "k8s\u{0}\u{1}\u{2}"),
        ("secrets/default/m", "{\"kind\":"),
        ("services/specs/default/m", "nothing"),
        ("clusterroles/m", "k8s\u{0}"),
        ("apiextensions.k8s.io/customresourcedefinitions/m", "{}"),
        ("namespaces/m", "[[[["),
    ];
    let put = |key: &str, value: &str| {
        let settings = etcd::Settings { endpoints: vec![fleet.endpoint(0)], ..etcd::Settings::default() };
        let client = etcd::Client::new(settings).expect("settings");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let written = runtime.block_on(client.put(format!("/registry/{key}"), value, None));
        written.unwrap_or_else(|error| panic!("{error}"));
    };
    let version = must(&fleet, "GET", CONFIG_MAPS, &Value::Null)["metadata"]["resourceVersion"].clone();
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", version.as_str().expect("a version"));
    let mut watch = fleet.client(0).watch(&path, &authorization("admin")).expect("a watch");
    for (key, value) in &damaged {
        put(key, value);
    }
    // The watch says so, and ends, as with the original.
    let line = watch.line().expect("a line").expect("an event");
    let event: Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("ERROR"), &json!("Status")), "{event}");
    for _ in 0..2 {
        must(&fleet, "GET", &format!("{CONFIG_MAPS}/a"), &Value::Null);
        let (code, status) = fleet.ask(0, "GET", &format!("{CONFIG_MAPS}/m"), &Value::Null);
        assert_eq!((code, &status["kind"]), (500, &json!("Status")), "{status}");
        let (code, status) = fleet.ask(0, "GET", CONFIG_MAPS, &Value::Null);
        assert_eq!((code, &status["kind"]), (500, &json!("Status")), "{status}");
        must(
            &fleet,
            "PUT",
            &format!("{CONFIG_MAPS}/z"),
            &json!({"metadata": {"name": "z"}, "data": {"a": "b"}}),
        );
        must(&fleet, "GET", "/api/v1/nodes", &Value::Null);
        restart(&fleet);
    }
    for (key, _) in damaged {
        fleet.etcdctl(0, &["del", &format!("/registry/{key}")]);
    }
    until("the list to be whole again", || {
        (fleet.ask(0, "GET", CONFIG_MAPS, &Value::Null).0 == 200).then_some(())
    });
}

/// 107457: etcd is restored from an older backup under a server that runs, and its versions go back.
#[test]
fn a_server_over_an_etcd_that_was_restored_to_an_older_state_ends_watches_and_serves_that_state() {
    let fleet = one();
    must(&fleet, "POST", CONFIG_MAPS, &json!({"metadata": {"name": "saved"}}));
    let backup = fleet.directory().join("backup.db").display().to_string();
    fleet.etcdctl(0, &["snapshot", "save", &backup]);
    for nth in 0..20 {
        must(&fleet, "POST", CONFIG_MAPS, &json!({"metadata": {"name": format!("later-{nth}")}}));
    }
    let version = must(&fleet, "GET", CONFIG_MAPS, &Value::Null)["metadata"]["resourceVersion"].clone();
    let version = version.as_str().expect("a version").to_owned();
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}");
    let mut watch = fleet.client(0).watch(&path, &authorization("admin")).expect("a watch");
    fleet.stop_member(0, Signal::SIGKILL);
    fleet.restore_member(0, &backup);
    fleet.start_member(0);
    fleet.wait_for_member(0);
    let line = watch.line().expect("a line").expect("an event");
    let event: Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)), "{event}");
    until("the older state", || {
        let (code, list) = fleet.ask(0, "GET", CONFIG_MAPS, &Value::Null);
        (code == 200 && list["items"].as_array()?.len() == 1).then_some(())
    });
    must(&fleet, "POST", CONFIG_MAPS, &json!({"metadata": {"name": "later-0"}}));
    // What has not happened in this history is not told of as if it had.
    let (code, status) =
        fleet.ask(0, "GET", &format!("{CONFIG_MAPS}?resourceVersion={version}"), &Value::Null);
    assert_eq!(code, 504, "{status}");
}

/// 91073: a server that was started anew is watched from a version before its start, though nothing of the kind has changed.
#[test]
fn a_watch_of_a_kind_that_has_not_changed_goes_on_over_a_restart() {
    let fleet = one();
    must(&fleet, "POST", CONFIG_MAPS, &json!({"metadata": {"name": "a"}}));
    let version = must(&fleet, "GET", CONFIG_MAPS, &Value::Null)["metadata"]["resourceVersion"].clone();
    let version = version.as_str().expect("a version").to_owned();
    // Other kinds move etcd's revision on.
    for nth in 0..30 {
        must(&fleet, "POST", "/api/v1/namespaces", &json!({"metadata": {"name": format!("n{nth}")}}));
    }
    restart(&fleet);
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}");
    let mut watch = fleet.client(0).watch(&path, &authorization("admin")).expect("a watch");
    must(&fleet, "POST", CONFIG_MAPS, &json!({"metadata": {"name": "b"}}));
    let line = watch.line().expect("a line").expect("an event");
    let event: Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("b")),
        "{event}"
    );
}
