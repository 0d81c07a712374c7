//! Kubernetes Events: what an operator should find with `kubectl get events`, told to the API server.
//!
//! Facts: kube-proxy 1.36 writes `events.k8s.io/v1` as reporting controller `kube-proxy`: `Starting` of its Node, and
//! `FailedToStartServiceHealthcheck` of a Service (pkg/proxy/healthcheck/service_health.go). Its role may create them.
//! Never: keeps anybody waiting, or says more than once in the log that the server does not take them.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::jiff::Timestamp;
use proxy_core::names::{Name, ServiceName};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::access::Door;
use super::failure::Failure;

/// Events that wait to be told; more are dropped.
const WAITING: usize = 64;

/// Attempts while the server is away, and the pause between them.
const TRIES: u32 = 12;
const PAUSE: Duration = Duration::from_secs(10);

/// Longest text that the server takes as a note, in bytes.
const NOTE: usize = 1024;

const CONTROLLER: &str = "kube-proxy";

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    Service(ServiceName),
    /// This node.
    Node(Name),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub about: About,
    /// Why: a word in CamelCase, as kube-proxy's.
    pub reason: &'static str,
    /// What was done about it: a word in CamelCase.
    pub action: &'static str,
    pub note: String,
    /// `Warning` instead of `Normal`.
    pub warning: bool,
}

/// Tells the API server; without one, nobody. Clones share the way there.
#[derive(Clone, Debug, Default)]
pub struct Herald(Option<mpsc::Sender<News>>);

impl Herald {
    /// Hands it over and returns at once.
    pub fn tell(&self, news: News) {
        if let Some(sender) = &self.0
            && let Err(error) = sender.try_send(news)
        {
            tracing::debug!(%error, "an event is not told");
        }
    }
}

/// A herald, and what has to run for it.
pub fn herald(door: Arc<Door>, node_name: &str) -> (Herald, impl Future<Output = ()> + Send + 'static) {
    let (sender, news) = mpsc::channel(WAITING);
    (Herald(Some(sender)), run(door, node_name.to_owned(), news))
}

async fn run(door: Arc<Door>, node: String, mut waiting: mpsc::Receiver<News>) {
    let mut said = false;
    while let Some(news) = waiting.recv().await {
        let (path, body) = event(&news, &node, SystemTime::now());
        for _ in 0..TRIES {
            match door.post(&path, body.to_string()).await {
                Ok(()) => break,
                Err(Failure::Away(_)) => tokio::time::sleep(PAUSE).await,
                Err(failure) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(%failure, reason = news.reason, "the API server takes no events from us");
                    }
                    break;
                }
            }
        }
    }
}

/// Where it goes, and the object. Names are made unique by the time, as kube-proxy's are.
fn event(news: &News, node: &str, now: SystemTime) -> (String, Value) {
    let (kind, namespace, name) = match &news.about {
        About::Service(service) => ("Service", &*service.namespace, &*service.name),
        About::Node(name) => ("Node", "", &**name),
    };
    // Objects outside of all namespaces have their events in this one.
    let place = if namespace.is_empty() { "default" } else { namespace };
    let mut note = news.note.clone();
    note.truncate(note.floor_char_boundary(NOTE));
    let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let mut unique = name.to_owned();
    let _ = write!(unique, ".{nanos:x}");
    let time = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut regarding = json!({ "kind": kind, "apiVersion": "v1", "name": name });
    if !namespace.is_empty() {
        regarding["namespace"] = json!(namespace);
    }
    let body = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "namespace": place, "name": unique },
        // The server takes exactly six digits after the point.
        "eventTime": format!("{time:.6}"),
        "reportingController": CONTROLLER,
        "reportingInstance": format!("{CONTROLLER}-{node}"),
        "action": news.action,
        "reason": news.reason,
        "regarding": regarding,
        "note": note,
        "type": if news.warning { "Warning" } else { "Normal" },
    });
    (format!("/apis/events.k8s.io/v1/namespaces/{place}/events"), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_its_object_and_stands_in_its_namespace() {
        let now = SystemTime::UNIX_EPOCH + Duration::new(1_767_225_600, 500_000_000);
        let mut news = News {
            about: About::Service(ServiceName::new("a", "b")),
            reason: "FailedToStartServiceHealthcheck",
            action: "Listen",
            note: "é".repeat(1000),
            warning: true,
        };
        let (path, body) = event(&news, "n1", now);
        assert_eq!(path, "/apis/events.k8s.io/v1/namespaces/a/events");
        assert_eq!(
            body["regarding"],
            json!({"kind": "Service", "apiVersion": "v1", "namespace": "a", "name": "b"})
        );
        assert_eq!(
            (&body["eventTime"], &body["type"]),
            (&json!("2026-01-01T00:00:00.500000Z"), &json!("Warning"))
        );
        assert_eq!(body["note"].as_str().unwrap().len(), NOTE);
        news.about = About::Node("n1".into());
        let (path, body) = event(&news, "n1", now);
        assert_eq!(path, "/apis/events.k8s.io/v1/namespaces/default/events");
        assert_eq!(body["reportingInstance"], "kube-proxy-n1");
    }
}
