//! One connection to one member of etcd that answers, and its replacement when it no longer does.
//!
//! The client library can spread calls over several endpoints, and then every second call fails where one of two
//! is dead, as with flannel's default of ports 4001 and 2379. So each connection here goes to a single endpoint:
//! all are dialled at the same time, and the first that serves is kept until it fails.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, GetOptions};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::error::{Attempt, EtcdError, Failure, REFUSED_BY_ETCD, code};
use super::tls::TlsFiles;
use crate::options::EtcdOptions;

/// Time for a connection, log-in and first answer.
const DIAL_LIMIT: Duration = Duration::from_secs(3);
/// Time for any other question.
pub(super) const RPC_LIMIT: Duration = Duration::from_secs(5);
/// Pings on a quiet watch, and the time for their answer. etcd ends connections that ping more often than every
/// 5 s (`--grpc-keepalive-min-time`), and those that ping while nothing is asked.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(3));

/// The user's settings, and the live connection if there is one.
#[derive(Debug)]
pub(super) struct Connection {
    endpoints: Vec<Endpoint>,
    tls: TlsFiles,
    user: Option<(String, crate::options::Secret)>,
    /// Read by the first question, to see whether an endpoint serves.
    probe_key: String,
    live: Mutex<Option<Live>>,
    generations: AtomicU64,
}

/// One of the user's endpoints, with its scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    url: String,
    tls: bool,
}

/// A client whose endpoint has answered. Cheap to clone.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) client: Client,
    pub(super) endpoint: String,
    generation: u64,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (connection {})", self.endpoint, self.generation)
    }
}

/// Whether a question may be asked twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// A second time does no harm.
    Safe,
    /// Only where etcd has said that it did not do it.
    Refused,
}

impl Connection {
    /// Checks the user's settings; connects when first asked.
    pub(super) fn new(options: &EtcdOptions, probe_key: &str) -> Result<Self, EtcdError> {
        let tls = TlsFiles::of(options);
        let endpoints: Vec<Endpoint> =
            options.endpoints.iter().map(|text| endpoint(text, tls.any())).collect::<Result<_, _>>()?;
        if endpoints.iter().any(|endpoint| endpoint.tls) {
            tls.load()?;
        }
        let user = options
            .username
            .clone()
            .map(|name| (name, options.password.clone().unwrap_or_else(|| crate::options::Secret::new(""))));
        Ok(Self {
            endpoints,
            tls,
            user,
            probe_key: probe_key.to_owned(),
            live: Mutex::new(None),
            generations: AtomicU64::new(0),
        })
    }

