//! Writes against a real etcd: what they say when another was first, and when etcd says nothing.
//!
//! Needs etcd and etcdctl.

#[allow(dead_code)] // Each test file uses its part.
mod support;

use std::time::Duration;

use control_store::{Freshness, WriteError};
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_write_over_another_version_is_refused_with_what_is_there() {
    let etcd = Etcd::start();
    let store = etcd.store().await;
    let first = store.create("pods/a/1", "one", None).await.unwrap();
    assert_eq!((first.key(), &first.bytes()[..]), ("pods/a/1", &b"one"[..]));
    let exists = store.create("pods/a/1", "two", None).await.unwrap_err();
    assert!(matches!(exists, WriteError::Exists(key) if &*key == "pods/a/1"));
    let second = store.replace("pods/a/1", first.revision(), "two", None).await.unwrap();
    assert!(second.revision() > first.revision());
    let current = |error| match error {
        WriteError::Conflict { current } => current.map(|stored| (stored.revision(), stored.bytes().clone())),
        other => panic!("{other}"),
    };
    let there = Some((second.revision(), bytes::Bytes::from_static(b"two")));
    let lost = store.replace("pods/a/1", first.revision(), "three", None).await.unwrap_err();
    assert_eq!(current(lost), there);
    let lost = store.remove("pods/a/1", first.revision()).await.unwrap_err();
    assert_eq!(current(lost), there);
    let gone = store.remove("pods/a/1", second.revision()).await.unwrap();
    assert!(gone > second.revision());
    assert_eq!(current(store.remove("pods/a/1", second.revision()).await.unwrap_err()), None);
    assert_eq!(current(store.remove("pods/a/1", 0).await.unwrap_err()), None, "nothing to delete");
    let lost = store.replace("pods/a/1", second.revision(), "four", None).await.unwrap_err();
    assert_eq!(current(lost), None);
    assert!(store.get("pods/a/1", Freshness::Any).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_seen_by_every_read_after_it() {
    let etcd = Etcd::start();
    let store = etcd.store().await;
    let mut known = store.create("pods/a/1", "0", None).await.unwrap();
    for round in 1..200 {
        let got = store.get("pods/a/1", Freshness::Any).await.unwrap().unwrap();
        assert_eq!(got.revision(), known.revision(), "round {round}");
        known = store.replace("pods/a/1", known.revision(), round.to_string(), None).await.unwrap();
    }
    let revision = store.remove("pods/a/1", known.revision()).await.unwrap();
    let list = store.list("pods/", Freshness::Any).await.unwrap();
    assert!(list.count() == 0 && list.revision() >= revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_and_who_reads_share_a_version_and_its_encodings() {
    let etcd = Etcd::start();
    let store = etcd.store().await;
    let mut known = store.create("pods/a/1", "0", None).await.unwrap();
    let mut shared = 0;
    for round in 1..=200 {
        let got = store.get("pods/a/1", Freshness::Latest).await.unwrap().unwrap();
        assert_eq!((got.revision(), got.bytes()), (known.revision(), known.bytes()));
        shared += u32::from(got.same(&known));
        known = store.replace("pods/a/1", known.revision(), round.to_string(), None).await.unwrap();
    }
    // Not where etcd's two answers come in the same moment.
    assert!(shared > 100, "{shared} of 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_end_by_themselves_share_a_lease() {
    let etcd = Etcd::start();
    let (store, other) = (etcd.store().await, etcd.client());
    let hour = Some(Duration::from_secs(3600));
    let mut leases = std::collections::BTreeSet::new();
    for number in 0..5 {
        let key = format!("events/a/{number}");
        store.create(&key, "x", hour).await.unwrap();
        leases.insert(other.get(format!("/registry/{key}")).await.unwrap().unwrap().lease.unwrap());
    }
    assert_eq!(leases.len(), 1);
    let info = other.lease_info(*leases.first().unwrap()).await.unwrap().unwrap();
    assert_eq!((info.granted_ttl, info.keys.len()), (Duration::from_secs(3660), 5));
    // A shorter life has a lease of its own, and ends.
    let short = store.create("pods/a/1", "x", Some(Duration::from_secs(1))).await.unwrap();
    let mut watcher = store.watch("pods/", short.revision()).unwrap();
    assert!(next(&mut watcher).await.starts_with("-pods/a/1"));
    // Written again without one it lives on.
    let mortal = store.create("pods/a/2", "x", hour).await.unwrap();
    store.replace("pods/a/2", mortal.revision(), "x", None).await.unwrap();
    assert_eq!(other.get("/registry/pods/a/2").await.unwrap().unwrap().lease, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_etcd_does_not_take_is_refused() {
    let etcd = Etcd::start();
    let store = etcd.store().await;
    let refused = store.create("pods/a/1", vec![0; 2 << 20], None).await.unwrap_err();
    assert!(matches!(refused, WriteError::Refused { .. }), "{refused}");
    assert!(store.get("pods/a/1", Freshness::Latest).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_an_answer_is_unknown_and_one_that_was_not_sent_is_not() {
    let etcd = Etcd::start();
    let store = etcd.store().await;
    let known = store.create("pods/a/1", "x", None).await.unwrap();
    etcd.freeze();
    let unknown = within("an answer", store.create("pods/a/2", "x", None)).await.unwrap_err();
    assert!(matches!(unknown, WriteError::Unknown { .. }), "{unknown}");
    etcd.kill();
    // The connection that broke may have carried it; the next one cannot be made.
    until("it is known that etcd is away", async || {
        let refused = store.replace("pods/a/1", known.revision(), "y", None).await.unwrap_err();
        assert!(matches!(refused, WriteError::Unknown { .. } | WriteError::Unavailable { .. }), "{refused}");
        matches!(refused, WriteError::Unavailable { .. })
    })
    .await;
}
