//! What names, keys, ports and addresses may be, in the original's words (apimachinery's `util/validation`).
//!
//! Each function gives what is wrong, in the original's order; nothing where the text is right.

use std::net::{IpAddr, Ipv4Addr};

use crate::kind::NameRule;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const WORD: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// A rule as the original explains it, with examples and the expression.
fn pattern(rule: &str, expression: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{rule} (regex used for validation is '{expression}')");
    }
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{rule} (e.g. {}regex used for validation is '{expression}')", examples.join(" or "))
}

fn longest(text: &str, most: usize, unit: &str, errors: &mut Vec<String>) {
    if text.len() > most {
        errors.push(format!("must be no more than {most} {unit}"));
    }
}

pub fn dns1123_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    longest(text, 63, "characters", &mut errors);
    if !is_label(text) {
        errors.push(if is_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            let rule = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
            pattern(rule, LABEL, &["my-name", "123-abc"])
        });
    }
    errors
}

pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    subdomain(text, "characters")
}

fn subdomain(text: &str, unit: &str) -> Vec<String> {
    let mut errors = Vec::new();
    longest(text, 253, unit, &mut errors);
    if !is_subdomain(text) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
        errors.push(pattern(rule, SUBDOMAIN, &["example.com"]));
    }
    errors
}

/// As [`dns1123_subdomain`], with `_` allowed (DNS searches, host names of relaxed fields).
pub fn dns1123_subdomain_with_underscore(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    longest(text, 253, "characters", &mut errors);
    let part = |part: &str| {
        let part = part.strip_prefix('_').unwrap_or(part);
        let inner = |byte: u8| lower(byte) || byte == b'-' || byte == b'_';
        framed(part, lower, inner)
    };
    if !text.split('.').all(part) {
        let label = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character";
        errors.push(pattern(rule, &format!(r"{label}(\.{label})*"), &["example.com"]));
    }
    errors
}

pub fn dns1035_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    longest(text, 63, "characters", &mut errors);
    if !(is_label(text) && text.as_bytes()[0].is_ascii_lowercase()) {
        let rule = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
        errors.push(pattern(rule, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    errors
}

pub fn wildcard_dns1123_subdomain(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    longest(text, 253, "characters", &mut errors);
    if !text.strip_prefix("*.").is_some_and(is_subdomain) {
        let rule = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        errors.push(pattern(rule, &format!(r"\*\.{SUBDOMAIN}"), &["*.example.com"]));
    }
    errors
}

/// Key of a label: `example.com/name` or `name` (`IsQualifiedName`). Keys of annotations follow it in lower case.
pub fn qualified(text: &str) -> Vec<String> {
    const RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    let rule = || pattern(RULE, WORD, &["MyName", "my.name", "123-abc"]);
    let mut errors = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        ["", name] => {
            errors.push("prefix part must be non-empty".to_owned());
            name
        }
        [prefix, name] => {
            errors.extend(subdomain(prefix, "bytes").into_iter().map(|error| format!("prefix part {error}")));
            name
        }
        _ => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                rule()
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        errors.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_word(name) {
        errors.push(format!("name part {}", rule()));
    }
    errors
}

pub fn label_value(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    longest(text, 63, "bytes", &mut errors);
    if !text.is_empty() && !is_word(text) {
        let rule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        errors.push(pattern(rule, &format!("({WORD})?"), &["MyValue", "my_value", "12345"]));
    }
    errors
}

/// What may be a part of a path.
pub fn path_segment(text: &str) -> Vec<String> {
    match text {
        "." | ".." => vec![format!("may not be '{text}'")],
        _ => path_segment_prefix(text),
    }
}

fn path_segment_prefix(text: &str) -> Vec<String> {
    let holds = |part: &&&str| text.contains(**part);
    ["/", "%"].iter().filter(holds).map(|part| format!("may not contain '{part}'")).collect()
}

pub fn c_identifier(text: &str) -> Vec<String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if text.bytes().all(word) && text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit()) {
        return Vec::new();
    }
    let rule = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'";
    vec![pattern(rule, "[A-Za-z_][A-Za-z0-9_]*", &["my_name", "MY_NAME", "MyName"])]
}

