//! kube-rs against an API server, as programs use it: a reflector, watches, server-side apply, a Lease that two candidates
//! want.
//!
//!     rust-client KUBECONFIG
//!
//! Prints a line for each thing that holds, and ends with an error at the first that does not.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{from_value, json};

const NAMESPACE: &str = "rust";
const LIMIT: Duration = Duration::from_secs(60);

fn config_map(name: &str, value: &str) -> ConfigMap {
    let mut made =
        ConfigMap { data: Some(BTreeMap::from([("a".into(), value.into())])), ..Default::default() };
    made.metadata.name = Some(name.into());
    made.metadata.labels = Some(BTreeMap::from([("of".into(), "rust".into())]));
    made
}

/// Whether an answer is a refusal with this code.
fn refused<T>(answer: kube::Result<T>, code: u16) -> Result<()> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == code => Ok(()),
        Err(error) => bail!("refused otherwise than with {code}: {error}"),
        Ok(_) => bail!("not refused with {code}"),
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let path = std::env::args().nth(1).context("the path of a kubeconfig")?;
    let config =
        Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let namespace: Namespace = from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let all = async {
        objects(&client).await?;
        patches(&client).await?;
        watched(&client).await?;
        elected(&client).await
    };
    tokio::time::timeout(4 * LIMIT, all).await.context("not in time")?
}

async fn objects(client: &Client) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    for nth in 0..7 {
        maps.create(&PostParams::default(), &config_map(&format!("c{nth}"), "1")).await?;
    }
    refused(maps.create(&PostParams::default(), &config_map("c0", "1")).await, 409)?;
    ensure!(maps.get_opt("nobody").await?.is_none());
    let (mut names, mut params) = (Vec::new(), ListParams::default().labels("of=rust").limit(3));
    loop {
        let page = maps.list(&params).await?;
        names.extend(page.items.iter().map(ResourceExt::name_any));
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => params = params.continue_token(&token),
            _ => break,
        }
    }
    ensure!(names == (0..7).map(|nth| format!("c{nth}")).collect::<Vec<_>>(), "{names:?}");
    println!("created, refused what was there, listed in pages");
    let old = maps.get("c1").await?;
    let mut new = old.clone();
    new.data = Some(BTreeMap::from([("a".into(), "2".into())]));
    maps.replace("c1", &PostParams::default(), &new).await?;
    refused(maps.replace("c1", &PostParams::default(), &old).await, 409)?;
    println!("replaced, and refused an old version");
    Ok(())
}

async fn patches(client: &Client) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let wanted = |image: &str| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [{"name": "c", "image": image}]}}}})
    };
    let by = |manager: &str| PatchParams::apply(manager);
    let made = deployments.patch("d", &by("one"), &Patch::Apply(wanted("first"))).await?;
    ensure!(made.spec.replicas == Some(1), "defaults: {made:?}");
    refused(deployments.patch("d", &by("two"), &Patch::Apply(wanted("second"))).await, 409)?;
    let taken = deployments.patch("d", &by("two").force(), &Patch::Apply(wanted("second"))).await?;
    ensure!(taken.managed_fields().len() == 2, "{:?}", taken.managed_fields());
    let merged = json!({"metadata": {"annotations": {"x": "y"}}});
    let merged = deployments.patch("d", &PatchParams::default(), &Patch::Merge(merged)).await?;
    ensure!(merged.annotations().get("x").is_some_and(|value| value == "y"));
    let more = Patch::Merge(json!({"spec": {"replicas": 3}}));
    let scale = deployments.patch_scale("d", &PatchParams::default(), &more).await?;
    ensure!(scale.spec.and_then(|spec| spec.replicas) == Some(3));
    println!("applied by two managers, patched and scaled");
    Ok(())
}

async fn watched(client: &Client) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    // Both ways in which a watcher learns what there is.
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let (reader, writer) = reflector::store();
        let events = watcher(maps.clone(), config.labels("of=rust")).reflect(writer).touched_objects();
        let following = tokio::spawn(events.try_for_each(async |_| Ok(())));
        tokio::time::timeout(LIMIT, reader.wait_until_ready()).await??;
        ensure!(reader.len() == 7, "{} objects are known", reader.len());
        maps.create(&PostParams::default(), &config_map("late", "1")).await?;
        until("the reflector knows a new object", || reader.len() == 8).await?;
        maps.delete("late", &DeleteParams::default()).await?;
        until("the reflector forgets one", || reader.len() == 7).await?;
        following.abort();
    }
    let version = maps.list(&ListParams::default()).await?.metadata.resource_version.context("a version")?;
    let mut waiting = config_map("waiting", "1");
    waiting.metadata.finalizers = Some(vec!["example.org/wait".into()]);
    maps.create(&PostParams::default(), &waiting).await?;
    maps.delete("waiting", &DeleteParams::default()).await?;
    ensure!(maps.get("waiting").await?.metadata.deletion_timestamp.is_some());
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("waiting", &PatchParams::default(), &none).await?;
    let mut events = Box::pin(maps.watch(&WatchParams::default(), &version).await?);
    let mut seen = Vec::new();
    while let Some(event) = tokio::time::timeout(LIMIT, events.next()).await? {
        match event? {
            WatchEvent::Added(_) => seen.push("added"),
            WatchEvent::Modified(_) => seen.push("modified"),
            WatchEvent::Deleted(_) => {
                seen.push("deleted");
                break;
            }
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => bail!("{status:?}"),
        }
    }
    ensure!(seen == ["added", "modified", "deleted"], "{seen:?}");
    println!("reflectors knew every object, and a finalizer was waited for");
    Ok(())
}

/// Two candidates want one Lease: of two writes to one version, one is refused.
async fn elected(client: &Client) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), NAMESPACE);
    let lease: Lease = from_value(json!({"metadata": {"name": "leader"},
        "spec": {"leaseDurationSeconds": 15, "acquireTime": "2026-01-01T00:00:00.000000Z"}}))?;
    let free = leases.create(&PostParams::default(), &lease).await?;
    let led_by = |name: &str| {
        let mut wanted = free.clone();
        wanted.spec.get_or_insert_default().holder_identity = Some(name.to_owned());
        wanted
    };
    let (one, two) = (led_by("one"), led_by("two"));
    let params = PostParams::default();
    let (first, second) =
        tokio::join!(leases.replace("leader", &params, &one), leases.replace("leader", &params, &two));
    let (winner, loser) = match (first, second) {
        (Ok(won), lost @ Err(_)) => (won, lost),
        (lost @ Err(_), Ok(won)) => (won, lost),
        other => bail!("not one of two: {other:?}"),
    };
    refused(loser, 409)?;
    let now = leases.get("leader").await?;
    ensure!(now.spec == winner.spec, "{now:?}");
    println!("one of two candidates leads");
    Ok(())
}

async fn until(what: &str, done: impl Fn() -> bool) -> Result<()> {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.with_context(|| format!("{what}: not in time"))
}
