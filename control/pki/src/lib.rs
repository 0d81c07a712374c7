//! The keys and certificates of a control plane of one machine: made at the first start, renewed before they end.
//!
//! Owns: which there are ([`CERTIFICATES`]), for which names, and when one is made again ([`decide`]). The files have the
//! names that kubeadm gives them, so that other programs' flags can be copied.
//! Never: makes a key again that is there: a certificate is renewed around its key, and an authority stays the same
//! authority. Begin at [`ensure`]. [`Authority`] signs what others ask for.

mod authority;
pub mod der;
mod error;
mod facts;
mod files;
mod make;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use authority::{Authority, SigningError};
pub use error::PkiError;
pub use facts::Facts;
pub use files::write_private;

/// An authority or something that it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Below the directory, without `.crt` and `.key`: `etcd/server`.
    pub file: &'static str,
    pub common_name: &'static str,
    /// O of the subject: a group of the user that it names.
    pub organization: Option<&'static str>,
    /// The `file` of its authority; None: it is one.
    pub issuer: Option<&'static str>,
    pub usage: Usage,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    Authority,
    /// Of the API: for [`Names`].
    Server,
    /// Of etcd, which is also its own peer: for this machine alone.
    Etcd,
    Client,
}

/// All of them, an authority before what it signs.
pub const CERTIFICATES: &[Certificate] = &[
    authority("ca", "kubernetes"),
    Certificate {
        file: "apiserver",
        common_name: "kube-apiserver",
        organization: None,
        issuer: Some("ca"),
        usage: Usage::Server,
    },
    client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", Some("system:masters"), "ca"),
    client("admin", "kubernetes-admin", Some("system:masters"), "ca"),
    authority("front-proxy-ca", "front-proxy-ca"),
    client("front-proxy-client", "front-proxy-client", None, "front-proxy-ca"),
    authority("etcd/ca", "etcd-ca"),
    Certificate {
        file: "etcd/server",
        common_name: "etcd",
        organization: None,
        issuer: Some("etcd/ca"),
        usage: Usage::Etcd,
    },
    client("apiserver-etcd-client", "kube-apiserver-etcd-client", None, "etcd/ca"),
];

/// The key that signs tokens of service accounts, and its public half.
pub const ACCOUNT_KEY: (&str, &str) = ("sa.key", "sa.pub");

/// How long authorities are valid, and everything else.
pub const LIFETIMES: (Duration, Duration) = (days(3650), days(365));

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}

const fn authority(file: &'static str, common_name: &'static str) -> Certificate {
    Certificate { file, common_name, organization: None, issuer: None, usage: Usage::Authority }
}

const fn client(
    file: &'static str,
    common_name: &'static str,
    organization: Option<&'static str>,
    issuer: &'static str,
) -> Certificate {
    Certificate { file, common_name, organization, issuer: Some(issuer), usage: Usage::Client }
}

impl Certificate {
    pub fn certificate_in(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.crt", self.file))
    }

    pub fn key_in(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.key", self.file))
    }

    fn lifetime(&self) -> Duration {
        if self.usage == Usage::Authority { LIFETIMES.0 } else { LIFETIMES.1 }
    }

    /// The names that it must be good for.
    fn names<'a>(&self, api: &'a Names, loopback: &'a Names) -> Option<&'a Names> {
        match self.usage {
            Usage::Server => Some(api),
            Usage::Etcd => Some(loopback),
            Usage::Authority | Usage::Client => None,
        }
    }
}

