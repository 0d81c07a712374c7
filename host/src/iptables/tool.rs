//! The programs: which there are, what they can do, and running them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Family, Flavour, Flush, Saved};
use crate::command::{Invocation, Output, Runner, with_stderr};
use crate::error::HostError;

/// For how long the programs wait for `/run/xtables.lock`, in seconds.
const LOCK_WAIT: u64 = 5;
/// For a table of a small cluster, on a busy machine, and the lock.
const TIME_LIMIT: Duration = Duration::from_secs(30 + LOCK_WAIT);
/// What each line of a text adds to the limit. The kernel takes up to 0.5 ms for some rules on an idle machine.
const LINE: Duration = Duration::from_millis(5);
/// A program that was killed at its limit gets twice as long the next time, up to so many times the limit.
const LONGEST: u32 = 16;

/// A version of iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// iptables or ip6tables of one flavour. Prints as its name and version.
#[derive(Clone)]
pub struct Iptables {
    pub family: Family,
    pub flavour: Flavour,
    pub version: Version,
    /// The prefix of its programs: `iptables-nft`, or `iptables` where that is of this flavour.
    program: String,
    runner: Arc<dyn Runner>,
    /// How many times the usual limit its programs get. Clones share it.
    patience: Arc<AtomicU32>,
}

/// A flavour that is installed, and what it has in the kernel.
#[derive(Clone, Debug)]
pub struct Found {
    pub tool: Iptables,
    /// Whether the plain `iptables` is this one.
    pub default: bool,
    /// Whether the kernel has this flavour now. What it lacks of legacy may still come as a module.
    pub in_kernel: bool,
    /// All its tables that are in use; or why they cannot be read: most often the kernel lacks this flavour.
    pub saved: Result<Saved, String>,
}

/// The flavours installed, at most two. None at all is an error that names the package.
pub fn survey(runner: Arc<dyn Runner>, family: Family) -> Result<Vec<Found>, HostError> {
    let found = installed(&runner, family)?;
    let found = found.into_iter().map(|(tool, default)| {
        let saved = tool.save_all().map_err(|error| error.to_string());
        let in_kernel = match tool.flavour {
            Flavour::Nft => saved.is_ok(),
            Flavour::Legacy => Path::new(names(family)).exists(),
        };
        Found { tool, default, in_kernel, saved }
    });
    Ok(found.collect())
}

/// The programs of one flavour, by whichever name they have. The error says why there are none.
pub fn find(runner: Arc<dyn Runner>, family: Family, flavour: Flavour) -> Result<Iptables, HostError> {
    let found = installed(&runner, family)?;
    let found = found.into_iter().map(|(tool, _)| tool).find(|tool| tool.flavour == flavour);
    // There is another flavour: this one is missing.
    found.ok_or_else(|| crate::command::missing(&format!("{}-{flavour}", family.program())))
}

/// Each flavour once, and whether the plain name means it. A program that cannot be understood counts as missing
/// where there is another.
fn installed(runner: &Arc<dyn Runner>, family: Family) -> Result<Vec<(Iptables, bool)>, HostError> {
    let mut found: Vec<(Iptables, bool)> = Vec::new();
    let plain = family.program();
    let mut missing = None;
    // The plain name first: it says which is the default. By its full name a flavour can be had either way.
    for program in [plain.to_owned(), format!("{plain}-nft"), format!("{plain}-legacy")] {
        let (flavour, version) = match version_of(&**runner, &program) {
            Ok(known) => known,
            Err(error) => {
                missing.get_or_insert(error);
                continue;
            }
        };
        if found.iter().any(|(known, _)| known.flavour == flavour) {
            continue;
        }
        let default = program == plain;
        let (runner, patience) = (runner.clone(), Arc::new(AtomicU32::new(1)));
        found.push((Iptables { family, flavour, version, program, runner, patience }, default));
    }
    match missing {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// The tables of the legacy flavour that the kernel has in use in this thread's network namespace, whatever programs
/// are installed; none where it lacks the flavour.
pub fn legacy_tables(family: Family) -> Result<Vec<String>, HostError> {
    match std::fs::read_to_string(names(family)) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(HostError::io("read", names(family), error)),
    }
}

/// Where the kernel names the legacy tables in use in this thread's network namespace.
fn names(family: Family) -> &'static str {
    match family {
        Family::V4 => "/proc/thread-self/net/ip_tables_names",
        Family::V6 => "/proc/thread-self/net/ip6_tables_names",
    }
}

