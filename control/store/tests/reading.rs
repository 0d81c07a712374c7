//! Reads against a real etcd: how fresh they are, and what they do where that cannot be had.
//!
//! Needs etcd and etcdctl.

#[allow(dead_code)] // Each test file uses its part.
mod support;

use control_store::{Freshness, ReadError};
use etcd::Span;
use support::*;

fn keys<'a>(objects: impl Iterator<Item = &'a control_store::Stored>) -> Vec<&'a str> {
    objects.map(|object| object.key()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_never_misses_an_acknowledged_write() {
    let etcd = Etcd::start();
    let (store, other) = (etcd.store().await, etcd.client());
    for round in 0..200 {
        let key = format!("configmaps/a/{round:03}");
        let written = other.put(format!("/registry/{key}"), "x", None).await.unwrap().revision;
        let list = store.list("configmaps/", Freshness::Latest).await.unwrap();
        assert!(list.revision() >= written && list.get(&key).is_some(), "round {round}");
        let got = store.get(&key, Freshness::Latest).await.unwrap().unwrap();
        assert_eq!((got.revision(), &got.bytes()[..]), (written, &b"x"[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_fresh_although_others_keys_move_etcds_revision() {
    let etcd = Etcd::start();
    let (store, other) = (etcd.store().await, etcd.client());
    for round in 0..100 {
        let written = other.put("/coreos.com/network/subnets/x", "x", None).await.unwrap().revision;
        let list = store.list("pods/", Freshness::Latest).await.unwrap();
        assert!(list.revision() >= written && list.count() == 0, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_listed_in_order_from_any_key() {
    let etcd = Etcd::start();
    let other = etcd.client();
    for key in ["configmaps/b/1", "configmaps/a/2", "configmaps/a/1", "configmapsx/a/1", "pods/a/1"] {
        other.put(format!("/registry/{key}"), "x", None).await.unwrap();
    }
    other.put("/registryx/pods/a/9", "x", None).await.unwrap();
    let store = etcd.store().await;
    let all = store.list("configmaps/", Freshness::Any).await.unwrap();
    assert_eq!(keys(all.iter()), ["configmaps/a/1", "configmaps/a/2", "configmaps/b/1"]);
    assert_eq!(keys(all.iter_from("configmaps/a/1\0")), ["configmaps/a/2", "configmaps/b/1"]);
    let one = store.list("configmaps/a/", Freshness::Any).await.unwrap();
    assert_eq!(keys(one.iter()), ["configmaps/a/1", "configmaps/a/2"]);
    assert_eq!((all.count(), one.count(), one.get("configmaps/b/1").is_none()), (3, 2, true));
    assert_eq!(store.list("pods/", Freshness::Any).await.unwrap().count(), 1);
    assert_eq!(store.list("secrets/", Freshness::Any).await.unwrap().count(), 0, "a kind of nobody");
    assert_eq!(store.list("configmapsx/", Freshness::Any).await.unwrap().count(), 1, "nor this one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_does_not_come_is_too_large() {
    let etcd = Etcd::start();
    let (store, other) = (etcd.store().await, etcd.client());
    let current = store.revision();
    for freshness in [Freshness::NotOlderThan(current + 1000), Freshness::Exactly(current + 1000)] {
        let refused = store.list("pods/", freshness).await.unwrap_err();
        assert_eq!(refused, ReadError::TooLarge { asked: current + 1000, current });
    }
    // One that comes while the reader waits is waited for.
    let waits = tokio::spawn({
        let store = store.clone();
        async move { store.list("pods/", Freshness::NotOlderThan(current + 1)).await }
    });
    tokio::task::yield_now().await;
    other.put("/registry/pods/a/1", "x", None).await.unwrap();
    assert_eq!(waits.await.unwrap().unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_at_an_exact_revision_is_what_it_was_then() {
    let etcd = Etcd::start();
    let other = etcd.client();
    let put = async |key: &str, value: &str| {
        other.put(format!("/registry/configmaps/a/{key}"), value, None).await.unwrap().revision
    };
    let old = put("1", "old").await;
    let store = etcd.store().await;
    put("2", "two").await;
    let then = put("1", "new").await;
    other.delete(&Span::key("/registry/configmaps/a/2")).await.unwrap();
    put("3", "three").await;
    put("1", "newest").await;
    let text = async |revision| {
        let list = store.list("configmaps/", Freshness::Exactly(revision)).await.unwrap();
        assert_eq!(list.revision(), revision);
        let value = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        list.iter().map(|object| value(object.bytes())).collect::<Vec<_>>().join(" ")
    };
    store.list("configmaps/", Freshness::Latest).await.unwrap();
    assert_eq!(text(old).await, "old");
    assert_eq!(text(old + 1).await, "old two");
    assert_eq!(text(then).await, "new two");
    assert_eq!(text(then + 1).await, "new");
    assert_eq!(text(then + 3).await, "newest three");

    // What memory does not know any more, etcd does; and then nobody.
    other.compact(then).await.unwrap();
    let late = etcd.store().await;
    let from_etcd = late.list("configmaps/", Freshness::Exactly(then)).await.unwrap();
    assert_eq!((from_etcd.revision(), from_etcd.count()), (then, 2));
    other.compact(then + 2).await.unwrap();
    let kept = late.list("configmaps/a/", Freshness::Exactly(then)).await.unwrap();
    assert_eq!(kept.count(), 2, "kept for the rest of the list");
    let expired = late.list("configmaps/", Freshness::Exactly(old)).await.unwrap_err();
    assert!(matches!(expired, ReadError::Expired { asked, .. } if asked == old), "{expired}");
    assert!(late.get("configmaps/a/2", Freshness::Exactly(then)).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_old_is_read_while_etcd_is_away() {
    let etcd = Etcd::start();
    let store = etcd.store().await;
    let written = store.create("pods/a/1", "x", None).await.unwrap();
    until("the write is seen", async || store.revision() >= written.revision()).await;
    etcd.kill();
    until("the store knows", async || !store.is_connected()).await;
    assert_eq!(store.list("pods/", Freshness::Any).await.unwrap().count(), 1);
    let known = Freshness::NotOlderThan(written.revision());
    assert!(store.get("pods/a/1", known).await.unwrap().is_some());
    let refused = within("an answer", store.get("pods/a/1", Freshness::Latest)).await.unwrap_err();
    assert!(matches!(refused, ReadError::Unavailable { .. }), "{refused}");
    etcd.restart();
    until("etcd is read again", async || store.list("pods/", Freshness::Latest).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_listed_in_pages_of_one_revision() {
    let etcd = Etcd::start();
    let (store, other) = (etcd.store().await, etcd.client());
    for number in 0..7 {
        other.put(format!("/registry/events/a/{number}"), "x", None).await.unwrap();
    }
    assert!(store.is_direct("events/a/") && !store.is_direct("pods/"));
    let first = store.page("events/", "", 3, Freshness::Latest).await.unwrap();
    assert_eq!((keys(first.objects.iter()).len(), first.remaining), (3, 4));
    other.delete(&Span::prefix("/registry/events/")).await.unwrap();
    let start = format!("{}\0", first.objects[2].key());
    let rest = store.page("events/a/", &start, 0, Freshness::Exactly(first.revision)).await.unwrap();
    assert_eq!(
        (keys(rest.objects.iter()), rest.revision, rest.remaining),
        (vec!["events/a/3", "events/a/4", "events/a/5", "events/a/6"], first.revision, 0)
    );
    assert_eq!(store.list("events/", Freshness::Latest).await.unwrap().count(), 0);
    assert_eq!(store.list("events/", Freshness::Exactly(first.revision)).await.unwrap().count(), 7);
    assert!(store.get("events/a/1", Freshness::Latest).await.unwrap().is_none());
    let future = Freshness::Exactly(first.revision + 1000);
    let refused = store.page("events/", "", 0, future).await.unwrap_err();
    assert!(matches!(refused, ReadError::TooLarge { .. }), "{refused}");
    other.compact(first.revision + 1).await.unwrap();
    let expired = store.page("events/", "", 0, Freshness::Exactly(first.revision)).await.unwrap_err();
    assert!(matches!(expired, ReadError::Expired { .. }), "{expired}");
}

/// etcd with users: one that may see nothing but the registry.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_read_the_registry_alone_reads_as_freshly() {
    let etcd = Etcd::start();
    for command in [
        &["user", "add", "root:pw"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "api:pw"],
        &["role", "add", "api"],
        &["role", "grant-permission", "api", "--prefix=true", "readwrite", "/registry/"],
        &["user", "grant-role", "api", "api"],
        &["auth", "enable"],
    ] {
        etcd.etcdctl(command);
    }
    let client = |name: &str| etcd.client_as(name, "pw");
    let store = control_store::Store::open(client("api"), settings());
    within("the store is loaded", store.ready()).await;
    let root = client("root");
    for round in 0..30 {
        let foreign = root.put("/coreos.com/x", "x", None).await.unwrap().revision;
        let list = store.list("pods/", Freshness::Latest).await.unwrap();
        assert!(list.revision() >= foreign && list.count() == 0, "round {round}");
        root.put("/registry/pods/a/1", "x", None).await.unwrap();
        root.put("/registry/events/a/1", "x", None).await.unwrap();
        assert_eq!(store.list("pods/", Freshness::Latest).await.unwrap().count(), 1, "round {round}");
        root.delete(&Span::key("/registry/pods/a/1")).await.unwrap();
        root.put("/coreos.com/x", "x", None).await.unwrap();
        assert_eq!(store.list("pods/", Freshness::Latest).await.unwrap().count(), 0, "round {round}");
    }
}
