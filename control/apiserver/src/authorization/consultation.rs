//! How a decision that never waits has webhooks in it: it is made with the answers at hand; where one is missing, that one
//! question is asked, and the decision is made again.
//!
//! So what decides stays pure, asks a webhook only what it would have asked in its turn, and sees one answer to one
//! question however often it is run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control_core::access::{Attributes, Authorize, Decision, User, Verdict};
use serde_json::Value;

use super::webhook::{Known, Webhook};
use super::{Authorizers, Member};

/// More questions than any decision has: one of this many does not end.
const MOST_QUESTIONS: usize = 1000;

/// Answers to the questions of one decision, by the member of the chain and the spec.
type Answers = HashMap<(usize, String), Verdict>;

/// A question that nobody has answered yet.
#[derive(Debug)]
struct Open {
    nth: usize,
    webhook: Arc<Webhook>,
    spec: Value,
    remember: bool,
}

/// The chain, with the answers that there are.
#[derive(Debug)]
struct Consultation<'a> {
    authorizers: &'a Authorizers,
    members: &'a [Member],
    answers: &'a Answers,
    /// The first question without an answer. What is decided after it does not count.
    open: Mutex<Option<Open>>,
}

impl Consultation<'_> {
    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, nth: usize, webhook: &Arc<Webhook>, attributes: &Attributes, user: &User) -> Verdict {
        let (spec, remember) = match webhook.known(attributes, user) {
            Known::Verdict(verdict) => return verdict,
            Known::Ask { spec, remember } => (spec, remember),
        };
        if let Some(answer) = self.answers.get(&(nth, spec.to_string())) {
            return answer.clone();
        }
        *self.open() = Some(Open { nth, webhook: Arc::clone(webhook), spec, remember });
        Verdict::deny("")
    }
}

impl Authorize for Consultation<'_> {
    fn authorize(&self, attributes: &Attributes, user: &User) -> Verdict {
        if self.open().is_some() {
            return Verdict::deny("");
        }
        self.authorizers
            .in_turn(self.members, attributes, user, |nth, webhook| self.ask(nth, webhook, attributes, user))
    }
}

impl Authorizers {
    /// What `decide` decides with this chain. It may be run several times; only its last outcome counts.
    pub async fn decide<T: Send>(&self, mut decide: impl FnMut(&dyn Authorize) -> T + Send) -> T {
        let members = self.members();
        let mut answers = Answers::new();
        loop {
            let consultation = Consultation {
                authorizers: self,
                members: &members,
                answers: &answers,
                open: Mutex::default(),
            };
            let outcome = decide(&consultation);
            let open = consultation.open.into_inner().unwrap_or_else(PoisonError::into_inner);
            let Some(Open { nth, webhook, spec, remember }) = open else { return outcome };
            if answers.len() >= MOST_QUESTIONS {
                tracing::error!(questions = answers.len(), "a decision asks webhooks without an end");
                return outcome;
            }
            // In a box: few chains have a webhook, and every request holds this state.
            let answer = Box::pin(webhook.ask(&spec, remember)).await;
            answers.insert((nth, spec.to_string()), answer);
        }
    }

    /// What the chain says.
    pub async fn verdict(&self, attributes: &Attributes, user: &User) -> Verdict {
        self.decide(|authorizer| authorizer.authorize(attributes, user)).await
    }

    /// # Errors
    /// 403.
    pub async fn require(
        &self,
        attributes: &Attributes,
        user: &User,
    ) -> Result<(), apiclient_core::wire::Status> {
        let verdict = self.verdict(attributes, user).await;
        match verdict.decision {
            Decision::Allow => Ok(()),
            _ => Err(control_core::access::forbidden(attributes, user, &verdict.reason)),
        }
    }
}
