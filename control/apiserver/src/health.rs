//! Whether the server lives and may be asked: `/healthz`, `/livez`, `/readyz`, their checks and `?verbose`.
//!
//! Owns: the named conditions of readiness, and whether the server is about to end. Begin at [`Health::answer`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use control_store::Store;
use tokio::sync::watch;

use crate::reply::{Response, text};
use crate::request::info::Info;
use crate::request::query::Query;

/// What the server's health depends on.
#[derive(Debug)]
pub struct Health {
    /// Things to be done at the start, and whether they are done (`poststarthook/...`).
    started: Mutex<BTreeMap<&'static str, bool>>,
    /// It is not ready any more, but serves on.
    leaving: AtomicBool,
    shut_down: watch::Sender<bool>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            started: Mutex::default(),
            leaving: AtomicBool::new(false),
            shut_down: watch::Sender::new(false),
        }
    }
}

impl Health {
    /// Readiness waits for something by this name: `poststarthook/rbac/bootstrap-roles`.
    pub fn expect(&self, name: &'static str) {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_insert(false);
    }

    /// What was expected is done.
    pub fn done(&self, name: &'static str) {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).insert(name, true);
    }

    /// The server will end: it is not ready from now on, so that nobody sends new clients, and serves on.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// The server ends: it is not ready, and watches end.
    pub fn shut_down(&self) {
        self.shut_down.send_replace(true);
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) || *self.shut_down.borrow()
    }

    /// Comes back when the server is about to end.
    pub fn shutting_down(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.shut_down.subscribe();
        async move {
            // The sender lives as long as the server.
            let _ = receiver.wait_for(|down| *down).await;
        }
    }

    /// `None` for a path that is not of health.
    pub fn answer(&self, store: &Store, info: &Info, query: &Query) -> Option<Response> {
        let path = info.path.trim_start_matches('/');
        let (root, check) = path.split_once('/').unwrap_or((path, ""));
        if !matches!(root, "healthz" | "livez" | "readyz") {
            return None;
        }
        let checks = self.checks(store, root);
        if !check.is_empty() {
            let (_, good) = checks.iter().find(|(name, _)| name == check)?;
            return Some(match good {
                true => crate::reply::reply(200, "text/plain; charset=utf-8", "ok"),
                false => text(500, &format!("internal server error: {check} failed")),
            });
        }
        let excluded: Vec<&str> = query.all("exclude").collect();
        let mut lines = String::new();
        let mut failed = Vec::new();
        for (name, good) in &checks {
            if excluded.contains(&name.as_str()) {
                lines.push_str(&format!("[+]{name} excluded: ok\n"));
            } else if *good {
                lines.push_str(&format!("[+]{name} ok\n"));
            } else {
                lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
                failed.push(name.as_str());
            }
        }
        if !failed.is_empty() {
            return Some(text(500, &format!("{lines}{root} check failed")));
        }
        if query.get("verbose").is_some() {
            return Some(plain(200, &format!("{lines}{root} check passed\n")));
        }
        Some(plain(200, "ok"))
    }

    /// What is checked below a root: `healthz`, `livez`, `readyz`.
    pub fn names(&self, store: &Store, root: &str) -> Vec<String> {
        self.checks(store, root).into_iter().map(|(name, _)| name).collect()
    }

    fn checks(&self, store: &Store, root: &str) -> Vec<(String, bool)> {
        let mut checks = vec![
            ("ping".to_owned(), true),
            ("log".to_owned(), true),
            ("etcd".to_owned(), store.is_connected()),
        ];
        if root == "readyz" {
            checks.push(("etcd-readiness".to_owned(), store.is_ready() && store.is_connected()));
            checks.push(("informer-sync".to_owned(), store.is_ready()));
        }
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        checks.extend(started.iter().map(|(name, done)| ((*name).to_owned(), *done)));
        if root == "readyz" {
            checks.push(("shutdown".to_owned(), !self.is_leaving()));
        }
        checks
    }
}

fn plain(code: u16, message: &str) -> Response {
    let mut response = text(code, "");
    let bytes = bytes::Bytes::copy_from_slice(message.as_bytes());
    response.headers_mut().insert(http::header::CONTENT_LENGTH, bytes.len().into());
    *response.body_mut() = crate::reply::whole(bytes);
    response
}
