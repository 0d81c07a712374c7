//! TLS as a client: whom to trust, and who we are.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::{AccessError, Identity, Pem, TlsSettings};

/// # Errors
/// Certificates or a key that cannot be read, or that do not belong together.
pub fn config(settings: &TlsSettings, identity: Option<&Identity>) -> Result<ClientConfig, AccessError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| AccessError::credentials("TLS", error))?;
    let builder = if settings.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        let roots = match &settings.authorities {
            Some(pem) => authorities(pem)?,
            None => of_the_system(),
        };
        builder.with_root_certificates(roots)
    };
    let Some(Identity { certificate, key }) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_slice(&key.text).map_err(|error| {
        AccessError::credentials(&key.origin, format!("there is no private key in it: {error}"))
    })?;
    builder.with_client_auth_cert(chain, private).map_err(|error| {
        let origin = format!("{} with {}", certificate.origin, key.origin);
        AccessError::credentials(origin, format!("the key is of no use or not the certificate's: {error}"))
    })
}

/// A proxy may be known to the system or to the cluster's authority. It does not get to know who we are.
///
/// # Errors
/// An authority that cannot be read.
pub fn for_proxy(settings: &TlsSettings) -> Result<ClientConfig, AccessError> {
    if settings.insecure {
        return config(settings, None);
    }
    let mut roots = of_the_system();
    if let Some(pem) = &settings.authorities {
        roots.roots.extend(authorities(pem)?.roots);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| AccessError::credentials("TLS", error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// All certificates of a text; what stands between them is nothing.
fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, AccessError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.text).collect();
    let found = found.map_err(|error| AccessError::credentials(&pem.origin, error))?;
    if found.is_empty() {
        return Err(AccessError::credentials(&pem.origin, "there is no certificate in it (PEM)"));
    }
    Ok(found)
}

/// One odd certificate of a bundle costs only itself.
fn authorities(pem: &Pem) -> Result<RootCertStore, AccessError> {
    let mut roots = RootCertStore::empty();
    let (usable, odd) = roots.add_parsable_certificates(certificates(pem)?);
    if usable == 0 {
        return Err(AccessError::credentials(
            &pem.origin,
            format!("none of its {odd} certificates can be used"),
        ));
    }
    Ok(roots)
}

fn of_the_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// `insecure-skip-tls-verify`: signatures are checked, names and authorities are not.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
