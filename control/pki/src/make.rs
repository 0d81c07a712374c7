//! Makes keys and certificates. All keys are ECDSA P-256: made in a millisecond, and understood by every client.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use super::error::PkiError;
use super::facts::{Facts, is_signed_by};
use super::files;
use super::{ACCOUNT_KEY, CERTIFICATES, Certificate, Names, Reason, Usage, decide};

/// Clocks of clients may be behind by this much.
const SKEW: Duration = Duration::from_secs(300);

/// Makes the certificate if [`decide`] says so, and its key if there is none.
pub(super) fn certificate(
    directory: &Path,
    certificate: &Certificate,
    names: Option<&Names>,
    now: SystemTime,
) -> Result<Option<Reason>, PkiError> {
    let path = certificate.certificate_in(directory);
    let key = key(&certificate.key_in(directory))?;
    let pem = files::read(&path)?;
    let issuer = certificate.issuer.and_then(|file| CERTIFICATES.iter().find(|known| known.file == file));
    let signed = match (&pem, issuer) {
        (None, _) => false,
        (Some(pem), None) => is_signed_by(pem, pem),
        (Some(pem), Some(issuer)) => {
            let authority = files::read(&issuer.certificate_in(directory))?;
            authority.is_some_and(|authority| is_signed_by(pem, &authority))
        }
    };
    let facts = pem.as_deref().and_then(Facts::read);
    let public_key = rcgen::PublicKeyData::subject_public_key_info(&key);
    let reason = decide(facts.as_ref(), &public_key, signed, names, (certificate.lifetime(), now));
    if reason.is_none() {
        return Ok(None);
    }
    let broken =
        |error: &dyn std::fmt::Display| PkiError::Make { path: path.clone(), reason: error.to_string() };
    let wanted = parameters(certificate, names, now).map_err(|error| broken(&error))?;
    let made = match issuer {
        None => wanted.self_signed(&key),
        Some(issuer) => {
            let signing = self::key(&issuer.key_in(directory))?;
            let parameters = parameters(issuer, None, now).map_err(|error| broken(&error))?;
            wanted.signed_by(&key, &Issuer::new(parameters, signing))
        }
    };
    files::write_public(&path, &made.map_err(|error| broken(&error))?.pem())?;
    Ok(reason)
}

/// Makes a certificate that is its own authority, and its key.
pub(super) fn self_signed(
    certificate: &Certificate,
    names: &Names,
    now: SystemTime,
) -> Result<(String, String), PkiError> {
    let made = || {
        let key = KeyPair::generate()?;
        let own = parameters(certificate, Some(names), now)?.self_signed(&key)?;
        Ok::<_, rcgen::Error>((own.pem(), key.serialize_pem()))
    };
    made().map_err(|error| PkiError::Make { path: certificate.file.into(), reason: error.to_string() })
}

/// Makes the keys of service accounts' tokens; says whether there were none.
pub(super) fn account_keys(directory: &Path) -> Result<bool, PkiError> {
    let (private, public) = (directory.join(ACCOUNT_KEY.0), directory.join(ACCOUNT_KEY.1));
    let is_new = files::read(&private)?.is_none();
    let pem = key(&private)?.public_key_pem();
    if files::read(&public)?.as_deref() != Some(&pem) {
        files::write_public(&public, &pem)?;
    }
    Ok(is_new)
}

/// The key of a file, which is made where there is none.
fn key(path: &Path) -> Result<KeyPair, PkiError> {
    match files::read(path)? {
        Some(pem) => KeyPair::from_pem(&pem)
            .map_err(|error| PkiError::Key { path: path.to_owned(), reason: error.to_string() }),
        None => {
            let key = KeyPair::generate()
                .map_err(|error| PkiError::Make { path: path.to_owned(), reason: error.to_string() })?;
            files::write_private(path, &key.serialize_pem())?;
            Ok(key)
        }
    }
}

fn parameters(
    certificate: &Certificate,
    names: Option<&Names>,
    now: SystemTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut subject = DistinguishedName::new();
    if let Some(organization) = certificate.organization {
        subject.push(DnType::OrganizationName, organization);
    }
    subject.push(DnType::CommonName, certificate.common_name);
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = subject;
    parameters.not_before = OffsetDateTime::from(now - SKEW);
    parameters.not_after = OffsetDateTime::from(now + certificate.lifetime());
    parameters.use_authority_key_identifier_extension = certificate.issuer.is_some();
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    let (server, client) = (ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth);
    match certificate.usage {
        Usage::Authority => {
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            parameters.key_usages.extend([KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
        }
        Usage::Server => parameters.extended_key_usages = vec![server],
        // etcd is a client of itself: of its own gateway, and of its peers.
        Usage::Etcd => parameters.extended_key_usages = vec![server, client],
        Usage::Client => parameters.extended_key_usages = vec![client],
    }
    for name in names.iter().flat_map(|names| &names.dns) {
        parameters.subject_alt_names.push(SanType::DnsName(Ia5String::try_from(name.as_str())?));
    }
    let addresses = names.iter().flat_map(|names| &names.addresses);
    parameters.subject_alt_names.extend(addresses.map(|address| SanType::IpAddress(*address)));
    Ok(parameters)
}
