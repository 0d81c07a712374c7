//! The server's certificate.

use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::ring::{default_provider, sign};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::ResolvesServerCertUsingSni;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{DistinguishedName, ServerConfig, server};

use super::{ServeError, read, unusable};
use crate::authentication::certificates::AnyClient;
use crate::options::Options;
use crate::pki;

/// `hints` are the authorities that client certificates may come from.
pub fn config(options: &Options, hints: Vec<DistinguishedName>) -> Result<Arc<ServerConfig>, ServeError> {
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
    let versions: &[_] = if options.tls13_only { &[&TLS13] } else { &[&TLS12, &TLS13] };
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .map_err(|error| unusable(&certificate, error))?
        .with_client_cert_verifier(Arc::new(AnyClient::new(hints)));
    let usual = certified(&certificate, &key)?;
    let mut named = ResolvesServerCertUsingSni::new();
    for sni in &options.sni {
        let certified = certified(&sni.certificate, &sni.key)?;
        for name in sni.names.iter().filter(|name| !name.starts_with('*')) {
            named.add(name, certified.clone()).map_err(|error| unusable(&sni.certificate, error))?;
        }
    }
    let mut config = builder.with_cert_resolver(Arc::new(ByName { named, usual: Arc::new(usual) }));
    config.alpn_protocols = match options.http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}

fn certified(certificate: &std::path::Path, key: &std::path::Path) -> Result<CertifiedKey, ServeError> {
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(certificate, error))?;
    if chain.is_empty() {
        return Err(unusable(certificate, "there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| unusable(key, error))?;
    let private = sign::any_supported_type(&private).map_err(|error| unusable(key, error))?;
    Ok(CertifiedKey::new(chain, private))
}

/// A certificate for some names, and one for all others.
#[derive(Debug)]
struct ByName {
    named: ResolvesServerCertUsingSni,
    usual: Arc<CertifiedKey>,
}

impl server::ResolvesServerCert for ByName {
    fn resolve(&self, hello: server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.named.resolve(hello).or_else(|| Some(Arc::clone(&self.usual)))
    }
}
