//! Tokens of OpenID issuers: `--oidc-issuer-url`, and the issuers of `--authentication-config`.
//!
//! Owns: which issuers there are, their keys, and when these are asked for. Whom the claims of a token mean is
//! `control_core::tokens::oidc`'s. An issuer that does not answer costs its own tokens only: nobody waits for it at the
//! start, and a token says whose it is before anybody is asked. Begin at [`Oidc`].

mod fetch;
mod provider;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use control_core::configuration;
use control_core::tokens::check::{Accepted, BadToken};
use control_core::tokens::oidc::{Issuer, config};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::sync::watch;

use self::provider::Provider;
use super::Unauthorized;
use super::bearer::Tokens;
use super::jwt::Unverified;
use super::keys::Algorithm;
use crate::followed::Followed;

/// Waits before an issuer is asked again that did not answer.
const PAUSE: Duration = Duration::from_secs(10);

type Providers = Arc<Vec<Arc<Provider>>>;

/// All issuers.
#[derive(Debug)]
pub struct Oidc {
    providers: RwLock<Providers>,
    changed: watch::Sender<()>,
    /// What signatures may be made with.
    algorithms: Vec<Algorithm>,
    /// `--api-audiences`: a token of an issuer says nothing of them, and is good for all.
    audiences: Vec<String>,
}

impl Oidc {
    /// # Errors
    /// An issuer's authorities are none.
    pub fn new(
        issuers: Vec<Issuer>,
        algorithms: Vec<Algorithm>,
        audiences: Vec<String>,
    ) -> Result<Self, String> {
        let providers = RwLock::new(Arc::new(providers(issuers)?));
        Ok(Self { providers, changed: watch::Sender::new(()), algorithms, audiences })
    }

    fn providers(&self) -> Providers {
        Arc::clone(&self.providers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Believes other issuers from now on. They are asked for their keys before, so that no token is refused meanwhile.
    async fn replace(&self, issuers: Vec<Issuer>) -> Result<(), String> {
        let new = Arc::new(providers(issuers)?);
        join_all(new.iter().map(|provider| provider.discover())).await;
        *self.providers.write().unwrap_or_else(PoisonError::into_inner) = new;
        self.changed.send_replace(());
        Ok(())
    }

    /// For ever: asks each issuer where its keys are, until it says so.
    pub async fn discover(self: Arc<Self>) {
        let mut changes = self.changed.subscribe();
        loop {
            changes.mark_unchanged();
            let providers = self.providers();
            let asking = join_all(providers.iter().map(|provider| until_ready(provider)));
            tokio::select! {
                _ = asking => {
                    // The sender lives as long as this.
                    let _ = changes.changed().await;
                }
                _ = changes.changed() => {}
            }
        }
    }

    /// For ever: follows the file of `--authentication-config`. One that makes no sense leaves the issuers that were
    /// there. `own` are the issuers of service accounts.
    pub async fn follow(self: Arc<Self>, mut file: Followed, own: Vec<String>, every: Duration) {
        loop {
            let outcome = match read(&file.changed_text(every).await, &own) {
                Ok(configuration) => self.replace(configuration.issuers).await,
                Err(why) => Err(why),
            };
            let file = file.path().display();
            match outcome {
                Ok(()) => tracing::info!(%file, "tokens of other issuers are believed"),
                Err(error) => tracing::warn!(%file, error, "the issuers of tokens stay what they were"),
            }
        }
    }
}

/// Reads the text of a file of `--authentication-config`.
///
/// # Errors
/// What is wrong with it.
pub fn read(text: &str, own: &[String]) -> Result<config::Configuration, String> {
    config::read(&configuration::document(text)?, own)
}

fn providers(issuers: Vec<Issuer>) -> Result<Vec<Arc<Provider>>, String> {
    issuers.into_iter().map(|issuer| Provider::new(issuer).map(Arc::new)).collect()
}

async fn until_ready(provider: &Provider) {
    while !provider.is_ready() {
        match provider.discover().await {
            Ok(()) => tracing::info!(issuer = provider.issuer.url, "tokens of the issuer are believed"),
            Err(error) => {
                tracing::warn!(
                    issuer = provider.issuer.url,
                    error,
                    "the issuer does not say its keys, and is asked again"
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Tokens for Oidc {
    fn accept<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> BoxFuture<'a, Result<Option<Accepted>, Unauthorized>> {
        async move {
            let good: Vec<_> = audiences.iter().filter(|one| self.audiences.contains(one)).cloned().collect();
            let Some(token) = Unverified::parse(token).filter(|_| !good.is_empty()) else { return Ok(None) };
            let providers = self.providers();
            let Some(provider) = providers.iter().find(|one| one.issuer.is(token.issuer())) else {
                return Ok(None);
            };
            let refused = |BadToken(why)| Unauthorized(why);
            let (issuer, now) = (&provider.issuer, SystemTime::now());
            let mut claims = provider.verify(token, &self.algorithms).await.map_err(Unauthorized)?;
            issuer.is_good(&claims, now).map_err(refused)?;
            if let Some(wanted) = issuer.distributed(&claims).map_err(refused)? {
                let found = provider.distributed(&wanted, &self.algorithms, now).await;
                claims[wanted.claim] = found.map_err(|why| {
                    Unauthorized(format!("oidc: could not expand distributed claims: {why}"))
                })?;
            }
            let user = issuer.user(&claims, now).map_err(refused)?;
            Ok(Some(Accepted { user, audiences: good }))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
