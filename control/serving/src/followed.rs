//! A file of configuration that counts without a restart when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::authentication::certificates::Authorities;

/// How often files are looked at.
pub const EVERY: Duration = Duration::from_secs(30);

/// A file, and what was read of it last.
#[derive(Clone, Debug)]
pub struct Followed {
    path: PathBuf,
    read: Vec<u8>,
}

impl Followed {
    /// `read` is what was read at the start.
    pub fn new(path: PathBuf, read: Vec<u8>) -> Self {
        Self { path, read }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it, once that is something else than was read last. A file that cannot be read stays what it was.
    pub async fn changed(&mut self, every: Duration) -> &[u8] {
        loop {
            tokio::time::sleep(every).await;
            match tokio::fs::read(&self.path).await {
                Ok(found) if found != self.read => {
                    self.read = found;
                    return &self.read;
                }
                _ => {}
            }
        }
    }

    /// The same, as text.
    pub async fn changed_text(&mut self, every: Duration) -> String {
        String::from_utf8_lossy(self.changed(every).await).into_owned()
    }
}

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
