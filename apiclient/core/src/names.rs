//! Names of objects, and what Kubernetes lets be a name.
//!
//! Facts: apimachinery's `util/validation` and `api/validation`, Kubernetes 1.36.

use std::fmt;
use std::sync::Arc;

/// A name that many values share.
pub type Name = Arc<str>;

/// Namespace and name of an object; the namespace is empty for what has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub namespace: Name,
    pub name: Name,
}

impl ObjectName {
    pub fn new(namespace: impl Into<Name>, name: impl Into<Name>) -> Self {
        ObjectName { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            return f.write_str(&self.name);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Longest DNS label (RFC 1123).
pub const LABEL: usize = 63;

/// Longest DNS subdomain.
pub const SUBDOMAIN: usize = 253;

/// Why a text is not the name that it should be. Its text is safe to print: control characters and quotes are escaped,
/// and what is too long is cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a {what}: {rule}", quoted(.text))]
pub struct BadName {
    pub text: String,
    /// Which sort of name it should be.
    pub what: &'static str,
    pub rule: String,
}

/// A text of anybody's as a message may hold it.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let cut = text.floor_char_boundary(SHOWN);
    if cut < text.len() {
        format!("{:?}... ({} bytes)", &text[..cut], text.len())
    } else {
        format!("{text:?}")
    }
}

/// A name as a message may hold it: as it is where it is one of letters, digits and `-_.:`, else quoted.
pub fn printable(name: &str) -> std::borrow::Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    match name.len() <= SUBDOMAIN && name.bytes().all(plain) {
        true => name.into(),
        false => quoted(name).into(),
    }
}

const LABEL_RULE: &str = "want lower-case letters, digits and '-', with a letter or digit at both ends";
const DNS1035_RULE: &str =
    "want lower-case letters, digits and '-', with a letter first and a letter or digit last";
const SUBDOMAIN_RULE: &str =
    "want lower-case letters, digits, '-' and '.', with a letter or digit at both ends of each part";
const WORD_RULE: &str = "want letters, digits, '-', '_' and '.', with a letter or digit at both ends";
const SERVICE_RULE: &str =
    "want lower-case letters, digits and single '-', with at least one letter, and no '-' at the ends";

/// DNS label (RFC 1123): the name of a namespace, a Service, a port of a Service.
pub fn dns1123_label(text: &str) -> Result<(), BadName> {
    check(text, "DNS label", LABEL, LABEL_RULE, is_label(text.as_bytes()))
}

/// DNS label (RFC 1035), which begins with a letter.
pub fn dns1035_label(text: &str) -> Result<(), BadName> {
    let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    check(text, "DNS label", LABEL, DNS1035_RULE, starts && is_label(text.as_bytes()))
}

/// DNS subdomain (RFC 1123): the name of most objects. Its parts may be longer than a DNS label.
pub fn dns1123_subdomain(text: &str) -> Result<(), BadName> {
    let fits = text.split('.').all(|part| is_label(part.as_bytes()));
    check(text, "DNS subdomain", SUBDOMAIN, SUBDOMAIN_RULE, fits)
}

/// Name of a port of a container (RFC 6335): at most 15 bytes.
pub fn service_port(text: &str) -> Result<(), BadName> {
    let fits = is_label(text.as_bytes())
        && !text.contains("--")
        && text.bytes().any(|byte| byte.is_ascii_lowercase());
    check(text, "port name", 15, SERVICE_RULE, fits)
}

/// Key of a label or an annotation: `example.com/name` or `name`.
pub fn qualified(text: &str) -> Result<(), BadName> {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    if let Some(prefix) = prefix {
        check(prefix, "prefix of a label key", SUBDOMAIN, SUBDOMAIN_RULE, is_subdomain(prefix))?;
    }
    check(name, "label key", LABEL, WORD_RULE, is_word(name.as_bytes()))
}

/// Value of a label; may be empty.
pub fn label_value(text: &str) -> Result<(), BadName> {
    check(text, "label value", LABEL, WORD_RULE, text.is_empty() || is_word(text.as_bytes()))
}

/// What may be a part of a path, the weakest of all rules: for kinds whose names are no DNS names (RBAC).
pub fn path_segment(text: &str) -> Result<(), BadName> {
    let fits = !text.is_empty() && !matches!(text, "." | "..") && !text.contains(['/', '%']);
    check(text, "part of a path", usize::MAX, "it may not be '.' or '..', nor contain '/' or '%'", fits)
}

fn check(text: &str, what: &'static str, most: usize, rule: &str, fits: bool) -> Result<(), BadName> {
    let rule = match text.len() {
        0 if !fits => "it is empty".to_owned(),
        long if long > most => format!("at most {most} bytes are allowed"),
        _ if !fits => rule.to_owned(),
        _ => return Ok(()),
    };
    Err(BadName { text: text.to_owned(), what, rule })
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(|part| is_label(part.as_bytes()))
}

fn is_label(text: &[u8]) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    text.iter().all(inner) && ends(text, |byte| byte != b'-')
}

