//! What other servers of the API need to know to believe the same clients: the ConfigMap
//! `kube-system/extension-apiserver-authentication`, which kube-controller-manager, kube-scheduler and metrics-server read.
//!
//! Owns: its content ([`merged`]). Several servers write it, with authorities of their own each: what others wrote stays.

use serde_json::{Map, Value, json};

use super::{ServeError, read};
use crate::options::Options;

pub const NAME: &str = "extension-apiserver-authentication";

/// Keys whose values are bundles of certificates; those of all others are lists, as JSON.
const BUNDLES: [&str; 2] = ["client-ca-file", "requestheader-client-ca-file"];

/// What this server believes, as the ConfigMap's data.
///
/// # Errors
/// A file cannot be read.
pub fn of(options: &Options) -> Result<Map<String, Value>, ServeError> {
    let mut data = Map::new();
    let bundle = |file| Ok::<_, ServeError>(Value::from(String::from_utf8_lossy(&read(file)?).into_owned()));
    if let Some(file) = &options.client_ca {
        data.insert("client-ca-file".to_owned(), bundle(file)?);
    }
    let proxy = &options.front_proxy;
    if let Some(file) = &proxy.client_ca {
        data.insert("requestheader-client-ca-file".to_owned(), bundle(file)?);
        for (key, names) in [
            ("requestheader-allowed-names", &proxy.allowed_names),
            ("requestheader-extra-headers-prefix", &proxy.extra_prefixes),
            ("requestheader-group-headers", &proxy.group_headers),
            ("requestheader-username-headers", &proxy.username_headers),
        ] {
            data.insert(key.to_owned(), json!(names).to_string().into());
        }
        if !proxy.uid_headers.is_empty() {
            let names = json!(proxy.uid_headers).to_string();
            data.insert("requestheader-uid-headers".to_owned(), names.into());
        }
    }
    Ok(data)
}

/// The data that holds both what is `held` and what this server has.
pub fn merged(own: &Map<String, Value>, held: &Value) -> Map<String, Value> {
    let mut merged = held.as_object().cloned().unwrap_or_default();
    for (key, own) in own {
        let text = own.as_str().unwrap_or_default();
        let both = match merged.get(key).and_then(Value::as_str).filter(|held| !held.is_empty()) {
            None => text.to_owned(),
            Some(held) if BUNDLES.contains(&key.as_str()) => bundles(held, text),
            Some(held) => lists(held, text),
        };
        merged.insert(key.clone(), both.into());
    }
    merged
}

/// Two bundles of certificates as one.
fn bundles(held: &str, own: &str) -> String {
    match held.contains(own.trim()) {
        true => held.to_owned(),
        false => format!("{}\n{own}", held.trim_end()),
    }
}

/// Two lists as one. What is none is replaced.
fn lists(held: &str, own: &str) -> String {
    let list = |text: &str| serde_json::from_str::<Vec<String>>(text);
    let (Ok(mut all), Ok(own)) = (list(held), list(own)) else { return own.to_owned() };
    for name in own {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    json!(all).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_servers_believe_stays() {
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        let own = map(json!({"client-ca-file": "A\n", "requestheader-allowed-names": "[\"a\"]"}));
        assert_eq!(merged(&own, &Value::Null), own);
        assert_eq!(merged(&own, &Value::Object(own.clone())), own);
        let held = json!({"client-ca-file": "B\n", "requestheader-allowed-names": "[\"b\"]", "more": "x"});
        assert_eq!(
            merged(&own, &held),
            map(
                json!({"client-ca-file": "B\nA\n", "requestheader-allowed-names": "[\"b\",\"a\"]", "more": "x"})
            )
        );
    }
}
