//! Which CPU a measuring thread runs on.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::failed;
use lab::LabError;

/// The CPU for a client: the last one that we may use. The first one usually gets the interrupts.
pub fn last_cpu() -> Result<usize, LabError> {
    let allowed =
        sched_getaffinity(Pid::from_raw(0)).map_err(|e| failed("the CPUs we may use", e.to_string()))?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    last.ok_or_else(|| failed("the CPUs we may use", "there is none"))
}

/// Keeps the calling thread on one CPU.
pub fn pin(cpu: usize) -> std::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