    /// Asks etcd something, within [`RPC_LIMIT`]. A connection that fails is given up; the question is asked
    /// once more on a new one if `repeat` allows it.
    pub(super) async fn ask<T, F>(
        &self,
        what: &'static str,
        repeat: Repeat,
        question: impl Fn(Client) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut again = true;
        loop {
            let live = self.live().await?;
            let failure = match timeout(RPC_LIMIT, question(live.client.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => Failure::of(&error),
                Err(_) => {
                    self.give_up(&live).await;
                    return Err(EtcdError::TimedOut { what, limit: RPC_LIMIT });
                }
            };
            let (stale, retry) = match &failure {
                Failure::Transport { .. } => (true, repeat == Repeat::Safe),
                // A token that is too old, or older than the last change of roles: log in again.
                Failure::Answer { code: code::UNAUTHENTICATED | code::INVALID_ARGUMENT, .. } => {
                    (self.user.is_some(), self.user.is_some())
                }
                Failure::Answer { .. } => (false, false),
            };
            if stale {
                self.give_up(&live).await;
            }
            if !(retry && again) {
                return Err(self.error(what, &live.endpoint, failure));
            }
            again = false;
        }
    }

    /// The connection, made now if there is none.
    pub(super) async fn live(&self) -> Result<Live, EtcdError> {
        let mut slot = self.live.lock().await;
        if let Some(live) = &*slot {
            return Ok(live.clone());
        }
        let (client, endpoint) = self.dial_all().await?;
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::debug!(%endpoint, "connected to etcd");
        let live = Live { client, endpoint, generation };
        *slot = Some(live.clone());
        Ok(live)
    }

    /// Forgets a connection, unless it has been replaced already.
    pub(super) async fn give_up(&self, dead: &Live) {
        let mut slot = self.live.lock().await;
        if slot.as_ref().is_some_and(|live| live.generation == dead.generation) {
            *slot = None;
        }
    }

    /// What an error of the library means to the user.
    pub(super) fn error(&self, what: &'static str, endpoint: &str, failure: Failure) -> EtcdError {
        match failure {
            Failure::Transport { reason, .. } => {
                EtcdError::Unreachable { attempts: vec![Attempt { endpoint: endpoint.to_owned(), reason }] }
            }
            Failure::Answer { code: code::PERMISSION_DENIED, words } => {
                let prefix = self.probe_key.trim_end_matches("/config").to_owned();
                EtcdError::Denied { what, reason: words, prefix }
            }
            Failure::Answer { code: code::INVALID_ARGUMENT | code::UNAUTHENTICATED, words } => {
                match &self.user {
                    Some((user, _)) => EtcdError::Authentication { user: user.clone(), reason: words },
                    None => EtcdError::NoUser { reason: words },
                }
            }
            Failure::Answer { words, .. } => EtcdError::Rpc { what, reason: words },
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
        let unreachable = |reason: String| EtcdError::Unreachable {
            attempts: vec![Attempt { endpoint: endpoint.url.clone(), reason }],
        };
        let mut options = ConnectOptions::new()
            .with_connect_timeout(DIAL_LIMIT)
            .with_keep_alive(KEEPALIVE.0, KEEPALIVE.1)
            .with_keep_alive_while_idle(false)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if endpoint.tls {
            options = options.with_tls(self.tls.load()?);
        }
        let attempt = async {
            let mut client = self.log_in(endpoint, options).await?;
            let question = GetOptions::new().with_count_only();
            match client.get(self.probe_key.as_str(), Some(question)).await {
                Ok(_) => Ok(client),
                Err(error) => match Failure::of(&error) {
                    // It serves; whoever asks next will hear what it does not like.
                    Failure::Answer { .. } => Ok(client),
                    Failure::Transport { .. } => Err(error),
                },
            }
        };
        match timeout(DIAL_LIMIT, attempt).await {
            Ok(Ok(client)) => Ok((client, endpoint.url.clone())),
            Ok(Err(error)) => match Failure::of(&error) {
                Failure::Transport { reason, explained: false } if endpoint.tls => {
                    Err(unreachable(format!("TLS: {reason}; {REFUSED_BY_ETCD}")))
                }
                Failure::Transport { reason, .. } => Err(unreachable(reason)),
                answer @ Failure::Answer { .. } => Err(self.log_in_error(&endpoint.url, answer)),
            },
            Err(_) => Err(unreachable(format!("no answer within {DIAL_LIMIT:?}"))),
        }
    }

    /// With the user's name, unless etcd asks for none: then, as with Go's client, the name does no harm.
    async fn log_in(
        &self,
        endpoint: &Endpoint,
        options: ConnectOptions,
    ) -> Result<Client, etcd_client::Error> {
        if let Some((name, password)) = &self.user {
            let named = options.clone().with_user(name, password.reveal());
            match Client::connect([&endpoint.url], Some(named)).await {
                Err(error) if Failure::of(&error).has_code(code::FAILED_PRECONDITION) => {}
                outcome => return outcome,
            }
        }
        Client::connect([&endpoint.url], Some(options)).await
    }

    /// Only the log-in can be answered with an error while dialling.
    fn log_in_error(&self, endpoint: &str, failure: Failure) -> EtcdError {
        match (failure, &self.user) {
            (Failure::Answer { words: reason, .. }, Some((user, _))) => {
                EtcdError::Authentication { user: user.clone(), reason }
            }
            (failure, _) => self.error("log in", endpoint, failure),
        }
    }
}

/// Reads one element of `--etcd-endpoints`.
fn endpoint(text: &str, tls_files: bool) -> Result<Endpoint, EtcdError> {
    let refuse = |reason| Err(EtcdError::Endpoint { endpoint: text.to_owned(), reason });
    let (tls, rest) = match text.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        Some(("unix" | "unixs", _)) => {
            return refuse("unix sockets are not supported; use http:// or https://");
        }
        Some(_) => return refuse("want http://HOST:PORT or https://HOST:PORT"),
        None => (tls_files, text),
    };
    let host = rest.trim_end_matches('/');
    if host.contains('@') {
        return Err(EtcdError::Endpoint {
            endpoint: "(hidden)".into(),
            reason: "a user does not belong into the address; use --etcd-username and --etcd-password",
        });
    }
    if host.is_empty() || host.contains(['/', '?', '#', ' ']) {
        return refuse("want http://HOST:PORT or https://HOST:PORT");
    }
    Ok(Endpoint { url: format!("{}://{host}", if tls { "https" } else { "http" }), tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_says_whether_tls_is_spoken() {
        for (text, files, url) in [
            ("http://10.0.0.1:2379", true, "http://10.0.0.1:2379"),
            ("https://etcd:2379/", false, "https://etcd:2379"),
            ("etcd:2379", false, "http://etcd:2379"),
            ("etcd:2379", true, "https://etcd:2379"),
            ("http://[fd00::1]:2379", false, "http://[fd00::1]:2379"),
        ] {
            let have = endpoint(text, files).unwrap();
            assert_eq!(have.url, url);
            assert_eq!(have.tls, url.starts_with("https"));
        }
    }

    #[test]
    fn odd_endpoints_are_refused() {
        for text in ["unix:///run/etcd", "ftp://x", "http://", "http://a/b", "", "http://a b:1"] {
            assert!(endpoint(text, false).is_err(), "{text}");
        }
        let error = endpoint("http://root:hush@etcd:2379", false).unwrap_err().to_string();
        assert!(!error.contains("hush"), "{error}");
    }
}
