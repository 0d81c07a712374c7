//! A process with all that it has started, from /proc (proc_pid_stat(5)).

use std::collections::BTreeMap;
use std::fs;

use lab::LabError;
use nix::unistd::Pid;

use super::{cpu, failed, memory};

/// What a family uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Use {
    /// MiB resident: what several processes share is counted for each.
    pub resident: f64,
    /// Seconds of CPU so far.
    pub cpu: f64,
}

/// Of some processes and all their descendants.
///
/// # Errors
/// One of them is gone, or /proc cannot be read.
pub fn of(processes: &[Pid]) -> Result<Use, LabError> {
    let parents = parents()?;
    let mut used = Use { resident: 0.0, cpu: 0.0 };
    for process in processes {
        for (nth, member) in members(*process, &parents).into_iter().enumerate() {
            match (memory::of(member), cpu::with_children(member)?) {
                (Some(memory), Some(cpu)) => {
                    used.resident += memory.resident;
                    used.cpu += cpu;
                }
                _ if nth == 0 => return Err(failed(&format!("process {process}"), "it is gone")),
                // A descendant may end at any time.
                _ => {}
            }
        }
    }
    Ok(used)
}

/// The parent of every process.
fn parents() -> Result<BTreeMap<Pid, Pid>, LabError> {
    let entries = fs::read_dir("/proc").map_err(LabError::io("read", "/proc"))?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let with_parent = pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((Pid::from_raw(pid), parent(&stat)?))
    });
    Ok(with_parent.collect())
}

/// The fourth field. The second is a name that may hold spaces and parentheses.
fn parent(stat: &str) -> Option<Pid> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok().map(Pid::from_raw)
}

/// The process itself comes first.
fn members(process: Pid, parents: &BTreeMap<Pid, Pid>) -> Vec<Pid> {
    let mut found = vec![process];
    let mut looked = 0;
    while let Some(parent) = found.get(looked).copied() {
        found.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        looked += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grandchildren_belong_to_a_family() {
        let pid = Pid::from_raw;
        let parents =
            [(2, 1), (3, 2), (4, 3), (5, 1), (6, 3)].map(|(child, parent)| (pid(child), pid(parent)));
        assert_eq!(members(pid(2), &parents.into()), [2, 3, 4, 6].map(pid));
        assert_eq!(parent("42 (a) b (c)) S 17 42 42 0"), Some(pid(17)));
    }

    #[test]
    fn we_use_something_and_nobody_is_a_mistake() {
        assert!(of(&[Pid::this()]).unwrap().resident > 0.0);
        assert!(of(&[Pid::from_raw(i32::MAX)]).is_err());
    }
}
