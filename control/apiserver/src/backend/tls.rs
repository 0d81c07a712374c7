//! TLS towards agents and ports of pods.

use std::io;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};

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
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    let added = certificate.map_err(|error| error.to_string());
                    added
                        .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()))
                        .map_err(|error| ConnectError::Files(format!("{}: {error}", file.display())))?;
                }
                builder.with_root_certificates(roots)
            }
            None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))),
        };
        let identity = self.identity.as_ref().filter(|_| trust != Trust::Anybody);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let bad = |error: String| ConnectError::Files(format!("{}: {error}", certificate.display()));
                let chain = CertificateDer::pem_slice_iter(&read(certificate).await?)
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|error| bad(error.to_string()))?;
                let key = PrivateKeyDer::from_pem_slice(&read(key).await?)
                    .map_err(|error| bad(error.to_string()))?;
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

/// Believes every certificate, as the original does where it is told of no authority. Who speaks must still own the key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
