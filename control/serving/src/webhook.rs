//! A service that gets a question as an object, and answers with the same object: SubjectAccessReview, TokenReview.
//!
//! Owns: how often it is asked again, and what is an answer. What is asked, `control_core` says.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use apiclient::{Access, Client, Failure};
use rand::Rng;
use serde_json::Value;

/// A question is put this often where the service is not well for a moment, as by the original.
const TRIES: u32 = 5;

/// Before the second time. Each later pause is half as long again, give or take a fifth.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest time of one question where nobody says another.
pub const TIMEOUT: Duration = Duration::from_secs(30);

pub struct Webhook {
    client: Client,
    timeout: Duration,
    /// The kind of questions and answers.
    kind: &'static str,
    /// Where questions are put.
    path: &'static str,
}

impl Webhook {
    /// `kubeconfig` says where it is, and who we are to it; it is read again when it changes.
    ///
    /// # Errors
    /// The kubeconfig, or a file that it names, cannot be read.
    pub fn open(kubeconfig: PathBuf, timeout: Duration, kind: &'static str) -> Result<Self, String> {
        let access = Access { kubeconfigs: vec![kubeconfig], master: None };
        let client = Client::connect_within(access, timeout).map_err(|error| error.to_string())?;
        Ok(Self::at(client, timeout, kind, "/"))
    }

    /// An API server, or what else `client` speaks to, that answers at a path.
    pub fn at(client: Client, timeout: Duration, kind: &'static str, path: &'static str) -> Self {
        Self { client, timeout, kind, path }
    }

    /// The status of the answer.
    ///
    /// # Errors
    /// There is none, or it is no answer to this question; in a sentence for the log.
    pub async fn ask(&self, question: &Value) -> Result<Value, String> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.once(question).await {
                Err(failure) if is_passing(&failure) => {
                    let wait = failure.wish().unwrap_or(pause).min(TIMEOUT);
                    let more = rand::rng().random_range(1.0..1.2);
                    tokio::time::sleep(wait.mul_f64(more)).await;
                    pause = pause.mul_f64(1.5);
                }
                outcome => return outcome.map_err(|failure| self.explained(&failure)),
            }
        }
        self.once(question).await.map_err(|failure| self.explained(&failure))
    }

    async fn once(&self, question: &Value) -> Result<Value, Failure> {
        let answer =
            tokio::time::timeout(self.timeout, self.client.create::<Value>(self.path, question)).await;
        let late = |_| Failure::Away(format!("no answer within {:?}", self.timeout));
        let mut answer = answer.map_err(late)??;
        let is = |field: &str, wanted: &str| answer[field].as_str().is_none_or(|found| found == wanted);
        let version = question["apiVersion"].as_str().unwrap_or_default();
        if !answer.is_object() || !is("kind", self.kind) || !is("apiVersion", version) {
            return Err(Failure::Garbled(format!("the answer is no {} of {version}", self.kind)));
        }
        Ok(answer["status"].take())
    }

    fn explained(&self, failure: &Failure) -> String {
        format!("Post {:?}: {failure}", self.client.server())
    }
}

/// What the original asks again after: 500, 504, 429, and what says when to come again.
fn is_passing(failure: &Failure) -> bool {
    matches!(failure.code(), 429 | 500 | 504) || failure.wish().is_some()
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Webhook").field(&self.client.server()).finish()
    }
}
