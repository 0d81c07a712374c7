//! One connection to one member of etcd that answers, and its replacement when it no longer does.
//!
//! The client library can spread calls over several endpoints, and then every second call fails where one of two
//! is dead, as with flannel's default of ports 4001 and 2379. So each connection here goes to a single endpoint:
//! all are dialled at the same time, and the first that serves is kept until it fails.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions, GetOptions};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::error::{Attempt, Cause, EtcdError, Failure, OTHER_SCHEME, code};
use crate::settings::{Endpoint, Settings};
use crate::{tls, transport};

/// Whether a question may be asked again when its connection broke before the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// A second time does no harm.
    Safe,
    /// Only where etcd has said that it did not do it, or was never asked.
    Refused,
}

/// Time for a connection, log-in and first answer.
const DIAL_LIMIT: Duration = Duration::from_secs(3);
/// Time for any other question.
pub(crate) const RPC_LIMIT: Duration = Duration::from_secs(5);
/// Read by the first question on a connection; etcdctl asks for it too (`endpoint health`). Whether it exists, and
/// whether we may read it, does not matter: a member that answers serves.
const PROBE_KEY: &str = "health";

/// The settings, and the live connection if there is one.
#[derive(Debug)]
pub(crate) struct Connection {
    settings: Settings,
    endpoints: Vec<Endpoint>,
    live: Mutex<Option<Live>>,
    generations: AtomicU64,
}

/// A client whose endpoint has answered. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) client: Arc<Client>,
    pub(crate) endpoint: String,
    generation: u64,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (connection {})", self.endpoint, self.generation)
    }
}

impl Connection {
    pub(crate) fn new(settings: Settings) -> Result<Self, EtcdError> {
        let endpoints = settings.parsed_endpoints()?;
        if endpoints.iter().any(|endpoint| endpoint.tls) {
            tls::load(&settings)?;
        }
        Ok(Self { settings, endpoints, live: Mutex::new(None), generations: AtomicU64::new(0) })
    }

