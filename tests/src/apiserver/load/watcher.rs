//! One client that lists a collection once and watches it from then on, through whatever happens to its server.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use serde_json::Value;

use super::{Book, Expiry, LAST, LIMIT, PAUSE, Servers, Shared, count, items, name, version};

pub(super) struct Watcher {
    servers: Servers,
    collection: String,
    expiry: Expiry,
    shared: Arc<Shared>,
    /// Count and version of each object.
    objects: BTreeMap<String, (u64, i64)>,
    /// Everything up to this version was seen.
    seen: i64,
}

/// How a watch ended.
enum End {
    /// All has been seen.
    All,
    /// The server or the connection ended: it goes on elsewhere.
    Broken,
    /// 410.
    Expired(String),
}

impl Watcher {
    pub(super) fn new(servers: Servers, collection: String, expiry: Expiry, shared: Arc<Shared>) -> Self {
        let mut new = Self { servers, collection, expiry, shared, objects: BTreeMap::new(), seen: 0 };
        new.list();
        new
    }

    pub(super) fn run(mut self) -> Book {
        let mut end = Instant::now() + LIMIT;
        loop {
            let before = self.seen;
            match self.follow() {
                Ok(End::All) => break,
                Ok(End::Expired(text)) => {
                    assert_eq!(
                        self.expiry,
                        Expiry::Allowed,
                        "{} after {}: {text}",
                        self.collection,
                        self.seen
                    );
                    self.shared.listed_again.fetch_add(1, Relaxed);
                    self.list();
                }
                Ok(End::Broken) | Err(_) => {
                    self.shared.resumed.fetch_add(1, Relaxed);
                    self.servers.turn();
                    std::thread::sleep(PAUSE);
                }
            }
            if self.seen > before {
                end = Instant::now() + LIMIT;
            }
            assert!(Instant::now() < end, "no server lets {} be watched within {LIMIT:?}", self.collection);
            if self.objects.contains_key(LAST) {
                break;
            }
        }
        self.objects.into_iter().map(|(name, (count, _))| (name, count)).collect()
    }

    /// Lists, and where it has listed before, compares: nothing goes back.
    fn list(&mut self) {
        let list = self.servers.read(&self.collection).expect("a list");
        let now = version(&list);
        assert!(now >= self.seen, "{}: the list is of {now}, after {} was seen", self.collection, self.seen);
        let mut objects = BTreeMap::new();
        for object in items(&list) {
            let new = (count(object), version(object));
            if let Some(old) = self.objects.get(&name(object)) {
                assert!(
                    new == *old || (new.0 > old.0 && new.1 > old.1),
                    "{}: {old:?}, then {new:?}",
                    name(object)
                );
            }
            objects.insert(name(object), new);
        }
        (self.objects, self.seen) = (objects, now);
    }

    fn follow(&mut self) -> io::Result<End> {
        let path =
            format!("{}?watch=1&allowWatchBookmarks=true&resourceVersion={}", self.collection, self.seen);
        let mut lines = match self.servers.watch(&path) {
            Err(error) if error.to_string().contains(": 410: ") => {
                return Ok(End::Expired(error.to_string()));
            }
            lines => lines?,
        };
        while let Some(line) = lines.line()? {
            let event: Value = serde_json::from_slice(&line)?;
            let (object, kind) = (&event["object"], event["type"].as_str().unwrap_or_default());
            match kind {
                "BOOKMARK" => {
                    assert!(
                        version(object) >= self.seen,
                        "a bookmark of {} after {}",
                        version(object),
                        self.seen
                    );
                    self.seen = version(object);
                }
                "ERROR" if object["code"] == 410 => return Ok(End::Expired(object.to_string())),
                "ERROR" => return Ok(End::Broken),
                _ => self.take_in(kind, object),
            }
            if self.objects.contains_key(LAST) {
                return Ok(End::All);
            }
        }
        Ok(End::Broken)
    }

    fn take_in(&mut self, kind: &str, object: &Value) {
        let (name, now, count) = (name(object), version(object), count(object));
        let at = format!("{} {name} of {now}, after {}", self.collection, self.seen);
        assert!(now > self.seen, "doubled or out of order: {kind} {at}");
        self.seen = now;
        self.shared.events.fetch_add(1, Relaxed);
        let before = self.objects.get(&name).map(|(count, _)| *count);
        match kind {
            "ADDED" => assert_eq!((before, count), (None, 1), "added: {at}"),
            "MODIFIED" => assert_eq!(before, Some(count - 1), "modified: {at}"),
            "DELETED" => assert_eq!(before, Some(count), "deleted: {at}"),
            other => panic!("{other}: {at}"),
        }
        match kind {
            "DELETED" => drop(self.objects.remove(&name)),
            _ => drop(self.objects.insert(name, (count, now))),
        }
    }
}
