//! A service that says what somebody may do: what it said lately, and what it says now.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use control_core::access::{Attributes, User, Verdict};
use control_core::authorization::{self, review};
use serde_json::Value;

use crate::expiring::Expiring;
use crate::webhook;

/// As many answers are remembered, as by the original.
const MOST: usize = 8192;

/// One webhook, with its memory.
#[derive(Debug)]
pub struct Webhook {
    settings: authorization::Webhook,
    service: webhook::Webhook,
    said: Mutex<Expiring<String, Verdict>>,
}

/// What a webhook says without being asked.
#[derive(Debug)]
pub enum Known {
    Verdict(Verdict),
    /// Nothing: this spec of a SubjectAccessReview has to be sent, and its answer may be remembered or not.
    Ask {
        spec: Value,
        remember: bool,
    },
}

impl Webhook {
    /// # Errors
    /// Its kubeconfig, or a file that it names, cannot be read.
    pub fn open(settings: authorization::Webhook) -> Result<Self, String> {
        let kubeconfig = PathBuf::from(&settings.kubeconfig);
        let service = webhook::Webhook::open(kubeconfig, settings.timeout, "SubjectAccessReview")?;
        Ok(Self::asking(settings, service))
    }

    /// `service` answers SubjectAccessReviews, wherever it is.
    pub fn asking(settings: authorization::Webhook, service: webhook::Webhook) -> Self {
        Self { settings, service, said: Mutex::new(Expiring::new(MOST)) }
    }

    fn said(&self) -> MutexGuard<'_, Expiring<String, Verdict>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it says by its conditions and its memory.
    pub fn known(&self, attributes: &Attributes, user: &User) -> Known {
        match review::is_matched(&self.settings.conditions, attributes, user) {
            Ok(true) => {}
            Ok(false) => return Known::Verdict(Verdict::no_opinion("")),
            Err(error) => {
                tracing::warn!(
                    webhook = self.settings.name,
                    error,
                    "a condition of the webhook cannot be evaluated"
                );
                return Known::Verdict(self.failed(error));
            }
        }
        let spec = review::spec(attributes, user);
        match self.said().get(&spec.to_string(), Instant::now()) {
            Some(verdict) => Known::Verdict(verdict),
            None => Known::Ask { spec, remember: review::may_be_remembered(attributes) },
        }
    }

    /// Asks it.
    pub async fn ask(&self, spec: &Value, remember: bool) -> Verdict {
        let status = match self.service.ask(&review::question(spec, self.settings.version)).await {
            Ok(status) => status,
            Err(error) => {
                tracing::warn!(
                    webhook = self.settings.name,
                    error,
                    "the webhook does not say who may do what"
                );
                return self.failed(error);
            }
        };
        let verdict = review::verdict(&status);
        if remember {
            let allowed = status["allowed"].as_bool() == Some(true);
            let time = if allowed { self.settings.authorized } else { self.settings.unauthorized };
            self.said().put(spec.to_string(), verdict.clone(), Instant::now(), time);
        }
        verdict
    }

    fn failed(&self, error: String) -> Verdict {
        Verdict::failed(self.settings.on_failure, error)
    }

    /// What nobody can list.
    pub const NO_RULES: &str = "webhook authorizer does not support user rule resolution";
}
