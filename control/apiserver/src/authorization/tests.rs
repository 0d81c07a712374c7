use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::fixture::Https;
use crate::followed::Followed;
use crate::run::reload;

fn user(name: &str, group: &str) -> User {
    User { name: name.into(), groups: vec![group.into()], ..User::default() }
}

fn get(resource: &str) -> Attributes {
    Attributes { verb: "get".into(), resource: resource.into(), name: "x".into(), ..Attributes::default() }
}

/// A service that says what it is told to say of a resource, and keeps the questions.
struct Service {
    https: Https,
    asked: Arc<Mutex<Vec<Value>>>,
    directory: TempDir,
}

impl Service {
    async fn up(says: impl Fn(&str, usize) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let https = Https::up(move |_| {
            Box::new(move |asked| {
                assert_eq!(asked.path, "/authorize");
                let question = asked.body;
                let resource =
                    question["spec"]["resourceAttributes"]["resource"].as_str().unwrap_or_default();
                let before = kept.lock().expect("no panic").len();
                let (code, status) = says(resource, before);
                kept.lock().expect("no panic").push(question);
                (
                    code,
                    json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "status": status}),
                )
            })
        });
        Self { https: https.await, asked, directory: tempfile::tempdir().expect("a directory") }
    }

    fn times(&self) -> usize {
        self.asked.lock().expect("no panic").len()
    }

    /// An entry of the chain.
    fn entry(&self, more: &Value) -> Value {
        let kubeconfig = self.directory.path().join("kubeconfig");
        std::fs::write(&kubeconfig, self.https.kubeconfig("/authorize")).expect("written");
        let mut webhook = json!({
            "timeout": "20s", "subjectAccessReviewVersion": "v1", "failurePolicy": "Deny",
            "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": kubeconfig},
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            webhook[field] = value.clone();
        }
        json!({"type": "Webhook", "name": "hook", "webhook": webhook})
    }

    fn chain(&self, more: &Value) -> Authorizers {
        let rest = json!({"type": "AlwaysAllow", "name": "alwaysallow"});
        let chain = reload::chain(&file(&[self.entry(more), rest])).expect("a chain");
        Authorizers::new(chain).expect("a kubeconfig")
    }
}

fn file(authorizers: &[Value]) -> String {
    let kind = "AuthorizationConfiguration";
    json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": kind, "authorizers": authorizers}).to_string()
}

