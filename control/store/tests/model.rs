//! Several clients over several servers, against the one history that etcd tells.
//!
//! Needs etcd and etcdctl.

#[allow(dead_code)] // Each test file uses its part.
mod support;

use std::collections::BTreeMap;

use control_store::{Change, Freshness, Settings, Store, Watcher, WriteError};
use etcd::{Client, Span, WatchEvent};
use proptest::prelude::*;
use support::*;

/// What a client does next, to one of a few keys.
#[derive(Clone, Copy, Debug)]
enum Step {
    Create(u8),
    /// Over the version that this client knows, which may be an old one.
    Replace(u8),
    Remove(u8),
    /// Learns the version of a key.
    Get(u8, bool),
    /// Lists, and watches from there.
    Follow,
    /// Lists at the revision of an earlier list.
    ListAgain,
    /// Writes a key of another program.
    Foreign,
    /// Deletes all keys in one transaction, past any store.
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8).prop_map(Step::Create),
        6 => (0..4_u8).prop_map(Step::Replace),
        2 => (0..4_u8).prop_map(Step::Remove),
        4 => ((0..4_u8), any::<bool>()).prop_map(|(key, latest)| Step::Get(key, latest)),
        1 => Just(Step::Follow),
        1 => Just(Step::ListAgain),
        1 => Just(Step::Foreign),
        1 => Just(Step::Sweep),
    ]
}

/// A kind's objects: key to revision and bytes.
type Objects = BTreeMap<String, (i64, Vec<u8>)>;

/// A change: key, revision, and the bytes unless it was deleted.
type History = Vec<(String, i64, Option<Vec<u8>>)>;

/// What a client saw, to be compared with the history.
#[derive(Default)]
struct Seen {
    /// Lists with their revision.
    lists: Vec<(i64, Objects)>,
    /// Watches, with what of and after which revision.
    watches: Vec<(String, i64, Watcher)>,
    /// Acknowledged writes, by revision.
    writes: Vec<(i64, String, Option<Vec<u8>>)>,
}

fn objects(snapshot: &control_store::Snapshot) -> Objects {
    let each = |object: &control_store::Stored| {
        (object.key().to_owned(), (object.revision(), object.bytes().to_vec()))
    };
    snapshot.iter().map(each).collect()
}

