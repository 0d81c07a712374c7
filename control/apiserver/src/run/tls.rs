//! The server's certificates: which one a client is shown, and files that change.
//!
//! Facts: a client that names a host gets the certificate for that name, or one for its domain (`*.example.org` stands for
//! one label), else the usual one. Files are read again when they change; what cannot be used leaves what was there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use apiclient::tls;
use tokio_rustls::rustls::crypto::ring::{default_provider, sign};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{DistinguishedName, ServerConfig, server};

use super::{ServeError, read, unusable};
use crate::authentication::certificates::AnyClient;
use crate::options::Options;
use crate::pki;

/// `hints` are the authorities that client certificates may come from.
pub fn config(
    options: &Options,
    hints: Vec<DistinguishedName>,
) -> Result<(Arc<ServerConfig>, Arc<Certificates>), ServeError> {
    let (certificate, key) = match &options.tls {
        Some(own) => own.clone(),
        None => {
            let names = pki::Names::of_api(
                "localhost",
                options.advertise_address.into_iter().chain([options.listen.ip()]),
                &[],
            );
            pki::ensure_self_signed(&options.cert_dir, &names, SystemTime::now())?
        }
    };
    let mut sources = vec![Source { certificate: certificate.clone(), key, names: Names::Any }];
    for sni in &options.sni {
        let names = match sni.names.is_empty() {
            true => Names::OfCertificate,
            false => Names::Given(sni.names.clone()),
        };
        sources.push(Source { certificate: sni.certificate.clone(), key: sni.key.clone(), names });
    }
    let certificates = Arc::new(Certificates::new(sources)?);
    let versions: &[_] = if options.tls13_only { &[&TLS13] } else { &[&TLS12, &TLS13] };
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .map_err(|error| unusable(&certificate, error))?
        .with_client_cert_verifier(Arc::new(AnyClient::new(hints)))
        .with_cert_resolver(Arc::clone(&certificates) as _);
    config.alpn_protocols = match options.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok((Arc::new(config), certificates))
}

/// A certificate with its key, as files.
#[derive(Clone, Debug)]
struct Source {
    certificate: PathBuf,
    key: PathBuf,
    names: Names,
}

#[derive(Clone, Debug)]
enum Names {
    /// For whoever asks for nothing better.
    Any,
    Given(Vec<String>),
    OfCertificate,
}

/// All certificates, the usual one and those for some names.
#[derive(Debug)]
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

impl Certificates {
    fn new(sources: Vec<Source>) -> Result<Self, ServeError> {
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
            for file in [&source.certificate, &source.key] {
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
    fn read(sources: &[Source]) -> Result<Self, ServeError> {
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
        let usual =
            usual.ok_or_else(|| unusable(std::path::Path::new(""), "there is no usual certificate"))?;
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
fn certified(source: &Source) -> Result<(Arc<CertifiedKey>, Vec<String>), ServeError> {
    let Source { certificate, key, .. } = source;
    let pem = read(certificate)?;
    let chain = tls::certificates(&pem).map_err(|why| unusable(certificate, why))?;
    let names = pki::Facts::read(&String::from_utf8_lossy(&pem)).map(|facts| facts.names.dns);
    let private = tls::key(&read(key)?).map_err(|why| unusable(key, why))?;
    let private = sign::any_supported_type(&private).map_err(|error| unusable(key, error))?;
    let certified = CertifiedKey::new(chain, private);
    // A key that is not the certificate's; what cannot be compared is let pass.
    if certified.keys_match() == Err(tokio_rustls::rustls::InconsistentKeys::KeyMismatch.into()) {
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
    use std::path::Path;
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
        Source { certificate, key, names }
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
            let pem = std::fs::read(&sources[nth].certificate).expect("read");
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
