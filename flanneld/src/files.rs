//! Files that other programs wait for: written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Replaces a file's content in one step (mode 0644), making its folder where there is none. Readers see the
/// old text or the new one. A file that has this content already is left untouched. True if it was written.
///
/// # Errors
/// The folder or the file cannot be written; the old content is then still there.
pub fn write_atomically(path: &Path, text: &str) -> Result<bool, WriteError> {
    if fs::read_to_string(path).is_ok_and(|present| present == text) {
        // Scripts wait for the file to be touched at each start, as flannel does.
        return File::options()
            .append(true)
            .open(path)
            .and_then(|file| file.set_modified(std::time::SystemTime::now()))
            .map(|()| false)
            .map_err(|source| WriteError { path: path.to_owned(), source });
    }
    replace(path, text).map(|()| true).map_err(|source| WriteError { path: path.to_owned(), source })
}

/// Finds out whether [`write_atomically`] will be able to, before anything depends on it.
///
/// # Errors
/// It would not.
pub fn check_writable(path: &Path) -> Result<(), WriteError> {
    let attempt = || {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let draft = draft(path)?;
        open(&draft).map(drop)?;
        fs::remove_file(draft)
    };
    attempt().map_err(|source| WriteError { path: path.to_owned(), source })
}

fn open(draft: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(true).mode(0o644).open(draft)
}

/// A hidden name with our pid beside the file: no other writer, and no reader that globs, meets it.
fn draft(path: &Path) -> io::Result<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    Ok(folder.join(format!(".{name}.{}", std::process::id())))
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let draft = draft(path)?;
    let written = open(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/flannel/subnet.env");
        assert!(write_atomically(&path, "A=1\n").unwrap());
        assert!(write_atomically(&path, "A=2\n").unwrap());
        assert!(!write_atomically(&path, "A=2\n").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "A=2\n");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn whether_a_file_can_be_written_is_found_out_without_writing_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flannel/subnet.env");
        check_writable(&path).unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        let error = check_writable(folder.path()).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::IsADirectory);
        assert!(check_writable(Path::new("/proc/nowhere/subnet.env")).is_err());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("run"), "a file").unwrap();
        let error = write_atomically(&folder.path().join("run/subnet.env"), "").unwrap_err();
        assert!(error.to_string().ends_with("run/subnet.env"), "{error}");
    }
}
