//! Keys that sign tokens (RSA and P-256) and verify them (P-384 and P-521 too), in PEM and as JWKs.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p521::ecdsa::signature::Verifier as _;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, EcdsaKeyPair,
    EcdsaVerificationAlgorithm, KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaKeyPair, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::{Value, json};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::der;

/// How a token can be signed (RFC 7518, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
}

/// What verifies a signature, for keys of its kind.
enum Verifier {
    Rsa(&'static RsaParameters),
    Curve(&'static EcdsaVerificationAlgorithm),
    /// Its curve is none of `ring`'s.
    P521,
}

impl Algorithm {
    /// All of them, and their names in tokens.
    pub const ALL: [(&str, Self); 9] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("ES512", Self::Es512),
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(own, _)| *own == name).map(|(_, algorithm)| *algorithm)
    }

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, own)| *own == self).map_or("", |(name, _)| name)
    }

    fn verifier(self) -> Verifier {
        match self {
            Self::Rs256 => Verifier::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Verifier::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Verifier::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Verifier::Rsa(&RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Verifier::Rsa(&RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Verifier::Rsa(&RSA_PSS_2048_8192_SHA512),
            Self::Es256 => Verifier::Curve(&ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Verifier::Curve(&ECDSA_P384_SHA384_FIXED),
            Self::Es512 => Verifier::P521,
        }
    }
}

/// A file of keys that holds none, or one of a kind that is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadKey(pub String);

/// A key that verifies, and its name in tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: String,
    material: Material,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    /// Big-endian, without leading zeros.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// The uncompressed point: 4, and both coordinates.
    Point(Curve, Vec<u8>),
}

/// A curve of NIST's (FIPS 186-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// As a JWK names it (RFC 7518, 6.2.1.1).
    fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Bytes of a coordinate.
    fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::Es256,
            Self::P384 => Algorithm::Es384,
            Self::P521 => Algorithm::Es512,
        }
    }

    /// The curve whose uncompressed points are as long as this one.
    fn of_point(point: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| point.len() == 1 + 2 * curve.size() && point[0] == 4)
    }
}

impl PublicKey {
    /// From a SubjectPublicKeyInfo in DER. The name is that which kube-apiserver gives: a hash of it.
    ///
    /// # Errors
    /// It is none, or neither RSA nor of a known curve.
    pub fn from_der(der: &[u8]) -> Result<Self, BadKey> {
        let (_, info) =
            SubjectPublicKeyInfo::from_der(der).map_err(|error| BadKey(format!("no public key: {error}")))?;
        let material = match info.parsed() {
            Ok(Parsed::RSA(key)) => {
                Material::Rsa { modulus: stripped(key.modulus), exponent: stripped(key.exponent) }
            }
            Ok(Parsed::EC(point)) => match Curve::of_point(point.data()) {
                Some(curve) => Material::Point(curve, point.data().to_vec()),
                None => return Err(unsupported()),
            },
            _ => return Err(unsupported()),
        };
        Ok(Self { id: URL_SAFE_NO_PAD.encode(digest(&SHA256, der)), material })
    }

    /// From numbers, under a name of somebody else's (a JWKS).
    pub fn from_jwk(jwk: &Value) -> Option<Self> {
        let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str()?).ok();
        let material = match jwk["kty"].as_str()? {
            "RSA" => Material::Rsa { modulus: stripped(&number("n")?), exponent: stripped(&number("e")?) },
            "EC" => {
                let (x, y) = (number("x")?, number("y")?);
                let named = jwk["crv"].as_str()?;
                let curve = Curve::ALL.into_iter().find(|curve| curve.name() == named)?;
                if (x.len(), y.len()) != (curve.size(), curve.size()) {
                    return None;
                }
                Material::Point(curve, [&[4], x.as_slice(), y.as_slice()].concat())
            }
            _ => return None,
        };
        Some(Self { id: jwk["kid"].as_str().unwrap_or_default().to_owned(), material })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// What a token of ours is signed by with this key.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::Point(curve, _) => curve.algorithm(),
        }
    }

    /// Whether the signature is this key's. An algorithm of another kind of keys makes none of its.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (&self.material, algorithm.verifier()) {
            (Material::Rsa { modulus, exponent }, Verifier::Rsa(parameters)) => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, message, signature).is_ok()
            }
            (Material::Point(_, point), Verifier::Curve(curve)) => {
                UnparsedPublicKey::new(curve, point).verify(message, signature).is_ok()
            }
            (Material::Point(Curve::P521, point), Verifier::P521) => {
                let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(point);
                let signature = p521::ecdsa::Signature::from_slice(signature);
                matches!((key, signature), (Ok(key), Ok(signature)) if key.verify(message, &signature).is_ok())
            }
            _ => false,
        }
    }

    /// As `/openid/v1/jwks` shows it.
    pub fn jwk(&self) -> Value {
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = json!({"use": "sig", "kid": self.id, "alg": self.algorithm().name()});
        match &self.material {
            Material::Rsa { modulus, exponent } => {
                jwk["kty"] = "RSA".into();
                (jwk["n"], jwk["e"]) = (encoded(modulus).into(), encoded(exponent).into());
            }
            Material::Point(curve, point) => {
                (jwk["kty"], jwk["crv"]) = ("EC".into(), curve.name().into());
                let (x, y) = point[1..].split_at(point.len() / 2);
                (jwk["x"], jwk["y"]) = (encoded(x).into(), encoded(y).into());
            }
        }
        jwk
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.algorithm().name(), self.id)
    }
}

