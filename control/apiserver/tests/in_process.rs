//! What follows a kind sees the same over the whole way and straight from the server's memory.

mod common;

use std::convert::Infallible;
use std::sync::Arc;

use apiclient::objects::{Api, Changed, News, Write, follow};
use apiclient::{Query, Resource};
use control_apiserver::authorization::{Authorizers, Mode};
use control_apiserver::in_process::InProcess;
use control_core::access::User;
use control_core::admission::chain::Settings;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinHandle;

use crate::common::{Bed, within};

const CONFIG_MAPS: Resource = Resource::new("", "v1", "configmaps", true);

fn of(bed: &Bed) -> InProcess {
    let groups = vec!["system:masters".to_owned()];
    InProcess::new(Arc::clone(&bed.server), User { name: "a-part".to_owned(), groups, ..User::default() })
}

fn both(bed: &Bed) -> [Arc<dyn Api>; 2] {
    let inside = of(bed);
    [Arc::new(inside.client().clone()), Arc::new(inside)]
}

fn chosen() -> Query {
    let labels = "chosen=yes".parse().expect("a selector");
    Query { namespace: "default".to_owned(), labels, ..Query::new("ConfigMap", CONFIG_MAPS) }
}

fn config_map(name: &str, chosen: &str, value: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"chosen": chosen}}, "data": {"a": value}})
}

/// In short: what was told, and of whom. A bookmark is no news.
fn told(news: &News) -> Option<String> {
    let shown = |object: &Arc<Value>| {
        format!("{}={}", object["metadata"]["name"].as_str().unwrap(), object["data"]["a"].as_str().unwrap())
    };
    Some(match news {
        News::All(all) => format!("all [{}]", all.objects.iter().map(shown).collect::<Vec<_>>().join(" ")),
        News::Changed(Changed::Put(object)) => format!("put {}", shown(object)),
        News::Changed(Changed::Gone(object)) => {
            format!("gone {}", object["metadata"]["name"].as_str().unwrap())
        }
        News::Changed(Changed::Until(_)) => return None,
        News::Trouble(problem) => format!("trouble {problem}"),
    })
}

