//! An authority that signs what others ask for.
//!
//! Owns: the way from a request (PKCS #10) to a certificate. The subject, the key and the names are the request's, byte for
//! byte; nothing else of it is taken over. Facts: RFC 5280; the original's `PermissiveSigningPolicy`
//! (`pkg/controller/certificates/authority`).

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

use crate::der::{self, BITS, INTEGER, OCTETS, OID, SEQUENCE, value};

/// A certificate and its key, in files. They are read at each use, for they may be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("cannot read {}: {error}", .path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{} holds no {what} that can be used", .path.display())]
    Unusable { path: PathBuf, what: &'static str },
    #[error("unable to parse certificate request: {0}")]
    Request(String),
    #[error("unable to verify certificate request signature")]
    Unproved,
    #[error("unrecognized usage values: [{0}]")]
    Usages(String),
    #[error("the authority's own certificate has ended, at {0}")]
    Ended(String),
    #[error("the authority's key cannot sign")]
    Key,
}

impl Authority {
    /// Whether it could sign now: to be asked at the start.
    ///
    /// # Errors
    /// A file that is not there, or is none of what it should be.
    pub fn check(&self) -> Result<(), SigningError> {
        let pem = self.read_certificate()?;
        parsed(&pem.contents).ok_or_else(|| self.unusable(&self.certificate, "certificate"))?;
        self.signer().map(|_| ())
    }

    /// A certificate for the request, PEM: with these usages, as `certificates.k8s.io` names them, and valid from `begin` to
    /// `end` or to the authority's own end.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn sign(
        &self,
        request: &[u8],
        usages: &[&str],
        (begin, end): (SystemTime, SystemTime),
        now: SystemTime,
    ) -> Result<String, SigningError> {
        let (_, asked) = X509CertificationRequest::from_der(request)
            .map_err(|error| SigningError::Request(error.to_string()))?;
        asked.verify_signature().map_err(|_| SigningError::Unproved)?;
        let own = self.read_certificate()?;
        let issuer = parsed(&own.contents).ok_or_else(|| self.unusable(&self.certificate, "certificate"))?;
        let key = self.signer()?;
        let seconds = u64::try_from(issuer.validity().not_after.timestamp()).unwrap_or_default();
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        if now >= last || begin >= last {
            return Err(SigningError::Ended(issuer.validity().not_after.to_string()));
        }
        let info = &asked.certification_request_info;
        let validity = value(SEQUENCE, &[&moment(begin), &moment(end.min(last))]);
        let signed = value(
            SEQUENCE,
            &[
                // Version 3.
                &value(0xa0, &[&value(INTEGER, &[&[2]])]),
                &value(INTEGER, &[&serial()?]),
                key.algorithm(),
                issuer.subject().as_raw(),
                &validity,
                info.subject.as_raw(),
                info.subject_pki.raw,
                &value(0xa3, &[&value(SEQUENCE, &[&extensions(&asked, &issuer, usages)?])]),
            ],
        );
        let signature = key.sign(&signed)?;
        let whole = value(SEQUENCE, &[&signed, key.algorithm(), &value(BITS, &[&[0], &signature])]);
        Ok(pem(&whole))
    }

    fn read_certificate(&self) -> Result<Pem, SigningError> {
        read(&self.certificate, "CERTIFICATE")?.ok_or_else(|| self.unusable(&self.certificate, "certificate"))
    }

    fn signer(&self) -> Result<Key, SigningError> {
        let block = read(&self.key, "PRIVATE KEY")?;
        block.and_then(|block| Key::of(&block)).ok_or_else(|| self.unusable(&self.key, "key"))
    }

    fn unusable(&self, path: &Path, what: &'static str) -> SigningError {
        SigningError::Unusable { path: path.to_owned(), what }
    }
}

/// The first block whose label ends so.
fn read(path: &Path, label: &str) -> Result<Option<Pem>, SigningError> {
    let text = std::fs::read(path).map_err(|error| SigningError::Read { path: path.to_owned(), error })?;
    let mut blocks = Pem::iter_from_buffer(&text).filter_map(Result::ok);
    Ok(blocks.find(|block| block.label.ends_with(label)))
}

