//! What can go wrong with etcd, in words that name the cause. The remedy depends on the daemon's flags, so the daemon
//! adds it: [`EtcdError::causes`] says for what.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

type BoxError = Box<dyn StdError + Send + Sync>;

/// There is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no connection")]
    Tcp(#[source] BoxError),
    #[error("no TLS")]
    Tls(#[source] io::Error),
    #[error("{0}")]
    Unusable(String),
    #[error("no HTTP/2")]
    Http(#[source] BoxError),
}

/// The connection had ended before the request went out: nothing was asked.
#[derive(Debug, thiserror::Error)]
#[error("the connection is gone")]
pub(crate) struct Unsent(#[source] pub BoxError);

/// An operation on etcd failed.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// An address that cannot be meant.
    #[error("etcd endpoint {endpoint:?}: {reason}")]
    Endpoint { endpoint: String, reason: &'static str },
    /// A certificate or key on this machine cannot be used.
    #[error("{}: {reason}", file.display())]
    TlsFile { file: PathBuf, reason: String },
    /// No endpoint gave an answer.
    #[error("etcd cannot be reached: {}", list(.attempts))]
    Unreachable { attempts: Vec<Attempt> },
    /// etcd does not let us in.
    #[error("etcd refuses user {user:?}: {reason}")]
    Authentication { user: String, reason: String },
    /// etcd wants a user, and we have none.
    #[error("etcd wants a user: {reason}")]
    NoUser { reason: String },
    /// The user may not do this.
    #[error("etcd does not allow to {what}: {reason}")]
    Denied { what: String, reason: String },
    /// No answer in time. What was asked may have been done or not.
    #[error("etcd did not answer within {limit:?} when asked to {what}")]
    TimedOut { what: String, limit: Duration },
    /// The revision that was asked for is no longer in etcd's history.
    #[error("etcd cannot {what}: that revision has been compacted")]
    Compacted { what: String },
    /// etcd has no room: its quota is used up, or a request is too large.
    #[error("etcd failed to {what}: {reason}")]
    NoRoom { what: String, reason: String },
    /// etcd answered with another error.
    #[error("etcd failed to {what}: {reason}")]
    Rpc { what: String, reason: String },
}

/// What is behind an error, for the remedy in the words of the caller's own flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The endpoint's host is not among the names in etcd's certificate.
    NotItsName,
    /// etcd's certificate has expired.
    Expired,
    /// etcd's certificate was signed by an authority that is not trusted here.
    UnknownAuthority,
    /// etcd uses the certificate of an authority as its own, which rustls refuses and Go accepts.
    ServerIsAuthority,
    /// etcd seems to have refused our certificate, or wants one.
    ClientCertificate,
    /// Another failure of TLS.
    Tls,
    /// User or password are wrong.
    Credentials,
    /// etcd wants a user, and none was given.
    NoUser,
    /// The user lacks a right.
    Permission,
}

impl EtcdError {
    /// Whether etcd gave no answer at all: nothing listens, nothing replies. What was asked may have been done.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }

    /// Whether what was asked may have been done all the same: it had gone out, and etcd has not said that it refused.
    pub fn may_have_been_done(&self) -> bool {
        match self {
            Self::Unreachable { attempts } => attempts.iter().any(|attempt| attempt.asked),
            Self::TimedOut { .. } | Self::Rpc { .. } => true,
            _ => false,
        }
    }

    /// Whether a setting or a file on this machine must change before a retry can help.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Endpoint { .. } | Self::TlsFile { .. })
    }

    /// The causes for which the caller can name a remedy, each once.
    pub fn causes(&self) -> BTreeSet<Cause> {
        match self {
            Self::Unreachable { attempts } => attempts.iter().filter_map(|attempt| attempt.cause).collect(),
            Self::Authentication { .. } => [Cause::Credentials].into(),
            Self::NoUser { .. } => [Cause::NoUser].into(),
            Self::Denied { .. } => [Cause::Permission].into(),
            _ => BTreeSet::new(),
        }
    }
}

/// One endpoint and why it did not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub endpoint: String,
    pub reason: String,
    pub cause: Option<Cause>,
    /// What was asked had gone out, or may have, when the connection broke.
    pub asked: bool,
}

impl Attempt {
    /// To connect.
    pub(crate) fn of(endpoint: &str, reason: String, cause: Option<Cause>) -> Self {
        Self { endpoint: endpoint.to_owned(), reason, cause, asked: false }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.reason)
    }
}

