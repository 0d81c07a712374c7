//! Kubernetes Events about pods, in the original's words.
//!
//! Never keeps a binding waiting: events have few writes under way, and the oldest are dropped when too many wait.

use std::sync::Arc;
use std::time::SystemTime;

use apiclient::objects::{Api, Write};
use apiclient::{Event, Reference, Reporter, Resource};
use control_scheduler_core::pod::Pod;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

const EVENTS: Resource = Resource::new("events.k8s.io", "v1", "events", true);

/// More are dropped.
const WAITING: usize = 10_000;

/// Writes under way at a time.
const AT_ONCE: usize = 4;

/// Hands events on.
#[derive(Clone, Debug)]
pub struct Recorder(mpsc::Sender<(Event, Value, SystemTime)>);

impl Recorder {
    /// A recorder, and what has to run for it.
    pub fn new(api: Arc<dyn Api>, reporter: Reporter) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, waiting) = mpsc::channel(WAITING);
        (Self(sender), run(api, reporter, waiting))
    }

    pub fn scheduled(&self, pod: &Pod, node: &str) {
        let note = format!("Successfully assigned {} to {node}", pod.name);
        self.emit(pod, "Scheduled", "Binding", note, false, Value::Null);
    }

    pub fn failed(&self, pod: &Pod, message: &str) {
        self.emit(pod, "FailedScheduling", "Scheduling", message.to_owned(), true, Value::Null);
    }

    /// `by` has preempted a pod.
    pub fn preempted(&self, victim: &Pod, by: &Pod, node: &str) {
        let note = format!("Preempted by pod {} on node {node}", by.uid);
        let related = json!({"apiVersion": "v1", "kind": "Pod", "namespace": *by.name.namespace,
            "name": *by.name.name, "uid": *by.uid});
        self.emit(victim, "Preempted", "Preempting", note, false, related);
    }

    fn emit(
        &self,
        pod: &Pod,
        reason: &'static str,
        action: &'static str,
        note: String,
        warning: bool,
        related: Value,
    ) {
        let regarding = Reference {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: pod.name.namespace.to_string(),
            name: pod.name.name.to_string(),
            uid: pod.uid.to_string(),
        };
        let event = Event { regarding, reason: reason.into(), action: action.into(), note, warning };
        if self.0.try_send((event, related, SystemTime::now())).is_err() {
            tracing::debug!(pod = %pod.name, reason, "an event is dropped: {WAITING} others wait for the API server");
        }
    }
}

async fn run(api: Arc<dyn Api>, reporter: Reporter, mut waiting: mpsc::Receiver<(Event, Value, SystemTime)>) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let said = Arc::new(std::sync::atomic::AtomicBool::new(false));
    while let Some((event, related, at)) = waiting.recv().await {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let (namespace, mut object) = event.object(&reporter, at);
        if !related.is_null() {
            object["related"] = related;
        }
        let (api, said) = (api.clone(), said.clone());
        tokio::spawn(async move {
            let write = Write::Create { path: EVENTS.path(&namespace), object };
            if let Err(failure) = api.write(&write).await {
                // Its namespace may be going; a lost event is no reason to try again.
                if !said.swap(true, std::sync::atomic::Ordering::Relaxed) {
                    tracing::info!(%failure, "the API server did not take an event");
                }
            }
            drop(permit);
        });
    }
}