fn is_word(text: &[u8]) -> bool {
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.iter().all(inner) && ends(text, |byte| byte.is_ascii_alphanumeric())
}

fn ends(text: &[u8], fits: impl Fn(u8) -> bool) -> bool {
    text.first().zip(text.last()).is_some_and(|(first, last)| fits(*first) && fits(*last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_what_kubernetes_takes() {
        let long = |size: usize| "a".repeat(size);
        for good in ["a", "0", "a-b", "a--b", "9z", &long(63)] {
            assert_eq!(dns1123_label(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "a\n", "ä", &long(64)] {
            assert!(dns1123_label(bad).is_err(), "{bad}");
        }
        assert!(dns1035_label("0a").is_err() && dns1035_label("a0").is_ok());
        for good in ["a.b", "a-1.b-2", &long(253), "1.2"] {
            assert_eq!(dns1123_subdomain(good), Ok(()), "{good}");
        }
        for bad in ["a..b", ".a", "a.", "a.-b", "a/b", &long(254)] {
            assert!(dns1123_subdomain(bad).is_err(), "{bad}");
        }
        for good in ["a", "A_b.c", "example.com/A", &format!("{}/x", long(253))] {
            assert_eq!(qualified(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "_a", "Example.com/a", &format!("x/{}", long(64))] {
            assert!(qualified(bad).is_err(), "{bad}");
        }
        assert!(label_value("").is_ok() && label_value("A.b_c").is_ok() && label_value("-").is_err());
        assert!(service_port("http-2").is_ok() && service_port("a--b").is_err());
        assert!(service_port("80").is_err() && service_port("abcdefghijklmnop").is_err());
        assert!(path_segment("system:node").is_ok() && path_segment("..").is_err());
    }

    #[test]
    fn an_error_names_the_text_and_the_rule_and_cannot_break_a_line() {
        let error = dns1123_label("a\"b\nc").expect_err("bad").to_string();
        assert_eq!(error, format!(r#""a\"b\nc" is not a DNS label: {LABEL_RULE}"#));
        let error = dns1123_label(&"é".repeat(500)).expect_err("bad").to_string();
        assert!(
            error.ends_with("... (1000 bytes) is not a DNS label: at most 63 bytes are allowed"),
            "{error}"
        );
        assert_eq!(dns1123_label("").expect_err("bad").to_string(), r#""" is not a DNS label: it is empty"#);
    }

    proptest! {
        #[test]
        fn no_name_that_passes_holds_what_a_shell_or_a_rule_would_read(text in any::<String>()) {
            if dns1123_subdomain(&text).is_ok() || qualified(&text).is_ok() || dns1123_label(&text).is_ok() {
                prop_assert!(!text.is_empty() && text.len() <= SUBDOMAIN + 1 + LABEL);
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte)));
            }
        }

        #[test]
        fn a_label_is_a_subdomain_and_a_word(text in "[a-z0-9-]{0,70}") {
            if dns1123_label(&text).is_ok() {
                prop_assert!(dns1123_subdomain(&text).is_ok() && qualified(&text).is_ok());
            }
        }
    }
}
