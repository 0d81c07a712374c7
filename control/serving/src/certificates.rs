//! The server's certificates: which one a client is shown, and files that change.
//!
//! Facts: a client that names a host gets the certificate for that name, or one for its domain (`*.example.org` stands for
//! one label), else the usual one. Files are read again when they change; what cannot be used leaves what was there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use apiclient::tls;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::{default_provider, sign};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    self, CipherSuite, DistinguishedName, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    server,
};

use crate::authentication::certificates::AnyClient;
use crate::files::{FileError, read, unusable};

/// What is spoken with clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub tls13_only: bool,
    /// The only suites of TLS 1.2, by their names here; all that are safe where there are none.
    pub suites: Vec<CipherSuite>,
    /// HTTP/2 is offered besides HTTP/1.1.
    pub http2: bool,
}

/// `hints` are the authorities that client certificates may come from; none: any.
///
/// # Errors
/// A file cannot be read, or is not what it should be.
pub fn config(
    sources: Vec<Source>,
    terms: &Terms,
    hints: Vec<DistinguishedName>,
) -> Result<(Arc<ServerConfig>, Arc<Certificates>), FileError> {
    let certificates = Arc::new(Certificates::new(sources)?);
    let (provider, versions) = terms.provider();
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .map_err(|error| unusable(Path::new("TLS"), error))?
        .with_client_cert_verifier(Arc::new(AnyClient::new(hints)))
        .with_cert_resolver(Arc::clone(&certificates) as _);
    config.alpn_protocols = match terms.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok((Arc::new(config), certificates))
}

static NEW: &[&SupportedProtocolVersion] = &[&TLS13];
static BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

impl Terms {
    /// What can be done for these terms. The suites of TLS 1.3 are not chosen, as in Go.
    fn provider(&self) -> (CryptoProvider, &'static [&'static SupportedProtocolVersion]) {
        let mut provider = default_provider();
        if !self.suites.is_empty() {
            let chosen = |suite: &SupportedCipherSuite| {
                suite.tls13().is_some() || self.suites.contains(&suite.suite())
            };
            provider.cipher_suites.retain(chosen);
        }
        let has_old = provider.cipher_suites.iter().any(|suite| suite.tls13().is_none());
        (provider, if self.tls13_only || !has_old { NEW } else { BOTH })
    }
}

/// The suite that Go gives a name; `None` for one that is not spoken here.
pub fn suite(name: &str) -> Option<CipherSuite> {
    let name = match name {
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => {
            format!("{name}_SHA256")
        }
        name => name.to_owned(),
    };
    suites().into_iter().find(|(known, _)| *known == name).map(|(_, suite)| suite)
}

/// All suites that are spoken here, by Go's names.
pub fn suites() -> Vec<(String, CipherSuite)> {
    let named = |suite: &SupportedCipherSuite| {
        // As RFC 8446 writes it.
        let name = suite.suite().as_str().unwrap_or_default().replace("TLS13_", "TLS_");
        (name, suite.suite())
    };
    default_provider().cipher_suites.iter().map(named).collect()
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Source {
    pub pair: Pair,
    pub names: Names,
}

/// Where a certificate and its key are.
#[derive(Clone)]
pub enum Pair {
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
    /// PEM; it lives as long as this process.
    Made {
        certificate: String,
        key: String,
    },
}

impl Pair {
    fn read(&self) -> Result<(Vec<u8>, Vec<u8>), FileError> {
        match self {
            Self::Files { certificate, key } => Ok((read(certificate)?, read(key)?)),
            Self::Made { certificate, key } => Ok((certificate.clone().into(), key.clone().into())),
        }
    }

    /// For messages.
    fn names(&self) -> (&Path, &Path) {
        match self {
            Self::Files { certificate, key } => (certificate, key),
            Self::Made { .. } => (Path::new("the certificate of its own"), Path::new("the key of its own")),
        }
    }
}

/// For which names a certificate is shown.
#[derive(Clone, Debug)]
pub enum Names {
    /// For whoever asks for nothing better.
    Any,
    Given(Vec<String>),
    OfCertificate,
}

impl Source {
    /// For whoever asks for nothing better.
    pub fn usual(pair: Pair) -> Self {
        Self { pair, names: Names::Any }
    }
}

/// A certificate for some names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sni {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Names and `*.` patterns; empty: those of the certificate.
    pub names: Vec<String>,
}

