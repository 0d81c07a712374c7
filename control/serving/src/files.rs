//! Files that a server is told to use.

use std::path::{Path, PathBuf};

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read {}", file.display())]
    Read {
        file: PathBuf,
        #[source]
        error: std::io::Error,
    },
    #[error("{}: {problem}", file.display())]
    Unusable { file: PathBuf, problem: String },
}

/// # Errors
/// Those of open(2) and read(2).
pub fn read(file: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(file).map_err(|error| FileError::Read { file: file.to_owned(), error })
}

/// What is in a file is not what it should be.
pub fn unusable(file: &Path, problem: impl ToString) -> FileError {
    FileError::Unusable { file: file.to_owned(), problem: problem.to_string() }
}
