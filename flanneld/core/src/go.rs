//! What Go's `encoding/json` and `net` read and print, where flannel's bytes depend on it.
//!
//! Begin at [`Object`] for reading and [`compact`] for writing. Compared with flannel 0.28.4 itself, built with Go
//! 1.25: the same keys, values and configs are read and printed for 130,000 random ones, but for what is noted here and
//! in `config` and `lease`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON object as Go decodes one into a struct: keys match whatever their case, unknown keys are
/// ignored, and of a repeated key the last one counts. (Go also refuses an earlier one of the wrong kind.)
pub(crate) struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads one object. `null` reads as an empty one, as in Go.
    pub fn parse(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        Ok(serde_json::from_slice::<Option<Self>>(json)?.unwrap_or(Self(Vec::new())))
    }

    /// The last value of `key`, `null` included.
    pub fn last(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(name, _)| same_key(name, key)).map(|(_, value)| *value)
    }

    /// The last value of `key` that is not `null`: Go leaves a field as it was when it meets a `null`.
    pub fn value(&self, key: &str) -> Option<&'a RawValue> {
        let matching = self.0.iter().rev().filter(|(name, _)| same_key(name, key));
        matching.map(|(_, value)| *value).find(|value| !is_null(value))
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

pub(crate) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// Whether Go takes two keys for the same. Beside ASCII case it folds two letters from outside ASCII:
/// the long s and the Kelvin sign.
fn same_key(a: &str, b: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 'S',
        '\u{212a}' => 'K',
        c => c.to_ascii_uppercase(),
    };
    a.chars().map(fold).eq(b.chars().map(fold))
}

/// Rewrites JSON text as `json.Marshal` writes a `json.RawMessage`: no spaces between tokens, and
/// `<`, `>`, `&` and the two Unicode line separators escaped. Numbers and the order of keys stay.
/// `json` must be valid JSON.
pub(crate) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        match c {
            ' ' | '\t' | '\r' | '\n' if !in_string => continue,
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
        (in_string, escaped) = match c {
            _ if escaped => (true, false),
            '\\' if in_string => (true, true),
            '"' => (!in_string, false),
            _ => (in_string, false),
        };
    }
    out
}

/// A string as `json.Marshal` writes it.
pub(crate) fn quote(text: &str) -> String {
    compact(&serde_json::Value::from(text).to_string())
}

/// Prints an IPv6 address as Go's `net.IP.String` does: RFC 5952, but an IPv4-mapped address as the bare
/// IPv4 address (Rust prints `::ffff:1.2.3.4`).
pub(crate) fn ipv6_text(address: Ipv6Addr) -> impl fmt::Display {
    match address.to_ipv4_mapped() {
        Some(mapped) => IpAddr::V4(mapped),
        None => IpAddr::V6(address),
    }
}

/// Reads what flannel takes for an IPv4 address: dotted decimal, or an IPv4-mapped IPv6 address.
pub(crate) fn parse_ipv4(text: &str) -> Option<Ipv4Addr> {
    match text.parse().ok()? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => address.to_ipv4_mapped(),
    }
}

/// Reads what flannel takes for an IPv6 address: any IPv6 text, or dotted decimal as an IPv4-mapped address.
pub(crate) fn parse_ipv6(text: &str) -> Option<Ipv6Addr> {
    match text.parse().ok()? {
        IpAddr::V4(address) => Some(address.to_ipv6_mapped()),
        IpAddr::V6(address) => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str, key: &str) -> Option<String> {
        Object::parse(json.as_bytes()).unwrap().value(key).map(|value| value.get().to_owned())
    }

    #[test]
    fn keys_match_in_any_case_and_the_last_one_counts() {
        assert_eq!(value(r#"{"network":1}"#, "Network").as_deref(), Some("1"));
        assert_eq!(value(r#"{"Network":1,"NETWORK":2}"#, "Network").as_deref(), Some("2"));
        assert_eq!(value(r#"{"bac\u212aend":1}"#, "Backend").as_deref(), Some("1"));
        assert_eq!(value(r#"{"Net":1}"#, "Network"), None);
    }

    #[test]
    fn null_leaves_a_value_as_it_was() {
        assert_eq!(value(r#"{"A":1,"A":null}"#, "A").as_deref(), Some("1"));
        assert_eq!(value("null", "A"), None);
        assert!(Object::parse(br#"{"A":1,"A":null}"#).unwrap().last("A").is_some_and(is_null));
    }

    #[test]
    fn only_one_object_is_read() {
        for bad in ["", "[]", "1", "\"a\"", "{} {}", "{\"a\":}", "{'a':1}"] {
            assert!(Object::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn raw_values_are_compacted_as_go_does() {
        let json = "{ \"b\" : \"x y\\\" <&>\u{2028}\" ,\n\t\"a\" : [ 1.50 , 1e3 ] }";
        assert_eq!(compact(json), r#"{"b":"x y\" \u003c\u0026\u003e\u2028","a":[1.50,1e3]}"#);
        assert_eq!(quote("a<\"b"), r#""a\u003c\"b""#);
    }

    #[test]
    fn ipv6_text_is_that_of_go() {
        let known = [
            ("::", "::"),
            ("::1", "::1"),
            ("fd00:12:13:0:0:0:0:0", "fd00:12:13::"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("FD00::AB", "fd00::ab"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
        ];
        for (address, want) in known {
            assert_eq!(ipv6_text(address.parse().unwrap()).to_string(), want);
        }
    }
}
