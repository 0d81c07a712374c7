//! Programs that are stopped where they are, and go on later.

use std::fs;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long its threads may take to stop: as long as the kernel takes to run each of them once.
const LIMIT: Duration = Duration::from_secs(60);

/// Stops a process by SIGSTOP, and waits until it has stopped: each of its threads does when it next enters the kernel, and
/// until then may answer. SIGCONT lets it go on.
///
/// # Errors
/// There is no such process, it is somebody else's, or it has not stopped within a minute (`ETIMEDOUT`).
pub fn freeze(pid: Pid) -> Result<(), Errno> {
    kill(pid, Signal::SIGSTOP)?;
    let end = Instant::now() + LIMIT;
    while !is_stopped(pid) {
        if Instant::now() >= end {
            return Err(Errno::ETIMEDOUT);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn is_stopped(pid: Pid) -> bool {
    // `PID (NAME) STATE ...`
    let state = |stat: String| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'));
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok()).all(state)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_that_is_frozen_does_nothing_until_it_may_go_on() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        assert!(!is_stopped(pid));
        freeze(pid).unwrap();
        assert!(is_stopped(pid));
        kill(pid, Signal::SIGCONT).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(freeze(pid), Err(Errno::ESRCH));
    }
}
