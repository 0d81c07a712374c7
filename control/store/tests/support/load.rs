//! Writers that count, and watchers that check: nothing acknowledged is lost, no event is missed, doubled or out of order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use control_store::{Freshness, Store, Watcher, WriteError};
use tokio::task::JoinHandle;

use super::{until, within};

/// Two writers on each store, each with an object of its own, and a watcher on each store.
pub struct Load {
    stores: Vec<Store>,
    stop: Arc<AtomicBool>,
    writers: Vec<(String, JoinHandle<u64>)>,
    watchers: Vec<JoinHandle<BTreeMap<String, u64>>>,
}

impl Load {
    pub async fn start(stores: &[Store]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut writers, mut watchers) = (Vec::new(), Vec::new());
        for (number, store) in stores.iter().enumerate() {
            let list = store.list("pods/", Freshness::Any).await.unwrap();
            watchers.push(tokio::spawn(check(store.follow(&list).unwrap())));
            for letter in ["a", "b"] {
                let key = format!("pods/{letter}/{number}");
                let writer = tokio::spawn(count_up(store.clone(), key.clone(), stop.clone()));
                writers.push((key, writer));
            }
        }
        Self { stores: stores.to_vec(), stop, writers, watchers }
    }

    /// Waits until every store has seen some more writes.
    pub async fn goes_on(&self) {
        for store in &self.stores {
            let before = store.revision();
            until("writes go on", async || store.revision() > before + 50).await;
        }
    }

    /// Stops the writers, and compares what they wrote with what is there and what was seen.
    pub async fn end(self) {
        self.stop.store(true, Relaxed);
        let mut acknowledged = BTreeMap::new();
        for (key, writer) in self.writers {
            acknowledged.insert(key, within("the writer", writer).await.unwrap());
        }
        let end = self.stores[0].create("pods/end", "1", None).await.unwrap();
        acknowledged.insert("pods/end".to_owned(), 1);
        let mut all: Vec<BTreeMap<String, u64>> = Vec::new();
        for store in &self.stores {
            let list = store.list("pods/", Freshness::Latest).await.unwrap();
            assert!(list.revision() >= end.revision());
            all.push(list.iter().map(|object| (object.key().to_owned(), number(object.bytes()))).collect());
        }
        for (key, acknowledged) in &acknowledged {
            let value = all[0][key];
            // The last write may have been done without an answer.
            assert!(
                value == *acknowledged || value == acknowledged + 1,
                "{key} is {value}, not {acknowledged}"
            );
        }
        for watcher in self.watchers {
            all.push(within("the watch sees all", watcher).await.unwrap());
        }
        assert!(all.iter().all(|seen| *seen == all[0]), "{all:?}");
    }
}

/// The last value of each key that is seen up to the end.
async fn check(mut watcher: Watcher) -> BTreeMap<String, u64> {
    let mut seen: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    let mut last = 0;
    loop {
        let event = watcher.next().await.unwrap();
        assert!(event.revision() > last, "in order, none twice");
        last = event.revision();
        let value = number(event.object.bytes());
        let before = seen.insert(event.key().to_owned(), (value, last));
        assert_eq!(value, before.map_or(1, |(value, _)| value + 1), "none lost");
        let previous = event.previous.as_ref().map(|previous| previous.revision());
        assert_eq!(previous, before.map(|(_, revision)| revision));
        if event.key() == "pods/end" {
            return seen.into_iter().map(|(key, (value, _))| (key, value)).collect();
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

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
                let now = number(now.bytes());
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