fn parsed(der: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

/// What signs, and the name of how it does.
enum Key {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    fn of(block: &Pem) -> Option<Self> {
        let der = &block.contents;
        let random = SystemRandom::new();
        let p256 = |der: &[u8]| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random).ok();
        let p384 = |der: &[u8]| EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, der, &random).ok();
        match block.label.as_str() {
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(der).ok().map(Self::Rsa),
            "EC PRIVATE KEY" => {
                // RFC 5915 inside of PKCS #8.
                let around = |curve: &[u8]| {
                    value(
                        SEQUENCE,
                        &[
                            &value(INTEGER, &[&[0]]),
                            &value(SEQUENCE, &[CURVES, curve]),
                            &value(OCTETS, &[der]),
                        ],
                    )
                };
                p256(&around(P256)).map(Self::P256).or_else(|| p384(&around(P384)).map(Self::P384))
            }
            _ => (p256(der).map(Self::P256))
                .or_else(|| p384(der).map(Self::P384))
                .or_else(|| RsaKeyPair::from_pkcs8(der).ok().map(Self::Rsa))
                .or_else(|| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Self::Ed25519)),
        }
    }

    /// AlgorithmIdentifier (RFC 3279, 5758, 8410).
    fn algorithm(&self) -> &'static [u8] {
        match self {
            Self::Rsa(_) => b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00",
            Self::P256(_) => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02",
            Self::P384(_) => b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03",
            Self::Ed25519(_) => b"\x30\x05\x06\x03\x2b\x65\x70",
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| SigningError::Key)?;
                Ok(signature)
            }
            Self::P256(key) | Self::P384(key) => {
                let signature = key.sign(&random, message).map_err(|_| SigningError::Key)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

/// `id-ecPublicKey`, and two curves.
const CURVES: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";

/// 16 bytes of chance that are a positive number.
fn serial() -> Result<[u8; 16], SigningError> {
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| SigningError::Key)?;
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(serial)
}

