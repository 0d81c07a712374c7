//! A file of configuration that counts without a restart when it changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

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
