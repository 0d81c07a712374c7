//! The certificates with which etcd and this node know each other.

use std::fs;
use std::path::{Path, PathBuf};

use etcd_client::{Certificate, Identity, TlsOptions};

use super::error::EtcdError;
use crate::options::EtcdOptions;

/// Files for TLS. They are read again for each connection, so that renewed certificates are taken up.
///
/// TLS 1.2 or 1.3 (rustls knows no older one).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsFiles {
    ca: Option<PathBuf>,
    /// Certificate and key.
    identity: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    pub(super) fn of(options: &EtcdOptions) -> Self {
        Self { ca: options.cafile.clone(), identity: options.certfile.clone().zip(options.keyfile.clone()) }
    }

    /// Whether the user gave any: then an endpoint without a scheme is meant to be https.
    pub(super) fn any(&self) -> bool {
        self.ca.is_some() || self.identity.is_some()
    }

    /// Reads them. Without a CA the authorities of the system are trusted.
    pub(super) fn load(&self) -> Result<TlsOptions, EtcdError> {
        let mut tls = match &self.ca {
            Some(file) => TlsOptions::new().ca_certificate(Certificate::from_pem(pem(file, "CERTIFICATE")?)),
            None => TlsOptions::new().with_native_roots(),
        };
        if let Some((certificate, key)) = &self.identity {
            tls =
                tls.identity(Identity::from_pem(pem(certificate, "CERTIFICATE")?, pem(key, "PRIVATE KEY")?));
        }
        Ok(tls)
    }
}

fn pem(file: &Path, wanted: &str) -> Result<String, EtcdError> {
    let refuse = |reason: String| EtcdError::TlsFile { file: file.to_owned(), reason };
    let text = fs::read_to_string(file).map_err(|error| refuse(error.to_string()))?;
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(refuse("the key is encrypted; flanneld cannot ask for its password".into()));
    }
    match text
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.ends_with(&format!("{wanted}-----")))
    {
        true => Ok(text),
        false => Err(refuse(format!("no {wanted} in PEM form in this file"))),
    }
}
