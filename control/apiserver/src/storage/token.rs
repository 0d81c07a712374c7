//! Where a list goes on: the `continue` of its metadata, base64 of `{"v":"meta.k8s.io/v1","rv":7,"start":"/ns/name\u0000"}`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// A place in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The version that the list began at; negative: whatever is the latest.
    pub version: i64,
    /// The first key that may follow, without the list's prefix.
    pub start: String,
}

#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default)]
    v: String,
    #[serde(default)]
    rv: i64,
    #[serde(default)]
    start: String,
}

const VERSION: &str = "meta.k8s.io/v1";

impl Token {
    /// Behind an object whose key, without the list's prefix, is `last`.
    pub fn behind(version: i64, last: &str) -> Self {
        Self { version, start: format!("{last}\0") }
    }

    pub fn encode(&self) -> String {
        let written = Written { v: VERSION.to_owned(), rv: self.version, start: format!("/{}", self.start) };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&written).unwrap_or_default())
    }

    /// # Errors
    /// Why the text is none, in the original's words.
    pub fn decode(text: &str) -> Result<Self, String> {
        const INVALID: &str = "continue key is not valid";
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|error| format!("{INVALID}: illegal base64 data at input byte {}", place(&error)))?;
        let written: Written = serde_json::from_slice(&bytes)
            .map_err(|error| format!("{INVALID}: {}", as_go(&bytes, &error)))?;
        if written.v != VERSION {
            return Err(format!("{INVALID}: server does not recognize this encoded version {}", written.v));
        }
        if written.rv == 0 {
            return Err(format!("{INVALID}: incorrect encoded start resourceVersion (version {VERSION})"));
        }
        if written.start.is_empty() {
            return Err(format!("{INVALID}: encoded start key empty (version {VERSION})"));
        }
        let start = written.start.strip_prefix('/').unwrap_or(&written.start);
        let climbs = start.split('/').any(|part| matches!(part, "" | "." | ".."));
        if climbs {
            return Err(format!("{INVALID}: {}", written.start));
        }
        Ok(Self { version: written.rv, start: start.to_owned() })
    }
}

fn place(error: &base64::DecodeError) -> usize {
    match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => *at,
        base64::DecodeError::InvalidLength(at) => *at,
        base64::DecodeError::InvalidPadding => 0,
    }
}

/// What Go's decoder says of bytes that are no JSON, nearly.
fn as_go(bytes: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    match bytes.get(error.column().saturating_sub(1)) {
        Some(byte) if byte.is_ascii_graphic() || *byte == b' ' => {
            format!("invalid character {:?} looking for beginning of value", char::from(*byte))
        }
        Some(byte) => format!("invalid character '\\u{byte:04x}' looking for beginning of value"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_originals() {
        let token = Token::behind(302, "default/k1");
        let text = URL_SAFE_NO_PAD.decode(token.encode()).expect("base64");
        let want = r#"{"v":"meta.k8s.io/v1","rv":302,"start":"/default/k1\u0000"}"#;
        assert_eq!(String::from_utf8(text).expect("text"), want);
        assert_eq!(Token::decode(&token.encode()), Ok(token));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let of = |json: &str| Token::decode(&URL_SAFE_NO_PAD.encode(json)).expect_err(json);
        assert!(
            of(r#"{"v":"meta.k8s.io/v1","start":"a"}"#).contains("incorrect encoded start resourceVersion")
        );
        assert!(of(r#"{"v":"meta.k8s.io/v1","rv":1}"#).contains("encoded start key empty"));
        assert!(of(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"a/../b"}"#).ends_with("not valid: a/../b"));
        assert!(of(r#"{"v":"v2","rv":1,"start":"a"}"#).ends_with("this encoded version v2"));
        assert!(of("{").ends_with("unexpected end of JSON input"));
        assert!(Token::decode("***").expect_err("none").contains("illegal base64 data at input byte 0"));
    }
}
