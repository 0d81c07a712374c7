//! Where the server is and who we are: from a kubeconfig, or the service account of this pod.
//!
//! Owns: reading and resolving; the result, [`Settings`], holds the content of every file it names, so that two of them
//! are equal exactly when nothing was rotated. Facts: client-go's `tools/clientcmd`, Kubernetes 1.36.
//! Never: prints a secret; connects.

mod error;
mod in_cluster;
mod kubeconfig;
mod plugin;
mod resolve;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use http::Uri;
use http::uri::Scheme;

pub use error::AccessError;
pub(crate) use plugin::{Credential, Plugin};

/// How to find the server and our credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Kubeconfig files; of what several set, the first counts. Empty, and no `master`: the service account of this pod.
    pub kubeconfigs: Vec<PathBuf>,
    /// URL that is used in the place of the kubeconfig's; alone, without credentials.
    pub master: Option<String>,
}

impl Access {
    /// The files of a list as in the variable `KUBECONFIG`, separated by colons.
    pub fn from_list(list: &OsStr) -> Self {
        let files = std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty());
        Self { kubeconfigs: files.collect(), master: None }
    }

    /// Reads everything that is named, as it is now.
    ///
    /// # Errors
    /// [`AccessError`]: a file that cannot be read, or makes no sense.
    pub(crate) fn read(&self) -> Result<Settings, AccessError> {
        let master = self.master.as_deref().map(|text| {
            server_address(text, false)
                .map_err(|problem| AccessError::Master { address: text.to_owned(), problem })
        });
        let master = master.transpose()?;
        let mut settings = match (self.kubeconfigs.as_slice(), &master) {
            ([], Some(address)) => Settings::anonymous(address.clone()),
            ([], None) => {
                in_cluster::read(Path::new(in_cluster::SERVICE_ACCOUNT), &|name| std::env::var(name).ok())?
            }
            (files, _) => kubeconfig::read(files)?,
        };
        if let Some(address) = master {
            settings.server = address;
        }
        Ok(settings)
    }
}

/// Everything that is needed to connect and to be known. Holds secrets: not to be printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// With scheme and host; its path, if any, stands before each request's.
    pub server: Uri,
    pub tls: TlsSettings,
    pub user: User,
    pub impersonate: Impersonate,
    /// `http`, `https` or `socks5`; may hold a user and a password.
    pub proxy: Option<Uri>,
}

impl Settings {
    /// Only where the server is and whom to trust: without credentials, client certificates too.
    pub fn without_user(mut self) -> Self {
        self.user = User::Anonymous;
        self.impersonate = Impersonate::default();
        self.tls.client = None;
        self
    }

    pub fn anonymous(server: Uri) -> Self {
        Self {
            server,
            tls: TlsSettings::default(),
            user: User::Anonymous,
            impersonate: Impersonate::default(),
            proxy: None,
        }
    }
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// Whom to trust; nobody in particular: the authorities of the system.
    pub authorities: Option<Pem>,
    /// The name in the server's certificate, where it is not the address's.
    pub server_name: Option<String>,
    /// Any certificate will do.
    pub insecure: bool,
    pub client: Option<Identity>,
}

/// A client certificate and its key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub certificate: Pem,
    pub key: Pem,
}

/// A text in PEM, and where it is from, for messages.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pem {
    pub origin: String,
    pub text: Vec<u8>,
}

/// Who we say that we are, besides a client certificate.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum User {
    Anonymous,
    Token(String),
    Basic { name: String, password: String },
    Plugin(Box<Plugin>),
}

/// As whom we act.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Impersonate {
    pub user: Option<String>,
    pub uid: Option<String>,
    pub groups: Vec<String>,
    pub extra: Vec<(String, String)>,
}

/// The address of a server. Without a scheme it is plain HTTP, and HTTPS where there is a word about TLS, as for
/// client-go.
fn server_address(text: &str, tls: bool) -> Result<Uri, String> {
    let text = text.trim();
    let scheme = if tls { "https" } else { "http" };
    let whole = if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") };
    let found: Uri = whole.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    match (found.scheme(), found.host()) {
        (_, None | Some("")) => Err("it has no host".to_owned()),
        (Some(scheme), _) if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS => {
            Err(format!("its scheme is {scheme}, want https or http"))
        }
        _ if found.query().is_some() => Err("it has a query".to_owned()),
        _ if found.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            Err("it holds a user, which belongs into the kubeconfig".to_owned())
        }
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_have_a_path_a_literal_and_no_scheme() {
        let of = |text, tls| server_address(text, tls).map(|uri| uri.to_string());
        assert_eq!(of("10.0.0.1:8080", false).as_deref(), Ok("http://10.0.0.1:8080/"));
        assert_eq!(of("10.0.0.1:6443", true).as_deref(), Ok("https://10.0.0.1:6443/"));
        assert_eq!(of("https://[fd00::1]:6443", false).as_deref(), Ok("https://[fd00::1]:6443/"));
        assert_eq!(of(" https://a/k8s/clusters/c-1/ ", false).as_deref(), Ok("https://a/k8s/clusters/c-1/"));
        for bad in ["", "https://", "ftp://a", "https://a b", "https://a?b", "https://u:p@a"] {
            assert!(of(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_of_kubeconfigs_is_taken_apart() {
        let access = Access::from_list(OsStr::new("/a:/b::c"));
        assert_eq!(access.kubeconfigs, ["/a", "/b", "c"].map(PathBuf::from));
    }
}
