//! What must differ between two servers, taken out: numbers, times and addresses that each chooses for itself.

use std::net::SocketAddr;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

use super::http::Reply;

/// The headers that a client acts on.
const HEADERS: [&str; 12] = [
    "allow",
    "cache-control",
    "content-encoding",
    "content-type",
    "location",
    "retry-after",
    "vary",
    "warning",
    "www-authenticate",
    "x-content-type-options",
    "x-kubernetes-pf-flowschema-uid",
    "x-kubernetes-pf-prioritylevel-uid",
];

fn regex(text: &str) -> Regex {
    // ASCII is all that is looked for; tables of Unicode are not built in.
    Regex::new(&format!("(?-u){text}")).expect("a legal expression")
}

macro_rules! patterns {
    ($($name:ident = $text:expr;)*) => { $(static $name: LazyLock<Regex> = LazyLock::new(|| regex($text));)* };
}

patterns! {
    UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    MICRO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z";
    TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ";
    JWT = r"eyJ[\w-]+\.[\w-]+\.[\w-]+";
    CURRENT = r"current: \d+";
    // In an object that a message quotes.
    QUOTED_VERSION = r#"resourceVersion\\?":\\?"\d+"#;
    PRECONDITION = r"\(\d+\) does not match the ResourceVersion in record \(\d+\)";
    // The lower part of the range is for addresses that somebody asks for; servers choose from the upper part.
    CLUSTER_IP = r"\b10\.96\.(?:[1-9]\d?|1\d\d|2\d\d)\.\d+\b";
    NODE_PORT = r":3[0-2]\d{3}/";
    AGE = r"^(?:\d+(?:ms|s|m|h|d|y))+$";
    GENERATED = "-[bcdfghjklmnpqrstvwxz2456789]{5}$";
    ACCESS = "kube-api-access-[bcdfghjklmnpqrstvwxz2456789]{5}";
    SELF_TYPE = r"\bselfType\d+\b";
    HASH = "hash=[0-9A-F]{128}";
}

/// A reply as it compares: status, headers, body.
pub fn reply(reply: &Reply, server: SocketAddr) -> Value {
    let texts = |text: &str| Value::from(self::text(text, server));
    let headers: Map<String, Value> = HEADERS
        .iter()
        .filter_map(|name| {
            let text = reply.headers.get(*name)?;
            // Warnings about several fields come in any order, as Go goes through maps.
            let mut lines: Vec<&str> = text.split('\n').collect();
            if *name == "warning" {
                lines.sort_unstable();
            }
            Some(((*name).to_owned(), texts(&lines.join("\n"))))
        })
        .collect();
    let mut whole = Map::new();
    whole.insert("status".to_owned(), reply.status.into());
    whole.insert("headers".to_owned(), headers.into());
    whole.insert("body".to_owned(), body(reply, server));
    Value::Object(whole)
}

/// JSON and YAML as values, a stream of JSON as a list of them, protobuf as its bytes' number, and others as text.
fn body(reply: &Reply, server: SocketAddr) -> Value {
    let kind = reply.header("content-type");
    let text = String::from_utf8_lossy(&reply.body);
    let json = serde_json::Deserializer::from_slice(&reply.body).into_iter::<Value>();
    if kind.contains("protobuf") {
        // The values inside are compared by the codec's own tests.
        let magic = reply.body.starts_with(b"k8s\0");
        return Value::from(format!("protobuf, with its magic number: {magic}"));
    }
    if kind.contains("yaml")
        && let Ok(documents) = apiclient_core::yaml::values(&text)
    {
        return Value::from(documents.into_iter().map(|one| value(one, server)).collect::<Vec<_>>());
    }
    if kind.contains("json")
        && let Ok(mut all) = json.collect::<Result<Vec<_>, _>>()
    {
        return match all.len() {
            1 => value(all.remove(0), server),
            _ => all.into_iter().map(|one| value(one, server)).collect(),
        };
    }
    Value::from(self::text(&text, server))
}

