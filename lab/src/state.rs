//! What a lab leaves on disk: `/run/weft/lab/NAME`, its lock, and the list of all labs.
//!
//! The directory is made before anything else and removed after everything else, so whatever a crash leaves is found
//! by it or by the names of the namespaces.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::LabError;
use crate::name::LabName;
use crate::spec::Spec;
use host::programs::wait_for;

/// Where every lab has its directory.
pub const DIRECTORY: &str = "/run/weft/lab";

/// The files of one lab.
#[derive(Clone, Debug)]
pub struct State {
    name: LabName,
    directory: PathBuf,
}

impl State {
    pub fn of(name: &LabName) -> Self {
        Self { name: name.clone(), directory: Path::new(DIRECTORY).join(name.as_str()) }
    }

    /// `/run/weft/lab/NAME`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directory of a node: subnet.env, flanneld.log, proxy.log, cni.conflist, bpf/.
    pub fn node(&self, node: &str) -> PathBuf {
        self.directory.join("nodes").join(node)
    }

    /// The objects that feed the lab's service proxies: YAML, the lab's own and the user's.
    pub fn services(&self) -> PathBuf {
        self.directory.join("services")
    }

    /// etcd's directory.
    pub fn etcd(&self) -> PathBuf {
        self.directory.join("etcd")
    }

    /// Takes the name and the lock.
    ///
    /// # Errors
    /// [`LabError::NameTaken`] when there is such a lab, whole or in ruins.
    pub fn create(&self) -> Result<Lock, LabError> {
        loop {
            fs::create_dir_all(DIRECTORY).map_err(LabError::io("create", DIRECTORY))?;
            match fs::create_dir(&self.directory) {
                Ok(()) => break,
                // The last lab but this one went just now, and took the directory above with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(LabError::NameTaken(self.name.clone()));
                }
                Err(error) => return Err(LabError::io("create", &self.directory)(error)),
            }
        }
        self.lock(Duration::ZERO)?.ok_or_else(|| LabError::Busy(self.name.clone()))
    }

    /// Takes the lock of a lab; None when it has no directory.
    ///
    /// The lock is on the directory and every process that `up` forks inherits it until that process becomes its
    /// program, which is after it has entered its namespace. So whoever gets the lock sees every process of the lab in
    /// one of its namespaces, even if `up` was killed in between.
    ///
    /// # Errors
    /// [`LabError::Busy`] when another command holds it for longer than `patience`.
    pub fn lock(&self, patience: Duration) -> Result<Option<Lock>, LabError> {
        let lock = wait_for(Instant::now() + patience, || {
            let file = match File::open(&self.directory) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(None)),
                Err(error) => return Err(LabError::io("open", &self.directory)(error)),
            };
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) if self.is_still(&lock) => Ok(Some(Some(Lock(lock)))),
                Ok(_) | Err((_, Errno::EAGAIN | Errno::EINTR)) => Ok(None),
                Err((_, errno)) => Err(LabError::io("lock", &self.directory)(errno.into())),
            }
        })?;
        lock.ok_or_else(|| LabError::Busy(self.name.clone()))
    }

    /// Whether the directory that was opened has not been removed, or made again, in the meantime.
    fn is_still(&self, opened: &File) -> bool {
        let inode = |metadata: io::Result<fs::Metadata>| metadata.map(|m| (m.dev(), m.ino())).ok();
        inode(fs::metadata(&self.directory)).is_some_and(|now| Some(now) == inode(opened.metadata()))
    }

    /// Writes down what the lab is, for the commands that come later.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, spec: &Spec) -> Result<(), LabError> {
        let path = self.directory.join("lab.json");
        let text = serde_json::to_string_pretty(spec).map_err(|e| LabError::io("write", &path)(e.into()))?;
        let partial = self.directory.join("lab.json.new");
        fs::write(&partial, text + "\n").map_err(LabError::io("write", &partial))?;
        fs::rename(&partial, &path).map_err(LabError::io("write", &path))
    }

    /// Reads what the lab is.
    ///
    /// # Errors
    /// [`LabError::NoSuchLab`], or a file that `up` did not finish.
    pub fn load(&self) -> Result<Spec, LabError> {
        let path = self.directory.join("lab.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LabError::NoSuchLab { name: self.name.clone(), known: list()? });
            }
            Err(error) => return Err(LabError::io("read", path)(error)),
        };
        serde_json::from_str(&text).map_err(|e| LabError::io("read", path)(e.into()))
    }

    /// Removes the directory, and those above it when they are empty. It must hold no mount.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for parent in Path::new(DIRECTORY).ancestors().take(2) {
            // Another lab is in it, or another part of Weft.
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// The right to change a lab; given back when it is dropped, or by the kernel when its holder dies.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not used")] Flock<File>);

/// Every lab of this machine, whole or in ruins, by its directory or by its namespaces.
///
/// # Errors
/// A directory that cannot be read.
pub fn list() -> Result<Vec<LabName>, LabError> {
    let mut names: Vec<LabName> =
        host::netns::list()?.iter().filter_map(|name| LabName::of_namespace(name)).collect();
    match fs::read_dir(DIRECTORY) {
        Ok(entries) => {
            let here = entries.flatten().filter_map(|entry| LabName::new(entry.file_name().to_str()?).ok());
            names.extend(here);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(LabError::io("list", DIRECTORY)(error)),
    }
    names.sort();
    names.dedup();
    Ok(names)
}
