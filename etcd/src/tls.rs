//! The certificates with which etcd and this machine know each other. TLS 1.2 or 1.3 (rustls knows no older one).

use std::fs;
use std::path::Path;

use etcd_client::{Certificate, Identity, TlsOptions};

use crate::error::EtcdError;
use crate::settings::Settings;

/// Reads the files. Without a CA the authorities of the system are trusted.
pub(crate) fn load(settings: &Settings) -> Result<TlsOptions, EtcdError> {
    let mut tls = match &settings.ca {
        Some(file) => TlsOptions::new().ca_certificate(Certificate::from_pem(pem(file, "CERTIFICATE")?)),
        None => TlsOptions::new().with_native_roots(),
    };
    if let Some((certificate, key)) = &settings.identity {
        tls = tls.identity(Identity::from_pem(pem(certificate, "CERTIFICATE")?, pem(key, "PRIVATE KEY")?));
    }
    if let Some(name) = &settings.server_name {
        tls = tls.domain_name(name);
    }
    Ok(tls)
}

fn pem(file: &Path, wanted: &str) -> Result<String, EtcdError> {
    let refuse = |reason: String| EtcdError::TlsFile { file: file.to_owned(), reason };
    let text = fs::read_to_string(file).map_err(|error| refuse(error.to_string()))?;
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(refuse("the key is encrypted; a daemon cannot ask for its password".into()));
    }
    match text
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.ends_with(&format!("{wanted}-----")))
    {
        true => Ok(text),
        false => Err(refuse(format!("no {wanted} in PEM form in this file"))),
    }
}