fn list(attempts: &[Attempt]) -> String {
    attempts.iter().map(Attempt::to_string).collect::<Vec<_>>().join("; ")
}

/// gRPC status codes (google.rpc.Code) that mean something to us.
pub(crate) mod code {
    pub const INVALID_ARGUMENT: i32 = 3;
    pub const NOT_FOUND: i32 = 5;
    pub const PERMISSION_DENIED: i32 = 7;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    pub const FAILED_PRECONDITION: i32 = 9;
    pub const OUT_OF_RANGE: i32 = 11;
    pub const UNAUTHENTICATED: i32 = 16;
}

/// An error of the client library, sorted.
#[derive(Debug)]
pub(crate) enum Failure {
    /// etcd itself answered, with this code and these words. What was asked was not done.
    Answer { code: i32, words: String },
    /// The connection failed, so what was asked may have been done or not, unless it was not sent.
    Transport {
        reason: String,
        /// None, and not `explained`: only what HTTP/2 made of it is known, not the system's or TLS's own error.
        explained: bool,
        cause: Option<Cause>,
        /// There was no connection, so nothing was asked.
        unsent: bool,
    },
}

impl Failure {
    pub(crate) fn broken(reason: impl Into<String>) -> Self {
        Self::Transport { reason: reason.into(), explained: false, cause: None, unsent: false }
    }

    pub(crate) fn has_code(&self, wanted: i32) -> bool {
        matches!(self, Self::Answer { code, .. } if *code == wanted)
    }

    /// Of an attempt to connect.
    pub(crate) fn to_connect(error: &ConnectError) -> Self {
        explain(error)
    }

    pub(crate) fn of(error: &etcd_client::Error) -> Self {
        match error {
            etcd_client::Error::GRpcStatus(status) => match status.source() {
                Some(cause) => explain(cause),
                None if is_answer(status.code() as i32) => {
                    Self::Answer { code: status.code() as i32, words: status.message().to_owned() }
                }
                None => Self::broken(status.message()),
            },
            etcd_client::Error::TransportError(error) => explain(error),
            etcd_client::Error::IoError(error) => explain(error),
            other => Self::broken(other.to_string()),
        }
    }
}

/// The other codes (unavailable, unknown, cancelled, ...) also come from proxies, members without a leader and
/// broken streams: they say nothing of whether the work was done.
fn is_answer(code: i32) -> bool {
    use code::*;
    matches!(
        code,
        INVALID_ARGUMENT
            | NOT_FOUND
            | PERMISSION_DENIED
            | RESOURCE_EXHAUSTED
            | FAILED_PRECONDITION
            | OUT_OF_RANGE
            | UNAUTHENTICATED
    )
}

/// The innermost input/output error in plain words, else the innermost error's own.
fn explain(error: &(dyn StdError + 'static)) -> Failure {
    let mut innermost = error.to_string();
    let mut next = Some(error);
    let mut unsent = false;
    while let Some(error) = next {
        unsent |= error.is::<Unsent>() || error.is::<ConnectError>();
        if let Some(io) = error.downcast_ref::<io::Error>() {
            let tls = tls_error(io);
            // HTTP/2 passes on the words of a TLS error, but not the error.
            let explained = io.kind() != io::ErrorKind::InvalidData || tls.is_some();
            let reason = tls.map_or_else(|| explain_io(io), |tls| format!("TLS: {tls}"));
            return Failure::Transport { reason, explained, cause: tls.map(tls_cause), unsent };
        }
        innermost = error.to_string();
        next = error.source();
    }
    Failure::Transport { reason: innermost, explained: false, cause: None, unsent }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What a connection that ends before anything was said may mean.
pub(crate) const OTHER_SCHEME: &str = "; is it http:// that should be https://, or the reverse?";

fn explain_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused (nothing listens there)".into(),
        io::ErrorKind::TimedOut => "no answer to the connection attempt".into(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            format!("{error}{OTHER_SCHEME}")
        }
        _ => error.to_string(),
    }
}

fn tls_cause(error: &rustls::Error) -> Cause {
    use rustls::CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            Cause::NotItsName
        }
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => Cause::Expired,
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => Cause::UnknownAuthority,
        // rustls has no name of its own for a certificate that signed itself and says CA:TRUE.
        rustls::Error::InvalidCertificate(Bad::Other(_)) => Cause::ServerIsAuthority,
        // With TLS 1.3 a client hears of a refusal after its own part is done, wherever it happens to read next.
        rustls::Error::AlertReceived(_) => Cause::ClientCertificate,
        _ => Cause::Tls,
    }
}
