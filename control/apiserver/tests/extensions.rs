//! A start over extensions that would have no effect.

mod common;

use common::Bed;
use control_apiserver::run::extensions::unsupported;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_found_and_an_api_of_this_server_is_none_of_those() {
    let bed = Bed::start().await;
    assert_eq!(unsupported(&bed.server).await, None);
    let local = json!({"metadata": {"name": "v1.apps"}, "spec": {"group": "apps", "version": "v1",
        "groupPriorityMinimum": 1000, "versionPriority": 10}});
    let made = bed.ask("POST", "/apis/apiregistration.k8s.io/v1/apiservices", local.to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(unsupported(&bed.server).await, None);
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let made = bed.ask("POST", path, json!({"metadata": {"name": "w"}}).to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(unsupported(&bed.server).await.as_deref(), Some("ValidatingWebhookConfiguration \"w\""));
}
