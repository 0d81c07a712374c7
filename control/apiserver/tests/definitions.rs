//! Kinds that are defined at run time.

mod common;

use std::sync::Arc;
use std::time::Instant;

use common::{Bed, SOON};
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const TABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                "additionalPrinterColumns": [{"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"}],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {
                        "type": "object", "required": ["cron"],
                        "properties": {
                            "cron": {"type": "string"},
                            "replicas": {"type": "integer", "minimum": 1, "default": 2},
                        },
                        "x-kubernetes-validations": [{"rule": "self.replicas < 9", "message": "too many"}],
                    },
                    "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
                }}},
            }],
        },
    })
}

async fn until(bed: &Bed, what: &str, path: &str, is: impl Fn(u16, &Value) -> bool) -> Value {
    let end = Instant::now() + SOON;
    loop {
        let answer = bed.ask("GET", path, "").await;
        let found = serde_json::from_slice(&answer.bytes).unwrap_or_default();
        if is(answer.code, &found) {
            return found;
        }
        assert!(Instant::now() < end, "waited {SOON:?} until {what}: {}", answer.text);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn defined() -> Bed {
    let bed = Bed::start().await;
    tokio::spawn(control_apiserver::run::definitions::run(Arc::clone(&bed.server)));
    let created = bed.ask("POST", DEFINITIONS, definition().to_string()).await;
    assert_eq!(created.code, 201, "{}", created.text);
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let found = until(&bed, "it is established", &path, |_, found| {
        let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "Established" && one["status"] == "True")
    })
    .await;
    assert_eq!(found["status"]["acceptedNames"]["listKind"], "CronTabList");
    bed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_defined_kind_is_served_pruned_defaulted_validated_and_scaled() {
    let bed = defined().await;
    let object = |spec: Value| json!({"metadata": {"name": "a"}, "spec": spec}).to_string();
    let created = bed.ask("POST", TABS, object(json!({"cron": "*", "more": 1}))).await;
    assert_eq!(created.code, 201, "{}", created.text);
    assert_eq!(created.json()["spec"], json!({"cron": "*", "replicas": 2}));
    let refused = bed.ask("PUT", &format!("{TABS}/a"), object(json!({"cron": "*", "replicas": 9}))).await;
    assert_eq!(refused.code, 422);
    assert!(refused.message().contains("too many"), "{}", refused.text);
    let refused = bed.ask("POST", TABS, json!({"metadata": {"name": "b"}, "spec": {}}).to_string()).await;
    assert!(
        refused.code == 422 && refused.message().contains("spec.cron: Required value"),
        "{}",
        refused.text
    );
    let scale = bed.ask("GET", &format!("{TABS}/a/scale"), "").await.json();
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(2)));
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = bed.ask_as("GET", TABS, &accept, "").await.json();
    assert_eq!(table["rows"][0]["cells"], json!(["a", 2]));
    let document = bed.ask("GET", "/openapi/v3/apis/stable.example.com/v1", "").await.json();
    assert!(document["components"]["schemas"]["com.example.stable.v1.CronTab"].is_object());
    let group = bed.ask("GET", "/apis/stable.example.com/v1", "").await.json();
    assert_eq!(group["resources"][0]["shortNames"], json!(["ct"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_goes_with_its_objects_and_waits_for_their_finalizers() {
    let bed = defined().await;
    let object =
        json!({"metadata": {"name": "a", "finalizers": ["example.com/hold"]}, "spec": {"cron": "*"}});
    assert_eq!(bed.ask("POST", TABS, object.to_string()).await.code, 201);
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let deleted = bed.ask("DELETE", &path, "").await;
    assert_eq!(deleted.code, 200, "{}", deleted.text);
    until(&bed, "its object is on its way", &format!("{TABS}/a"), |_, found| {
        found["metadata"]["deletionTimestamp"].is_string()
    })
    .await;
    assert_eq!(bed.ask("GET", &path, "").await.code, 200, "it waits");
    let patch = [("content-type", "application/merge-patch+json")];
    bed.ask_as("PATCH", &format!("{TABS}/a"), &patch, r#"{"metadata":{"finalizers":null}}"#).await;
    until(&bed, "the definition is gone", &path, |code, _| code == 404).await;
    until(&bed, "the kind is gone", TABS, |code, _| code == 404).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_makes_no_sense_is_refused_with_the_field() {
    let bed = Bed::start().await;
    let refused = async |change: &dyn Fn(&mut Value)| {
        let mut definition = definition();
        change(&mut definition);
        let answer = bed.ask("POST", DEFINITIONS, definition.to_string()).await;
        assert_eq!(answer.code, 422, "{}", answer.text);
        answer.message()
    };
    let message = refused(&|definition| definition["metadata"]["name"] = "x.y".into()).await;
    assert!(
        message.contains("metadata.name: Invalid value: \"x.y\": must be spec.names.plural"),
        "{message}"
    );
    let message = refused(&|definition| definition["spec"]["versions"][0]["storage"] = false.into()).await;
    assert!(message.contains("must have exactly one version marked as storage version"), "{message}");
    let message = refused(&|definition| {
        definition["spec"]["versions"][0].as_object_mut().unwrap().remove("schema");
    })
    .await;
    assert!(message.contains("spec.versions[0].schema.openAPIV3Schema: Required value"), "{message}");
}