async fn client_runs(number: usize, store: Store, raw: Client, kind: String, steps: Vec<Step>) -> Seen {
    let mut seen = Seen::default();
    let mut known: BTreeMap<u8, i64> = BTreeMap::new();
    // The last revision that this client was told of: nothing older may be served as the latest.
    let mut floor = 0;
    for (at, step) in steps.into_iter().enumerate() {
        let name = |key: u8| format!("{kind}a/{key}");
        let value = format!("{number}.{at}").into_bytes();
        match step {
            Step::Create(key) => match store.create(&name(key), value.clone(), None).await {
                Ok(stored) => {
                    known.insert(key, stored.revision());
                    floor = stored.revision();
                    seen.writes.push((stored.revision(), name(key), Some(value)));
                }
                Err(WriteError::Exists(_)) => {}
                Err(error) => panic!("{error}"),
            },
            Step::Replace(key) => {
                let expected = known.get(&key).copied().unwrap_or(1);
                match store.replace(&name(key), expected, value.clone(), None).await {
                    Ok(stored) => {
                        known.insert(key, stored.revision());
                        floor = stored.revision();
                        seen.writes.push((stored.revision(), name(key), Some(value)));
                    }
                    Err(WriteError::Conflict { current }) => {
                        let current = current.map_or(0, |current| current.revision());
                        assert!(current != expected);
                        known.insert(key, current);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Remove(key) => {
                let expected = known.get(&key).copied().unwrap_or(1);
                match store.remove(&name(key), expected).await {
                    Ok(revision) => {
                        floor = revision;
                        seen.writes.push((revision, name(key), None));
                    }
                    Err(WriteError::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Get(key, latest) => {
                let freshness = if latest { Freshness::Latest } else { Freshness::Any };
                let got = store.get(&name(key), freshness).await.unwrap();
                known.insert(key, got.map_or(0, |got| got.revision()));
            }
            Step::Follow => {
                let list = store.list(&kind, Freshness::Latest).await.unwrap();
                assert!(list.revision() >= floor);
                list.keep();
                seen.watches.push((kind.clone(), list.revision(), store.follow(&list).unwrap()));
                for part in [kind.clone(), format!("{kind}a/"), name(0), format!("{kind}b/")] {
                    let watcher = store.watch(&part, list.revision()).unwrap();
                    seen.watches.push((part, list.revision(), watcher));
                }
                seen.lists.push((list.revision(), objects(&list)));
            }
            Step::ListAgain => {
                // Memory knows some of these, etcd the others.
                let revision = seen.lists.first().map_or(floor, |(revision, _)| *revision);
                if revision > 0 {
                    let list = store.list(&kind, Freshness::Exactly(revision)).await.unwrap();
                    seen.lists.push((revision, objects(&list)));
                }
            }
            Step::Foreign => floor = raw.put("/coreos.com/x", value, None).await.unwrap().revision,
            Step::Sweep => {
                raw.delete(&Span::prefix(format!("/registry/{kind}"))).await.unwrap();
            }
        }
    }
    seen
}

/// All changes under a prefix since etcd began, as etcd's own watch tells them.
async fn history(client: &Client, kind: &str, upto: i64) -> History {
    let prefix = format!("/registry/{kind}");
    // A key that is watched here, and not of the kind.
    let end = format!("/registry/{}-end", kind.trim_end_matches('/'));
    let mut watch = client.watch(Span::prefix("/registry/"), etcd::Header::default(), false);
    client.put(&*end, "end", None).await.unwrap();
    let mut history = History::new();
    loop {
        let event = within("etcd's history", watch.next()).await.unwrap();
        let WatchEvent::Changes(_, changes) = event else { continue };
        for change in changes {
            let kv = change.kv();
            let key = String::from_utf8(kv.key.clone()).unwrap();
            if key == end && kv.mod_revision > upto {
                return history;
            }
            if !key.starts_with(&prefix) {
                continue;
            }
            let put = matches!(change, etcd::Change::Put { .. });
            history.push((key.replacen("/registry/", "", 1), kv.mod_revision, put.then(|| kv.value.clone())));
        }
    }
}

fn history_of(history: &History, is_of: impl Fn(&str) -> bool) -> History {
    history.iter().filter(|(key, _, _)| is_of(key)).cloned().collect()
}

fn replayed(history: &History, upto: i64) -> Objects {
    let mut objects = Objects::new();
    for (key, revision, value) in history.iter().filter(|(_, revision, _)| *revision <= upto) {
        match value {
            Some(value) => objects.insert(key.clone(), (*revision, value.clone())),
            None => objects.remove(key),
        };
    }
    objects
}

/// Every event of a watch is the history's, none lost, none twice, none in another place.
async fn compare_watch(history: &History, after: i64, upto: i64, watcher: &mut Watcher) {
    let mut objects = replayed(history, after);
    for (key, revision, value) in history.iter().filter(|(_, revision, _)| *revision > after) {
        let event = within("an event", watcher.next()).await.unwrap();
        assert_eq!((event.key(), event.revision()), (&**key, *revision));
        let before = match value {
            Some(value) => objects.insert(key.clone(), (*revision, value.clone())),
            None => objects.remove(key),
        };
        let previous =
            event.previous.as_ref().map(|previous| (previous.revision(), previous.bytes().to_vec()));
        assert_eq!(previous, before);
        let (change, bytes) = match (value, before) {
            (Some(value), None) => (Change::Added, value.clone()),
            (Some(value), Some(_)) => (Change::Modified, value.clone()),
            (None, Some((_, last))) => (Change::Deleted, last),
            (None, None) => panic!("{key} was deleted twice"),
        };
        assert_eq!((event.change, event.object.bytes().to_vec()), (change, bytes));
    }
    until("the bookmark is there", async || watcher.progress() >= upto).await;
    assert!(watcher.try_next().unwrap().is_none());
}

async fn run(etcd: &Etcd, stores: &[Store], case: usize, clients: Vec<Vec<Step>>) {
    let kind = format!("example.com/case{case}/");
    for store in stores {
        store.register(&kind);
    }
    let begin = stores[0].list(&kind, Freshness::Latest).await.unwrap().revision();
    let running: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(number, steps)| {
            let store = stores[number % stores.len()].clone();
            tokio::spawn(client_runs(number, store, etcd.client(), kind.clone(), steps))
        })
        .collect();
    let mut all = Vec::new();
    for client in running {
        all.push(within("a client", client).await.unwrap());
    }
    let upto = stores[0].list(&kind, Freshness::Latest).await.unwrap().revision();
    let history = history(&etcd.client(), &kind, upto).await;
    for store in stores {
        let list = store.list(&kind, Freshness::Exactly(upto)).await.unwrap();
        assert_eq!(objects(&list), replayed(&history, upto));
    }
    // A server that is started now knows the past, too.
    let late = etcd.store_with(Settings { kinds: vec![kind.clone()], ..settings() }).await;
    until("the past is read", async || late.watch(&kind, begin).is_ok()).await;
    compare_watch(&history, begin, upto, &mut late.watch(&kind, begin).unwrap()).await;
    for mut seen in all {
        for (revision, key, value) in &seen.writes {
            assert!(
                history.contains(&(key.clone(), *revision, value.clone())),
                "{key}@{revision} = {value:?} was acknowledged, not in {history:?}"
            );
        }
        for (revision, list) in &seen.lists {
            assert_eq!(list, &replayed(&history, *revision), "a list at {revision}");
        }
        for (part, after, watcher) in &mut seen.watches {
            let whole = part.ends_with('/');
            let is_of = |key: &str| if whole { key.starts_with(&**part) } else { key == *part };
            let history = history_of(&history, is_of);
            compare_watch(&history, *after, upto, watcher).await;
        }
    }
}

#[test]
fn clients_of_two_servers_see_one_history() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let etcd = Etcd::start();
    let stores = runtime.block_on(async { [etcd.store().await, etcd.store().await] });
    let case = std::cell::Cell::new(0);
    let config = ProptestConfig {
        cases: 24,
        // Another run has another order of events: there is nothing to shrink or to repeat.
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let clients = proptest::collection::vec(proptest::collection::vec(step(), 1..40), 1..5);
    let outcome = proptest::test_runner::TestRunner::new(config).run(&clients, |clients| {
        case.set(case.get() + 1);
        runtime.block_on(run(&etcd, &stores, case.get(), clients));
        Ok(())
    });
    outcome.unwrap();
}
