//! Why a feed does not start.

use std::io;
use std::path::PathBuf;

/// What waiting would not mend.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("cannot watch the directory {path}; check --feed-dir", path = .path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("there is no way to the API server; check --kubeconfig and --master, or give --feed-dir")]
    Access(#[from] apiclient::AccessError),
    #[error("the program is ending")]
    Ended,
}
