//! Client certificates: the common name is the user, each organization a group.

use std::fmt::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use control_core::access::User;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::request::Parts;
use ring::digest::{SHA256, digest};
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Authenticate, Unauthorized};

/// Authorities whose certificates are believed; replaced when their file changes.
pub struct Authorities(RwLock<Arc<dyn ClientCertVerifier>>);

/// A file of authorities that holds none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no certificate authority that can be used: {0}")]
pub struct BadAuthorities(String);

impl Authorities {
    /// # Errors
    /// The PEM holds no certificate, or one that is none.
    pub fn new(pem: &[u8]) -> Result<Self, BadAuthorities> {
        verifier(pem).map(|verifier| Self(RwLock::new(verifier)))
    }

    /// # Errors
    /// As [`Authorities::new`]; the ones before stay.
    pub fn replace(&self, pem: &[u8]) -> Result<(), BadAuthorities> {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = verifier(pem)?;
        Ok(())
    }

    /// The chain leads to an authority, is in its time, and is for clients.
    ///
    /// # Errors
    /// It does not, or is not.
    pub fn verify(&self, peer: &[CertificateDer<'static>], now: UnixTime) -> Result<(), Unauthorized> {
        let [own, between @ ..] = peer else { return Err(Unauthorized("no certificate".to_owned())) };
        let verifier = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let verified = verifier.verify_client_cert(own, between, now);
        verified.map(drop).map_err(|error| Unauthorized(format!("verifying certificate failed: {error}")))
    }

    /// What the server tells clients to choose their certificate by.
    pub fn hints(&self) -> Vec<DistinguishedName> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).root_hint_subjects().to_vec()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorities")
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(tokio_rustls::rustls::crypto::ring::default_provider())
}

fn verifier(pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, BadAuthorities> {
    let bad = |error: &dyn fmt::Display| BadAuthorities(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| bad(&error))?;
        roots.add(certificate).map_err(|error| bad(&error))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| bad(&error))
}

/// `--client-ca-file`.
#[derive(Debug)]
pub struct Certificates(pub Arc<Authorities>);

impl Authenticate for Certificates {
    fn authenticate<'a>(
        &'a self,
        _head: &'a Parts,
        peer: &'a [CertificateDer<'static>],
    ) -> BoxFuture<'a, Result<Option<User>, Unauthorized>> {
        let found = match peer {
            [] => Ok(None),
            [own, ..] => self.0.verify(peer, UnixTime::now()).and_then(|()| user(own)),
        };
        std::future::ready(found).boxed()
    }
}

/// Until when a certificate is good; `None` for one that cannot be read.
pub fn end(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// `1.3.6.1.4.1.57683.2`: where a subject says the user's uid.
const UID: &str = "1.3.6.1.4.1.57683.2";

/// Whom a certificate names; nobody where it has no common name.
///
/// # Errors
/// It cannot be read, or has several uids.
pub fn user(certificate: &CertificateDer<'_>) -> Result<Option<User>, Unauthorized> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| Unauthorized(format!("the client's certificate cannot be read: {error}")))?;
    let subject = parsed.subject();
    let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| value.as_str().ok().map(str::to_owned);
    // The last one counts, as in Go.
    let Some(name) = subject.iter_common_name().last().and_then(text).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let mut uids = subject.iter_attributes().filter(|value| value.attr_type().to_id_string() == UID);
    let uid = uids.next().map(|value| text(value).filter(|uid| !uid.is_empty()));
    if uids.next().is_some() {
        return Err(Unauthorized("expected 1 UID, but found multiple".to_owned()));
    }
    let uid = match uid {
        None => String::new(),
        Some(uid) => uid.ok_or_else(|| Unauthorized("unable to parse UID into a string".to_owned()))?,
    };
    let groups = subject.iter_organization().filter_map(text).collect();
    let print = digest(&SHA256, certificate).as_ref().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let id = ("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("X509SHA256={print}")]);
    Ok(Some(User { name, uid, groups, extra: [id].into() }))
}

/// The common name of a certificate; empty where it has none.
pub fn common_name(certificate: &CertificateDer<'_>) -> String {
    user(certificate).ok().flatten().map(|user| user.name).unwrap_or_default()
}

/// In the TLS handshake: a client may offer any certificate, and must only prove that it is its own. Whom it names is
/// decided for each request, since one server believes several sorts of authorities.
pub struct AnyClient {
    provider: Arc<CryptoProvider>,
    hints: Vec<DistinguishedName>,
}

impl AnyClient {
    pub fn new(hints: Vec<DistinguishedName>) -> Self {
        Self { provider: provider(), hints }
    }
}

impl fmt::Debug for AnyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyClient")
    }
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };

    fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).expect("an authority").pem();
        (Issuer::new(params, key), pem)
    }

    fn client(
        authority: &Issuer<'static, KeyPair>,
        usage: ExtendedKeyUsagePurpose,
    ) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "alice");
        params.distinguished_name.push(DnType::OrganizationName, "devs");
        params.extended_key_usages = vec![usage];
        params.signed_by(&key, authority).expect("a certificate").der().clone()
    }

    async fn asked(
        ways: &Certificates,
        peer: &[CertificateDer<'static>],
    ) -> Result<Option<User>, Unauthorized> {
        let (head, ()) = http::Request::new(()).into_parts();
        ways.authenticate(&head, peer).await
    }

    #[tokio::test]
    async fn a_certificate_names_its_user_where_its_authority_is_believed() {
        let (own, pem) = authority("own");
        let (other, other_pem) = authority("other");
        let ways = Certificates(Arc::new(Authorities::new(pem.as_bytes()).expect("an authority")));
        let good = [client(&own, ExtendedKeyUsagePurpose::ClientAuth)];
        let found = asked(&ways, &good).await.expect("verified").expect("a user");
        assert_eq!((found.name.as_str(), found.groups.as_slice()), ("alice", &["devs".to_owned()][..]));
        let id = &found.extra["authentication.kubernetes.io/credential-id"][0];
        assert!(id.starts_with("X509SHA256=") && id.len() == 75, "{id}");
        assert!(asked(&ways, &[client(&other, ExtendedKeyUsagePurpose::ClientAuth)]).await.is_err());
        assert!(asked(&ways, &[client(&own, ExtendedKeyUsagePurpose::ServerAuth)]).await.is_err());
        assert!(asked(&ways, &[CertificateDer::from(vec![1, 2, 3])]).await.is_err());
        assert_eq!(asked(&ways, &[]).await, Ok(None));
        ways.0.replace(other_pem.as_bytes()).expect("another authority");
        assert!(asked(&ways, &good).await.is_err(), "its authority was replaced");
        assert!(ways.0.replace(b"none").is_err());
    }
}
