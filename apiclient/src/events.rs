//! Kubernetes Events: what an operator should find with `kubectl get events`.
//!
//! Facts: `events.k8s.io/v1`. Never: keeps anybody waiting, or says more than once in the log that the server does not
//! take them.

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime};

use apiclient_core::time;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{Client, Failure, Pace, Resource};

/// Events that wait for the server; more are dropped.
const WAITING: usize = 256;

/// An event that could not be told for so long is dropped.
const PATIENCE: Duration = Duration::from_secs(600);

/// Between two attempts: at first, at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Longest text that the server takes as a note, in bytes.
const NOTE: usize = 1024;

/// Longest name of an object.
const NAME: usize = 253;

const EVENTS: Resource = Resource::new("events.k8s.io", "v1", "events", true);

/// Who reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// For instance `kube-proxy`.
    pub controller: String,
    /// For instance `kube-proxy-node1`.
    pub instance: String,
}

/// The object that an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    pub api_version: Cow<'static, str>,
    pub kind: Cow<'static, str>,
    /// Empty for what has none.
    pub namespace: String,
    pub name: String,
    /// Empty where it is not known.
    pub uid: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub regarding: Reference,
    /// Why: a word in CamelCase.
    pub reason: Cow<'static, str>,
    /// What was done about it: a word in CamelCase.
    pub action: Cow<'static, str>,
    pub note: String,
    /// `Warning` instead of `Normal`.
    pub warning: bool,
}

/// Hands events to the API server; the default one drops them. Clones share the way there.
#[derive(Clone, Debug, Default)]
pub struct EventRecorder(Option<mpsc::Sender<(Event, SystemTime)>>);

impl EventRecorder {
    /// A recorder, and what has to run for it; that ends when all recorders are gone and everything is told.
    pub fn new(client: Client, reporter: Reporter) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, events) = mpsc::channel(WAITING);
        (Self(Some(sender)), run(client, reporter, events))
    }

    /// Hands it over and returns at once.
    pub fn emit(&self, event: Event) {
        if let Some(sender) = &self.0
            && let Err(error) = sender.try_send((event, SystemTime::now()))
        {
            let (mpsc::error::TrySendError::Full((event, _)) | mpsc::error::TrySendError::Closed((event, _))) =
                error;
            tracing::debug!(reason = %event.reason, "an event is dropped: {WAITING} others wait for the API server");
        }
    }
}

async fn run(client: Client, reporter: Reporter, mut waiting: mpsc::Receiver<(Event, SystemTime)>) {
    let mut said = false;
    while let Some((event, at)) = waiting.recv().await {
        let (namespace, body) = object(&event, &reporter, at);
        if let Err(failure) = tell(&client, &EVENTS.path(&namespace), &body).await
            && !std::mem::replace(&mut said, true)
        {
            tracing::warn!(%failure, reason = %event.reason, server = client.server(), "the API server takes no events from us");
        }
    }
}

/// Until it is taken, refused for good, or old.
async fn tell(client: &Client, path: &str, body: &Value) -> Result<(), Failure> {
    let (began, mut pace) = (Instant::now(), Pace::new(PAUSE.0, PAUSE.1));
    loop {
        let failure = match client.create::<serde::de::IgnoredAny>(path, body).await {
            Ok(_) => return Ok(()),
            // An attempt before this one got there, though its answer did not get here.
            Err(Failure::Refused(status)) if status.already_exists() => return Ok(()),
            // Its namespace is gone, or going.
            Err(Failure::Refused(status)) if status.is_not_found() => return Ok(()),
            Err(failure) => failure,
        };
        if !failure.is_passing() || began.elapsed() > PATIENCE {
            return Err(failure);
        }
        tokio::time::sleep(pace.wait(failure.wish())).await;
    }
}

impl Event {
    /// Its namespace, and the object: for those who write it themselves.
    pub fn object(&self, reporter: &Reporter, at: SystemTime) -> (String, Value) {
        object(self, reporter, at)
    }
}

/// Its namespace, and the object. Names are made unique by the time, as client-go's are.
fn object(event: &Event, reporter: &Reporter, now: SystemTime) -> (String, Value) {
    let Reference { api_version, kind, namespace, name, uid } = &event.regarding;
    // Objects outside of all namespaces have their events in this one.
    let place = if namespace.is_empty() { "default" } else { namespace };
    let mut note = event.note.clone();
    note.truncate(note.floor_char_boundary(NOTE));
    let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let unique = format!(".{nanos:x}");
    let head = &name[..name.floor_char_boundary(NAME - unique.len())];
    let mut regarding = json!({ "kind": kind, "apiVersion": api_version, "name": name });
    for (field, value) in [("namespace", namespace), ("uid", uid)] {
        if !value.is_empty() {
            regarding[field] = json!(value);
        }
    }
    let body = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "namespace": place, "name": format!("{}{unique}", head.trim_end_matches(['.', '-'])) },
        "eventTime": time::micros(now),
        "reportingController": reporter.controller,
        "reportingInstance": reporter.instance,
        "action": event.action,
        "reason": event.reason,
        "regarding": regarding,
        "note": note,
        "type": if event.warning { "Warning" } else { "Normal" },
    });
    (place.to_owned(), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_its_object_and_stands_in_its_namespace() {
        let now = SystemTime::UNIX_EPOCH + Duration::new(1_767_225_600, 500_000_000);
        let reporter = Reporter { controller: "kube-proxy".to_owned(), instance: "kube-proxy-n1".to_owned() };
        let service = Reference {
            api_version: "v1".into(),
            kind: "Service".into(),
            namespace: "a".to_owned(),
            name: "b".to_owned(),
            uid: String::new(),
        };
        let mut event = Event {
            regarding: service,
            reason: "FailedToStartServiceHealthcheck".into(),
            action: "Listen".into(),
            note: "é".repeat(1000),
            warning: true,
        };
        let (namespace, body) = object(&event, &reporter, now);
        assert_eq!(namespace, "a");
        assert_eq!(
            body["regarding"],
            json!({"kind": "Service", "apiVersion": "v1", "namespace": "a", "name": "b"})
        );
        assert_eq!(
            (&body["eventTime"], &body["type"]),
            (&json!("2026-01-01T00:00:00.500000Z"), &json!("Warning"))
        );
        assert_eq!(body["note"].as_str().map(str::len), Some(NOTE));
        assert_eq!(body["reportingInstance"], "kube-proxy-n1");
        event.regarding = Reference {
            kind: "Node".into(),
            name: "n".repeat(253),
            uid: "u".to_owned(),
            ..Reference::default()
        };
        let (namespace, body) = object(&event, &reporter, now);
        assert_eq!((namespace.as_str(), &body["regarding"]["uid"]), ("default", &json!("u")));
        assert_eq!(body["metadata"]["name"].as_str().map(str::len), Some(NAME));
    }
}
