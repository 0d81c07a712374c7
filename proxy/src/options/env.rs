//! What the options need from outside: one file and this machine's name, or what a test hands in for them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// A source of files and of this machine's name.
pub trait Env {
    /// The text of a file.
    ///
    /// # Errors
    /// Those of the file system, or of text that is not UTF-8.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The host's name, as `uname -n` says it; blanks around it do not count.
    ///
    /// # Errors
    /// Those of the system call.
    fn hostname(&self) -> io::Result<String>;
}

/// This machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Env for Machine {
    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn hostname(&self) -> io::Result<String> {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
    }
}

/// For tests and examples: a name and some files.
#[derive(Clone, Debug, Default)]
pub struct Fixture {
    pub hostname: String,
    pub files: BTreeMap<PathBuf, String>,
}

impl Fixture {
    /// A machine of that name without files.
    pub fn named(hostname: &str) -> Self {
        Self { hostname: hostname.to_owned(), files: BTreeMap::new() }
    }

    /// The same machine with one file more.
    pub fn with(mut self, path: &str, text: &str) -> Self {
        self.files.insert(PathBuf::from(path), text.to_owned());
        self
    }
}

impl Env for Fixture {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn hostname(&self) -> io::Result<String> {
        Ok(self.hostname.clone())
    }
}
