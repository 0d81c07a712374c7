//! `weft control`: what every cluster has, before anybody deploys anything.
//!
//! Needs etcd.

use serde_json::{Value, json};
use tests::apiserver::control::{Control, READY};
use tests::wait::until_explained;

fn started() -> Control {
    let control = Control::new();
    control.start();
    control.wait_ready();
    control
}

fn made(control: &Control, path: &str, object: &Value) -> Value {
    let mut answer = (0, Value::Null);
    // A kind that was just defined is served a moment later.
    let try_it = || {
        answer = control.ask("POST", path, object)?;
        (answer.0 == 201).then(|| answer.1.clone())
    };
    until_explained(&format!("POST {path}"), READY, try_it, || control.daemon.log_tail(20))
}

fn get(control: &Control, path: &str) -> Option<Value> {
    control.ask("GET", path, &Value::Null).filter(|(code, _)| *code == 200).map(|(_, object)| object)
}

/// Waits for something about an object.
fn wait(control: &Control, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let explain = || format!("{:?}\n{}", get(control, path), control.daemon.log_tail(20));
    until_explained(what, READY, || get(control, path).filter(|object| holds(object)), explain)
}

fn gone(control: &Control, path: &str) {
    let absent = || control.ask("GET", path, &Value::Null).filter(|(code, _)| *code == 404).map(|_| ());
    let explain = || format!("{:?}\n{}", get(control, path), control.daemon.log_tail(20));
    until_explained(&format!("{path} is gone"), READY, absent, explain);
}

fn namespace(control: &Control, name: &str) {
    made(control, "/api/v1/namespaces", &json!({"metadata": {"name": name}}));
}

fn condition<'a>(object: &'a Value, of: &str) -> &'a str {
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let found = conditions.iter().find(|condition| condition["type"] == of && condition["status"] == "True");
    found.and_then(|condition| condition["message"].as_str()).unwrap_or_default()
}

#[test]
fn a_namespace_has_what_pods_need_and_ends_with_all_that_it_holds() {
    let control = started();
    namespace(&control, "a");
    wait(&control, "/api/v1/namespaces/a/serviceaccounts/default", "an account", |_| true);
    let published =
        wait(&control, "/api/v1/namespaces/a/configmaps/kube-root-ca.crt", "the root certificate", |_| true);
    assert!(
        published["data"]["ca.crt"]
            .as_str()
            .is_some_and(|pem| pem.starts_with("-----BEGIN CERTIFICATE-----"))
    );
    let secret = json!({
        "metadata": {"name": "token", "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
    });
    made(&control, "/api/v1/namespaces/a/secrets", &secret);
    wait(&control, "/api/v1/namespaces/a/secrets/token", "a token", |secret| {
        secret["data"]["token"].is_string()
    });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    made(&control, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition);
    let widget = json!({
        "apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": "w", "finalizers": ["example.com/mine"]},
    });
    made(&control, "/apis/example.com/v1/namespaces/a/widgets", &widget);
    let (code, answer) = control.ask("DELETE", "/api/v1/namespaces/a", &Value::Null).expect("an answer");
    assert_eq!(code, 200, "{answer}");
    let stuck = wait(&control, "/api/v1/namespaces/a", "why it stays", |namespace| {
        condition(namespace, "NamespaceContentRemaining")
            .contains("widgets.example.com has 1 resource instances")
    });
    assert_eq!(
        condition(&stuck, "NamespaceFinalizersRemaining"),
        "Some content in the namespace has finalizers remaining: example.com/mine in 1 resource instances"
    );
    gone(&control, "/api/v1/namespaces/a/secrets/token");
    let path = "/apis/example.com/v1/namespaces/a/widgets/w";
    let mut widget = get(&control, path).expect("it is there");
    widget["metadata"]["finalizers"] = json!([]);
    let (code, answer) = control.ask("PUT", path, &widget).expect("an answer");
    assert_eq!(code, 200, "{answer}");
    gone(&control, "/api/v1/namespaces/a");
}

#[test]
fn what_has_no_owner_left_goes_and_orphans_stay() {
    let control = started();
    namespace(&control, "g");
    let maps = "/api/v1/namespaces/g/configmaps";
    let map = |name: &str, owner: Option<&Value>| {
        let owners = owner.map(|owner| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true,
            })
        });
        let owners: Vec<Value> = owners.into_iter().collect();
        made(&control, maps, &json!({"metadata": {"name": name, "ownerReferences": owners}}))
    };
    for (nth, policy) in ["Background", "Foreground", "Orphan"].into_iter().enumerate() {
        let root = map(&format!("root{nth}"), None);
        let child = map(&format!("child{nth}"), Some(&root));
        map(&format!("grandchild{nth}"), Some(&child));
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy});
        let (code, answer) =
            control.ask("DELETE", &format!("{maps}/root{nth}"), &options).expect("an answer");
        assert_eq!(code, 200, "{answer}");
        gone(&control, &format!("{maps}/root{nth}"));
        if policy == "Orphan" {
            let child = get(&control, &format!("{maps}/child{nth}")).expect("it stays");
            assert!(child["metadata"]["ownerReferences"].is_null(), "{child}");
            get(&control, &format!("{maps}/grandchild{nth}")).expect("it stays");
        } else {
            gone(&control, &format!("{maps}/child{nth}"));
            gone(&control, &format!("{maps}/grandchild{nth}"));
        }
    }
    let nobody = json!({"metadata": {"name": "nobody", "uid": "00000000-0000-0000-0000-000000000000"}});
    map("stray", Some(&nobody));
    gone(&control, &format!("{maps}/stray"));
}

#[test]
fn a_service_finds_its_pods() {
    let control = started();
    namespace(&control, "s");
    let node = json!({"metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z"}}});
    made(&control, "/api/v1/nodes", &node);
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    });
    made(&control, "/api/v1/namespaces/s/services", &service);
    wait(&control, "/api/v1/namespaces/s/serviceaccounts/default", "an account", |_| true);
    let pod = json!({
        "metadata": {"name": "p", "labels": {"app": "web"}},
        "spec": {"nodeName": "n", "containers": [
            {"name": "c", "image": "example.org/app:1", "ports": [{"name": "http", "containerPort": 8080}]},
        ]},
    });
    let mut pod = made(&control, "/api/v1/namespaces/s/pods", &pod);
    pod["status"] = json!({
        "phase": "Running", "podIP": "10.9.8.7", "podIPs": [{"ip": "10.9.8.7"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    });
    let (code, answer) = control.ask("PUT", "/api/v1/namespaces/s/pods/p/status", &pod).expect("an answer");
    assert_eq!(code, 200, "{answer}");
    let endpoints = wait(&control, "/api/v1/namespaces/s/endpoints/web", "an address", |endpoints| {
        endpoints["subsets"][0]["addresses"][0]["ip"] == "10.9.8.7"
    });
    assert_eq!(endpoints["subsets"][0]["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    let slices =
        wait(&control, "/apis/discovery.k8s.io/v1/namespaces/s/endpointslices", "a slice", |slices| {
            slices["items"][0]["endpoints"][0]["addresses"][0] == "10.9.8.7"
        });
    assert_eq!(slices["items"].as_array().map(Vec::len), Some(1));
    let endpoint = &slices["items"][0]["endpoints"][0];
    assert_eq!((&endpoint["zone"], &endpoint["conditions"]["ready"]), (&json!("z"), &json!(true)));
}
