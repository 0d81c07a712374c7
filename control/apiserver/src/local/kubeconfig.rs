//! The administrator's way in: a kubeconfig with a certificate of the group system:masters.

use std::fs;
use std::path::Path;

use apiclient_core::yaml;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::error::LocalError;
use crate::pki;

/// The text of a kubeconfig: PEM of the authority, of the client's certificate and of its key.
pub fn render(server: &str, authority: &str, certificate: &str, key: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "weft",
            "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(authority)},
        }],
        "users": [{
            "name": "admin",
            "user": {
                "client-certificate-data": STANDARD.encode(certificate),
                "client-key-data": STANDARD.encode(key),
            },
        }],
        "contexts": [{"name": "weft", "context": {"cluster": "weft", "user": "admin"}}],
        "current-context": "weft",
    })
}

/// Writes it for the keys in `pki`; only the owner of the file can read it.
///
/// # Errors
/// A file cannot be read or written.
pub fn write(path: &Path, server: &str, pki: &Path) -> Result<(), LocalError> {
    let read = |name: &str| {
        let path = pki.join(name);
        fs::read_to_string(&path).map_err(LocalError::file("read", path))
    };
    let config = render(server, &read("ca.crt")?, &read("admin.crt")?, &read("admin.key")?);
    let text = yaml::write(&config).unwrap_or_else(|_| config.to_string());
    if fs::read_to_string(path).is_ok_and(|have| have == text) {
        return Ok(());
    }
    Ok(pki::write_private(path, &text)?)
}
