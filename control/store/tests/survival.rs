//! What becomes of the view when etcd or the way to it is disturbed.
//!
//! Needs etcd and etcdctl.

#[allow(dead_code)] // Each test file uses its part.
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use control_store::{Freshness, ReadError, Settings, Store, WatchEnd, WriteError};
use etcd::{EtcdError, Range, Span};
use support::*;

/// Counts one object up until it is told to stop; the last value that etcd acknowledged.
async fn count_up(store: Store, key: String, stop: Arc<AtomicBool>) -> u64 {
    let (mut value, mut revision) = (0_u64, 0);
    while !stop.load(Relaxed) {
        let next = (value + 1).to_string();
        let written = match revision {
            0 => store.create(&key, next, None).await,
            _ => store.replace(&key, revision, next, None).await,
        };
        match written {
            Ok(stored) => (value, revision) = (value + 1, stored.revision()),
            // It may have been written after all.
            Err(WriteError::Conflict { current: Some(now) }) => {
                revision = now.revision();
                let now: u64 = String::from_utf8_lossy(now.bytes()).parse().unwrap();
                assert!(now == value || now == value + 1, "{now} after {value}");
                value = now;
            }
            Err(WriteError::Exists(_)) => {
                if let Ok(Some(now)) = store.get(&key, Freshness::Latest).await {
                    (value, revision) = (1, now.revision());
                }
            }
            Err(WriteError::Unavailable { .. } | WriteError::Unknown { .. }) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_seen_twice_while_etcd_is_killed_under_load() {
    let etcd = Etcd::start();
    let store = etcd.store().await;
    let start = store.list("pods/", Freshness::Any).await.unwrap();
    let mut watcher = store.follow(&start).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|number| tokio::spawn(count_up(store.clone(), format!("pods/a/{number}"), stop.clone())))
        .collect();
    let watching = tokio::spawn(async move {
        let mut seen: BTreeMap<String, (u64, i64)> = BTreeMap::new();
        let mut last = 0;
        while let Ok(event) = watcher.next().await {
            assert!(event.revision() > last, "in order, none twice");
            last = event.revision();
            let value: u64 = String::from_utf8_lossy(event.object.bytes()).parse().unwrap();
            let before = seen.insert(event.key().to_owned(), (value, last));
            assert_eq!(value, before.map_or(1, |(value, _)| value + 1), "none lost");
            assert_eq!(
                event.previous.as_ref().map(|was| was.revision()),
                before.map(|(_, revision)| revision)
            );
            if event.key() == "pods/end" {
                break;
            }
        }
        seen.into_iter().map(|(key, (value, _))| (key, value)).collect::<BTreeMap<_, _>>()
    });
    for _ in 0..3 {
        let before = store.revision();
        until("writes go on", async || store.revision() > before + 50).await;
        etcd.kill();
        until("the store knows", async || !store.is_connected()).await;
        etcd.restart();
    }
    let before = store.revision();
    until("writes go on", async || store.revision() > before + 50).await;
    stop.store(true, Relaxed);
    let mut expected = BTreeMap::new();
    for (number, writer) in writers.into_iter().enumerate() {
        expected.insert(format!("pods/a/{number}"), within("the writer", writer).await.unwrap());
    }
    let list = store.list("pods/", Freshness::Latest).await.unwrap();
    for object in list.iter() {
        let value: u64 = String::from_utf8_lossy(object.bytes()).parse().unwrap();
        let acknowledged = expected[object.key()];
        assert!(value == acknowledged || value == acknowledged + 1, "{value} after {acknowledged}");
        expected.insert(object.key().to_owned(), value);
    }
    etcd.client().put("/registry/pods/end", "1", None).await.unwrap();
    expected.insert("pods/end".to_owned(), 1);
    assert_eq!(within("the watch sees all", watching).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_where_it_was_after_an_interruption() {
    let etcd = Etcd::start();
    let (wire, other) = (etcd.wire().await, etcd.client());
    let store = Store::open(client(&wire.url()), settings());
    within("the store is loaded", store.ready()).await;
    let start = store.revision();
    let mut watcher = store.watch("pods/", start).unwrap();
    for round in 0..3 {
        wire.cut();
        until("the store knows", async || !store.is_connected()).await;
        let revision = other.put("/registry/pods/a/1", round.to_string(), None).await.unwrap().revision;
        assert!(watcher.try_next().unwrap().is_none());
        wire.mend();
        assert!(next(&mut watcher).await.ends_with(&format!("pods/a/1={round}@{revision}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_end_where_changes_were_compacted_before_they_were_seen() {
    let etcd = Etcd::start();
    let (wire, other) = (etcd.wire().await, etcd.client());
    other.put("/registry/pods/a/1", "x", None).await.unwrap();
    other.put("/registry/pods/a/2", "x", None).await.unwrap();
    let store = Store::open(client(&wire.url()), settings());
    within("the store is loaded", store.ready()).await;
    let same = store.get("pods/a/2", Freshness::Any).await.unwrap().unwrap();
    let mut watcher = store.watch("pods/", store.revision()).unwrap();
    wire.cut();
    until("the store knows", async || !store.is_connected()).await;
    other.delete(&Span::key("/registry/pods/a/1")).await.unwrap();
    let last = other.put("/registry/pods/a/3", "x", None).await.unwrap().revision;
    other.compact(last).await.unwrap();
    wire.mend();
    let end = within("the end", watcher.next()).await.unwrap_err();
    assert!(matches!(end, WatchEnd::Expired { oldest, .. } if oldest >= last), "{end}");
    let list = store.list("pods/", Freshness::Latest).await.unwrap();
    assert_eq!(list.iter().map(|object| object.key()).collect::<Vec<_>>(), ["pods/a/2", "pods/a/3"]);
    assert!(list.get("pods/a/2").unwrap().same(&same), "what has not changed is kept with its forms");
    let mut watcher = store.follow(&list).unwrap();
    other.put("/registry/pods/a/3", "y", None).await.unwrap();
    assert!(next(&mut watcher).await.starts_with("~pods/a/3=y"));
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_end_and_the_view_is_made_again_where_etcd_comes_back_empty() {
    let etcd = Etcd::start();
    let store = etcd.store().await;
    for number in 0..10 {
        store.create(&format!("pods/a/{number}"), "x", None).await.unwrap();
    }
    let list = store.list("pods/", Freshness::Latest).await.unwrap();
    let mut watcher = store.follow(&list).unwrap();
    etcd.kill();
    etcd.wipe();
    etcd.restart();
    let end = within("the end", watcher.next()).await.unwrap_err();
    assert!(matches!(end, WatchEnd::Expired { .. }), "{end}");
    until("it is empty", async || {
        store.list("pods/", Freshness::Latest).await.is_ok_and(|list| list.count() == 0)
    })
    .await;
    let refused = store.list("pods/", Freshness::NotOlderThan(list.revision())).await.unwrap_err();
    assert!(matches!(refused, ReadError::TooLarge { .. }), "{refused}");
    assert!(store.follow(&list).is_err() || store.revision() < list.revision());
    let created = store.create("pods/a/1", "y", None).await.unwrap();
    assert_eq!(store.get("pods/a/1", Freshness::Any).await.unwrap().unwrap().revision(), created.revision());
}

/// A restore from a backup, after which others have written so much that the revision is higher than before.
#[tokio::test(flavor = "multi_thread")]
async fn another_history_is_noticed_although_its_revision_is_higher() {
    let etcd = Etcd::start();
    let wire = etcd.wire().await;
    let store = Store::open(client(&wire.url()), settings());
    within("the store is loaded", store.ready()).await;
    for number in 0..5 {
        store.create(&format!("pods/a/{number}"), "x", None).await.unwrap();
    }
    let list = store.list("pods/", Freshness::Latest).await.unwrap();
    let mut watcher = store.follow(&list).unwrap();
    wire.cut();
    until("the store knows", async || !store.is_connected()).await;
    etcd.kill();
    etcd.wipe();
    etcd.restart();
    let other = etcd.client();
    for _ in 0..20 {
        other.put("/registry/pods/b/1", "x", None).await.unwrap();
    }
    wire.mend();
    let end = within("the end", watcher.next()).await.unwrap_err();
    assert!(matches!(end, WatchEnd::Expired { .. }), "{end}");
    until("it is the other history", async || {
        let list = store.list("pods/", Freshness::Latest).await;
        list.is_ok_and(|list| list.iter().map(|object| object.key()).eq(["pods/b/1"]))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_opened_while_etcd_is_away_is_ready_once_etcd_is() {
    let etcd = Etcd::start();
    etcd.client().put("/registry/pods/a/1", "x", None).await.unwrap();
    etcd.kill();
    let store = Store::open(etcd.client(), settings());
    let refused = within("an answer", store.list("pods/", Freshness::Any)).await.unwrap_err();
    assert!(matches!(refused, ReadError::Unavailable { .. }), "{refused}");
    assert!(!store.is_ready());
    etcd.restart();
    within("the store is loaded", store.ready()).await;
    assert_eq!(store.list("pods/", Freshness::Any).await.unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_servers_share_the_work_of_compaction() {
    let etcd = Etcd::start();
    let other = etcd.client();
    let old = other.put("/registry/pods/a/1", "x", None).await.unwrap().revision;
    let interval = Duration::from_millis(200);
    let compacting = Settings { compaction: Some(interval), ..settings() };
    let stores = [etcd.store_with(compacting.clone()).await, etcd.store_with(compacting).await];
    let at = |revision| Range { revision, ..Range::of(Span::prefix("/registry/")) };
    until("the old history is compacted", async || {
        other.put("/registry/pods/a/1", "y", None).await.unwrap();
        matches!(other.range(&at(old)).await, Err(EtcdError::Compacted { .. }))
    })
    .await;
    let turns = other.get("compact_rev_key").await.unwrap().unwrap();
    let compacted: i64 = String::from_utf8(turns.value.clone()).unwrap().parse().unwrap();
    assert!(compacted > old && compacted < turns.mod_revision);
    assert!(other.range(&at(turns.mod_revision)).await.is_ok(), "the latest history stays");
    // Each turn was taken by one of the two: the key's version counts every write of it.
    assert!(turns.version >= 2);
    for store in &stores {
        assert_eq!(store.list("pods/", Freshness::Latest).await.unwrap().count(), 1);
    }
}
