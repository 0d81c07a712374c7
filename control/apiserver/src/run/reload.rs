//! Follows files: of authorities, of issuers, of authorizers. A changed one counts without a restart, as with the original.

use std::sync::Arc;
use std::time::Duration;

use control_core::authorization::{Authorizer, configuration};
use futures::future::join_all;

use super::access::Issuers;
use crate::authentication::certificates::Authorities;
use crate::authorization::Authorizers;
use crate::followed::Followed;

/// How often files are looked at.
pub const EVERY: Duration = Duration::from_secs(30);

/// For ever: believes the authorities of a file anew when it changes. One that holds none leaves those that were there.
pub async fn authorities(files: Vec<(Followed, Arc<Authorities>)>, every: Duration) {
    let each = files.into_iter().map(|(mut file, authorities)| async move {
        loop {
            let outcome = authorities.replace(file.changed(every).await);
            let file = file.path().display();
            match outcome {
                Ok(()) => tracing::info!(%file, "client certificates are believed by new authorities"),
                Err(error) => tracing::warn!(%file, %error, "the authorities stay what they were"),
            }
        }
    });
    join_all(each).await;
    std::future::pending().await
}

/// For ever: follows the file of `--authorization-config`. One that makes no sense leaves the chain that was there.
pub async fn authorization(file: Option<Followed>, authorizers: Arc<Authorizers>, every: Duration) {
    let Some(mut file) = file else { return std::future::pending().await };
    loop {
        let text = file.changed_text(every).await;
        let outcome = chain(&text).and_then(|chain| authorizers.replace(chain));
        let file = file.path().display();
        match outcome {
            Ok(()) => tracing::info!(%file, "a new chain of authorizers decides"),
            Err(error) => tracing::warn!(%file, error, "the chain of authorizers stays what it was"),
        }
    }
}

/// Reads the text of a file of `--authorization-config`.
///
/// # Errors
/// What is wrong with it.
pub fn chain(text: &str) -> Result<Vec<Authorizer>, String> {
    let document = control_core::configuration::document(text)?;
    configuration::read(&document, &|file| match std::fs::metadata(file) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err("must be a regular file".to_owned()),
        Err(error) => Err(format!("error loading file: stat {}: {}", file.display(), words(&error))),
    })
}

/// As Go says it.
fn words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// For ever: asks other issuers for their keys, and follows the file that names them.
pub async fn issuers(oidc: Option<Issuers>, own: Vec<String>, every: Duration) {
    let Some(Issuers { oidc, file }) = oidc else { return std::future::pending().await };
    let discovering = Arc::clone(&oidc).discover();
    match file {
        None => discovering.await,
        Some(file) => {
            futures::future::join(discovering, oidc.follow(file, own, every)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

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
        let followed = Followed::new(file.clone(), std::fs::read(&file).expect("read"));
        let following =
            tokio::spawn(authorities(vec![(followed, Arc::clone(&own))], Duration::from_millis(5)));
        let changed = async {
            std::fs::write(&file, authority("two")).expect("written");
            while names() == before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), changed).await.expect("seen");
        following.abort();
    }
}
