//! TLS towards agents and ports of pods.

use std::io;
use std::sync::Arc;

use apiclient::tls;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

use super::{Backends, ConnectError, Trust};

/// The name that a certificate must be for.
pub fn name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned()).map_err(|_| format!("tls: {host} is not a name"))
}

/// What is wrong with a handshake, in Go's words where clients may know them.
pub fn words(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "tls: failed to verify certificate: x509: certificate signed by unknown authority".to_owned()
        }
        Some(Error::InvalidCertificate(why)) => format!("tls: failed to verify certificate: x509: {why}"),
        Some(Error::AlertReceived(AlertDescription::CertificateRequired)) => {
            "remote error: tls: certificate required".to_owned()
        }
        Some(Error::AlertReceived(alert)) => format!("remote error: tls: {alert:?}"),
        Some(Error::InvalidMessage(_)) => "tls: first record does not look like a TLS handshake".to_owned(),
        Some(other) => format!("tls: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => error.to_string(),
    }
}

impl Backends {
    /// Reads the files each time: connections to agents are few, and renewed certificates count at once.
    pub(super) async fn connector(&self, trust: Trust) -> Result<TlsConnector, ConnectError> {
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| ConnectError::Files(error.to_string()))?;
        let builder = match self.authority.as_ref().filter(|_| trust == Trust::Agent) {
            Some(file) => {
                let pem = read(file).await?;
                let mut roots = RootCertStore::empty();
                let bad = |error: String| ConnectError::Files(format!("{}: {error}", file.display()));
                for certificate in tls::certificates(&pem).map_err(bad)? {
                    roots.add(certificate).map_err(|error| bad(error.to_string()))?;
                }
                builder.with_root_certificates(roots)
            }
            // As the original does where it is told of no authority.
            None => builder.dangerous().with_custom_certificate_verifier(tls::any_certificate(provider)),
        };
        let identity = self.identity.as_ref().filter(|_| trust != Trust::Anybody);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let bad = |error: String| ConnectError::Files(format!("{}: {error}", certificate.display()));
                let chain = tls::certificates(&read(certificate).await?).map_err(bad)?;
                let key = tls::key(&read(key).await?).map_err(bad)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| bad(error.to_string()))?
            }
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

async fn read(file: &std::path::Path) -> Result<Vec<u8>, ConnectError> {
    let read = tokio::fs::read(file).await;
    read.map_err(|error| ConnectError::Files(format!("open {}: {error}", file.display())))
}
