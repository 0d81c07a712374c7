//! What plays the kubelet: every pod of the namespace that appears runs and is ready.
//!
//! It watches metadata and writes one patch for each pod, so that it costs both servers the same and little.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use lab::LabError;

use super::objects;
use super::stage::MERGE_PATCH;
use crate::measure::failed;
use crate::servers::client::{Client, JSON};
use crate::servers::clients;
use crate::servers::side::Side;
use crate::servers::watcher::{METADATA, Watcher, present};

/// Patches under way at the same time.
const CLIENTS: usize = 16;

/// It stops when it is dropped.
pub struct Kubelet {
    /// Its end lets the threads end.
    watcher: Option<Watcher>,
    threads: Vec<JoinHandle<()>>,
    done: Arc<Done>,
}

#[derive(Default)]
struct Done {
    /// Requests so far.
    asked: AtomicU32,
    trouble: Mutex<Option<String>>,
}

impl Kubelet {
    /// # Errors
    /// The server cannot be reached.
    pub fn start(side: &Side) -> Result<Self, LabError> {
        let (to_clients, names) = mpsc::channel();
        let names = Arc::new(Mutex::new(names));
        let done = Arc::new(Done::default());
        let patching = |client: Client| {
            let (client, names, done) =
                (client.with(JSON, MERGE_PATCH), Arc::clone(&names), Arc::clone(&done));
            thread::spawn(move || patch_all(client, &names, &done))
        };
        let threads = clients::of(side, CLIENTS)?.into_iter().map(patching).collect();
        let path = format!("{}?watch=1", objects::PODS);
        let watcher = Watcher::open(side, "pods for the kubelet", &path, METADATA, move |event| {
            if event.starts_with(r#"{"type":"ADDED""#) {
                // Who does not listen has said why.
                let _ = to_clients.send(present(event)?.to_owned());
            }
            None
        })?;
        Ok(Self { watcher: Some(watcher), threads, done })
    }

    /// Requests so far.
    pub fn asked(&self) -> u32 {
        self.done.asked.load(Ordering::Relaxed)
    }

    /// # Errors
    /// A patch was refused.
    pub fn lives(&self) -> Result<(), LabError> {
        let trouble = self.done.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().map_or(Ok(()), |trouble| Err(failed("the kubelet that is played", trouble.as_str())))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        drop(self.watcher.take());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn patch_all(mut client: Client, names: &Mutex<Receiver<String>>, done: &Done) {
    let patch = objects::running(0, true).to_string();
    loop {
        let next = names.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(name) = next else { return };
        let trouble = match client.ask("PATCH", &objects::status_path(&name), patch.as_bytes()) {
            // It may have been deleted before.
            Ok((200 | 404, _)) => None,
            Ok((status, body)) => Some(format!("status {status}: {}", String::from_utf8_lossy(&body))),
            Err(error) => Some(error.to_string()),
        };
        done.asked.fetch_add(1, Ordering::Relaxed);
        if trouble.is_some() {
            *done.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        }
    }
}
