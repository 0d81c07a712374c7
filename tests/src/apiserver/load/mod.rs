//! Clients that keep books while servers and etcd come and go: what was acknowledged is there at the end, reads are never
//! older than what was acknowledged before them, and no watch loses, doubles or reorders an event.
//!
//! Owns: the writers ([`writer`]), the watchers ([`watcher`]), and the comparison of their books. Begin at [`Load::start`].
//! Never: asks a second time what may have been done, without looking first.

mod service;
mod watcher;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::authorization;
use super::http::{Client, Lines, Reply};
use crate::wait::until_explained;

/// Until servers that were away serve again, on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(180);
/// Between two attempts at servers that are away.
const PAUSE: Duration = Duration::from_millis(20);

/// The namespace of all that is written.
pub const NAMESPACE: &str = "load";
/// The object that ends the watches of its collection.
const LAST: &str = "z-last";

/// Kinds that are written: one that is nothing but data, one that others make from it, one that is written most of all.
const COLLECTIONS: [(&str, &str); 3] = [
    ("/api/v1", "configmaps"),
    ("/apis/discovery.k8s.io/v1", "endpointslices"),
    ("/apis/coordination.k8s.io/v1", "leases"),
];

fn collection(nth: usize) -> String {
    let (root, plural) = COLLECTIONS[nth % COLLECTIONS.len()];
    format!("{root}/namespaces/{NAMESPACE}/{plural}")
}

/// How often an object was written: by this it is seen whether an event is missing.
fn count(object: &Value) -> u64 {
    object["metadata"]["annotations"]["count"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn version(object: &Value) -> i64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Servers of one cluster as a client has them: it stays with one for as long as that answers.
pub struct Servers {
    clients: Vec<Client>,
    at: usize,
}

impl Servers {
    /// `first`: the server to begin with.
    pub fn new(clients: Vec<Client>, first: usize) -> Self {
        Self { at: first % clients.len().max(1), clients }
    }

    /// Goes to the next one.
    pub fn turn(&mut self) {
        self.at = (self.at + 1) % self.clients.len();
    }

    /// Sends a request once, as the administrator. An error turns to the next server.
    ///
    /// # Errors
    /// No answer: the request may have been carried out or not.
    pub fn once(&mut self, method: &str, path: &str, body: &Value) -> io::Result<Reply> {
        let mut headers = authorization("admin");
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let reply = self.clients[self.at].attempt(method, path, &headers, &body);
        if reply.is_err() {
            self.turn();
        }
        reply
    }

    /// Reads until a server answers with 200 or 404.
    ///
    /// # Panics
    /// None does.
    pub fn read(&mut self, path: &str) -> Option<Value> {
        let end = Instant::now() + LIMIT;
        loop {
            let last = match self.once("GET", path, &Value::Null) {
                Ok(reply) if reply.status == 200 => return Some(json(&reply)),
                Ok(reply) if reply.status == 404 => return None,
                Ok(reply) => {
                    self.turn();
                    String::from_utf8_lossy(&reply.body).into_owned()
                }
                Err(error) => error.to_string(),
            };
            assert!(Instant::now() < end, "GET {path}: no answer within {LIMIT:?}; {last}");
            std::thread::sleep(PAUSE);
        }
    }

    fn watch(&self, path: &str) -> io::Result<Lines> {
        self.clients[self.at].watch(path, &authorization("admin"))
    }
}

/// The body of an answer.
///
/// # Panics
/// It is no JSON.
fn json(reply: &Reply) -> Value {
    let text = || String::from_utf8_lossy(&reply.body).into_owned();
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", text()))
}

/// What there is of a collection: names with how often each was written.
type Book = BTreeMap<String, u64>;

/// What may end a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// A server may have forgotten what was before its start, and a watch that asks for it ends with 410: kube-apiserver's.
    Allowed,
    /// No watch is to end with 410.
    Never,
}

/// What all threads of a load share.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    /// Writes that were acknowledged, and events that were seen.
    writes: AtomicUsize,
    events: AtomicUsize,
    /// Watches that were begun again where they were, and that had to list again.
    resumed: AtomicUsize,
    listed_again: AtomicUsize,
}

/// Writers and watchers at work.
pub struct Load {
    shared: Arc<Shared>,
    clients: Arc<dyn Fn(usize) -> Servers + Send + Sync>,
    writers: Vec<(usize, JoinHandle<Book>)>,
    services: Vec<JoinHandle<BTreeMap<String, service::Given>>>,
    watchers: Vec<(usize, JoinHandle<Book>)>,
}