fn version_of(runner: &dyn Runner, program: &str) -> Result<(Flavour, Version), HostError> {
    let output = runner.run(&Invocation::new(program, ["--version"]))?;
    parse_version(&output.text()).ok_or_else(|| HostError::Protocol {
        op: "iptables --version",
        reason: output.text().trim().to_owned(),
    })
}

/// `iptables v1.8.9 (nf_tables)`. Before 1.8 there was only legacy, and no parentheses.
fn parse_version(text: &str) -> Option<(Flavour, Version)> {
    let mut words = text.split_whitespace().skip(1);
    let mut numbers = words.next()?.strip_prefix('v')?.split('.');
    let mut number = || numbers.next().map_or(Some(0), |digits| digits.parse().ok());
    let version = Version(number()?, number()?, number()?);
    let flavour = if words.next() == Some("(nf_tables)") { Flavour::Nft } else { Flavour::Legacy };
    Some((flavour, version))
}

impl Iptables {
    /// Whether MASQUERADE takes `--random-fully` (since 1.6.2).
    pub fn has_random_fully(&self) -> bool {
        self.version >= Version(1, 6, 2)
    }

    /// Whether `iptables-restore` waits for the lock (since 1.6.2); `iptables` itself does since 1.4.20.
    pub fn restore_waits(&self) -> bool {
        self.version >= Version(1, 6, 2)
    }

    /// Hands a text in iptables-save's form to `iptables-restore`: all of a table's changes, or none.
    pub fn restore(&self, text: &str, flush: Flush) -> Result<(), HostError> {
        let mut arguments = Vec::new();
        if flush == Flush::Declared {
            arguments.push("--noflush".to_owned());
        }
        if self.restore_waits() {
            arguments.push(format!("--wait={LOCK_WAIT}"));
        }
        let invocation = self.invocation("-restore", arguments, text.lines().count()).stdin(text);
        let output = self.run(&invocation)?;
        if output.status.success() {
            return Ok(());
        }
        let reason = with_stderr(output.status.to_string(), &output.stderr);
        let line = blamed_line(&reason).and_then(|n| text.lines().nth(n - 1));
        let reason = line.map_or(reason.clone(), |line| format!("{reason} ({line})"));
        Err(HostError::Command { command: invocation.to_string(), reason })
    }

    /// Whatever its exit status, unless that tells of the lock. One that is killed has longer the next time.
    fn run(&self, invocation: &Invocation) -> Result<Output, HostError> {
        let output = self.runner.try_run(invocation);
        let patience = match &output {
            Err(HostError::Overran { .. }) => (self.patience.load(Relaxed) * 2).min(LONGEST),
            _ => 1,
        };
        self.patience.store(patience, Relaxed);
        let output = output?;
        let locked = String::from_utf8_lossy(&output.stderr).contains("xtables lock");
        if locked && !output.status.success() {
            return Err(HostError::Locked {
                command: invocation.to_string(),
                lock: "the xtables lock",
                advice: "`fuser -v /run/xtables.lock` names it",
            });
        }
        Ok(output)
    }

    /// Whether kernel and programs know all that is in a text for [`Iptables::restore`]. Changes nothing.
    pub fn accepts(&self, text: &str) -> Result<bool, HostError> {
        self.says_yes(text, &["--noflush", "--test"])
    }

    /// Whether all rules are there that a text of nothing but `-C CHAIN RULE` names. Changes nothing.
    pub fn holds(&self, text: &str) -> Result<bool, HostError> {
        // With --test the nft flavour looks for no rule.
        self.says_yes(text, &["--noflush"])
    }

    fn says_yes(&self, text: &str, arguments: &[&str]) -> Result<bool, HostError> {
        let mut arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        arguments.extend(self.restore_waits().then(|| format!("--wait={LOCK_WAIT}")));
        let invocation = self.invocation("-restore", arguments, text.lines().count()).stdin(text);
        let output = self.run(&invocation)?;
        match output.status.code() {
            Some(0) => Ok(true),
            Some(1..=3) => Ok(false),
            // A problem with resources.
            _ => {
                let reason = with_stderr(output.status.to_string(), &output.stderr);
                Err(HostError::Command { command: invocation.to_string(), reason })
            }
        }
    }

