//! Watches against a real etcd: what they show, where they begin, and when they end.
//!
//! Needs etcd and etcdctl.

#[allow(dead_code)] // Each test file uses its part.
mod support;

use std::sync::Arc;

use control_store::{Freshness, RingLimits, Settings, WatchEnd};
use etcd::{Op, Repeat, Span, Txn};
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_shows_changes_in_order_with_what_was_there_before() {
    let etcd = Etcd::start();
    let (store, other) = (etcd.store().await, etcd.client());
    let start = store.revision();
    let mut watcher = store.watch("configmaps/", start).unwrap();
    let mut narrow = store.watch("configmaps/b/", start).unwrap();
    assert!(watcher.try_next().unwrap().is_none());
    let put = async |key: &str, value: &str| {
        other.put(format!("/registry/{key}"), value, None).await.unwrap().revision
    };
    let first = put("configmaps/a/1", "x").await;
    put("pods/a/1", "x").await;
    put("configmaps/b/1", "x").await;
    put("configmaps/a/1", "y").await;
    other.delete(&Span::prefix("/registry/configmaps/")).await.unwrap();
    let expected = [
        format!("+configmaps/a/1=x@{first}"),
        format!("+configmaps/b/1=x@{}", first + 2),
        format!("~configmaps/a/1=y@{}", first + 3),
        format!("-configmaps/a/1=y@{}", first + 4),
        format!("-configmaps/b/1=x@{}", first + 4),
    ];
    for expected in &expected {
        assert_eq!(&next(&mut watcher).await, expected);
    }
    assert_eq!(next(&mut narrow).await, expected[1]);
    assert_eq!(next(&mut narrow).await, expected[4]);

    // Again from the middle, now that all is there.
    let mut later = store.watch("configmaps/", first + 2).unwrap();
    let modified = later.next().await.unwrap();
    assert_eq!(modified.previous.as_ref().map(|was| was.revision()), Some(first));
    let deleted = later.next().await.unwrap();
    let last = deleted.previous.as_ref().unwrap();
    assert_eq!((last.revision(), deleted.revision()), (first + 3, first + 4));
    assert_eq!(last.bytes(), deleted.object.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_the_changes_after_it_are_the_whole_story() {
    let etcd = Etcd::start();
    let store = etcd.store().await;
    let writer = tokio::spawn({
        let other = etcd.client();
        async move {
            for number in 0..500 {
                other.put(format!("/registry/pods/a/{number:03}"), "x", None).await.unwrap();
            }
        }
    });
    let mut followers = Vec::new();
    while !writer.is_finished() {
        let snapshot = store.list("pods/", Freshness::Any).await.unwrap();
        followers.push((store.follow(&snapshot).unwrap(), snapshot));
        tokio::task::yield_now().await;
        if followers.len() > 200 {
            break;
        }
    }
    writer.await.unwrap();
    for (mut watcher, snapshot) in followers {
        for number in snapshot.count()..500 {
            let event = within("an event", watcher.next()).await.unwrap();
            assert_eq!(event.key(), format!("pods/a/{number:03}"));
            assert!(event.revision() > snapshot.revision());
        }
        assert!(watcher.try_next().unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_transaction_writes_is_seen_together() {
    let etcd = Etcd::start();
    let (store, other) = (etcd.store().await, etcd.client());
    let writer = tokio::spawn(async move {
        for round in 0..300 {
            let put = |name: &str| Op::Put {
                key: format!("/registry/pods/a/{name}").into(),
                value: round.to_string().into(),
                lease: None,
            };
            let both = Txn { then: vec![put("1"), put("2")], ..Txn::default() };
            other.txn("write two", Repeat::Refused, both).await.unwrap();
        }
    });
    while !writer.is_finished() {
        let list = store.list("pods/", Freshness::Latest).await.unwrap();
        let bytes = |key: &str| list.get(key).map(|object| object.bytes().clone());
        assert_eq!(bytes("pods/a/1"), bytes("pods/a/2"));
    }
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_before_what_is_remembered_has_expired() {
    let etcd = Etcd::start();
    let other = etcd.client();
    let old = other.put("/registry/pods/a/1", "x", None).await.unwrap().revision;
    other.compact(old).await.unwrap();
    let ring = RingLimits { most: 5, least: 5, ..RingLimits::default() };
    let store = etcd.store_with(Settings { ring, ..settings() }).await;
    let loaded = store.revision();
    let refused = store.watch("pods/", old - 1).unwrap_err();
    assert_eq!(refused, WatchEnd::Expired { seen: old - 1, oldest: loaded });
    let (mut slow, mut quick) =
        (store.watch("pods/", loaded).unwrap(), store.watch("pods/", loaded).unwrap());
    for number in 0..20 {
        other.put("/registry/pods/a/1", number.to_string(), None).await.unwrap();
        assert!(next(&mut quick).await.contains(&format!("={number}@")));
    }
    let end = slow.next().await.unwrap_err();
    assert_eq!(end, WatchEnd::Expired { seen: loaded, oldest: loaded + 15 });
    assert_eq!(slow.next().await.unwrap_err(), end, "and stays so");
    assert!(store.watch("pods/", loaded + 14).is_err());
    assert!(store.watch("pods/", loaded + 15).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_of_one_object_or_of_one_topic_is_not_disturbed_by_others_changes() {
    let etcd = Etcd::start();
    let other = etcd.client();
    let ring = RingLimits { most: 5, least: 5, ..RingLimits::default() };
    let store = etcd.store_with(Settings { ring, ..settings() }).await;
    store.set_topic(
        "pods/",
        Arc::new(|pod| Some(std::str::from_utf8(pod.bytes()).ok()?.split(' ').next()?.into())),
    );
    let put = async |key: &str, value: &str| {
        other.put(format!("/registry/pods/{key}"), value, None).await.unwrap().revision
    };
    put("a/1", "n1 old").await;
    let list = store.list("pods/", Freshness::Latest).await.unwrap();
    let one = store.list("pods/a/1", Freshness::Latest).await.unwrap();
    put("a/11", "n2").await;
    assert_eq!((one.count(), store.list("pods/a/1", Freshness::Latest).await.unwrap().count()), (1, 1));
    let mut object = store.follow(&one).unwrap();
    let mut space = store.watch("pods/b/", list.revision()).unwrap();
    let mut node = store.follow_topic(&list, "n1").unwrap();
    let mut other_node = store.watch_topic("pods/", "n3", list.revision()).unwrap();
    for round in 0..20 {
        put("c/1", &format!("n2 {round}")).await;
    }
    let moved = put("a/1", "n3 moved").await;
    let expected = format!("~pods/a/1=n3 moved@{moved}");
    for watcher in [&mut object, &mut node, &mut other_node] {
        assert_eq!(next(watcher).await, expected);
    }
    let last = put("b/1", "n3 new").await;
    assert_eq!(next(&mut space).await, format!("+pods/b/1=n3 new@{last}"));
    assert_eq!(next(&mut other_node).await, format!("+pods/b/1=n3 new@{last}"));
    until("the bookmark moves on", async || node.progress() == last).await;
    assert!(node.try_next().unwrap().is_none() && object.try_next().unwrap().is_none());
    // Their own changes can be lost.
    for round in 0..10 {
        put("b/1", &format!("n4 {round}")).await;
    }
    until("the view is there", async || store.revision() == last + 10).await;
    let stats = store.stats().kinds["pods/"];
    assert_eq!((stats.objects, stats.events), (4, 5));
    assert!(stats.event_bytes >= 5 * "n4 4".len());
    assert!(matches!(space.next().await, Err(WatchEnd::Expired { .. })));
    assert!(matches!(other_node.next().await, Err(WatchEnd::Expired { .. })));
    assert!(object.try_next().unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_a_revision_to_come_begins_after_it() {
    let etcd = Etcd::start();
    let (store, other) = (etcd.store().await, etcd.client());
    let now = store.revision();
    let mut watcher = store.watch("pods/", now + 2).unwrap();
    for value in ["1", "2", "3"] {
        other.put("/registry/pods/a/1", value, None).await.unwrap();
    }
    assert_eq!(next(&mut watcher).await, format!("~pods/a/1=3@{}", now + 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_watchers_see_every_change_once_and_in_order() {
    let etcd = Etcd::start();
    let (store, other) = (etcd.store().await, etcd.client());
    let start = store.revision();
    let watchers: Vec<_> = (0..1000)
        .map(|_| {
            let mut watcher = store.watch("pods/", start).unwrap();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.len() < 100 {
                    seen.push(watcher.next().await.unwrap().revision());
                }
                seen
            })
        })
        .collect();
    for number in 0..100 {
        other.put(format!("/registry/pods/a/{number}"), "x", None).await.unwrap();
    }
    let expected: Vec<i64> = (start + 1..=start + 100).collect();
    for watcher in watchers {
        assert_eq!(within("all events", watcher).await.unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bookmark_is_never_ahead_of_what_the_watcher_has_seen() {
    let etcd = Etcd::start();
    let (store, other) = (etcd.store().await, etcd.client());
    let start = store.revision();
    let mut watcher = store.watch("pods/", start).unwrap();
    assert_eq!(watcher.progress(), start);
    let foreign = other.put("/coreos.com/x", "x", None).await.unwrap().revision;
    until("others' keys move the bookmark", async || watcher.progress() == foreign).await;
    let other_kind = other.put("/registry/configmaps/a/1", "x", None).await.unwrap().revision;
    until("other kinds move the bookmark", async || watcher.progress() == other_kind).await;
    other.put("/registry/pods/a/1", "x", None).await.unwrap();
    let last = other.put("/registry/pods/a/2", "x", None).await.unwrap().revision;
    until("the view is there", async || store.revision() == last).await;
    assert_eq!(watcher.progress(), other_kind, "two events have not been given out");
    next(&mut watcher).await;
    assert_eq!(watcher.progress(), last - 1);
    next(&mut watcher).await;
    assert_eq!(watcher.progress(), last);
    // Two deletions of one revision.
    let gone = {
        other.delete(&Span::prefix("/registry/pods/")).await.unwrap();
        last + 1
    };
    next(&mut watcher).await;
    assert_eq!(watcher.progress(), last, "half of a revision");
    next(&mut watcher).await;
    until("the view is there", async || watcher.progress() == gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_defined_at_run_time_is_watched_from_its_definition_to_its_end() {
    let etcd = Etcd::start();
    let other = etcd.client();
    let (key, prefix) = ("/registry/stable.example.com/crontabs/a/1", "stable.example.com/crontabs/");
    other.put(key, "old", None).await.unwrap();
    let store = etcd.store().await;
    store.register(prefix);
    store.register(prefix);
    let snapshot = store.list(prefix, Freshness::Latest).await.unwrap();
    assert_eq!(snapshot.count(), 1);
    let mut watcher = store.follow(&snapshot).unwrap();
    let revision = other.put(key, "new", None).await.unwrap().revision;
    assert_eq!(next(&mut watcher).await, format!("~stable.example.com/crontabs/a/1=new@{revision}"));
    store.unregister(prefix);
    let end = within("the end", watcher.next()).await.unwrap_err();
    assert!(matches!(end, WatchEnd::Expired { .. }), "{end}");
    assert_eq!(store.list(prefix, Freshness::Latest).await.unwrap().count(), 1, "its objects stay");
    store.register(prefix);
    assert_eq!(store.list(prefix, Freshness::Latest).await.unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_watched_although_they_are_not_kept() {
    let etcd = Etcd::start();
    let (store, other) = (etcd.store().await, etcd.client());
    let key = "/registry/events/a/1";
    let first = other.put(key, "x", None).await.unwrap().revision;
    let mut early = store.watch("events/", first - 1).unwrap();
    let mut late = store.watch("events/a/", first).unwrap();
    assert_eq!(next(&mut early).await, format!("+events/a/1=x@{first}"));
    other.put("/registry/pods/a/1", "x", None).await.unwrap();
    other.put(key, "y", None).await.unwrap();
    other.delete(&Span::key(key)).await.unwrap();
    for watcher in [&mut early, &mut late] {
        assert_eq!(next(watcher).await, format!("~events/a/1=y@{}", first + 2));
        assert_eq!(next(watcher).await, format!("-events/a/1=y@{}", first + 3));
    }
    let last = other.put("/registry/pods/a/1", "y", None).await.unwrap().revision;
    until("other kinds move the bookmark", async || late.progress() == last).await;
    // A longer memory than the running watch has: another one begins.
    let mut again = store.watch("events/", first - 1).unwrap();
    assert_eq!(next(&mut again).await, format!("+events/a/1=x@{first}"));
    other.compact(last).await.unwrap();
    let mut old = store.watch("events/", first - 2).unwrap();
    let end = within("the end", old.next()).await.unwrap_err();
    assert!(matches!(end, WatchEnd::Expired { .. }), "{end}");
}