#[tokio::test]
async fn the_first_opinion_of_the_chain_counts() {
    let chain = Authorizers::of_modes(&[Mode::Node, Mode::Rbac]);
    let role = json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]}]});
    chain.changed("clusterroles.rbac.authorization.k8s.io", "", "r", Some(&role));
    let binding = json!({"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "Group", "name": "system:nodes"}]});
    chain.changed("clusterrolebindings.rbac.authorization.k8s.io", "", "b", Some(&binding));
    let node = user("system:node:n", User::NODES);
    let allowed = chain.verdict(&get("nodes"), &node).await;
    assert!(allowed.is_allowed(), "RBAC allows what Node has no opinion on");
    let refused = chain.verdict(&get("configmaps"), &node).await;
    assert_eq!(refused, Verdict::no_opinion("can only read namespaced object of this type"));
    assert!(chain.verdict(&get("secrets"), &user("root", User::MASTERS)).await.is_allowed());
    assert!(!chain.verdict(&get("nodes"), &user("other", "")).await.is_allowed());
}

#[tokio::test]
async fn a_chain_of_nothing_allows_and_one_that_denies_says_so() {
    let deny = Authorizers::of_modes(&[Mode::AlwaysDeny]);
    let refused = deny.verdict(&get("pods"), &user("x", "")).await;
    assert_eq!(refused, Verdict::no_opinion("Everything is forbidden."));
    assert!(Authorizers::of_modes(&[]).verdict(&get("pods"), &user("x", "")).await.is_allowed());
}

#[tokio::test]
async fn a_webhook_allows_denies_or_leaves_it_to_others_and_is_remembered() {
    let service = Service::up(|resource, _| match resource {
        "pods" => (200, json!({"allowed": true, "reason": "friend"})),
        "nodes" => (200, json!({"allowed": false, "denied": true, "reason": "foe"})),
        _ => (200, json!({"allowed": false, "reason": "none"})),
    })
    .await;
    let chain = service.chain(&json!({"cacheUnauthorizedRequests": false}));
    let ann = user("ann", "dev");
    for _ in 0..2 {
        assert_eq!(chain.verdict(&get("pods"), &ann).await, Verdict::allow("friend"));
        assert_eq!(chain.verdict(&get("nodes"), &ann).await, Verdict::deny("foe"));
        assert_eq!(chain.verdict(&get("secrets"), &ann).await, Verdict::allow(""), "AlwaysAllow decides");
    }
    assert_eq!(service.times(), 5, "what was allowed is remembered, what was not is asked again");
    let asked = service.asked.lock().expect("no panic")[0].clone();
    let spec = json!({"user": "ann", "groups": ["dev"], "resourceAttributes": {"verb": "get", "resource": "pods", "name": "x"}});
    assert_eq!(asked["spec"], spec);
    assert!(chain.verdict(&get("nodes"), &user("root", User::MASTERS)).await.is_allowed());
    assert_eq!(service.times(), 5, "nobody is asked about masters");
}

#[tokio::test]
async fn a_webhook_is_asked_where_its_conditions_hold() {
    let service = Service::up(|_, _| (200, json!({"allowed": false, "denied": true}))).await;
    let conditions = json!({
        "matchConditionSubjectAccessReviewVersion": "v1",
        "matchConditions": [{"expression": "request.resourceAttributes.resource == 'pods'"}],
    });
    let chain = service.chain(&conditions);
    let ann = user("ann", "");
    assert!(chain.verdict(&get("nodes"), &ann).await.is_allowed());
    assert_eq!(service.times(), 0);
    assert!(!chain.verdict(&get("pods"), &ann).await.is_allowed());
    let path = Attributes { verb: "get".into(), path: "/metrics".into(), ..Attributes::default() };
    let refused = chain.verdict(&path, &ann).await;
    assert_eq!(refused.decision, Decision::Deny, "a condition without an answer is a failure");
    assert!(refused.error.contains("resulted in error: no such key"), "{refused:?}");
    assert_eq!(service.times(), 1);
}

#[tokio::test]
async fn a_webhook_that_fails_denies_or_leaves_it_to_others() {
    let service = Service::up(|resource, before| match (resource, before) {
        ("pods", 0) => (500, json!({})),
        ("pods", _) => (200, json!({"allowed": false, "denied": true, "reason": "at last"})),
        _ => (400, json!({})),
    })
    .await;
    let ann = user("ann", "");
    let denying = service.chain(&json!({}));
    let second = denying.verdict(&get("pods"), &ann).await;
    assert_eq!((second, service.times()), (Verdict::deny("at last"), 2), "500 is asked again");
    let failed = denying.verdict(&get("nodes"), &ann).await;
    assert_eq!((failed.decision, failed.error.is_empty()), (Decision::Deny, false), "{failed:?}");
    assert_eq!(service.times(), 3, "400 is not");
    let others = service.chain(&json!({"failurePolicy": "NoOpinion"}));
    assert!(others.verdict(&get("nodes"), &ann).await.is_allowed(), "AlwaysAllow decides");
}

#[tokio::test]
async fn a_decision_asks_each_question_once_and_only_in_its_turn() {
    let service = Service::up(|resource, _| (200, json!({"allowed": resource == "b"}))).await;
    let rest = json!({"type": "AlwaysDeny", "name": "alwaysdeny"});
    let entry = service.entry(&json!({"cacheAuthorizedRequests": false, "cacheUnauthorizedRequests": false}));
    let chain =
        Authorizers::new(reload::chain(&file(&[entry, rest])).expect("a chain")).expect("a kubeconfig");
    let ann = user("ann", "");
    let mut runs = 0;
    let allowed = chain.decide(|authorizer| {
        runs += 1;
        let all = ["a", "a", "b", "c"];
        all.into_iter().find(|one| authorizer.authorize(&get(one), &ann).is_allowed())
    });
    assert_eq!(allowed.await, Some("b"));
    assert_eq!((runs, service.times()), (3, 2), "nobody asks for c, and a is asked for once");
}

#[tokio::test]
async fn a_changed_file_of_authorizers_counts_without_a_restart() {
    let service = Service::up(|_, _| (200, json!({"allowed": false, "denied": true}))).await;
    let path: PathBuf = service.directory.path().join("chain.yaml");
    let allow = json!({"type": "AlwaysAllow", "name": "alwaysallow"});
    let before = file(std::slice::from_ref(&allow));
    let chain = Arc::new(Authorizers::new(reload::chain(&before).expect("a chain")).expect("no webhook"));
    let followed = Followed::new(path.clone(), before.into_bytes());
    let every = Duration::from_millis(5);
    let following = tokio::spawn(reload::authorization(Some(followed), Arc::clone(&chain), every));
    std::fs::write(&path, "kind: Nonsense").expect("written");
    let ann = user("ann", "");
    assert!(chain.verdict(&get("pods"), &ann).await.is_allowed());
    std::fs::write(&path, file(&[service.entry(&json!({})), allow.clone()])).expect("written");
    let refused = async {
        while chain.verdict(&get("pods"), &ann).await.is_allowed() {
            tokio::time::sleep(every).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), refused).await.expect("the new chain decides");
    following.abort();
    let without = reload::chain(&file(&[service.entry(&json!({}))])).expect("a chain");
    assert_eq!(chain.replace(without), Err("missing required types: [AlwaysAllow]".to_owned()));
}
