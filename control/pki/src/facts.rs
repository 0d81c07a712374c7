//! What a certificate says of itself.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use super::Names;

/// The part of a certificate that decides whether it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub not_after: SystemTime,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
    pub names: Names,
}

impl Facts {
    /// Reads the first certificate of a PEM text. None for what is none: it is made again then.
    pub fn read(pem: &str) -> Option<Self> {
        parsed(pem, |certificate| {
            let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
            Self {
                not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
                public_key: certificate.public_key().raw.to_vec(),
                names: names(certificate),
            }
        })
    }
}

/// Whether the certificate `pem` was signed by the key of the certificate `authority`.
pub(super) fn is_signed_by(pem: &str, authority: &str) -> bool {
    let verified = parsed(authority, |authority| {
        parsed(pem, |certificate| {
            certificate.issuer().as_raw() == authority.subject().as_raw()
                && certificate.verify_signature(Some(authority.public_key())).is_ok()
        })
    });
    verified.flatten().unwrap_or(false)
}

fn parsed<T>(pem: &str, read: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
    let (_, block) = parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = block.parse_x509().ok()?;
    Some(read(&certificate))
}

fn names(certificate: &X509Certificate<'_>) -> Names {
    let mut names = Names::default();
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return names };
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => drop(names.dns.insert((*name).to_owned())),
            GeneralName::IPAddress(bytes) => names.addresses.extend(address(bytes)),
            _ => {}
        }
    }
    names
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
