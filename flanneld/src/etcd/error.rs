//! What can go wrong with etcd, in words that name the cause and the remedy.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use flanneld_core::acquire::OutOfSubnets;
use flanneld_core::config::ConfigError;
use flanneld_core::lease::LeaseAttrs;

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
    #[error("etcd refuses user {user:?}: {reason}; check --etcd-username and --etcd-password")]
    Authentication { user: String, reason: String },
    /// etcd wants a user, and we have none.
    #[error("etcd wants a user: {reason}; give --etcd-username and --etcd-password")]
    NoUser { reason: String },
    /// The user may not do this.
    #[error("etcd does not allow to {what}: {reason}; the user needs read and write access below {prefix}")]
    Denied { what: &'static str, reason: String, prefix: String },
    /// No answer in time.
    #[error("etcd did not answer within {limit:?} when asked to {what}")]
    TimedOut { what: &'static str, limit: Duration },
    /// etcd answered with another error.
    #[error("etcd failed to {what}: {reason}")]
    Rpc { what: &'static str, reason: String },
    /// There is no network here (flannel's words, so that one finds them).
    #[error(
        "flannel config not found in etcd store. Did you create your config using etcdv3 API? (no key {key}; \
         write it with `etcdctl put {key} '{{\"Network\": \"10.5.0.0/16\"}}'`, or correct --etcd-prefix)"
    )]
    ConfigMissing { key: String },
    /// The network configuration cannot be used.
    #[error("{key} in etcd: {error}")]
    ConfigMalformed { key: String, error: ConfigError },
    /// No subnet can be had.
    #[error(transparent)]
    NoSubnet(#[from] OutOfSubnets),
    /// Every try lost against another node.
    #[error("lost {tries} races for a subnet in a row; another node is taking subnets at the same time")]
    Contended { tries: u32 },
    /// Our key now names another node.
    #[error("the lease {key} was taken over by {}", by.public_ip)]
    Taken { key: String, by: Box<LeaseAttrs> },
    /// Our key is no longer there.
    #[error("the lease {key} is gone from etcd: it expired, or somebody deleted it")]
    Gone { key: String },
}

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The same again, a little later: time heals it, or a person does while we wait.
    Retry,
    /// The lease is lost: acquire again, or end.
    Reacquire,
    /// The command line or a file must change first.
    GiveUp,
}

impl EtcdError {
    /// What to do about it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Endpoint { .. } | Self::TlsFile { .. } => Remedy::GiveUp,
            Self::Taken { .. } | Self::Gone { .. } => Remedy::Reacquire,
            _ => Remedy::Retry,
        }
    }

    /// Whether etcd gave no answer at all: nothing listens, nothing replies.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }
}

/// One endpoint and why it did not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub endpoint: String,
    pub reason: String,
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
pub(super) mod code {
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
pub(super) enum Failure {
    /// etcd itself answered, with this code and these words. What was asked was not done.
    Answer { code: i32, words: String },
    /// The connection failed, so what was asked may have been done or not.
    Transport {
        reason: String,
        /// Whether the reason is the system's or the TLS library's, and not just what HTTP/2 made of it.
        explained: bool,
    },
}

impl Failure {
    pub(super) fn broken(reason: impl Into<String>) -> Self {
        Self::Transport { reason: reason.into(), explained: false }
    }

    pub(super) fn has_code(&self, wanted: i32) -> bool {
        matches!(self, Self::Answer { code, .. } if *code == wanted)
    }

    pub(super) fn of(error: &etcd_client::Error) -> Self {
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
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            // HTTP/2 passes on the words of a TLS error, but not the error.
            let explained = io.kind() != io::ErrorKind::InvalidData || tls_error(io).is_some();
            return Failure::Transport { reason: explain_io(io), explained };
        }
        innermost = error.to_string();
        cause = error.source();
    }
    Failure::broken(innermost)
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn explain_io(error: &io::Error) -> String {
    if let Some(tls) = tls_error(error) {
        return format!("TLS: {tls}; {}", tls_remedy(tls));
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused (nothing listens there)".into(),
        io::ErrorKind::TimedOut => "no answer to the connection attempt".into(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            format!("{error}; is it http:// that should be https://, or the reverse?")
        }
        _ => error.to_string(),
    }
}

/// With TLS 1.3 a node hears of a refusal after its own part is done, wherever it happens to read next.
pub(super) const REFUSED_BY_ETCD: &str = "etcd may have refused this node: does it want a certificate, by \
     --etcd-certfile and --etcd-keyfile, or one from another authority?";

fn tls_remedy(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "use a name or address in --etcd-endpoints that etcd's certificate has among its subjectAltName"
        }
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "renew etcd's certificate"
        }
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "give the certificate of the authority that signed etcd's as --etcd-cafile"
        }
        // rustls has no name of its own for a certificate that signed itself and says CA:TRUE. Go takes one.
        rustls::Error::InvalidCertificate(Bad::Other(_)) => {
            "a server's certificate must not be that of an authority: sign etcd's certificate by one, and give \
             the authority's as --etcd-cafile"
        }
        rustls::Error::AlertReceived(_) => REFUSED_BY_ETCD,
        _ => "check --etcd-cafile, --etcd-certfile and that etcd speaks TLS there",
    }
}