/// A JSON value without what must differ.
pub fn value(value: Value, server: SocketAddr) -> Value {
    match value {
        Value::Object(fields) => {
            let generated = fields.get("generateName").is_some_and(|prefix| prefix != "");
            let is_row = fields.contains_key("cells");
            let is_key = fields.contains_key("kty");
            let field = |(name, value): (String, Value)| {
                let value = match (name.as_str(), value) {
                    ("resourceVersion", Value::String(text)) if is_number(&text) => Value::from("VERSION"),
                    ("continue", Value::String(text)) if !text.is_empty() => Value::from(token(&text)),
                    ("nodePort", Value::Number(port)) if port.as_u64().is_some_and(|port| port > 30_085) => {
                        Value::from("PORT")
                    }
                    ("name", Value::String(text)) if generated => {
                        Value::from(GENERATED.replace(&text, "-XXXXX").into_owned())
                    }
                    // Each server signs with a key of its own.
                    ("kid" | "n" | "x" | "y", Value::String(_)) if is_key => Value::from("KEY"),
                    // The original keeps bindings in no order, and so the rules that they give.
                    ("resourceRules" | "nonResourceRules", Value::Array(mut rules)) => {
                        rules.sort_by_cached_key(Value::to_string);
                        rules.into()
                    }
                    // The original tells conflicts of several managers in no order.
                    ("causes", Value::Array(causes))
                        if causes.iter().all(|cause| cause["reason"] == "FieldManagerConflict") =>
                    {
                        let mut causes: Vec<Value> =
                            causes.into_iter().map(|cause| self::value(cause, server)).collect();
                        causes.sort_by_key(Value::to_string);
                        causes.into()
                    }
                    // Their order is that of the seconds in which they were written.
                    ("managedFields", Value::Array(entries)) => {
                        let mut entries: Vec<Value> =
                            entries.into_iter().map(|entry| self::value(entry, server)).collect();
                        entries.sort_by_key(Value::to_string);
                        entries.into()
                    }
                    ("cells", Value::Array(cells)) if is_row => {
                        cells.into_iter().map(|cell| age(cell, server)).collect()
                    }
                    (_, other) => self::value(other, server),
                };
                (name, value)
            };
            Value::Object(fields.into_iter().map(field).collect())
        }
        Value::Array(items) => items.into_iter().map(|item| self::value(item, server)).collect(),
        Value::String(text) => Value::from(self::text(&text, server)),
        other => other,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text != "0" && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn age(cell: Value, server: SocketAddr) -> Value {
    match cell {
        Value::String(text) if AGE.is_match(&text) => Value::from("AGE"),
        // Names that were made, in a row that does not say so.
        Value::String(text) if GENERATED.is_match(&text) => {
            Value::from(GENERATED.replace(&text, "-XXXXX").into_owned())
        }
        other => value(other, server),
    }
}

/// A text without what must differ.
pub fn text(text: &str, server: SocketAddr) -> String {
    let mut text = text.replace(&server.to_string(), "SERVER");
    text = text.replace(&format!(":{}", server.port()), ":PORT");
    // Under the address that it tells others the server has the same port, which slices of endpoints name by itself.
    if text == server.port().to_string() {
        text = "PORT".to_owned();
    }
    for (pattern, word) in [
        (&UUID, "UID"),
        (&MICRO, "MICROTIME"),
        (&TIME, "TIME"),
        (&JWT, "TOKEN"),
        (&CURRENT, "current: VERSION"),
        (&QUOTED_VERSION, "resourceVersion: VERSION"),
        (&PRECONDITION, "(VERSION) does not match the ResourceVersion in record (VERSION)"),
        (&CLUSTER_IP, "ADDRESS"),
        (&NODE_PORT, ":PORT/"),
        (&ACCESS, "kube-api-access-XXXXX"),
        (&SELF_TYPE, "selfType"),
        (&HASH, "hash=HASH"),
    ] {
        text = pattern.replace_all(&text, |_: &Captures<'_>| word).into_owned();
    }
    text
}

/// The token of a list in parts: where it goes on, without its version.
fn token(text: &str) -> String {
    let decoded = base64(text).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    match decoded {
        Some(mut token) => {
            if token["rv"] != -1 {
                token["rv"] = "VERSION".into();
            }
            format!("CONTINUE {token}")
        }
        None => format!("CONTINUE {text}"),
    }
}

/// RFC 4648 base64 of the URL's alphabet, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let digit = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_servers_choose_is_taken_out_and_nothing_else() {
        let server = "127.0.0.1:7443".parse().unwrap();
        let have = json!({
            "metadata": {"generateName": "a-", "name": "a-bcdfg", "resourceVersion": "77",
                "uid": "0a1b2c3d-0000-4000-8000-0123456789ab", "creationTimestamp": "2026-01-02T03:04:05Z",
                "continue": "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MzAyLCJzdGFydCI6Ii9rMVx1MDAwMCJ9"},
            "spec": {"clusterIP": "10.96.7.9", "asked": "10.96.0.9", "ports": [{"nodePort": 31234}, {"nodePort": 30001}]},
            "rows": [{"cells": ["a", "3m", "80:31234/TCP"]}],
            "message": "Too large resource version: 99, current: 298",
        });
        let want = json!({
            "metadata": {"generateName": "a-", "name": "a-XXXXX", "resourceVersion": "VERSION", "uid": "UID",
                "creationTimestamp": "TIME",
                "continue": r#"CONTINUE {"rv":"VERSION","start":"/k1\u0000","v":"meta.k8s.io/v1"}"#},
            "spec": {"clusterIP": "ADDRESS", "asked": "10.96.0.9", "ports": [{"nodePort": "PORT"}, {"nodePort": 30001}]},
            "rows": [{"cells": ["a", "AGE", "80:PORT/TCP"]}],
            "message": "Too large resource version: 99, current: VERSION",
        });
        assert_eq!(value(have, server), want);
        assert_eq!(value(json!({"resourceVersion": "0"}), server), json!({"resourceVersion": "0"}));
    }
}
