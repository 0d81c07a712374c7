//! Control groups for the pods of one node: a folder of one name in every hierarchy.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const ROOT: &str = "/sys/fs/cgroup";

/// Processes that were killed take a moment to leave.
const LIMIT: Duration = Duration::from_secs(10);

/// They go with this value; what runs in them must end before.
#[derive(Debug)]
pub struct Cgroups(String);

impl Cgroups {
    /// # Panics
    /// The kernel's control groups are not there to be written.
    pub fn make(name: &str) -> Self {
        let made = Self(name.to_owned());
        for folder in made.folders() {
            fs::create_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        }
        made
    }

    fn folders(&self) -> Vec<PathBuf> {
        hierarchies().into_iter().map(|hierarchy| hierarchy.join(&self.0)).collect()
    }
}

/// Of version 2 there is one, of version 1 one for each set of controllers. Links are other names of the same.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).unwrap_or_else(|error| panic!("{ROOT}: {error}")).flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Files in a group go with it; only folders are in the way.
fn remove(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let end = Instant::now() + LIMIT;
        for folder in self.folders() {
            while let Err(error) = remove(&folder) {
                if !folder.exists() {
                    break;
                }
                if Instant::now() > end {
                    println!("{} stays: {error}", folder.display());
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
