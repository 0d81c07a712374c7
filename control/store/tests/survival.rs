//! What becomes of the view when etcd or the way to it is disturbed.
//!
//! Needs etcd and etcdctl.

#[allow(dead_code)] // Each test file uses its part.
mod support;

use std::time::Duration;

use control_store::{Freshness, ReadError, Settings, Store, WatchEnd};
use etcd::{EtcdError, Range, Span};
use host::programs::Signal;
use support::cluster::Cluster;
use support::load::Load;
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_seen_twice_while_etcd_is_killed_under_load() {
    let etcd = Etcd::start();
    let store = etcd.store().await;
    let load = Load::start(std::slice::from_ref(&store)).await;
    for _ in 0..3 {
        load.goes_on().await;
        etcd.kill();
        until("the store knows", async || !store.is_connected()).await;
        etcd.restart();
    }
    load.goes_on().await;
    load.end().await;
}

/// Two servers over three members: whichever of them fails, the other two are etcd.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_seen_twice_while_members_fail_and_leaders_change() {
    let mut cluster = Cluster::start().await;
    let mut stores = Vec::new();
    for members in [[0, 1, 2], [2, 0, 1]] {
        let store = Store::open(cluster.client_of(&members), settings());
        within("the store is loaded", store.ready()).await;
        stores.push(store);
    }
    let load = Load::start(&stores).await;
    for member in 0..3 {
        load.goes_on().await;
        cluster.kill(member);
        load.goes_on().await;
        cluster.start_member(member);
        cluster.wait_for(member).await;
    }
    // A leader that hangs keeps its connections.
    let leader = cluster.leader().await;
    cluster.signal(leader, Signal::SIGSTOP);
    load.goes_on().await;
    cluster.signal(leader, Signal::SIGCONT);
    load.goes_on().await;
    load.end().await;
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
async fn a_watch_goes_on_at_a_server_that_was_started_later() {
    let etcd = Etcd::start();
    let (first, other) = (etcd.store().await, etcd.client());
    let known = first.create("pods/a/1", "x", None).await.unwrap();
    first.create("pods/a/2", "x", None).await.unwrap();
    drop(first);
    other.put("/registry/pods/a/1", "y", None).await.unwrap();
    other.put("/coreos.com/x", "x", None).await.unwrap();
    other.delete(&Span::key("/registry/pods/a/2")).await.unwrap();
    let second = etcd.store().await;
    let mut watcher = second.resume("pods/", known.revision()).await.unwrap();
    let at = |revision: i64| known.revision() + revision;
    assert_eq!(next(&mut watcher).await, format!("+pods/a/2=x@{}", at(1)));
    assert_eq!(next(&mut watcher).await, format!("~pods/a/1=y@{}", at(2)));
    assert_eq!(next(&mut watcher).await, format!("-pods/a/2=x@{}", at(4)));
    let revision = other.put("/registry/pods/a/3", "x", None).await.unwrap().revision;
    assert_eq!(next(&mut watcher).await, format!("+pods/a/3=x@{revision}"));
    let then = second.list("pods/", Freshness::Exactly(at(2))).await.unwrap();
    assert_eq!(then.iter().map(|object| object.revision()).collect::<Vec<_>>(), [at(2), at(1)]);

    // What was compacted nobody knows; what came after it, a third server does.
    other.put("compact_rev_key", at(2).to_string(), None).await.unwrap();
    other.compact(at(2)).await.unwrap();
    let third = etcd.store().await;
    assert!(third.resume("pods/", at(1)).await.is_err());
    let mut watcher = third.resume("pods/", at(4)).await.unwrap();
    assert_eq!(next(&mut watcher).await, format!("+pods/a/3=x@{revision}"));
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
    // What cannot be told from here on is not begun: it would end as soon as the registry is loaded.
    let refused = within("an answer", store.resume("pods/", 1)).await.unwrap_err();
    assert_eq!(refused, WatchEnd::Unloaded);
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
