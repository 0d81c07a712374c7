//! TLS as a client: whom to trust, and who we are.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{AccessError, Identity, Pem, TlsSettings};
use crate::tls;

/// # Errors
/// Certificates or a key that cannot be read, or that do not belong together.
pub fn config(settings: &TlsSettings, identity: Option<&Identity>) -> Result<ClientConfig, AccessError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| AccessError::credentials("TLS", error))?;
    let builder = if settings.insecure {
        builder.dangerous().with_custom_certificate_verifier(tls::any_certificate(provider))
    } else {
        let roots = match &settings.authorities {
            Some(pem) => authorities(pem)?,
            None => of_the_system(),
        };
        builder.with_root_certificates(roots)
    };
    let Some(Identity { certificate, key }) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate)?;
    let private = tls::key(&key.text).map_err(|why| AccessError::credentials(&key.origin, why))?;
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
    tls::certificates(&pem.text).map_err(|why| AccessError::credentials(&pem.origin, why))
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
