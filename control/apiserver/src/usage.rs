//! What nodes and pods use, as the nodes' agents say it.
//!
//! Owns: the questions to agents, and their answers for a short while ([`Usages`]). Nobody is asked before somebody wants to
//! know; who wants to know at the same moment shares an answer. Never: reads an answer; see `control_core::usage`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use control_core::edit::text;
use control_core::location::agent::Agent;
use control_core::usage::QUESTION;
use http::header::{ACCEPT, HOST, HeaderValue, USER_AGENT};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use crate::backend::{Backends, Trust, exchange};
use crate::reply::whole;

/// For so long an answer is good: a kubelet measures about as often. An agent that does not answer is not asked sooner either.
const FRESH: Duration = Duration::from_secs(10);
/// Answers that nobody has asked for since then are given up.
const KEPT: Duration = Duration::from_secs(60);
/// How long an agent may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// As much of an answer is read. In bytes.
const MOST: usize = 64 << 20;

/// A node's summary; `None` where its agent gave none.
pub type Summary = Option<Arc<Value>>;

/// One question at a time.
type Place = Arc<tokio::sync::Mutex<Option<(Instant, Summary)>>>;

/// Answers by the names of nodes.
#[derive(Debug, Default)]
pub struct Usages(Mutex<HashMap<String, (Instant, Place)>>);

impl Usages {
    /// What a node's agent says of the use of CPU and memory.
    pub async fn of(&self, node: &Value, backends: &Backends) -> Summary {
        let name = text(node, &["metadata", "name"]);
        let place = self.place(name);
        let mut known = place.lock().await;
        if let Some((_, summary)) = known.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return summary.clone();
        }
        let asked = tokio::time::timeout(PATIENCE, ask(node, backends)).await;
        let answer = match asked.unwrap_or_else(|_| Err("it did not answer in time".to_owned())) {
            Ok(summary) => Some(Arc::new(summary)),
            Err(problem) => {
                tracing::debug!(node = name, problem, "cannot learn what a node uses");
                None
            }
        };
        *known = Some((Instant::now(), answer.clone()));
        answer
    }

    fn place(&self, node: &str) -> Place {
        let now = Instant::now();
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|name, (wanted, _)| name == node || now.duration_since(*wanted) < KEPT);
        let (wanted, place) = places.entry(node.to_owned()).or_insert_with(|| (now, Place::default()));
        *wanted = now;
        Arc::clone(place)
    }
}

async fn ask(node: &Value, backends: &Backends) -> Result<Value, String> {
    let agent = Agent::of(node, &backends.preferences).map_err(|status| status.message)?;
    let location = agent.location(QUESTION.0.to_owned(), QUESTION.1.to_owned());
    let mut head = http::Request::new(());
    *head.uri_mut() = location.target().parse().unwrap_or_default();
    let headers = head.headers_mut();
    if let Ok(host) = HeaderValue::from_str(&location.authority()) {
        headers.insert(HOST, host);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static("weft"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let answer = exchange::send(backends, &location, Trust::Agent, head.into_parts().0, whole("")).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let code = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MOST).collect().await.map_err(|error| error.to_string())?;
    if code != 200 {
        return Err(format!("it answered with {code}"));
    }
    serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
}
