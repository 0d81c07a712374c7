//! Memory of a process, from /proc (proc_pid_status(5)).

use std::fs;

use nix::unistd::Pid;

/// MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// Resident now.
    pub resident: f64,
    /// The most that ever was resident.
    pub peak: f64,
}

/// Of a process; None when it is gone.
pub fn of(process: Pid) -> Option<Memory> {
    parse(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

fn parse(status: &str) -> Option<Memory> {
    let mib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: f64 = line.trim_start_matches(':').split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024.0)
    };
    Some(Memory { resident: mib("VmRSS")?, peak: mib("VmHWM")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_mib() {
        let status = "Name:\tproxy\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\nRssAnon:\t  1 kB\n";
        assert_eq!(parse(status), Some(Memory { resident: 2.0, peak: 4.0 }));
        assert_eq!(parse("Name:\tkthreadd\n"), None);
        assert!(of(Pid::this()).is_some_and(|memory| memory.peak >= memory.resident));
    }
}
