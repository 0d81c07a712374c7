//! Objects written into the API server's etcd, past the server: the way for tens of thousands of them, and for those
//! that no server would let in.

use serde_json::{Value, json};

use crate::kinds::Identity;
use crate::wire::Connection;
use host::programs::ProgramError;

/// A key and a value; without a value the key is deleted.
pub type Entry = (String, Option<String>);

/// etcd's JSON gateway.
pub struct Store {
    connection: Connection,
}

impl Store {
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Writes what belongs to one object, at once. Never more: the server takes it that a revision changes one object
    /// of a kind, and a watch that begins in the middle of a larger one misses the rest of it.
    pub fn write(&mut self, entries: Vec<Entry>) -> Result<(), ProgramError> {
        let operation = |(key, value): Entry| {
            let key = base64(key.as_bytes());
            match value {
                Some(value) => json!({"requestPut": {"key": key, "value": base64(value.as_bytes())}}),
                None => json!({"requestDeleteRange": {"key": key}}),
            }
        };
        let operations: Vec<Value> = entries.into_iter().map(operation).collect();
        self.call("/v3/kv/txn", &json!({"success": operations})).map(drop)
    }

    /// Forgets all revisions but the present ones.
    pub fn compact(&mut self) -> Result<(), ProgramError> {
        let status = self.call("/v3/kv/range", &json!({"key": base64(b"x"), "count_only": true}))?;
        let revision = status.pointer("/header/revision").cloned().unwrap_or_default();
        self.call("/v3/kv/compaction", &json!({"revision": revision, "physical": true})).map(drop)
    }

    fn call(&mut self, path: &str, body: &Value) -> Result<Value, ProgramError> {
        let failed = |reason: String| ProgramError::Protocol { what: format!("etcd's {path}"), reason };
        let answer = self.connection.ask("POST", path, "", body.to_string().as_bytes());
        let (status, body) = answer.map_err(|error| failed(error.to_string()))?;
        if status != 200 {
            return Err(failed(format!("status {status}: {}", String::from_utf8_lossy(&body))));
        }
        serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))
    }
}

/// Where and how the server keeps an object: with the fields that it would have added. A Service brings the claims to
/// its addresses, or the server would spend its time on making them.
pub fn entries(object: &Value) -> Result<Vec<Entry>, ProgramError> {
    let identity = Identity::of(object)?;
    let (key, uid) = (identity.key(), uid(&identity.key()));
    let mut whole = object.clone();
    let metadata = &mut whole["metadata"];
    fill(metadata, "uid", json!(uid));
    fill(metadata, "creationTimestamp", json!("2026-01-01T00:00:00Z"));
    let path = identity.path();
    if path.contains("/namespaces/") {
        fill(metadata, "namespace", json!(identity.namespace()));
    }
    let mut found = vec![(key, Some(whole.to_string()))];
    if identity.is("Service") {
        let ips = object.pointer("/spec/clusterIPs").and_then(Value::as_array).cloned().unwrap_or_default();
        let ips = ips.iter().filter_map(Value::as_str).filter(|ip| *ip != "None");
        found.extend(ips.map(|ip| claim(ip, &identity)));
    }
    Ok(found)
}

/// The IPAddress object of a Service's address.
fn claim(ip: &str, service: &Identity<'_>) -> Entry {
    let family = if ip.contains(':') { "IPv6" } else { "IPv4" };
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": ip, "uid": uid(ip), "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {
            "ipaddress.kubernetes.io/ip-family": family,
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": service.namespace(), "name": service.name}}});
    (format!("/registry/ipaddresses/{ip}"), Some(object.to_string()))
}

fn fill(map: &mut Value, key: &str, value: Value) {
    if map.get(key).is_none() {
        map[key] = value;
    }
}

/// The same text gives the same number (FNV-1a, twice), in the shape of a UID.
fn uid(text: &str) -> String {
    let hash = |seed: u64| {
        text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let (a, b) = (hash(0xcbf2_9ce4_8422_2325), hash(0x9e37_79b9_7f4a_7c15));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}

/// RFC 4648 base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for nth in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * nth) & 63) as usize];
            text.push(if nth <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (bytes, want) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), want);
        }
    }

    #[test]
    fn a_stored_service_has_what_the_server_adds_and_claims_its_addresses() {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
                             "spec": {"clusterIPs": ["10.96.0.9", "fd00::9"]}});
        let found = entries(&service).unwrap();
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        let want = [
            "/registry/services/specs/default/a",
            "/registry/ipaddresses/10.96.0.9",
            "/registry/ipaddresses/fd00::9",
        ];
        assert_eq!(keys, want);
        let stored: Value = serde_json::from_str(found[0].1.as_ref().unwrap()).unwrap();
        assert_eq!(stored["metadata"]["namespace"], "default");
        assert_eq!(stored["metadata"]["uid"].as_str().unwrap().len(), 36);
    }
}