/// A follower, and what it tells.
fn following(api: &Arc<dyn Api>, query: Query) -> (JoinHandle<Infallible>, UnboundedReceiver<String>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let hear = move |news: News| {
        if let Some(told) = told(&news) {
            // The reader may be gone.
            let _ = sender.send(told);
        }
    };
    (tokio::spawn(follow(Arc::clone(api), query, hear)), receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_the_same_over_both_ways() {
    let bed = Bed::start().await;
    let path = CONFIG_MAPS.path("default");
    for api in both(&bed) {
        let write = async |write: Write| within("a write", api.write(&write)).await.expect("it is written");
        let created = async |name: &str, chosen: &str| {
            write(Write::Create { path: path.clone(), object: config_map(name, chosen, "1") }).await
        };
        let first = created("first", "yes").await;
        created("other", "no").await;
        let (following, mut news) = following(&api, chosen());
        let mut next = async || within("news", news.recv()).await.expect("more");
        assert_eq!(next().await, "all [first=1]");
        created("second", "yes").await;
        assert_eq!(next().await, "put second=1");
        let object = |name: &str| CONFIG_MAPS.object_path("default", name, "");
        write(Write::Update { path: object("other"), object: config_map("other", "yes", "2") }).await;
        assert_eq!(next().await, "put other=2");
        // What is not chosen any more is gone.
        write(Write::Update { path: object("other"), object: config_map("other", "no", "3") }).await;
        assert_eq!(next().await, "gone other");
        let patch = apiclient::Patch::Merge(json!({"data": {"a": "4"}}));
        write(Write::Patch { path: object("first"), patch }).await;
        assert_eq!(next().await, "put first=4");
        let options = json!({"preconditions": {"uid": first["metadata"]["uid"]}});
        write(Write::Delete { path: object("first"), options }).await;
        assert_eq!(next().await, "gone first");
        let listed = api.list(&chosen(), false).await.expect("a list");
        assert_eq!(told(&News::All(listed)).as_deref(), Some("all [second=1]"));
        for name in ["second", "other"] {
            write(Write::Delete { path: object(name), options: Value::Null }).await;
        }
        following.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_in_the_process_share_the_values_of_the_servers_memory() {
    let bed = Bed::start().await;
    bed.config_map("a", "1").await;
    let (api, query) = (of(&bed), Query::new("ConfigMap", CONFIG_MAPS));
    let (one, other) = (api.list(&query, true).await.unwrap(), api.list(&query, false).await.unwrap());
    assert!(Arc::ptr_eq(&one.objects[0], &other.objects[0]));
    assert_eq!(one.objects[0]["kind"], "ConfigMap");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_process_is_refused_as_everybody_is() {
    let bed = Bed::start().await;
    for api in both(&bed) {
        let nothing = Query::new("Thing", Resource::new("", "v1", "things", true));
        let failure = api.list(&nothing, true).await.expect_err("a refusal");
        assert_eq!(failure.code(), 404, "{failure}");
        let odd = Query { fields: "data.a=1".parse().unwrap(), ..Query::new("ConfigMap", CONFIG_MAPS) };
        let failure = api.list(&odd, true).await.expect_err("a refusal");
        assert_eq!(failure.code(), 400, "{failure}");
        let failure = api.watch(&Query::new("ConfigMap", CONFIG_MAPS), "x").await.err().expect("a refusal");
        assert!(failure.code() >= 400, "{failure}");
        let write =
            Write::Create { path: CONFIG_MAPS.path("default"), object: json!({"metadata": {"name": "A"}}) };
        assert_eq!(api.write(&write).await.expect_err("a refusal").code(), 422);
    }
}

const ACCOUNT: &str = "system:serviceaccount:default:part";

/// A part of the process that is a service account.
fn of_account(bed: &Bed) -> InProcess {
    let groups = vec!["system:serviceaccounts".to_owned(), User::AUTHENTICATED.to_owned()];
    InProcess::new(Arc::clone(&bed.server), User { name: ACCOUNT.to_owned(), groups, ..User::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_process_that_is_an_account_may_do_what_its_roles_say() {
    let authorizers = Arc::new(Authorizers::of_modes(&[Mode::Rbac]));
    let bed = Bed::with(Arc::clone(&authorizers), &Settings::default()).await;
    for namespace in ["default", "strict"] {
        let labels = json!({"pod-security.kubernetes.io/enforce": if namespace == "strict" { "restricted" } else { "privileged" }});
        let object = json!({"metadata": {"name": namespace, "labels": labels}}).to_string();
        assert_eq!(bed.ask("POST", "/api/v1/namespaces", object).await.code, 201);
    }
    bed.config_map("a", "1").await;
    let (inside, query) =
        (of_account(&bed), Query { namespace: "default".to_owned(), ..Query::new("ConfigMap", CONFIG_MAPS) });
    let apis: [Arc<dyn Api>; 2] = [Arc::new(inside.client().clone()), Arc::new(inside)];
    let create = |namespace: &str, name: &str| {
        let object = json!({"metadata": {"name": name}});
        Write::Create { path: CONFIG_MAPS.path(namespace), object }
    };
    for api in &apis {
        let refused = api.list(&query, true).await.expect_err("nobody gave it a role");
        let cannot = format!(
            "User \"{ACCOUNT}\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""
        );
        assert!(refused.code() == 403 && refused.to_string().contains(&cannot), "{refused}");
        assert_eq!(api.watch(&query, "0").await.err().expect("a refusal").code(), 403);
        assert_eq!(api.write(&create("default", "b")).await.expect_err("a refusal").code(), 403);
    }
    // A follower is told why it sees nothing.
    let (following, mut news) = following(&apis[1], query.clone());
    let first = within("news", news.recv()).await.expect("more");
    assert!(first.starts_with("trouble") && first.contains("forbidden"), "{first}");
    following.abort();

    let role = json!({
        "metadata": {"name": "part"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps", "pods"], "verbs": ["list", "watch", "create"]}],
    });
    let subject = json!({"kind": "ServiceAccount", "namespace": "default", "name": "part"});
    let binding = json!({
        "metadata": {"name": "part"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "part"},
        "subjects": [subject],
    });
    authorizers.changed("clusterroles.rbac.authorization.k8s.io", "", "part", Some(&role));
    authorizers.changed("clusterrolebindings.rbac.authorization.k8s.io", "", "part", Some(&binding));
    for (nth, api) in apis.iter().enumerate() {
        assert_eq!(api.list(&query, false).await.expect("a list").objects.len(), 1 + nth);
        api.write(&create("default", &format!("made-{nth}"))).await.expect("it may");
        // It may not read a single one, nor change it.
        let object = config_map("a", "yes", "2");
        let update = Write::Update { path: CONFIG_MAPS.object_path("default", "a", ""), object };
        assert_eq!(api.write(&update).await.expect_err("a refusal").code(), 403);
        // What it may do, admission may refuse.
        let refused = api.write(&create("gone", "a")).await.expect_err("there is no such namespace");
        assert!(refused.code() == 404 && refused.to_string().contains("gone"), "{refused}");
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "automountServiceAccountToken": false, "hostNetwork": true,
            "containers": [{"name": "c", "image": "i"}],
        }});
        let path = Resource::new("", "v1", "pods", true).path("strict");
        let refused = api.write(&Write::Create { path, object: pod }).await.expect_err("a refusal");
        assert_eq!(refused.code(), 403, "{refused}");
    }
}
