//! What can go wrong with a source of leases, with remedies in the words of flanneld's flags.

use std::fmt;

use etcd::{Cause, EtcdError};
use flanneld_core::acquire::OutOfSubnets;
use flanneld_core::config::ConfigError;
use flanneld_core::lease::LeaseAttrs;

/// An operation on a source of leases failed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// etcd does not answer, does not let us in, or answers with an error.
    #[error("{error}{}", Remedies { error, prefix })]
    Etcd { error: EtcdError, prefix: String },
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

impl SourceError {
    /// What to do about it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Etcd { error, .. } if error.is_permanent() => Remedy::GiveUp,
            Self::NoSubnet(_) => Remedy::GiveUp,
            Self::Taken { .. } | Self::Gone { .. } => Remedy::Reacquire,
            _ => Remedy::Retry,
        }
    }

    /// Whether the source gave no answer at all: nothing listens, nothing replies.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Etcd { error, .. } if error.is_absence())
    }
}

/// The remedies for an error of etcd's, each once: which flag to change.
struct Remedies<'a> {
    error: &'a EtcdError,
    prefix: &'a str,
}

impl fmt::Display for Remedies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for cause in self.error.causes() {
            match cause {
                Cause::NotItsName => f.write_str(
                    "; use a name or address in --etcd-endpoints that etcd's certificate has among its subjectAltName",
                ),
                Cause::Expired => f.write_str("; renew etcd's certificate"),
                Cause::UnknownAuthority => f.write_str(
                    "; give the certificate of the authority that signed etcd's as --etcd-cafile",
                ),
                Cause::ServerIsAuthority => f.write_str(
                    "; a server's certificate must not be that of an authority: sign etcd's certificate by one, and \
                     give the authority's as --etcd-cafile",
                ),
                Cause::ClientCertificate => f.write_str(
                    "; etcd may have refused this node: does it want a certificate, by --etcd-certfile and \
                     --etcd-keyfile, or one from another authority?",
                ),
                Cause::Tls => {
                    f.write_str("; check --etcd-cafile, --etcd-certfile and that etcd speaks TLS there")
                }
                Cause::Credentials => f.write_str("; check --etcd-username and --etcd-password"),
                Cause::NoUser => f.write_str("; give --etcd-username and --etcd-password"),
                Cause::Permission => {
                    write!(f, "; the user needs read and write access below {}", self.prefix)
                }
            }?;
        }
        Ok(())
    }
}