fn unsupported() -> BadKey {
    BadKey("only RSA, P-256, P-384 and P-521 keys are supported".to_owned())
}

fn stripped(number: &[u8]) -> Vec<u8> {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    number[start..].to_vec()
}

/// Every key of a PEM file: public ones, those of certificates, and those of private keys (`--service-account-key-file`
/// takes all of them).
///
/// # Errors
/// There is none, or one cannot be used.
pub fn public_keys(pem: &[u8]) -> Result<Vec<PublicKey>, BadKey> {
    let mut found = Vec::new();
    for block in Pem::iter_from_buffer(pem) {
        let block = block.map_err(|error| BadKey(format!("no PEM: {error}")))?;
        match block.label.as_str() {
            "PUBLIC KEY" => found.push(PublicKey::from_der(&block.contents)?),
            "RSA PUBLIC KEY" => found.push(PublicKey::from_der(&der::rsa_info(&block.contents))?),
            "CERTIFICATE" => {
                let (_, certificate) = X509Certificate::from_der(&block.contents)
                    .map_err(|error| BadKey(format!("no certificate: {error}")))?;
                found.push(PublicKey::from_der(certificate.public_key().raw)?);
            }
            label if label.ends_with("PRIVATE KEY") => found.push(SigningKey::from_block(&block)?.public),
            _ => {}
        }
    }
    if found.is_empty() {
        return Err(BadKey("data does not contain any valid RSA or ECDSA public keys".to_owned()));
    }
    Ok(found)
}

/// `--service-account-signing-key-file`.
pub struct SigningKey {
    private: Private,
    public: PublicKey,
}

enum Private {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl SigningKey {
    /// The first private key of a PEM file.
    ///
    /// # Errors
    /// There is none, or one that is neither RSA (2048 bits and more) nor P-256.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BadKey> {
        let blocks = Pem::iter_from_buffer(pem).filter_map(Result::ok);
        let private = blocks.into_iter().find(|block| block.label.ends_with("PRIVATE KEY"));
        let block = private.ok_or_else(|| BadKey("data does not contain a valid private key".to_owned()))?;
        Self::from_block(&block)
    }