/// Names and addresses that a server has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub dns: BTreeSet<String>,
    pub addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// What the API is called: by its Service, by this machine, and by what the administrator adds: names or addresses.
    pub fn of_api(hostname: &str, addresses: impl IntoIterator<Item = IpAddr>, more: &[String]) -> Self {
        const SERVICE: [&str; 4] = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        let mut names = Self::loopback();
        names.dns.extend(SERVICE.map(str::to_owned));
        if !hostname.is_empty() {
            names.dns.insert(hostname.to_lowercase());
        }
        names.addresses.extend(addresses);
        for name in more {
            match name.parse() {
                Ok(address) => drop(names.addresses.insert(address)),
                Err(_) => drop(names.dns.insert(name.to_lowercase())),
            }
        }
        names
    }

    /// This machine as it sees itself.
    pub fn loopback() -> Self {
        Self {
            dns: BTreeSet::from(["localhost".to_owned()]),
            addresses: BTreeSet::from([[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()]),
        }
    }

    fn holds(&self, wanted: &Self) -> bool {
        self.dns.is_superset(&wanted.dns) && self.addresses.is_superset(&wanted.addresses)
    }
}

/// Why a certificate is made. Completes "made apiserver.crt: ".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Missing,
    /// A start was cut off between key and certificate, or somebody replaced one of them.
    NotOfItsKey,
    NotOfItsAuthority,
    EndsSoon,
    NamesChanged,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "there was none",
            Self::NotOfItsKey => "it did not belong to its key",
            Self::NotOfItsAuthority => "its authority has not signed it",
            Self::EndsSoon => "it would have ended soon",
            Self::NamesChanged => "this server has other names or addresses",
        })
    }
}

/// Whether a certificate must be made, and why. `public_key` is that of its key, `signed` whether its authority did. The
/// last third of a certificate's life is soon.
pub fn decide(
    have: Option<&Facts>,
    public_key: &[u8],
    signed: bool,
    wanted: Option<&Names>,
    (lifetime, now): (Duration, SystemTime),
) -> Option<Reason> {
    let Some(have) = have else { return Some(Reason::Missing) };
    if have.public_key != public_key {
        return Some(Reason::NotOfItsKey);
    }
    if !signed {
        return Some(Reason::NotOfItsAuthority);
    }
    if have.not_after < now + lifetime / 3 {
        return Some(Reason::EndsSoon);
    }
    wanted.is_some_and(|wanted| !have.names.holds(wanted)).then_some(Reason::NamesChanged)
}

/// Makes in `directory` what is missing there or ends soon, and says what: names of files, with reasons. What is
/// there and good is not touched. May be cut off anywhere: the next call goes on.
///
/// # Errors
/// A file cannot be read or written, or a key is damaged: keys are never replaced, so it says which.
pub fn ensure(directory: &Path, api: &Names, now: SystemTime) -> Result<Vec<(String, Reason)>, PkiError> {
    let loopback = Names::loopback();
    let mut made = Vec::new();
    if make::account_keys(directory)? {
        made.push((ACCOUNT_KEY.0.to_owned(), Reason::Missing));
    }
    for certificate in CERTIFICATES {
        let wanted = certificate.names(api, &loopback);
        if let Some(reason) = make::certificate(directory, certificate, wanted, now)? {
            made.push((format!("{}.crt", certificate.file), reason));
        }
    }
    Ok(made)
}

/// Makes in `directory` a certificate for `names` that is its own authority, as the original servers do where nobody gave
/// them one: `file`.crt and `file`.key.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_self_signed(
    directory: &Path,
    (file, common_name): (&'static str, &'static str),
    names: &Names,
    now: SystemTime,
) -> Result<(PathBuf, PathBuf), PkiError> {
    let own = authority(file, common_name);
    let (certificate, key) = (own.certificate_in(directory), own.key_in(directory));
    match make::certificate(directory, &own, Some(names), now) {
        // A key of a kind that we do not make: the original's. It serves as it is, and is not renewed.
        Err(PkiError::Key { .. }) if certificate.is_file() => {}
        outcome => drop(outcome?),
    }
    Ok((certificate, key))
}

/// The same without a file: certificate and key, PEM both.
///
/// # Errors
/// The system gives no random numbers, or a name is none.
pub fn self_signed(
    common_name: &'static str,
    names: &Names,
    now: SystemTime,
) -> Result<(String, String), PkiError> {
    make::self_signed(&authority(common_name, common_name), names, now)
}

#[cfg(test)]
mod tests;
