//! The benchmark's client: requests of an administrator over kept HTTP/1.1 connections, each client with one of its own.
//!
//! It believes the one certificate that the server has made for itself, and reads bodies without decoding them.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use host::netns::Namespace;
use lab::LabError;
use originals::{Connection, Trust};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::measure::failed;

/// The administrator's token.
pub const TOKEN: &str = "token-of-the-benchmark";
/// Encodings of answers.
pub const JSON: &str = "application/json";
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// One client.
pub struct Client {
    connection: Connection,
    accept: &'static str,
    content: &'static str,
}

impl Client {
    pub fn new(address: SocketAddr, trust: &Trust) -> Result<Self, LabError> {
        let connection = Connection::new(Namespace::current()?, address, Some(Arc::clone(trust)));
        Ok(Self { connection, accept: JSON, content: JSON })
    }

    /// The same, that wants answers in another encoding and sends bodies of another type.
    #[must_use]
    pub fn with(self, accept: &'static str, content: &'static str) -> Self {
        Self { accept, content, ..self }
    }

    /// Status and body of the answer, whatever it is.
    pub fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let mut headers = format!("Authorization: Bearer {TOKEN}\r\nAccept: {}\r\n", self.accept);
        if !body.is_empty() {
            headers.push_str(&format!("Content-Type: {}\r\n", self.content));
        }
        self.connection.ask(method, path, &headers, body)
    }

    /// An answer that has to be a success.
    pub fn must(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, LabError> {
        let what = || format!("{method} {path}");
        let (status, answer) =
            self.ask(method, path, body).map_err(|error| failed(&what(), error.to_string()))?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let text = String::from_utf8_lossy(&answer);
        Err(failed(&what(), format!("status {status}: {}", text.trim())))
    }
}

/// TLS that believes the first certificate of a file, and no other.
///
/// # Errors
/// The file holds none.
pub fn trust(file: &Path) -> io::Result<Trust> {
    let certificate = CertificateDer::from_pem_file(file).map_err(io::Error::other)?;
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Known { certificate, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Believes one certificate: the servers sign theirs themselves, each in its own way.
#[derive(Debug)]
struct Known {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match *end_entity == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
