//! Scratch directories, and what runs in those of processes that were killed before they could tidy up.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use host::programs::ProgramError;

const PREFIX: &str = "weft-originals-";

/// A directory that goes away with its value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one in memory, where there is some: what etcd writes need not outlive a test, and it waits for the disk at
    /// each write.
    ///
    /// # Errors
    /// As [`Scratch::make_in`].
    pub fn make() -> Result<Self, ProgramError> {
        Self::make_in(&parent())
    }

    /// Makes one whose name holds our process number, and removes those of processes that are gone, with the daemons whose
    /// pid files lie there.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn make_in(parent: &Path) -> Result<Self, ProgramError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        sweep(parent);
        let name = format!("{PREFIX}{}-{}", Pid::this(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = parent.join(name);
        // A process of our number, long gone, may have left one.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(ProgramError::io("create", &path))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn parent() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse().ok());
        let Some(owner) = owner else { continue };
        if kill(Pid::from_raw(owner), None).is_err() {
            end_those_in(&entry.path(), &format!("{PREFIX}{owner}-"));
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Ends the daemons whose pid files lie in a directory. One of ours names a directory of that `owner` on its command
/// line, so that no stranger who got the number is hit.
fn end_those_in(directory: &Path, owner: &str) {
    let below = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let files =
        below(directory).flat_map(|path| if path.is_dir() { below(&path).collect() } else { vec![path] });
    for file in files.filter(|file| file.extension().is_some_and(|ending| ending == "pid")) {
        let Some(pid) = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<i32>().ok())
        else {
            continue;
        };
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(owner) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
