//! The watch against a real etcd: what it tells, and how it goes on.
//!
//! Needs etcd and etcdctl.

#[allow(dead_code)] // Each test file uses its part.
mod server;

use std::time::Duration;

use etcd::{Change, Client, EtcdError, Settings, Span, Stale, Watch, WatchError, WatchEvent};
use server::*;

fn client(url: &str) -> Client {
    Client::new(Settings { endpoints: vec![url.to_owned()], ..Settings::default() }).unwrap()
}

/// A watch of `a/` from now on, taken up by etcd.
async fn watch(client: &Client, before: bool) -> Watch {
    let listed = client.list(&Span::prefix("a/")).await.unwrap();
    let mut watch = client.watch(Span::prefix("a/"), listed.header, before);
    assert!(matches!(next(&mut watch).await, WatchEvent::Started(_)));
    watch
}

/// The next event, over interruptions.
async fn next(watch: &mut Watch) -> WatchEvent {
    within(SOON, "an event", async {
        loop {
            match watch.next().await {
                Ok(event) => return event,
                Err(WatchError::Broken(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(WatchError::Stale(stale)) => panic!("{stale}"),
            }
        }
    })
    .await
}

/// The next changes: `+key` or `-key`, with what was there before in brackets.
async fn changes(watch: &mut Watch) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    loop {
        if let WatchEvent::Changes(header, changes) = next(watch).await {
            assert!(changes.iter().all(|change| change.kv().mod_revision <= header.revision));
            assert_eq!(watch.revision(), changes.last().unwrap().kv().mod_revision);
            return changes
                .iter()
                .map(|change| match change {
                    Change::Put { kv, before: None } => format!("+{}", text(&kv.key)),
                    Change::Put { kv, before: Some(was) } => {
                        format!("+{}({})", text(&kv.key), text(&was.value))
                    }
                    Change::Delete { kv, before: None } => format!("-{}", text(&kv.key)),
                    Change::Delete { kv, before: Some(was) } => {
                        format!("-{}({})", text(&kv.key), text(&was.value))
                    }
                })
                .collect();
        }
    }
}

async fn stale(watch: &mut Watch) -> Stale {
    within(SOON, "the end of the watch", async {
        loop {
            match watch.next().await {
                Ok(WatchEvent::Changes(_, changes)) => panic!("{changes:?}"),
                Ok(_) => {}
                Err(WatchError::Broken(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(WatchError::Stale(stale)) => return stale,
            }
        }
    })
    .await
}

#[tokio::test]
async fn changes_come_with_what_was_there_before() {
    let etcd = Etcd::start().await;
    let client = client(&etcd.url());
    client.put("a/1", "one", None).await.unwrap();
    let mut watch = watch(&client, true).await;
    client.put("b/1", "not watched", None).await.unwrap();
    client.put("a/1", "two", None).await.unwrap();
    assert_eq!(changes(&mut watch).await, ["+a/1(one)"]);
    client.put("a/2", "x", None).await.unwrap();
    assert_eq!(changes(&mut watch).await, ["+a/2"]);
    client.delete(&Span::prefix("a/")).await.unwrap();
    assert_eq!(changes(&mut watch).await, ["-a/1(two)", "-a/2(x)"], "one revision, one event");
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_after_an_interruption() {
    let etcd = Etcd::start().await;
    let wire = Proxy::to(&etcd).await;
    let (direct, client) = (client(&etcd.url()), client(&wire.url()));
    let mut watch = watch(&client, false).await;
    direct.put("a/1", "x", None).await.unwrap();
    assert_eq!(changes(&mut watch).await, ["+a/1"]);
    wire.set(Wire::Cut);
    direct.put("a/2", "x", None).await.unwrap();
    direct.delete(&Span::key("a/1")).await.unwrap();
    let broken = within(SOON, "word of the cut", watch.next()).await.unwrap_err();
    assert!(matches!(broken, WatchError::Broken(EtcdError::Unreachable { .. })), "{broken}");
    wire.set(Wire::Whole);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(changes(&mut watch).await);
    }
    assert_eq!(seen, ["+a/2", "-a/1"]);
}

#[tokio::test]
async fn a_watch_that_may_have_missed_something_says_so() {
    let mut etcd = Etcd::start().await;
    let wire = Proxy::to(&etcd).await;
    let (direct, client) = (client(&etcd.url()), client(&wire.url()));
    let mut compacted = watch(&client, false).await;
    wire.set(Wire::Cut);
    for _ in 0..10 {
        direct.put("a/1", "x", None).await.unwrap();
    }
    let last = direct.put("a/2", "x", None).await.unwrap().revision;
    direct.compact(last).await.unwrap();
    wire.set(Wire::Whole);
    assert_eq!(stale(&mut compacted).await, Stale::Compacted);

    let mut rewound = watch(&client, false).await;
    etcd.kill();
    etcd.wipe();
    etcd.restart().await;
    assert!(matches!(stale(&mut rewound).await, Stale::Rewound { was, is } if was == last && is < last));

    // Another cluster at the same address, further on than the one before.
    let mut replaced = watch(&client, false).await;
    etcd.kill();
    etcd.wipe();
    etcd.add_argument("--initial-cluster-token=another");
    etcd.restart().await;
    assert_eq!(stale(&mut replaced).await, Stale::OtherCluster);
}

/// A program that is busy elsewhere for longer than etcd may be silent must not think that etcd was.
#[tokio::test]
async fn a_watch_that_nobody_polled_for_long_is_not_taken_for_a_silent_one() {
    let etcd = Etcd::start().await;
    let client = client(&etcd.url());
    let mut watch = watch(&client, false).await;
    // Until etcd is known to answer when it is asked for a sign of life.
    let quiet = tokio::time::timeout(Duration::from_secs(2), watch.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    for n in 0..20 {
        client.put(format!("a/{n}"), "x", None).await.unwrap();
    }
    // Longer than the silence that ends a watch: here it is ours.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut seen = 0;
    while seen < 20 {
        match watch.next().await.expect("the watch has not broken") {
            WatchEvent::Changes(_, changes) => seen += changes.len(),
            other => assert!(matches!(other, WatchEvent::Progress(_)), "{other:?}"),
        }
    }
    let quiet = tokio::time::timeout(Duration::from_secs(2), watch.next()).await;
    assert!(quiet.is_err(), "and it goes on: {quiet:?}");
}
