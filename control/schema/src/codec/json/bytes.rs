//! Bytes in JSON: base64, as Go reads it.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// Go looks at no bits behind the last byte.
pub(crate) const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// The text that the bytes have when they are written again.
///
/// # Errors
/// Go's words.
pub(super) fn canonical(text: Cow<'_, str>) -> Result<String, String> {
    // Go steps over line ends.
    let text = if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], "") } else { text.into_owned() };
    let bytes = BASE64
        .decode(&text)
        .map_err(|_| format!("illegal base64 data at input byte {}", corrupt_at(text.as_bytes())))?;
    // Only the last bits can be other than we would write them.
    let tail = text.len().saturating_sub(4);
    if text.ends_with('=') && BASE64.encode(&bytes[bytes.len() / 3 * 3..]) != text[tail..] {
        return Ok(BASE64.encode(bytes));
    }
    Ok(text)
}

/// Where Go's decoder stops, which takes four characters at a time.
fn corrupt_at(text: &[u8]) -> usize {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let digits = text.iter().take_while(|byte| is_digit(byte)).count();
    let whole = digits - digits % 4;
    match (digits % 4, text.get(digits)) {
        (_, None) => whole,
        (2, Some(b'=')) => match text.get(digits + 1) {
            None => text.len(),
            Some(b'=') => digits + 2,
            Some(_) => digits,
        },
        (3, Some(b'=')) => digits + 1,
        (_, Some(_)) => digits,
    }
}