    fn from_block(block: &Pem) -> Result<Self, BadKey> {
        let bad = |error: &dyn fmt::Display| BadKey(format!("the private key cannot be used: {error}"));
        let random = SystemRandom::new();
        let der = &block.contents;
        let ec = |der: &[u8]| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random);
        let private = match block.label.as_str() {
            "RSA PRIVATE KEY" => Private::Rsa(RsaKeyPair::from_der(der).map_err(|error| bad(&error))?),
            "EC PRIVATE KEY" => Private::P256(ec(&der::ec_pkcs8(der)).map_err(|error| bad(&error))?),
            "PRIVATE KEY" => match ec(der) {
                Ok(key) => Private::P256(key),
                Err(_) => Private::Rsa(RsaKeyPair::from_pkcs8(der).map_err(|error| bad(&error))?),
            },
            other => return Err(bad(&format!("{other} is not supported"))),
        };
        let info = match &private {
            Private::Rsa(key) => der::rsa_info(key.public().as_ref()),
            Private::P256(key) => der::p256_info(key.public_key().as_ref()),
        };
        Ok(Self { private, public: PublicKey::from_der(&info)? })
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Private::P256(key) => Some(key.sign(&random, message).ok()?.as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::super::jwt::{Unverified, sign};
    use super::*;
    use std::process::Command;

    /// What openssl says. It ends by itself.
    fn openssl(arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("openssl").args(arguments).output().expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    #[test]
    fn what_a_key_signs_its_public_half_verifies() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key").display().to_string();
        let makes: [&[&str]; 4] = [
            &["genrsa", "-traditional", "-out", &path, "2048"],
            &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &path],
            &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &path],
            &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &path],
        ];
        let mut others = Vec::new();
        for make in makes {
            openssl(make);
            let key = SigningKey::from_pem(&std::fs::read(&path).expect("a key")).expect("a key");
            let public = public_keys(&openssl(&["pkey", "-in", &path, "-pubout"])).expect("a public key");
            assert_eq!(&public[0], key.public(), "{make:?}");
            let claims = json!({"iss": "me", "sub": "you"});
            let token = sign(&claims, &key).expect("a token");
            let parsed = || Unverified::parse(&token).expect("a token");
            assert_eq!((parsed().key_id.as_str(), parsed().issuer()), (public[0].id(), "me"));
            assert_eq!(parsed().verify(&public), Some(claims));
            assert_eq!(parsed().verify(&others), None, "keys of somebody else");
            assert_eq!(PublicKey::from_jwk(&public[0].jwk()).as_ref(), Some(&public[0]));
            others.extend(public);
        }
    }

    #[test]
    fn other_issuers_may_sign_with_longer_hashes_and_by_pss() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| directory.path().join(name).display().to_string();
        let (key, message) = (file("key"), file("message"));
        openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &key]);
        let public = &public_keys(&openssl(&["pkey", "-in", &key, "-pubout"])).expect("a key")[0];
        for (name, hash, more) in [
            ("RS384", "-sha384", &[][..]),
            ("RS512", "-sha512", &[][..]),
            (
                "PS256",
                "-sha256",
                &["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"][..],
            ),
        ] {
            let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{name}"}}"#));
            let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(r#"{"iss":"x"}"#));
            std::fs::write(&message, &signed).expect("written");
            let signature = openssl(&[&["dgst", hash, "-sign", &key], more, &[&message]].concat());
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
            let token = Unverified::parse(&token).expect("a token");
            for (other, algorithm) in Algorithm::ALL {
                assert_eq!(token.is_signed_by(public, algorithm), other == name, "{name} as {other}");
            }
            assert_eq!(token.verify([public]), None, "a service account's is RS256");
        }
    }

    #[test]
    fn other_issuers_may_sign_by_longer_curves() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| directory.path().join(name).display().to_string();
        let (key, message) = (file("key"), file("message"));
        for (name, curve, hash, size) in
            [("ES384", "secp384r1", "-sha384", 48), ("ES512", "secp521r1", "-sha512", 66)]
        {
            openssl(&["ecparam", "-name", curve, "-genkey", "-noout", "-out", &key]);
            let public = &public_keys(&openssl(&["pkey", "-in", &key, "-pubout"])).expect("a key")[0];
            let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{name}"}}"#));
            let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(r#"{"iss":"x"}"#));
            std::fs::write(&message, &signed).expect("written");
            let der = openssl(&["dgst", hash, "-sign", &key, &message]);
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(fixed(&der, size)));
            let parsed = |token| Unverified::parse(token).expect("a token");
            for (other, algorithm) in Algorithm::ALL {
                assert_eq!(
                    parsed(&token).is_signed_by(public, algorithm),
                    other == name,
                    "{name} as {other}"
                );
            }
            let jwk = PublicKey::from_jwk(&public.jwk());
            assert_eq!(jwk.as_ref(), Some(public));
            let forged = format!(
                "{header}.{}.{}",
                URL_SAFE_NO_PAD.encode(r#"{"iss":"y"}"#),
                URL_SAFE_NO_PAD.encode(fixed(&der, size))
            );
            assert!(!parsed(&forged).is_signed_by(public, public.algorithm()));
        }
    }

    /// openssl's signature, two numbers in DER, as a token has it: both in `size` bytes.
    fn fixed(der: &[u8], size: usize) -> Vec<u8> {
        // The whole is shorter than 128 bytes but for the longest curve.
        let mut rest = if der[1] < 128 { &der[2..] } else { &der[3..] };
        let mut whole = Vec::new();
        for _ in 0..2 {
            let (number, after) = rest[2..].split_at(usize::from(rest[1]));
            let number = stripped(number);
            whole.extend(std::iter::repeat_n(0, size - number.len()).chain(number));
            rest = after;
        }
        whole
    }

    #[test]
    fn forged_tokens_are_not_believed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key").display().to_string();
        openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &path]);
        let key = SigningKey::from_pem(&std::fs::read(&path).expect("a key")).expect("a key");
        let token = sign(&json!({"iss": "me"}), &key).expect("a token");
        let public = [key.public().clone()];
        let [header, claims, signature] =
            token.split('.').collect::<Vec<_>>().try_into().expect("three parts");
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let forged = [
            format!("{header}.{}.{signature}", encoded(r#"{"iss":"you"}"#)),
            format!("{}.{claims}.", encoded(r#"{"alg":"none"}"#)),
            format!("{}.{claims}.{signature}", encoded(r#"{"alg":"HS256"}"#)),
            format!("{}.{claims}.{signature}", encoded(r#"{"alg":"RS256"}"#)),
            format!("{header}.{claims}."),
        ];
        for token in forged {
            let verified = Unverified::parse(&token).and_then(|token| token.verify(&public));
            assert_eq!(verified, None, "{token}");
        }
        for nonsense in ["", "a.b", "a.b.c", "..", "e30.e30", "e30.W10.x"] {
            assert!(Unverified::parse(nonsense).is_none(), "{nonsense}");
        }
    }
}
