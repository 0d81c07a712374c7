//! Tokens that a service beside the server knows (`--authentication-token-webhook-config-file`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use control_core::authorization::Version;
use control_core::tokens::check::{Accepted, BadToken};
use control_core::tokens::review;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::Unauthorized;
use super::bearer::{Key, Tokens, key_of};
use crate::expiring::Expiring;
use crate::webhook::Webhook;

/// As many tokens are remembered.
const MOST: usize = 8192;

/// The service, and what it said lately.
#[derive(Debug)]
pub struct TokenWebhook {
    service: Webhook,
    version: Version,
    /// `--api-audiences`: those of a token of which the service names none.
    audiences: Vec<String>,
    /// How long what it said is remembered.
    remember: Duration,
    said: Mutex<Expiring<Key, Option<Accepted>>>,
}

impl TokenWebhook {
    pub fn new(service: Webhook, version: Version, audiences: Vec<String>, remember: Duration) -> Self {
        Self { service, version, audiences, remember, said: Mutex::new(Expiring::new(MOST)) }
    }

    fn said(&self) -> MutexGuard<'_, Expiring<Key, Option<Accepted>>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tokens for TokenWebhook {
    fn accept<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> BoxFuture<'a, Result<Option<Accepted>, Unauthorized>> {
        async move {
            let key = key_of(token, audiences);
            let known = self.said().get(&key, Instant::now());
            if let Some(said) = known {
                return Ok(said);
            }
            let status = self.service.ask(&review::question(token, audiences, self.version)).await;
            let status = status.map_err(|error| {
                tracing::warn!(error, "the webhook does not say whose a token is");
                Unauthorized(error)
            })?;
            let said = review::answer(&status, audiences, &self.audiences);
            let said = said.map_err(|BadToken(why)| Unauthorized(why))?;
            self.said().put(key, said.clone(), Instant::now(), self.remember);
            Ok(said)
        }
        .boxed()
    }
}