impl From<&Sni> for Source {
    fn from(sni: &Sni) -> Self {
        let names = match sni.names.is_empty() {
            true => Names::OfCertificate,
            false => Names::Given(sni.names.clone()),
        };
        Self { pair: Pair::Files { certificate: sni.certificate.clone(), key: sni.key.clone() }, names }
    }
}

/// All certificates, the usual one and those for some names.
pub struct Certificates {
    /// The usual one first.
    sources: Vec<Source>,
    current: RwLock<Arc<ByName>>,
}

#[derive(Debug)]
struct ByName {
    usual: Arc<CertifiedKey>,
    /// Names in lower case; `.example.org` is for one label before it. The first source that has a name counts.
    named: BTreeMap<String, Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl Certificates {
    fn new(sources: Vec<Source>) -> Result<Self, FileError> {
        let current = RwLock::new(Arc::new(ByName::read(&sources)?));
        Ok(Self { sources, current })
    }

    /// For ever: reads the files again when one changes.
    pub async fn follow(&self, every: Duration) {
        let mut known = self.contents().await;
        loop {
            tokio::time::sleep(every).await;
            let now = self.contents().await;
            if now == known {
                continue;
            }
            match ByName::read(&self.sources) {
                Ok(new) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                    tracing::info!("new clients are shown the changed certificates");
                }
                // A certificate and its key may be written one after the other.
                Err(error) => {
                    let error = telemetry::logs::chain(&error);
                    tracing::warn!(error, "the server's certificates stay what they were");
                }
            }
            known = now;
        }
    }

    async fn contents(&self) -> Vec<Option<Vec<u8>>> {
        let mut all = Vec::new();
        for source in &self.sources {
            let Pair::Files { certificate, key } = &source.pair else { continue };
            for file in [certificate, key] {
                all.push(tokio::fs::read(file).await.ok());
            }
        }
        all
    }

    fn for_name(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).find(name)
    }
}

impl ByName {
    fn read(sources: &[Source]) -> Result<Self, FileError> {
        let (mut usual, mut named) = (None, BTreeMap::new());
        for source in sources {
            let (certified, own) = certified(source)?;
            let names = match &source.names {
                Names::Any => {
                    usual = Some(certified);
                    continue;
                }
                Names::Given(names) => names.clone(),
                Names::OfCertificate => own,
            };
            for name in names {
                let name = name.to_ascii_lowercase();
                let name = name.strip_prefix('*').map_or(name.clone(), str::to_owned);
                named.entry(name).or_insert_with(|| Arc::clone(&certified));
            }
        }
        let usual = usual.ok_or_else(|| unusable(Path::new("TLS"), "there is no usual certificate"))?;
        Ok(Self { usual, named })
    }

    fn find(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let found = name.and_then(|name| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let domain = name.find('.').map(|dot| &name[dot..]);
            self.named.get(&name).or_else(|| self.named.get(domain?))
        });
        Arc::clone(found.unwrap_or(&self.usual))
    }
}

/// The certificate with its key, and the names that it says it is for.
fn certified(source: &Source) -> Result<(Arc<CertifiedKey>, Vec<String>), FileError> {
    let (certificate, key) = source.pair.names();
    let (pem, private) = source.pair.read()?;
    let chain = tls::certificates(&pem).map_err(|why| unusable(certificate, why))?;
    let names = control_pki::Facts::read(&String::from_utf8_lossy(&pem)).map(|facts| facts.names.dns);
    let private = tls::key(&private).map_err(|why| unusable(key, why))?;
    let private = sign::any_supported_type(&private).map_err(|error| unusable(key, error))?;
    let certified = CertifiedKey::new(chain, private);
    // A key that is not the certificate's; what cannot be compared is let pass.
    if certified.keys_match() == Err(rustls::InconsistentKeys::KeyMismatch.into()) {
        return Err(unusable(key, format!("it is not the key of {}", certificate.display())));
    }
    Ok((Arc::new(certified), names.unwrap_or_default().into_iter().collect()))
}

