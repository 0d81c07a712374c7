//! Who wrote to nf_tables.

use std::fmt;
use std::fs;

/// As much of a command line as a line of the log has room for.
const COMMAND: usize = 120;

/// Who made a change, as the kernel tells it with each generation of the ruleset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    /// The thread (`/proc/NUMBER`), in the numbers of the machine's first process namespace.
    pub pid: u32,
    /// The thread's name, at most 15 bytes.
    pub name: String,
}

impl Writer {
    /// The command line of the writer's process. `None` where it has ended, or where this process sees other numbers.
    pub fn command(&self) -> Option<String> {
        let read = |file: &str| fs::read(format!("/proc/{}/{file}", self.pid)).ok();
        // The number may be another process's by now, or in this namespace.
        if String::from_utf8_lossy(&read("comm")?).trim_end() != self.name {
            return None;
        }
        let line = read("cmdline")?;
        let words =
            line.split(|byte| *byte == 0).map(String::from_utf8_lossy).filter(|word| !word.is_empty());
        let command = words.collect::<Vec<_>>().join(" ");
        let clean: String =
            command.chars().map(|c| if c.is_control() { ' ' } else { c }).take(COMMAND).collect();
        (!clean.is_empty()).then_some(clean)
    }
}

/// `nft (process 4711)`
impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_lives_is_told_by_its_command_line() {
        let pid = nix::unistd::gettid().as_raw() as u32;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim_end().to_owned();
        let program = std::env::args().next().unwrap();
        let expected: String = program.chars().take(COMMAND).collect();
        let alive = Writer { pid, name };
        assert!(alive.command().unwrap().starts_with(&expected));
        // Its number belongs to somebody else by now.
        assert_eq!(Writer { name: "nft".to_owned(), ..alive }.command(), None);
        assert_eq!(Writer { pid: u32::MAX, name: "nft".to_owned() }.command(), None);
    }
}
