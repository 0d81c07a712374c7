//! Takes a lab away, whole or in ruins: processes, mounts, namespaces, files. Goes on after an error and reports all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use host::netns::Namespace;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::LabError;
use crate::name::LabName;
use crate::state::{self, State};
use host::programs::wait_for;

/// How long processes may take to end by themselves.
const GRACE: Duration = Duration::from_secs(3);
/// How long the kernel may take to end what was killed.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How long another command may hold the lab.
const PATIENCE: Duration = Duration::from_secs(5);

/// What has been taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub namespaces: usize,
    pub processes: usize,
    pub mounts: usize,
}

/// Takes the lab away. Everything that runs in its namespaces is ended, whoever started it.
///
/// # Errors
/// There is no such lab, another command is at work on it, or something cannot be removed.
pub fn down(name: &LabName) -> Result<Removed, LabError> {
    let lock = State::of(name).lock(PATIENCE)?;
    let namespaces = namespaces_of(name)?;
    if lock.is_none() && namespaces.is_empty() {
        return Err(LabError::NoSuchLab { name: name.clone(), known: state::list()? });
    }
    remove(name)
}

/// The same, for whoever holds the lock.
pub fn remove(name: &LabName) -> Result<Removed, LabError> {
    let state = State::of(name);
    let mut left = Vec::new();
    let mut removed = Removed::default();
    let namespaces = namespaces_of(name)?;
    let inodes = namespaces.iter().filter_map(|name| Namespace::open(name).ok().map(|n| n.inode())).collect();
    match end_processes(&inodes) {
        Ok(count) => removed.processes = count,
        Err(pids) => left.push(format!("processes {pids:?}, which do not end even by SIGKILL")),
    }
    match mounts_below(state.directory()) {
        Ok(mounts) => {
            // The inner ones last in the list, first out.
            for point in mounts.iter().rev() {
                match umount2(point, MntFlags::MNT_DETACH) {
                    Ok(()) => removed.mounts += 1,
                    Err(errno) => left.push(format!("the mount on {}: {errno}", point.display())),
                }
            }
        }
        Err(error) => left.push(error.to_string()),
    }
    for namespace in &namespaces {
        match Namespace::delete(namespace) {
            Ok(()) => removed.namespaces += 1,
            Err(error) => left.push(error.to_string()),
        }
    }
    // The directory goes last: it is how the next `down` finds what this one could not remove.
    if left.is_empty()
        && let Err(error) = state.remove()
    {
        left.push(format!("{}: {error}", state.directory().display()));
    }
    if left.is_empty() { Ok(removed) } else { Err(LabError::Leftovers { name: name.clone(), left }) }
}

/// The lab's namespaces, or what is left of them.
fn namespaces_of(name: &LabName) -> Result<Vec<String>, LabError> {
    let all = host::netns::list()?;
    Ok(all.into_iter().filter(|netns| LabName::of_namespace(netns).as_ref() == Some(name)).collect())
}

/// Ends every process inside the namespaces; gives how many there were, or those that remain.
fn end_processes(inodes: &BTreeSet<u64>) -> Result<usize, Vec<Pid>> {
    let mut seen = BTreeSet::new();
    let mut ended = |signal, limit| {
        // One that is asked to end may start another first, so everybody new is told as well.
        let mut told = BTreeSet::new();
        let gone = wait_for(Instant::now() + limit, || {
            let alive = processes_in(inodes);
            for &pid in &alive {
                seen.insert(pid);
                if told.insert(pid) {
                    // It may have ended by itself just now.
                    let _ = kill(pid, signal);
                }
            }
            Ok::<_, LabError>(alive.is_empty().then_some(()))
        });
        gone.ok().flatten().is_some()
    };
    if ended(Signal::SIGTERM, GRACE) || ended(Signal::SIGKILL, KILL_LIMIT) {
        Ok(seen.len())
    } else {
        Err(processes_in(inodes).into_iter().collect())
    }
}

/// The processes whose main thread is inside one of the namespaces. A program of somebody else that has merely sent a
/// thread inside (as this one does) is not the lab's.
fn processes_in(inodes: &BTreeSet<u64>) -> BTreeSet<Pid> {
    pids_by_namespace()
        .into_iter()
        .filter(|(inode, _)| inodes.contains(inode))
        .flat_map(|(_, pids)| pids)
        .collect()
}

/// Every process of the machine but this one, by the inode of its network namespace.
fn pids_by_namespace() -> BTreeMap<u64, Vec<Pid>> {
    let mut found: BTreeMap<u64, Vec<Pid>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|text| text.parse().ok()) else { continue };
        let pid = Pid::from_raw(pid);
        // A process that has just ended has no namespace.
        let Ok(namespace) = fs::metadata(entry.path().join("ns/net")) else { continue };
        if pid != Pid::this() {
            found.entry(namespace.ino()).or_default().push(pid);
        }
    }
    found
}

/// The mount points at and below a directory, outer ones first.
///
/// # Errors
/// `/proc` cannot be read.
pub(crate) fn mounts_below(directory: &Path) -> Result<Vec<PathBuf>, LabError> {
    let path = "/proc/self/mountinfo";
    let text = fs::read_to_string(path).map_err(LabError::io("read", path))?;
    Ok(mount_points(&text).into_iter().filter(|point| point.starts_with(directory)).collect())
}

/// The fifth field of each line of proc_pid_mountinfo(5), where a space is written `\040`.
fn mount_points(text: &str) -> Vec<PathBuf> {
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(|point| PathBuf::from(point.replace("\\040", " "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_the_fifth_field() {
        let text =
            "22 1 0:20 / /proc rw - proc proc rw\n30 22 0:30 / /run/a\\040b rw shared:1 - bpf bpf rw\n";
        assert_eq!(mount_points(text), [PathBuf::from("/proc"), PathBuf::from("/run/a b")]);
    }

    #[test]
    fn we_are_not_among_the_processes_to_end() {
        let here = Namespace::current().unwrap().inode();
        assert!(!processes_in(&BTreeSet::from([here])).contains(&Pid::this()));
    }
}
