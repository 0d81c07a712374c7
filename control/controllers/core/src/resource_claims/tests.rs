use std::time::Duration;

use super::*;
use crate::trial::Trial;

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(PodClaims), Box::new(Reservations)]
}

const FINALIZER: &str = "resource.kubernetes.io/delete-protection";

fn pod(name: &str, node: &str, claims: Value) -> Value {
    json!({
        "metadata": {"namespace": "d", "name": name, "finalizers": ["example.com/held"]},
        "spec": {"nodeName": node, "resourceClaims": claims, "containers": [{"name": "c", "image": "never"}]},
        "status": {"phase": "Pending"},
    })
}

fn template() -> Value {
    json!({
        "metadata": {"namespace": "d", "name": "gpus"},
        "spec": {"metadata": {"labels": {"l": "1"}}, "spec": {"devices": {"requests": [{"name": "r"}]}}},
    })
}

fn shared(more: Value) -> Value {
    let mut claim = json!({
        "metadata": {"namespace": "d", "name": "shared", "finalizers": [FINALIZER]}, "spec": {},
        "status": {"allocation": {"devices": {}}},
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        claim["status"][field] = value.clone();
    }
    claim
}

fn settle(trial: &mut Trial) {
    trial.step_without_kubelets(Duration::from_secs(60));
}

fn claims(trial: &Trial) -> Vec<Arc<Value>> {
    trial.all(RESOURCE_CLAIMS)
}

fn from_template() -> Value {
    json!([{"name": "gpu", "resourceClaimTemplateName": "gpus"}])
}

fn release(trial: &mut Trial, name: &str) {
    trial.change(PODS, "d", name, |pod| pod["metadata"]["finalizers"] = json!([]));
    trial.delete(PODS, "d", name);
    settle(trial);
}

#[test]
fn a_pod_has_a_claim_of_its_template_once_and_knows_its_name() {
    for seed in 0..40 {
        let mut trial = Trial::new(make, seed);
        (trial.crashes, trial.lost, trial.refusals) = (80, 50, 50);
        trial.create(RESOURCE_CLAIM_TEMPLATES, template());
        let pod = trial.create(PODS, pod("p", "", from_template()));
        settle(&mut trial);
        let made = claims(&trial);
        assert_eq!(made.len(), 1);
        assert_eq!(object::controller_uid(&made[0]), Some(object::uid(&pod)));
        assert!(object::name(&made[0]).starts_with("p-gpu-"), "{}", made[0]);
        assert_eq!(made[0]["spec"], json!({"devices": {"requests": [{"name": "r"}]}}));
        assert_eq!(object::annotation(&made[0], POD_CLAIM), Some("gpu"));
        let pod = trial.get(PODS, "d", "p").expect("it is there");
        let status = json!([{"name": "gpu", "resourceClaimName": object::name(&made[0])}]);
        assert_eq!(pod["status"]["resourceClaimStatuses"], status);
    }
}

#[test]
fn a_claim_without_its_template_is_waited_for() {
    let mut trial = Trial::new(make, 1);
    trial.create(PODS, pod("p", "", from_template()));
    settle(&mut trial);
    let said = "FailedResourceClaimCreation PodResourceClaim gpu: resource claim template \"gpus\": \
                resourceclaimtemplate.resource.k8s.io \"gpus\" not found";
    assert_eq!(trial.told, [said]);
    trial.create(RESOURCE_CLAIM_TEMPLATES, template());
    settle(&mut trial);
    assert_eq!(claims(&trial).len(), 1);
}

#[test]
fn the_claim_of_a_template_goes_when_its_pod_has_ended() {
    let mut trial = Trial::new(make, 2);
    trial.create(RESOURCE_CLAIM_TEMPLATES, template());
    trial.create(PODS, pod("p", "n", from_template()));
    settle(&mut trial);
    assert_eq!(claims(&trial).len(), 1);
    trial.change(PODS, "d", "p", |pod| pod["status"]["phase"] = "Succeeded".into());
    settle(&mut trial);
    assert_eq!(claims(&trial).len(), 0);
}

#[test]
fn a_claim_is_reserved_for_a_pod_with_a_node_and_given_back_by_the_last_one() {
    let mut trial = Trial::new(make, 3);
    trial.create(RESOURCE_CLAIMS, shared(json!({})));
    let by_name = json!([{"name": "gpu", "resourceClaimName": "shared"}]);
    for (name, node) in [("p", "n"), ("q", "n"), ("unplaced", "")] {
        trial.create(PODS, pod(name, node, by_name.clone()));
    }
    settle(&mut trial);
    let users = |trial: &Trial| {
        let claim = trial.get(RESOURCE_CLAIMS, "d", "shared").expect("it is there");
        let mut users: Vec<String> = list(&claim, &["status", "reservedFor"])
            .iter()
            .map(|user| text(user, &["name"]).to_owned())
            .collect();
        users.sort();
        (users.join(" "), !claim["status"]["allocation"].is_null())
    };
    assert_eq!(users(&trial), ("p q".to_owned(), true));
    trial.change(PODS, "d", "p", |pod| pod["status"]["phase"] = "Failed".into());
    settle(&mut trial);
    assert_eq!(users(&trial), ("q".to_owned(), true));
    release(&mut trial, "q");
    trial.change(PODS, "d", "q", |pod| pod["status"]["phase"] = "Failed".into());
    settle(&mut trial);
    assert_eq!(users(&trial), (String::new(), false));
    // It is free of devices, and nothing holds it any more.
    trial.delete(RESOURCE_CLAIMS, "d", "shared");
    settle(&mut trial);
    assert_eq!(claims(&trial).len(), 0);
}

#[test]
fn a_reservation_for_a_pod_that_is_not_there_is_struck_off_and_those_of_others_stay() {
    let mut trial = Trial::new(make, 4);
    let workload = json!({"apiGroup": "example.com", "resource": "things", "name": "x", "uid": "y"});
    let gone = |name: &str| json!({"resource": "pods", "name": name, "uid": "no"});
    trial.create(RESOURCE_CLAIMS, shared(json!({"reservedFor": [gone("a"), workload, gone("b")]})));
    settle(&mut trial);
    let claim = trial.get(RESOURCE_CLAIMS, "d", "shared").expect("it is there");
    assert_eq!(claim["status"]["reservedFor"], json!([workload]));
    assert!(!claim["status"]["allocation"].is_null());
}

#[test]
fn long_names_are_cut_in_proportion() {
    assert_eq!(base("p", "gpu"), "p-gpu-");
    let (pod, claim) = ("p".repeat(100), "c".repeat(50));
    let cut = base(&pod, &claim);
    assert_eq!(cut, format!("{}-{}", "p".repeat(37), "c".repeat(18)));
}
