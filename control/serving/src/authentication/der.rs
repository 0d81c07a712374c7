//! The few structures of DER that are written here: a key around a key of another form.

/// One value with its tag and length.
fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut der = vec![tag];
    let length = content.len().to_be_bytes();
    match u8::try_from(content.len()) {
        Ok(short @ 0..=127) => der.push(short),
        _ => {
            let start = length.iter().position(|byte| *byte != 0).unwrap_or(0);
            der.push(0x80 | u8::try_from(length.len() - start).unwrap_or(0));
            der.extend_from_slice(&length[start..]);
        }
    }
    der.extend(content);
    der
}

const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const BITS: u8 = 0x03;
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
