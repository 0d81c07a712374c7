//! Bytes in JSON: base64, as Go reads it.

use std::borrow::Cow;

use base64::DecodeError;
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
    let bytes = BASE64.decode(&text).map_err(|error| {
        let at = match error {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => text.len() - text.len() % 4,
        };
        format!("illegal base64 data at input byte {at}")
    })?;
    // Only the last bits can be other than we would write them.
    let tail = text.len().saturating_sub(4);
    if text.ends_with('=') && BASE64.encode(&bytes[bytes.len() / 3 * 3..]) != text[tail..] {
        return Ok(BASE64.encode(bytes));
    }
    Ok(text)
}