    /// One table as it is. Empty, where it is not in use.
    pub fn save(&self, table: &str) -> Result<Saved, HostError> {
        match self.flavour {
            Flavour::Nft => self.read(vec!["-t".to_owned(), table.to_owned()]),
            // Asked for a table, legacy would make it; asked for all, it shows those in use.
            Flavour::Legacy => {
                let mut saved = self.read(Vec::new())?;
                saved.tables.retain(|known| known.name == table);
                Ok(saved)
            }
        }
    }

    /// The same, each rule with its packets and bytes.
    pub fn save_counted(&self, table: &str) -> Result<Saved, HostError> {
        self.read(vec!["-c".to_owned(), "-t".to_owned(), table.to_owned()])
    }

    /// All tables in use.
    pub fn save_all(&self) -> Result<Saved, HostError> {
        self.read(Vec::new())
    }

    fn read(&self, arguments: Vec<String>) -> Result<Saved, HostError> {
        let invocation = self.invocation("-save", arguments, 0);
        let output = self.run(&invocation)?;
        if !output.status.success() {
            let reason = with_stderr(output.status.to_string(), &output.stderr);
            return Err(HostError::Command { command: invocation.to_string(), reason });
        }
        Saved::parse(&output.text())
            .map_err(|error| HostError::Protocol { op: "iptables-save", reason: error.to_string() })
    }

    /// The policy of a built-in chain, `ACCEPT` or `DROP`.
    pub fn policy(&self, table: &str, chain: &str) -> Result<String, HostError> {
        Ok(self.save(table)?.policy(table, chain).unwrap_or("ACCEPT").to_owned())
    }

    /// Puts a rule at the head of a chain.
    pub fn insert(&self, table: &str, chain: &str, rule: &[&str]) -> Result<(), HostError> {
        self.runner.run(&self.single(table, &["-I", chain], rule)).map(drop)
    }

    /// Deletes the first such rule of a chain.
    pub fn delete(&self, table: &str, chain: &str, rule: &[&str]) -> Result<(), HostError> {
        self.runner.run(&self.single(table, &["-D", chain], rule)).map(drop)
    }

    fn single(&self, table: &str, command: &[&str], rule: &[&str]) -> Invocation {
        let wait = LOCK_WAIT.to_string();
        let arguments = [&["-w", &wait, "-t", table], command, rule].concat();
        self.invocation("", arguments.into_iter().map(str::to_owned).collect(), 1)
    }

    fn invocation(&self, suffix: &str, arguments: Vec<String>, lines: usize) -> Invocation {
        let limit = TIME_LIMIT + LINE * u32::try_from(lines).unwrap_or(u32::MAX);
        let limit = limit.saturating_mul(self.patience.load(Relaxed));
        Invocation::new(format!("{}{suffix}", self.program), arguments).time_limit(limit)
    }
}

/// `line 3 failed`, or `Error occurred at line: 3`.
fn blamed_line(reason: &str) -> Option<usize> {
    let behind = reason.split("line").nth(1)?.trim_start_matches([':', ' ']);
    let digits = behind.find(|c: char| !c.is_ascii_digit()).map_or(behind, |end| &behind[..end]);
    digits.parse().ok().filter(|&n| n > 0)
}

impl fmt::Display for Iptables {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {} ({})", self.family.program(), self.version, self.flavour)
    }
}

impl fmt::Debug for Iptables {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Iptables({self}, {})", self.program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Recorder;

    #[test]
    fn versions_tell_the_flavour() {
        let parse = |text| parse_version(text);
        assert_eq!(parse("iptables v1.8.9 (nf_tables)\n"), Some((Flavour::Nft, Version(1, 8, 9))));
        assert_eq!(parse("ip6tables v1.8.9 (legacy)"), Some((Flavour::Legacy, Version(1, 8, 9))));
        assert_eq!(parse("iptables v1.6.1"), Some((Flavour::Legacy, Version(1, 6, 1))));
        assert_eq!(parse("iptables v1.8 (nf_tables)"), Some((Flavour::Nft, Version(1, 8, 0))));
        assert_eq!(parse("busybox"), None);
    }