    /// The same settings, and no connection yet.
    pub(crate) fn separate(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            endpoints: self.endpoints.clone(),
            live: Mutex::new(None),
            generations: AtomicU64::new(0),
        }
    }

    /// Asks etcd something, within [`RPC_LIMIT`]. A connection that fails is given up; the question is asked
    /// once more on a new one if `repeat` allows it. `what` completes "etcd failed to ...".
    pub(crate) async fn ask<T, F>(
        &self,
        what: impl Fn() -> String,
        repeat: Repeat,
        question: impl Fn(Arc<Client>) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut again = true;
        loop {
            let live = self.live().await?;
            // In a box: what asks etcd is awaited in many places, and each would have room for the whole exchange.
            let question = Box::pin(question(Arc::clone(&live.client)));
            let failure = match timeout(RPC_LIMIT, question).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => Failure::of(&error),
                Err(_) => {
                    self.give_up(&live).await;
                    return Err(EtcdError::TimedOut { what: what(), limit: RPC_LIMIT });
                }
            };
            let user = self.settings.user.is_some();
            let (stale, retry) = match &failure {
                Failure::Transport { unsent, .. } => (true, *unsent || repeat == Repeat::Safe),
                // A token that is too old, or older than the last change of roles: log in again.
                Failure::Answer { code: code::UNAUTHENTICATED | code::INVALID_ARGUMENT, .. } => (user, user),
                Failure::Answer { .. } => (false, false),
            };
            if stale {
                self.give_up(&live).await;
            }
            if !(retry && again) {
                return Err(self.error(what(), &live.endpoint, failure));
            }
            again = false;
        }
    }

    /// The connection, made now if there is none.
    pub(crate) async fn live(&self) -> Result<Live, EtcdError> {
        let mut slot = self.live.lock().await;
        if let Some(live) = &*slot {
            return Ok(live.clone());
        }
        let (client, endpoint) = Box::pin(self.dial_all()).await?;
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::debug!(%endpoint, "connected to etcd");
        let live = Live { client: Arc::new(client), endpoint, generation };
        *slot = Some(live.clone());
        Ok(live)
    }

    /// Forgets a connection, unless it has been replaced already.
    pub(crate) async fn give_up(&self, dead: &Live) {
        let mut slot = self.live.lock().await;
        if slot.as_ref().is_some_and(|live| live.generation == dead.generation) {
            *slot = None;
        }
    }

    /// What an error of the library means to the caller.
    pub(crate) fn error(&self, what: String, endpoint: &str, failure: Failure) -> EtcdError {
        match failure {
            Failure::Transport { reason, cause, unsent, .. } => {
                unreachable(Attempt { asked: !unsent, ..Attempt::of(endpoint, reason, cause) })
            }
            Failure::Answer { code: code::PERMISSION_DENIED, words } => {
                EtcdError::Denied { what, reason: words }
            }
            Failure::Answer { code: code::OUT_OF_RANGE, words } if words.contains("compacted") => {
                EtcdError::Compacted { what }
            }
            Failure::Answer { code: code::RESOURCE_EXHAUSTED, words } => {
                EtcdError::NoRoom { what, reason: words }
            }
            Failure::Answer { code: code::UNAUTHENTICATED, words } => self.not_let_in(words),
            // etcd uses this code for missing users and for questions that make no sense.
            Failure::Answer { code: code::INVALID_ARGUMENT, words } if words.contains("user") => {
                self.not_let_in(words)
            }
            Failure::Answer { words, .. } => EtcdError::Rpc { what, reason: words },
        }
    }

    fn not_let_in(&self, reason: String) -> EtcdError {
        match &self.settings.user {
            Some((user, _)) => EtcdError::Authentication { user: user.clone(), reason },
            None => EtcdError::NoUser { reason },
        }
    }

    async fn dial_all(&self) -> Result<(Client, String), EtcdError> {
        let mut dials: FuturesUnordered<_> =
            self.endpoints.iter().map(|endpoint| self.dial(endpoint)).collect();
        let mut attempts = Vec::new();
        let mut refusal = None;
        while let Some(outcome) = dials.next().await {
            match outcome {
                Ok(found) => return Ok(found),
                Err(EtcdError::Unreachable { attempts: mut failed }) => attempts.append(&mut failed),
                Err(error) => refusal = Some(error),
            }
        }
        // What etcd itself says is worth more than that another port is closed.
        attempts.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
        Err(refusal.unwrap_or(EtcdError::Unreachable { attempts }))
    }

    async fn dial(&self, endpoint: &Endpoint) -> Result<(Client, String), EtcdError> {
        let tls = if endpoint.tls { Some(tls::load(&self.settings)?) } else { None };
        let attempt = async {
            let channel = transport::connect(&endpoint.url, tls).await;
            let channel = channel.map_err(|error| (Failure::to_connect(&error), false))?;
            let client = self.log_in(channel).await.map_err(|failure| (failure, true))?;
            match client.kv_client().get(PROBE_KEY, Some(GetOptions::new().with_count_only())).await {
                Ok(_) => Ok(client),
                Err(error) => match Failure::of(&error) {
                    // It serves; whoever asks next will hear what it does not like.
                    Failure::Answer { .. } => Ok(client),
                    broken @ Failure::Transport { .. } => Err((broken, true)),
                },
            }
        };
        let url = &endpoint.url;
        match timeout(DIAL_LIMIT, attempt).await {
            Ok(Ok(client)) => Ok((client, url.clone())),
            Ok(Err((failure, connected))) => match failure {
                // The server's refusal of our certificate comes after the handshake, and may be overtaken by the end of the
                // connection: that it broke is then all there is to know.
                Failure::Transport { reason, explained, cause, .. }
                    if endpoint.tls && (connected || !explained) =>
                {
                    let reason = reason.trim_end_matches(OTHER_SCHEME).trim_start_matches("TLS: ");
                    let cause = cause.or(Some(Cause::ClientCertificate));
                    Err(unreachable(Attempt::of(url, format!("TLS: {reason}"), cause)))
                }
                Failure::Transport { reason, cause, .. } => Err(unreachable(Attempt::of(url, reason, cause))),
                Failure::Answer { words, .. } if self.settings.user.is_some() => Err(self.not_let_in(words)),
                answer @ Failure::Answer { .. } => Err(self.error("log in".to_owned(), url, answer)),
            },
            Err(_) => Err(unreachable(Attempt::of(url, format!("no answer within {DIAL_LIMIT:?}"), None))),
        }
    }

    /// With the user's name, unless etcd asks for none: then, as with Go's client, the name does no harm.
    async fn log_in(&self, channel: Channel) -> Result<Client, Failure> {
        let options = ConnectOptions::new().with_require_leader(true).with_auto_token_refresh(true);
        if let Some((name, password)) = &self.settings.user {
            let named = options.clone().with_user(name, password.reveal());
            match Client::from_channel(channel.clone(), Some(named))
                .await
                .map_err(|error| Failure::of(&error))
            {
                Err(refused) if refused.has_code(code::FAILED_PRECONDITION) => {}
                outcome => return outcome,
            }
        }
        Client::from_channel(channel, Some(options)).await.map_err(|error| Failure::of(&error))
    }
}

fn unreachable(attempt: Attempt) -> EtcdError {
    EtcdError::Unreachable { attempts: vec![attempt] }
}