/// What a load came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub writes: usize,
    pub events: usize,
    pub resumed: usize,
    pub listed_again: usize,
}

impl Load {
    /// `clients` makes a client that begins with the server of that number.
    ///
    /// # Panics
    /// No server answers.
    pub fn start(clients: impl Fn(usize) -> Servers + Send + Sync + 'static, expiry: Expiry) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            writes: AtomicUsize::new(0),
            events: AtomicUsize::new(0),
            resumed: AtomicUsize::new(0),
            listed_again: AtomicUsize::new(0),
        });
        let clients: Arc<dyn Fn(usize) -> Servers + Send + Sync> = Arc::new(clients);
        let made = clients(0).once(
            "POST",
            "/api/v1/namespaces",
            &serde_json::json!({"metadata": {"name": NAMESPACE}}),
        );
        let made = made.unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(made.status, 201 | 409), "{}", String::from_utf8_lossy(&made.body));
        let (mut writers, mut watchers) = (Vec::new(), Vec::new());
        for nth in 0..COLLECTIONS.len() {
            for server in 0..2 {
                let watcher = watcher::Watcher::new(clients(server), collection(nth), expiry, shared.clone());
                watchers.push((nth, std::thread::spawn(move || watcher.run())));
            }
            let writer = writer::Writer::new(clients(nth), nth, shared.clone());
            writers.push((nth, std::thread::spawn(move || writer.run())));
        }
        let service = |nth: usize| {
            let servers = clients(nth);
            let shared = shared.clone();
            std::thread::spawn(move || service::run(servers, nth, &shared))
        };
        let services = (0..2).map(service).collect();
        Self { shared, clients, writers, services, watchers }
    }

    /// Waits until some more was written and seen.
    ///
    /// # Panics
    /// Nothing is.
    pub fn goes_on(&self) {
        let numbers = || (self.shared.writes.load(Relaxed), self.shared.events.load(Relaxed));
        let (writes, events) = numbers();
        until_explained(
            "writes and events to go on",
            LIMIT,
            || {
                let now = numbers();
                assert!(!self.has_failed(), "a client of the load has failed");
                (now.0 > writes + 60 && now.1 > events + 60).then_some(())
            },
            || format!("{writes} writes and {events} events before, {:?} now", numbers()),
        );
    }

    fn has_failed(&self) -> bool {
        self.writers.iter().any(|(_, thread)| thread.is_finished())
            || self.watchers.iter().any(|(_, thread)| thread.is_finished())
            || self.services.iter().any(JoinHandle::is_finished)
    }

    /// Stops the writers, and compares what they know with what each server has, and with what each watcher saw.
    ///
    /// # Panics
    /// Something was lost, or seen twice, or differs.
    pub fn end(self, servers: usize) -> Outcome {
        self.shared.stop.store(true, Relaxed);
        let mut books = vec![Book::new(); COLLECTIONS.len()];
        for (nth, writer) in self.writers {
            books[nth].extend(writer.join().expect("a writer"));
        }
        let given: Vec<_> =
            self.services.into_iter().map(|thread| thread.join().expect("a writer")).collect();
        for (nth, book) in books.iter_mut().enumerate() {
            let mut last = writer::Writer::last((self.clients)(nth), nth, self.shared.clone());
            last.create(LAST);
            book.insert(LAST.to_owned(), 1);
        }
        for server in 0..servers {
            let mut client = (self.clients)(server);
            for (nth, book) in books.iter().enumerate() {
                let list = client.read(&collection(nth)).expect("a list");
                assert_eq!(&book_of(&list), book, "{} of server {server}", collection(nth));
            }
            service::check(&mut client, &given);
        }
        for (nth, watcher) in self.watchers {
            assert_eq!(watcher.join().expect("a watcher"), books[nth], "a watch of {}", collection(nth));
        }
        let number = |counter: &AtomicUsize| counter.load(Relaxed);
        Outcome {
            writes: number(&self.shared.writes),
            events: number(&self.shared.events),
            resumed: number(&self.shared.resumed),
            listed_again: number(&self.shared.listed_again),
        }
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn book_of(list: &Value) -> Book {
    items(list).map(|object| (name(object), count(object))).collect()
}