    /// A machine whose only program is an old plain `iptables`.
    fn old_machine() -> Arc<Recorder> {
        Arc::new(Recorder::answering(|asked| match (asked.program.as_str(), asked.arguments.first()) {
            ("iptables", Some(flag)) if flag == "--version" => Ok(Output::of(0, "iptables v1.6.1\n", "")),
            ("iptables-save", _) => Ok(Output::of(0, "*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n", "")),
            ("iptables-restore", _) => Ok(Output::of(1, "", "iptables-restore: line 2 failed\n")),
            _ => Err(HostError::NoProgram {
                program: asked.program.clone(),
                advice: "install it (apt-get install iptables)".to_owned(),
            }),
        }))
    }

    #[test]
    fn an_old_machine_is_asked_for_what_it_can() {
        let machine = old_machine();
        let found = survey(machine.clone(), Family::V4).unwrap();
        assert_eq!(found.len(), 1);
        let Found { tool, default, saved, .. } = &found[0];
        assert_eq!(tool.to_string(), "iptables 1.6.1 (legacy)");
        assert!(*default && !tool.has_random_fully());
        assert_eq!(saved.as_ref().unwrap().policy("nat", "POSTROUTING"), Some("ACCEPT"));
        let error = tool.restore("*nat\n-A POSTROUTING -j NOPE\nCOMMIT\n", Flush::Declared).unwrap_err();
        assert!(error.to_string().ends_with("line 2 failed (-A POSTROUTING -j NOPE)"), "{error}");
        let asked = machine.asked();
        assert_eq!(asked.last().unwrap().to_string(), "iptables-restore --noflush");
        assert_eq!(asked.last().unwrap().time_limit, TIME_LIMIT + 3 * LINE);
    }

    /// However long a restore takes, it is not killed for ever.
    #[test]
    fn a_program_that_was_killed_has_longer_the_next_time() {
        let killed = Arc::new(AtomicU32::new(6));
        let left = killed.clone();
        let machine = Arc::new(Recorder::answering(move |asked| {
            let (command, limit) = (asked.to_string(), asked.time_limit);
            match asked.arguments.first().map(String::as_str) {
                Some("--version") => Ok(Output::of(0, "iptables v1.8.9 (nf_tables)\n", "")),
                Some("--noflush") if left.load(Relaxed) > 0 => {
                    left.fetch_sub(1, Relaxed);
                    Err(HostError::Overran { command, limit, said: String::new() })
                }
                _ => Ok(Output::of(0, "", "")),
            }
        }));
        let tool = find(machine.clone(), Family::V4, Flavour::Nft).unwrap();
        let text = "*nat\n".to_owned() + &"-A A -j B\n".repeat(998) + "COMMIT\n";
        let once = TIME_LIMIT + Duration::from_secs(5);
        for times in [1, 2, 4, 8, 16, 16] {
            let error = tool.restore(&text, Flush::Declared).unwrap_err();
            assert_eq!(machine.asked().last().unwrap().time_limit, once * times);
            assert!(error.to_string().ends_with(&format!("killed at its time limit of {:?}", once * times)));
        }
        tool.restore(&text, Flush::Declared).unwrap();
        tool.restore(&text, Flush::Declared).unwrap();
        assert_eq!(machine.asked().last().unwrap().time_limit, once);
    }

    #[test]
    fn a_held_lock_is_told_from_a_refusal() {
        let machine =
            Arc::new(Recorder::answering(|asked| match asked.arguments.first().map(String::as_str) {
                Some("--version") => Ok(Output::of(0, "iptables v1.8.9 (legacy)\n", "")),
                Some("--noflush") => Ok(Output::of(
                    4,
                    "",
                    "Another app is currently holding the xtables lock; still 1s 0us ahead\n",
                )),
                _ => Ok(Output::of(0, "", "")),
            }));
        let tool = find(machine, Family::V4, Flavour::Legacy).unwrap();
        let error = tool.restore("*nat\nCOMMIT\n", Flush::Declared).unwrap_err();
        assert_eq!(
            error.to_string(),
            "iptables-restore --noflush --wait=5: another program is holding the xtables lock; \
             `fuser -v /run/xtables.lock` names it"
        );
        assert_eq!(error.remedy(), crate::error::Remedy::Resync);
    }

    #[test]
    fn no_program_at_all_is_an_error_with_the_package() {
        let error = survey(old_machine(), Family::V6).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ip6tables: no such program in PATH; install it (apt-get install iptables)"
        );
    }
}