/// Name of a port of a container (RFC 6335).
pub fn port_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    longest(text, 15, "characters", &mut errors);
    let mut add = |wrong: bool, error: &str| {
        if wrong {
            errors.push(error.to_owned());
        }
    };
    let charset = !text.is_empty() && text.bytes().all(|byte| lower(byte) || byte == b'-');
    add(!charset, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    add(!text.bytes().any(|byte| byte.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    add(text.contains("--"), "must not contain consecutive hyphens");
    add(text.starts_with('-') || text.ends_with('-'), "must not begin or end with a hyphen");
    errors
}

pub fn in_range(number: i64, least: i64, most: i64) -> Vec<String> {
    if (least..=most).contains(&number) {
        return Vec::new();
    }
    vec![format!("must be between {least} and {most}, inclusive")]
}

pub fn port_number(port: i64) -> Vec<String> {
    in_range(port, 1, 65_535)
}

/// Id of a Unix user or group.
pub fn unix_id(id: i64) -> Vec<String> {
    in_range(id, 0, i64::from(i32::MAX))
}

pub fn percent(text: &str) -> Vec<String> {
    let digits = text.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    let rule = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![pattern(rule, "[0-9]+%", &["1%", "93%"])]
}

pub fn http_header_name(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Vec::new();
    }
    let rule = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![pattern(rule, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// Name of an environment variable (`IsRelaxedEnvVarName`, the rule since 1.34).
pub fn env_var_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.is_empty() {
        errors.push("environment variable name must be non-empty".to_owned());
    }
    if text.bytes().any(|byte| !(b' '..=b'~').contains(&byte) || byte == b'=') {
        errors.push("a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned());
    }
    errors
}

/// Key of a ConfigMap or a Secret.
pub fn config_map_key(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    longest(text, 253, "characters", &mut errors);
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(word) {
        let rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        errors.push(pattern(rule, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    match text {
        "." | ".." => errors.push(format!("must not be '{text}'")),
        text if text.starts_with("..") => errors.push("must not start with '..'".to_owned()),
        _ => {}
    }
    errors
}

/// An address as old fields take it: any notation, but no leading zeros and no IPv4 in IPv6
/// (`IsValidIPForLegacyField` with StrictIPCIDRValidation).
pub fn legacy_ip(text: &str) -> Vec<String> {
    let Some(address) = sloppy_ip(text) else {
        return vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()];
    };
    match text.parse::<IpAddr>() {
        Err(_) => vec!["must not have leading 0s".to_owned()],
        Ok(_) if text.contains(':') && address.is_ipv4() => {
            vec!["must not be an IPv4-mapped IPv6 address".to_owned()]
        }
        Ok(_) => Vec::new(),
    }
}

/// An address in its one true form (`IsValidIP`).
pub fn strict_ip(text: &str) -> Vec<String> {
    let errors = legacy_ip(text);
    match text.parse::<IpAddr>() {
        Ok(address) if errors.is_empty() && address.to_string() != text => {
            vec![format!("must be in canonical form (\"{address}\")")]
        }
        _ => errors,
    }
}

/// As Go's old parser reads an address: zeros in front are dropped, and IPv4 in IPv6 is IPv4.
pub fn sloppy_ip(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let parts: Vec<u8> = text
        .split('.')
        .map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.trim_start_matches('0')).and_then(|part| match part {
                "" => Some(0),
                part => part.parse().ok(),
            })
        })
        .collect::<Option<_>>()?;
    let octets: [u8; 4] = parts.try_into().ok()?;
    Some(Ipv4Addr::from(octets).into())
}

/// Warnings for an address in an old field that has another form than today's (`GetWarningsForIP`).
pub fn ip_warnings(path: &crate::field::Path, text: &str) -> Vec<String> {
    let Some(address) = sloppy_ip(text) else {
        return Vec::new();
    };
    match text.parse::<IpAddr>() {
        Ok(parsed) if parsed.to_string() == text && parsed.to_canonical() == parsed => Vec::new(),
        Ok(parsed) if parsed.to_canonical() == parsed => vec![format!(
            "{path}: IPv6 address {text:?} should be in RFC 5952 canonical format (\"{parsed}\")"
        )],
        _ => vec![format!("{path}: non-standard IP address {text:?} is invalid: use \"{address}\"")],
    }
}

impl NameRule {
    /// What is wrong with a name. With `prefix` it is a `generateName`, which something is appended to.
    pub fn check(self, name: &str, prefix: bool) -> Vec<String> {
        // A dash at the end is no fault of a prefix; the original overwrites the two last characters with one.
        let masked = (prefix && name.len() > 1 && name.ends_with('-'))
            .then(|| name.get(..name.len() - 2))
            .flatten()
            .map(|kept| format!("{kept}a"));
        let checked = masked.as_deref().unwrap_or(name);
        match self {
            Self::Subdomain => dns1123_subdomain(checked),
            Self::LongName => subdomain(checked, "bytes"),
            Self::Label => dns1123_label(checked),
            Self::Dns1035 => dns1035_label(checked),
            Self::PathSegment if prefix => path_segment_prefix(name),
            Self::PathSegment => path_segment(name),
            Self::Ip => strict_ip(name),
        }
    }
}

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Not empty; `ends` holds for the first and the last byte, `inner` for all.
fn framed(text: &str, ends: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let text = text.as_bytes();
    text.first().zip(text.last()).is_some_and(|(first, last)| ends(*first) && ends(*last))
        && text.iter().all(|byte| inner(*byte))
}

fn is_label(text: &str) -> bool {
    framed(text, lower, |byte| lower(byte) || byte == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_word(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    framed(text, |byte| byte.is_ascii_alphanumeric(), inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_wrong_is_said_in_the_originals_words() {
        assert_eq!(
            dns1123_label("X_"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(dns1123_label(&"a".repeat(64)), ["must be no more than 63 characters"]);
        assert_eq!(
            qualified("/"),
            [
                "prefix part must be non-empty",
                "name part must be non-empty",
                "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            ]
        );
        assert_eq!(path_segment("a/b%c"), ["may not contain '/'", "may not contain '%'"]);
        assert_eq!(path_segment(".."), ["may not be '..'"]);
        assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
        assert_eq!(
            port_name("-"),
            ["must contain at least one letter (a-z)", "must not begin or end with a hyphen"]
        );
        assert_eq!(config_map_key("..a"), ["must not start with '..'"]);
    }

    #[test]
    fn addresses_are_taken_as_the_original_takes_them() {
        let bad = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        assert!(legacy_ip("10.0.0.1").is_empty() && legacy_ip("FE80:0::1").is_empty());
        assert_eq!(legacy_ip("10.0.0"), [bad]);
        assert_eq!(legacy_ip("10.0.0.256"), [bad]);
        assert_eq!(legacy_ip("010.0.0.1"), ["must not have leading 0s"]);
        assert_eq!(legacy_ip("::ffff:10.0.0.1"), ["must not be an IPv4-mapped IPv6 address"]);
        assert_eq!(strict_ip("FE80:0::1"), ["must be in canonical form (\"fe80::1\")"]);
    }

    #[test]
    fn a_prefix_may_end_in_a_dash() {
        assert!(NameRule::Subdomain.check("a-", true).is_empty());
        assert!(!NameRule::Subdomain.check("a-", false).is_empty());
        assert!(!NameRule::Label.check("-", true).is_empty());
        assert!(NameRule::PathSegment.check(".", true).is_empty());
    }

    proptest! {
        #[test]
        fn no_text_breaks_a_rule(text in any::<String>(), plain in "[-a-z0-9A-Z._/%:]{0,70}") {
            for text in [text, plain] {
                for rule in [NameRule::Subdomain, NameRule::Label, NameRule::Dns1035, NameRule::PathSegment, NameRule::Ip] {
                    let _ = (rule.check(&text, true), rule.check(&text, false));
                }
                let right = qualified(&text).is_empty();
                prop_assert_eq!(right, apiclient_core::names::qualified(&text).is_ok());
                let right = dns1123_label(&text).is_empty();
                prop_assert_eq!(right, apiclient_core::names::dns1123_label(&text).is_ok());
                let _ = (legacy_ip(&text), config_map_key(&text), port_name(&text), env_var_name(&text));
            }
        }
    }
}
