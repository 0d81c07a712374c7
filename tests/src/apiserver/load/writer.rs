//! One client that creates, counts up and deletes objects of one collection, and knows of each what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Book, COLLECTIONS, LIMIT, PAUSE, Servers, Shared, collection, count};

/// Objects that it has at a time.
const MOST: usize = 6;

pub(super) struct Writer {
    servers: Servers,
    nth: usize,
    collection: String,
    shared: Arc<Shared>,
    /// What is there, by name, as it was acknowledged last.
    objects: Vec<(String, Value)>,
    steps: usize,
}

/// What came of a request.
enum Came {
    Done(Value),
    /// It was refused for certain, with this status.
    Refused(u16, String),
    /// Nobody knows whether it was done.
    Unknown,
}

impl Writer {
    pub(super) fn new(servers: Servers, nth: usize, shared: Arc<Shared>) -> Self {
        Self { servers, nth, collection: collection(nth), shared, objects: Vec::new(), steps: 0 }
    }

    /// For the object that ends the watches.
    pub(super) fn last(servers: Servers, nth: usize, shared: Arc<Shared>) -> Self {
        Self::new(servers, nth, shared)
    }

    pub(super) fn run(mut self) -> Book {
        while !self.shared.stop.load(Relaxed) {
            self.step();
        }
        self.objects.iter().map(|(name, object)| (name.clone(), count(object))).collect()
    }

    fn step(&mut self) {
        self.steps += 1;
        let full = self.objects.len() >= MOST;
        match self.steps % 5 {
            0 if !full => self.create(&format!("w{}-{}", self.nth, self.steps)),
            0 => self.delete(),
            _ if self.objects.is_empty() => self.create(&format!("w{}-{}", self.nth, self.steps)),
            nth => self.count_up(nth + self.steps / 5),
        }
        if self.steps.is_multiple_of(7) {
            self.look();
        }
        if self.steps.is_multiple_of(11) {
            self.servers.turn();
        }
    }

    fn ask(&mut self, method: &str, path: &str, body: &Value) -> Came {
        match self.servers.once(method, path, body) {
            Ok(reply) if (200..300).contains(&reply.status) => {
                self.shared.writes.fetch_add(1, Relaxed);
                Came::Done(super::json(&reply))
            }
            Ok(reply) => {
                let text = String::from_utf8_lossy(&reply.body).into_owned();
                match reply.status {
                    429 | 500.. => {
                        self.servers.turn();
                        std::thread::sleep(PAUSE);
                        Came::Unknown
                    }
                    status => Came::Refused(status, text),
                }
            }
            Err(_) => {
                std::thread::sleep(PAUSE);
                Came::Unknown
            }
        }
    }

    pub(super) fn create(&mut self, name: &str) {
        let body = object(self.nth, name);
        let mut unknown = false;
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            let path = self.collection.clone();
            match self.ask("POST", &path, &body) {
                Came::Done(created) => return self.objects.push((name.to_owned(), created)),
                Came::Unknown => unknown = true,
                Came::Refused(409, _) if unknown => {
                    let found = self.read(name).unwrap_or_else(|| panic!("{name} exists, and is not there"));
                    return self.objects.push((name.to_owned(), found));
                }
                Came::Refused(status, text) => panic!("create {name}: {status}: {text}"),
            }
        }
        panic!("{name} could not be created within {LIMIT:?}");
    }

    fn count_up(&mut self, nth: usize) {
        let nth = nth % self.objects.len();
        let (name, mut object) = self.objects[nth].clone();
        let path = format!("{}/{name}", self.collection);
        let (before, mut unknown) = (count(&object), false);
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            object["metadata"]["annotations"]["count"] = json!((before + 1).to_string());
            match self.ask("PUT", &path, &object) {
                Came::Done(now) => {
                    assert_eq!(count(&now), before + 1, "{name}");
                    self.objects[nth].1 = now;
                    return;
                }
                Came::Unknown => unknown = true,
                Came::Refused(409, text) => {
                    assert!(unknown, "{name}: {text}");
                    let now = self.read(&name).unwrap_or_else(|| panic!("{name} is lost"));
                    let there = count(&now);
                    assert!(there == before || there == before + 1, "{name} is {there}, after {before}");
                    object = now;
                    if there == before + 1 {
                        self.objects[nth].1 = object;
                        return;
                    }
                }
                Came::Refused(status, text) => panic!("update {name} after {before}: {status}: {text}"),
            }
        }
        panic!("{name} could not be updated within {LIMIT:?}");
    }

    fn delete(&mut self) {
        let (name, _) = self.objects.remove(self.steps % self.objects.len());
        let path = format!("{}/{name}", self.collection);
        let mut unknown = false;
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            match self.ask("DELETE", &path, &Value::Null) {
                Came::Done(_) => return,
                Came::Unknown => unknown = true,
                Came::Refused(404, _) if unknown => return,
                Came::Refused(status, text) => panic!("delete {name}: {status}: {text}"),
            }
        }
        panic!("{name} could not be deleted within {LIMIT:?}");
    }

    fn read(&mut self, name: &str) -> Option<Value> {
        self.servers.read(&format!("{}/{name}", self.collection))
    }

    /// Another server has what was acknowledged here, and so has its list.
    fn look(&mut self) {
        self.servers.turn();
        let nth = self.steps % self.objects.len().max(1);
        if let Some((name, object)) = self.objects.get(nth).cloned() {
            let found = self.read(&name).unwrap_or_else(|| panic!("{name} is lost"));
            assert_eq!(count(&found), count(&object), "{name} is older than what was acknowledged");
        }
        let path = format!("{}?labelSelector=writer%3Dw{}", self.collection, self.nth);
        let list = self.servers.read(&path).expect("a list");
        let known: Book = self.objects.iter().map(|(name, object)| (name.clone(), count(object))).collect();
        assert_eq!(super::book_of(&list), known, "a list is not what was acknowledged");
    }
}

/// A new object of a collection.
fn object(nth: usize, name: &str) -> Value {
    let mut object = json!({"metadata": {
        "name": name, "labels": {"writer": format!("w{nth}")}, "annotations": {"count": "1"},
    }});
    match COLLECTIONS[nth % COLLECTIONS.len()].1 {
        "configmaps" => object["data"] = json!({"text": "x".repeat(300)}),
        "endpointslices" => {
            object["addressType"] = json!("IPv4");
            object["endpoints"] = json!([{"addresses": ["192.0.2.1"]}]);
        }
        _ => object["spec"] = json!({"holderIdentity": name, "leaseDurationSeconds": 15}),
    }
    object
}
