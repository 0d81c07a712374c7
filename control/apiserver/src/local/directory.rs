//! The directory of a control plane: one process at a time has it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::LocalError;

/// Where everything is that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    root: PathBuf,
}

impl Places {
    /// # Errors
    /// The working directory is gone, to which a relative path belongs.
    pub fn new(root: &Path) -> Result<Self, LocalError> {
        let root = std::path::absolute(root).map_err(LocalError::file("find", root))?;
        Ok(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// etcd's `--data-dir`.
    pub fn etcd(&self) -> PathBuf {
        self.root.join("etcd")
    }

    /// Holds the URL of the etcd that runs on [`Places::etcd`], while one does.
    pub fn endpoint(&self) -> PathBuf {
        self.root.join("etcd.endpoint")
    }

    /// There while the etcd on [`Places::etcd`] has never answered.
    pub fn unfinished(&self) -> PathBuf {
        self.root.join("etcd.unfinished")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("admin.kubeconfig")
    }

    fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}

/// The directory is ours until this is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Makes the directory where there is none, and takes it.
    ///
    /// # Errors
    /// [`LocalError::InUse`]: another process has it. Others: those of the file system.
    pub fn take(places: &Places) -> Result<Self, LocalError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(places.root());
        made.map_err(LocalError::file("make", places.root()))?;
        let path = places.lock();
        let open =
            File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = open.map_err(LocalError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                let by = if pid.is_empty() { pid } else { format!(", as process {}", pid.trim()) };
                return Err(LocalError::InUse { path: places.root().to_owned(), by });
            }
            Err(TryLockError::Error(error)) => return Err(LocalError::file("lock", path)(error)),
        }
        // Only for the message above: the lock itself is the kernel's, and a stale number does no harm.
        let noted = file.set_len(0).and_then(|()| file.rewind());
        let noted = noted.and_then(|()| writeln!(file, "{}", std::process::id()));
        noted.map_err(LocalError::file("write", path))?;
        Ok(Self { _file: file })
    }
}

/// Deletes a file that may not be there.
pub(super) fn remove(path: &Path) -> Result<(), LocalError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LocalError::file("delete", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_process_at_a_time_and_is_free_when_that_ends() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places::new(&directory.path().join("new/control")).unwrap();
        let lock = Lock::take(&places).unwrap();
        let error = Lock::take(&places).unwrap_err().to_string();
        assert!(error.contains(&format!("as process {}", std::process::id())), "{error}");
        assert!(error.contains("is in use"), "{error}");
        drop(lock);
        Lock::take(&places).unwrap();
    }
}