/// UTCTime until 2049, GeneralizedTime after that (RFC 5280, 4.1.2.5).
fn moment(at: SystemTime) -> Vec<u8> {
    let at = OffsetDateTime::from(at);
    let rest = format!(
        "{:02}{:02}{:02}{:02}{:02}Z",
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    match at.year() {
        year @ 1950..2050 => value(0x17, &[format!("{:02}{rest}", year % 100).as_bytes()]),
        year => value(0x18, &[format!("{year:04}{rest}").as_bytes()]),
    }
}

/// Bits of KeyUsage (RFC 5280, 4.2.1.3), by the names of usages.
const KEY_USAGES: [(&str, u16); 10] = [
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];

/// Purposes (RFC 5280, 4.2.1.12), in the order in which the original writes them.
const PURPOSES: [(&str, &[u8]); 13] = [
    ("any", b"\x55\x1d\x25\x00"),
    ("server auth", b"\x2b\x06\x01\x05\x05\x07\x03\x01"),
    ("client auth", b"\x2b\x06\x01\x05\x05\x07\x03\x02"),
    ("code signing", b"\x2b\x06\x01\x05\x05\x07\x03\x03"),
    ("email protection", b"\x2b\x06\x01\x05\x05\x07\x03\x04"),
    ("s/mime", b"\x2b\x06\x01\x05\x05\x07\x03\x04"),
    ("ipsec end system", b"\x2b\x06\x01\x05\x05\x07\x03\x05"),
    ("ipsec tunnel", b"\x2b\x06\x01\x05\x05\x07\x03\x06"),
    ("ipsec user", b"\x2b\x06\x01\x05\x05\x07\x03\x07"),
    ("timestamping", b"\x2b\x06\x01\x05\x05\x07\x03\x08"),
    ("ocsp signing", b"\x2b\x06\x01\x05\x05\x07\x03\x09"),
    ("microsoft sgc", b"\x2b\x06\x01\x04\x01\x82\x37\x0a\x03\x03"),
    ("netscape sgc", b"\x60\x86\x48\x01\x86\xf8\x42\x04\x01"),
];

fn extensions(
    asked: &X509CertificationRequest<'_>,
    issuer: &X509Certificate<'_>,
    usages: &[&str],
) -> Result<Vec<u8>, SigningError> {
    let known = |usage: &&&str| {
        KEY_USAGES.iter().any(|(name, _)| name == *usage) || PURPOSES.iter().any(|(name, _)| name == *usage)
    };
    let unknown: Vec<String> =
        usages.iter().filter(|usage| !known(usage)).map(|usage| format!("{usage:?}")).collect();
    if !unknown.is_empty() {
        return Err(SigningError::Usages(unknown.join(" ")));
    }
    let mut all = Vec::new();
    let bits = KEY_USAGES.iter().filter(|(name, _)| usages.contains(name));
    // The first bit is the highest one of two bytes.
    let bits = bits.fold(0_u16, |bits, (_, bit)| bits | 0x8000 >> bit);
    if bits != 0 {
        let [first, second] = bits.to_be_bytes();
        let used: &[u8] = if second == 0 { &[first] } else { &[first, second] };
        let free = used.last().map_or(0, |last| last.trailing_zeros());
        let free = u8::try_from(free).unwrap_or(0);
        all.extend(extension(&[0x55, 0x1d, 0x0f], true, &value(BITS, &[&[free], used])));
    }
    let mut purposes: Vec<&[u8]> =
        PURPOSES.iter().filter(|(name, _)| usages.contains(name)).map(|(_, oid)| *oid).collect();
    purposes.dedup();
    if !purposes.is_empty() {
        let purposes: Vec<u8> = purposes.into_iter().flat_map(|oid| value(OID, &[oid])).collect();
        all.extend(extension(&[0x55, 0x1d, 0x25], false, &value(SEQUENCE, &[&purposes])));
    }
    // No authority itself.
    all.extend(extension(&[0x55, 0x1d, 0x13], true, &value(SEQUENCE, &[])));
    let identifier = issuer.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    if let Some(identifier) = identifier {
        let own = value(SEQUENCE, &[&value(0x80, &[identifier])]);
        all.extend(extension(&[0x55, 0x1d, 0x23], false, &own));
    }
    if let Some(names) = names(asked) {
        let nameless = asked.certification_request_info.subject.iter().next().is_none();
        all.extend(extension(&[0x55, 0x1d, 0x11], nameless, &value(SEQUENCE, &[&names])));
    }
    Ok(all)
}

fn extension(oid: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    let is_critical: &[u8] = if critical { b"\x01\x01\xff" } else { b"" };
    value(SEQUENCE, &[&value(OID, &[oid]), is_critical, &value(OCTETS, &[content])])
}

/// Mail addresses, names, URIs and addresses that are asked for, as they are; other sorts of names are left out.
fn names(asked: &X509CertificationRequest<'_>) -> Option<Vec<u8>> {
    let attributes = asked.certification_request_info.iter_attributes();
    let requested = attributes.filter_map(|attribute| match attribute.parsed_attribute() {
        x509_parser::cri_attributes::ParsedCriAttribute::ExtensionRequest(request) => Some(request),
        _ => None,
    });
    let mut all = requested.flat_map(|request| &request.extensions);
    let found = all.find(|extension| extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME)?;
    let names = der::values(der::content(found.value))?;
    let kept = names.into_iter().filter(|(tag, _)| matches!(tag, 0x81 | 0x82 | 0x86 | 0x87));
    let kept: Vec<u8> = kept.flat_map(|(_, whole)| whole.to_vec()).collect();
    (!kept.is_empty()).then_some(kept)
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
    use x509_parser::extensions::GeneralName;
    use x509_parser::pem::parse_x509_pem;

    use super::*;
    use crate::{Names, ensure};

    const HOUR: Duration = Duration::from_secs(3600);

    fn request(key: &KeyPair) -> Vec<u8> {
        let mut parameters = CertificateParams::default();
        let mut subject = DistinguishedName::new();
        subject.push(DnType::OrganizationName, "system:nodes");
        subject.push(DnType::CommonName, "system:node:a");
        parameters.distinguished_name = subject;
        parameters.subject_alt_names = vec![
            SanType::DnsName("a.example".try_into().expect("a name")),
            SanType::IpAddress([10, 0, 0, 7].into()),
        ];
        parameters.serialize_request(key).expect("a request").der().to_vec()
    }

    fn openssl(arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).output().expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Authorities of every sort of key that operators have.
    fn authorities(directory: &Path) -> Vec<Authority> {
        ensure(directory, &Names::loopback(), SystemTime::now()).expect("an authority");
        let mut all =
            vec![Authority { certificate: directory.join("ca.crt"), key: directory.join("ca.key") }];
        let makes: [&[&str]; 5] = [
            &["genrsa", "-traditional", "-out"],
            &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"],
            &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"],
            &["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out"],
            &["genpkey", "-algorithm", "ED25519", "-out"],
        ];
        for (nth, make) in makes.iter().enumerate() {
            let [key, certificate] = ["key", "crt"].map(|end| directory.join(format!("{nth}.{end}")));
            let (own, other) = (key.display().to_string(), certificate.display().to_string());
            openssl(&[make, &[own.as_str()][..]].concat());
            let subject = "/O=Somebody/CN=An authority";
            openssl(&["req", "-x509", "-new", "-key", &own, "-subj", subject, "-days", "2", "-out", &other]);
            all.push(Authority { certificate, key });
        }
        all
    }

    #[test]
    fn every_authority_signs_what_it_is_asked_for_and_openssl_believes_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let key = KeyPair::generate().expect("a key");
        let (request, now) = (request(&key), SystemTime::now());
        let usages = ["digital signature", "key encipherment", "client auth", "decipher only"];
        for authority in authorities(directory.path()) {
            authority.check().expect("it can sign");
            let made =
                authority.sign(&request, &usages, (now - HOUR / 12, now + HOUR), now).expect("a certificate");
            let path = directory.path().join("made.crt");
            std::fs::write(&path, &made).expect("a file");
            let (ca, own) = (authority.certificate.display().to_string(), path.display().to_string());
            openssl(&["verify", "-CAfile", &ca, "-purpose", "sslclient", &own]);
            let (_, block) = parse_x509_pem(made.as_bytes()).expect("PEM");
            let certificate = block.parse_x509().expect("a certificate");
            assert_eq!(certificate.subject().to_string(), "O=system:nodes, CN=system:node:a");
            assert_eq!(certificate.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&key));
            let seconds = certificate.validity().time_to_expiration().expect("it is valid").whole_seconds();
            assert!((3500..=3600).contains(&seconds), "{seconds}");
            assert!(!certificate.is_ca());
            let flags = certificate.key_usage().expect("well-formed").expect("it has some").value;
            assert!(flags.digital_signature() && flags.key_encipherment() && flags.decipher_only());
            assert!(!flags.key_cert_sign() && !flags.data_encipherment());
            let purposes = certificate.extended_key_usage().expect("well-formed").expect("it has some").value;
            assert!(purposes.client_auth && !purposes.server_auth);
            let names = certificate.subject_alternative_name().expect("well-formed").expect("it has some");
            assert_eq!(
                names.value.general_names,
                [GeneralName::DNSName("a.example"), GeneralName::IPAddress(&[10, 0, 0, 7])]
            );
        }
    }

    #[test]
    fn no_certificate_outlives_its_authority() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = authorities(directory.path()).remove(1);
        let key = KeyPair::generate().expect("a key");
        let (request, now) = (request(&key), SystemTime::now());
        let made = authority.sign(&request, &["any"], (now, now + 1000 * HOUR), now).expect("a certificate");
        let (_, block) = parse_x509_pem(made.as_bytes()).expect("PEM");
        let end = block.parse_x509().expect("a certificate").validity().not_after;
        let (_, own) = {
            let pem = std::fs::read(&authority.certificate).expect("a file");
            let (rest, block) = parse_x509_pem(&pem).expect("PEM");
            (rest.len(), block.parse_x509().expect("a certificate").validity().not_after)
        };
        assert_eq!(end, own);
        let later = now + 100 * HOUR;
        let refused = authority.sign(&request, &["any"], (later, later + HOUR), later);
        assert!(matches!(refused, Err(SigningError::Ended(_))));
    }

    #[test]
    fn what_makes_no_sense_is_not_signed() {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = authorities(directory.path()).remove(0);
        let (key, now) = (KeyPair::generate().expect("a key"), SystemTime::now());
        let times = (now, now + HOUR);
        let mut forged = request(&key);
        let place = forged.windows(9).position(|part| part == b"a.example").expect("the name is in it");
        forged[place] = b'b';
        assert!(matches!(authority.sign(&forged, &["any"], times, now), Err(SigningError::Unproved)));
        assert!(matches!(authority.sign(b"x", &["any"], times, now), Err(SigningError::Request(_))));
        let refused = authority.sign(&request(&key), &["any", "to fly"], times, now).expect_err("no usage");
        assert_eq!(refused.to_string(), r#"unrecognized usage values: ["to fly"]"#);
        let missing = Authority { key: directory.path().join("none"), ..authority.clone() };
        assert!(missing.check().is_err_and(|error| error.to_string().contains("cannot read")));
        let wrong = Authority { key: authority.certificate.clone(), ..authority };
        assert!(wrong.check().is_err_and(|error| error.to_string().contains("no key that can be used")));
    }
}