impl server::ResolvesServerCert for Certificates {
    fn resolve(&self, hello: server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.for_name(hello.server_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject;

    fn write(directory: &Path, name: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let own = CertificateParams::new(names).expect("names").self_signed(&key).expect("a certificate");
        let files = (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
        std::fs::write(&files.1, key.serialize_pem()).expect("written");
        std::fs::write(&files.0, own.pem()).expect("written");
        files
    }

    fn source((certificate, key): (PathBuf, PathBuf), names: Names) -> Source {
        Source { pair: Pair::Files { certificate, key }, names }
    }

    fn shown(certificates: &Certificates, name: Option<&str>) -> Vec<u8> {
        certificates.for_name(name).cert[0].as_ref().to_vec()
    }

    #[test]
    fn a_client_is_shown_the_certificate_for_the_name_that_it_asks_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name, names| write(directory.path(), name, names);
        let sources = vec![
            source(write("usual", &["usual.example"]), Names::Any),
            source(
                write("given", &["x.example"]),
                Names::Given(vec!["A.example".into(), "*.b.example".into()]),
            ),
            source(write("own", &["c.example", "*.d.example", "a.example"]), Names::OfCertificate),
        ];
        let certificates = Certificates::new(sources.clone()).expect("certificates");
        let of = |nth: usize| {
            let (pem, _) = sources[nth].pair.read().expect("read");
            CertificateDer::from_pem_slice(&pem).expect("one").as_ref().to_vec()
        };
        for (name, nth) in [
            (None, 0),
            (Some("other.example"), 0),
            (Some("x.example"), 0),
            (Some("a.example"), 1),
            (Some("y.b.EXAMPLE"), 1),
            (Some("z.y.b.example"), 0),
            (Some("b.example"), 0),
            (Some("c.example."), 2),
            (Some("y.d.example"), 2),
        ] {
            assert_eq!(shown(&certificates, name), of(nth), "{name:?}");
        }
    }

    #[test]
    fn suites_are_chosen_by_gos_names() {
        let rsa = suite("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305");
        assert!(rsa.is_some() && rsa == suite("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"));
        assert_eq!(suite("TLS_RSA_WITH_AES_128_CBC_SHA"), None);
        let of = |names: &[&str]| {
            let suites = names.iter().map(|name| suite(name).expect(name)).collect();
            Terms { suites, ..Terms::default() }.provider()
        };
        let (all, versions) = of(&[]);
        assert_eq!((all.cipher_suites.len(), versions.len()), (suites().len(), 2));
        let (one, versions) = of(&["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]);
        assert_eq!((one.cipher_suites.len(), versions.len()), (4, 2), "and the three of TLS 1.3");
        let (new, versions) = of(&["TLS_AES_128_GCM_SHA256"]);
        assert_eq!((new.cipher_suites.len(), versions.len()), (3, 1));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let (certificate, _) = write(directory.path(), "one", &["a"]);
        let (_, key) = write(directory.path(), "two", &["a"]);
        let error = Certificates::new(vec![source((certificate, key), Names::Any)]).expect_err("a refusal");
        assert!(error.to_string().contains("it is not the key of"), "{error}");
    }

    #[tokio::test]
    async fn a_changed_certificate_is_shown_without_a_restart() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = write(directory.path(), "own", &["a"]);
        let certificates = Arc::new(Certificates::new(vec![source(files, Names::Any)]).expect("one"));
        let before = shown(&certificates, None);
        let following = tokio::spawn({
            let certificates = Arc::clone(&certificates);
            async move { certificates.follow(Duration::from_millis(5)).await }
        });
        let changed = async {
            // Written again until it is seen: the first look may come after the first of these writes.
            while shown(&certificates, None) == before {
                write(directory.path(), "own", &["a"]);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), changed).await.expect("seen");
        following.abort();
    }
}
