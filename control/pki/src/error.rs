//! What can go wrong with keys and certificates.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("cannot {op} {}", .path.display())]
    File {
        op: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Replacing a key would cut off everybody who trusts it.
    #[error(
        "the key in {} cannot be used: {reason}. Put back the file as it was; where that is impossible, delete it and \
         its certificate, and everything that it signed is made again or refused",
        .path.display()
    )]
    Key { path: PathBuf, reason: String },
    #[error("cannot make {}: {reason}", .path.display())]
    Make { path: PathBuf, reason: String },
}
