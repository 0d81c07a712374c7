//! The certificates with which etcd and this machine know each other. TLS 1.2 or 1.3 (rustls knows no older one).

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::EtcdError;
use crate::settings::Settings;

/// What was read from files, in PEM.
#[derive(Clone)]
pub(crate) struct Tls {
    /// None: the authorities of the system are trusted.
    ca: Option<String>,
    /// Our own certificate and key.
    identity: Option<(String, String)>,
    /// The name that etcd's certificate must have. None: the endpoint's host.
    pub(crate) server_name: Option<String>,
}

/// Reads the files.
pub(crate) fn load(settings: &Settings) -> Result<Tls, EtcdError> {
    let ca = settings.ca.as_ref().map(|file| pem(file, "CERTIFICATE")).transpose()?;
    let identity = match &settings.identity {
        Some((certificate, key)) => Some((pem(certificate, "CERTIFICATE")?, pem(key, "PRIVATE KEY")?)),
        None => None,
    };
    Ok(Tls { ca, identity, server_name: settings.server_name.clone() })
}

impl Tls {
    /// For one connection.
    ///
    /// # Errors
    /// What is wrong with a certificate or a key. Perhaps another program is replacing them at this moment.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(text) => {
                for one in certificates(text)? {
                    roots.add(one).map_err(|error| format!("an authority cannot be used: {error}"))?;
                }
            }
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                    .map_err(|error| format!("our key cannot be read: {error}"))?;
                let built = builder.with_client_auth_cert(certificates(certificate)?, key);
                built.map_err(|error| format!("our key is of no use, or not our certificate's: {error}"))?
            }
        };
        config.alpn_protocols.push(b"h2".to_vec());
        Ok(Arc::new(config))
    }
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    found.map_err(|error| format!("a certificate cannot be read: {error}"))
}

fn pem(file: &Path, wanted: &str) -> Result<String, EtcdError> {
    let refuse = |reason: String| EtcdError::TlsFile { file: file.to_owned(), reason };
    let text = fs::read_to_string(file).map_err(|error| refuse(error.to_string()))?;
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(refuse("the key is encrypted; a daemon cannot ask for its password".into()));
    }
    match text
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.ends_with(&format!("{wanted}-----")))
    {
        true => Ok(text),
        false => Err(refuse(format!("no {wanted} in PEM form in this file"))),
    }
}
