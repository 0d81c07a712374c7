//! CPU time, of the machine and of single processes, from /proc (proc_stat(5), proc_pid_stat(5)).

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{Pid, SysconfVar, sysconf};

use super::failed;
use lab::LabError;

/// How long we look at the CPUs to call them quiet.
const LOOK: Duration = Duration::from_millis(250);

/// A process that used less than this part of a CPU in this time is idle.
const IDLE: f64 = 0.06;
const IDLE_LOOK: Duration = Duration::from_millis(500);
/// How long a process may take to become idle: the originals collect their garbage every two minutes at the latest, and are
/// never quite still.
const IDLE_LIMIT: Duration = Duration::from_secs(15);

/// Seconds of CPU used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Used {
    /// By the whole machine.
    pub machine: f64,
    /// By the processes asked for.
    pub processes: f64,
}

impl Used {
    /// Reads both now. A process that has ended counts as nothing.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn now(processes: &[Pid]) -> Result<Self, LabError> {
        let ticks = ticks_per_second()?;
        let machine = Jiffies::now()?.busy as f64 / ticks;
        let of = |pid: &Pid| {
            fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|text| of_process(&text))
        };
        Ok(Self { machine, processes: processes.iter().filter_map(of).sum::<u64>() as f64 / ticks })
    }

    /// What was used since `before`.
    pub fn since(self, before: Self) -> Self {
        Self { machine: self.machine - before.machine, processes: self.processes - before.processes }
    }
}

/// Seconds of CPU that a process has used, with its children that have ended; None when it is gone.
///
/// # Errors
/// The clock's ticks are not known.
pub fn with_children(process: Pid) -> Result<Option<f64>, LabError> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok();
    let ticks = ticks_per_second()?;
    Ok(text.and_then(|text| of_family(&text)).map(|used| used as f64 / ticks))
}

/// Waits until less than `quiet` (0 to 1) of the CPUs is busy, at most `patience`. Gives the part that was busy when it
/// last looked.
///
/// # Errors
/// /proc cannot be read.
pub fn wait_for_quiet(quiet: f64, patience: Duration) -> Result<f64, LabError> {
    let deadline = Instant::now() + patience;
    loop {
        let before = Jiffies::now()?;
        // Measuring takes its time: this is the length of the look, not a wait for luck.
        thread::sleep(LOOK);
        let busy = Jiffies::now()?.busy_part_since(before);
        if busy < quiet || Instant::now() >= deadline {
            return Ok(busy);
        }
    }
}

/// Waits until a process uses less than [`IDLE`] of a CPU, at most [`IDLE_LIMIT`], or until `stop`.
///
/// # Errors
/// The process is gone.
pub fn wait_until_idle(process: Pid, stop: impl Fn() -> bool) -> Result<(), LabError> {
    let used = || with_children(process)?.ok_or_else(|| failed(&format!("process {process}"), "it is gone"));
    let deadline = Instant::now() + IDLE_LIMIT;
    let mut before = used()?;
    while Instant::now() < deadline && !stop() {
        // This is the length of the look, not a wait for luck.
        thread::sleep(IDLE_LOOK);
        let now = used()?;
        if now - before < IDLE * IDLE_LOOK.as_secs_f64() {
            break;
        }
        before = now;
    }
    Ok(())
}

/// The machine's clock ticks since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Jiffies {
    busy: u64,
    idle: u64,
}

impl Jiffies {
    fn now() -> Result<Self, LabError> {
        let text = fs::read_to_string("/proc/stat").map_err(LabError::io("read", "/proc/stat"))?;
        Self::parse(&text).ok_or_else(|| failed("/proc/stat", "it does not begin with the line cpu"))
    }

    /// Time stolen by the hypervisor is neither ours nor idle; time of guests is counted in `user` already.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.lines().next()?.split_whitespace();
        if words.next() != Some("cpu") {
            return None;
        }
        let values: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, ..] = values[..] else { return None };
        Some(Self { busy: user + nice + system + irq + softirq, idle: idle + iowait })
    }

    fn busy_part_since(self, before: Self) -> f64 {
        let busy = self.busy.saturating_sub(before.busy);
        let idle = self.idle.saturating_sub(before.idle);
        if busy + idle == 0 { 0.0 } else { busy as f64 / (busy + idle) as f64 }
    }
}

/// utime and stime, the 14th and 15th field.
fn of_process(stat: &str) -> Option<u64> {
    Some(times(stat)?[..2].iter().sum())
}

/// The same with cutime and cstime, the 16th and 17th.
fn of_family(stat: &str) -> Option<u64> {
    Some(times(stat)?.iter().sum())
}

/// The second field is a name that may hold spaces and parentheses.
fn times(stat: &str) -> Option<[u64; 4]> {
    let (_, rest) = stat.rsplit_once(')')?;
    let times: Vec<u64> =
        rest.split_whitespace().skip(11).take(4).map_while(|word| word.parse().ok()).collect();
    times.try_into().ok()
}

fn ticks_per_second() -> Result<f64, LabError> {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    ticks.map(|ticks| ticks as f64).ok_or_else(|| failed("sysconf", "it does not tell the clock's ticks"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_what_is_neither_idle_nor_stolen() {
        let text = "cpu  100 20 30 4000 5 6 7 800 9 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        let later = Jiffies::parse(text).unwrap();
        assert_eq!(later, Jiffies { busy: 163, idle: 4005 });
        let before = Jiffies { busy: 63, idle: 3705 };
        assert!((later.busy_part_since(before) - 0.25).abs() < 1e-9);
        assert_eq!(Jiffies::parse("intr 1 2 3"), None);
    }

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 7 8 20 0 5 0 100 1000 10\n";
        assert_eq!(of_process(stat), Some(300));
        assert_eq!(of_family(stat), Some(315));
        assert_eq!(of_process("42 (a"), None);
    }

    #[test]
    fn our_own_time_grows() {
        let me = [Pid::this()];
        let before = Used::now(&me).unwrap();
        let mut used = before;
        let deadline = Instant::now() + Duration::from_secs(10);
        while used.since(before).processes < 0.02 && Instant::now() < deadline {
            used = Used::now(&me).unwrap();
        }
        let spent = used.since(before);
        assert!(spent.processes >= 0.02 && spent.machine > 0.0, "{spent:?}");
    }
}
