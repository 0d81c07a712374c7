//! Follows the files of authorities: a changed one counts without a restart, as with the original.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::authentication::certificates::Authorities;
use crate::authentication::oidc::Followed;

/// How often files are looked at.
pub const EVERY: Duration = Duration::from_secs(30);

/// For ever. A file that cannot be read, or that holds no authority, leaves those that were there.
pub async fn authorities(files: Vec<(PathBuf, Arc<Authorities>)>, every: Duration) {
    let mut known: Vec<Option<Vec<u8>>> = Vec::new();
    for (file, _) in &files {
        known.push(tokio::fs::read(file).await.ok());
    }
    loop {
        tokio::time::sleep(every).await;
        for ((file, authorities), known) in files.iter().zip(&mut known) {
            let Ok(pem) = tokio::fs::read(file).await else { continue };
            if known.as_ref() == Some(&pem) {
                continue;
            }
            match authorities.replace(&pem) {
                Ok(()) => {
                    tracing::info!(file = %file.display(), "client certificates are believed by new authorities")
                }
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "the authorities stay what they were");
                }
            }
            *known = Some(pem);
        }
    }
}

/// For ever: asks other issuers for their keys, and follows the file that names them.
pub async fn issuers(oidc: Option<Followed>, own: Vec<String>, every: Duration) {
    let Some(Followed { oidc, file }) = oidc else { return std::future::pending().await };
    let discovering = Arc::clone(&oidc).discover();
    match file {
        None => discovering.await,
        Some((file, text)) => {
            futures::future::join(discovering, oidc.follow(file, own, text, every)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

    fn authority(name: &str) -> String {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.self_signed(&key).expect("an authority").pem()
    }

    #[tokio::test]
    async fn a_changed_file_of_authorities_counts_without_a_restart() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ca.crt");
        std::fs::write(&file, authority("one")).expect("written");
        let authorities_of =
            |file: &PathBuf| Authorities::new(&std::fs::read(file).expect("read")).expect("one");
        let own = Arc::new(authorities_of(&file));
        let names = || own.hints().iter().map(|name| name.as_ref().to_vec()).collect::<Vec<_>>();
        let before = names();
        let following =
            tokio::spawn(authorities(vec![(file.clone(), Arc::clone(&own))], Duration::from_millis(5)));
        let changed = async {
            // Written again until it is seen: the first look may come after the first of these writes.
            while names() == before {
                std::fs::write(&file, authority("two")).expect("written");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), changed).await.expect("seen");
        following.abort();
    }
}
