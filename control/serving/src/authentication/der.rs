//! Keys of one form around keys of another.

use control_pki::der::{BITS, OCTETS, SEQUENCE, value};

/// `rsaEncryption` and its NULL.
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
/// `id-ecPublicKey` with `prime256v1`.
const P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
/// INTEGER 0, the version.
const VERSION: &[u8] = b"\x02\x01\x00";

/// SubjectPublicKeyInfo of an RSAPublicKey (PKCS #1).
pub(super) fn rsa_info(key: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[&value(SEQUENCE, &[RSA]), &value(BITS, &[&[0], key])])
}

/// SubjectPublicKeyInfo of an uncompressed point.
pub(super) fn p256_info(point: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[&value(SEQUENCE, &[P256]), &value(BITS, &[&[0], point])])
}

/// PKCS #8 of an ECPrivateKey (RFC 5915) that says its public half.
pub(super) fn ec_pkcs8(key: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[VERSION, &value(SEQUENCE, &[P256]), &value(OCTETS, &[key])])
}
