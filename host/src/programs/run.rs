//! Commands that run inside a namespace and end within a time limit.

use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use crate::command::{Invocation, Runner, System};
use crate::netns::Namespace;

use super::error::ProgramError;

/// The time limit of a command for which nobody named one.
pub const LIMIT: Duration = Duration::from_secs(30);

/// What a command that ended has said.
#[derive(Clone, Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    command: String,
    namespace: String,
}

impl Output {
    /// Its standard output, if it succeeded.
    ///
    /// # Errors
    /// [`ProgramError::Command`] with the status and both outputs, if it did not.
    pub fn ok(self) -> Result<String, ProgramError> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let said = [self.stderr.trim(), self.stdout.trim()].into_iter().filter(|s| !s.is_empty());
        let said: Vec<&str> = said.collect();
        let reason = format!("{}: {}", self.status, said.join("; "));
        Err(ProgramError::Command { namespace: self.namespace, command: self.command, reason })
    }
}

/// A command inside a namespace. `/sys` stays the machine's own.
pub fn inside<S: Into<String>>(namespace: &Namespace, argv: impl IntoIterator<Item = S>) -> Invocation {
    let mut words = argv.into_iter().map(Into::into);
    let program = words.next().unwrap_or_default();
    Invocation::new(program, words).inside(namespace).time_limit(LIMIT)
}

/// Runs a command to its end.
///
/// # Errors
/// The program is not there, or runs over its limit: then it and its children are killed. A program that fails is
/// no error here; see [`Output::ok`].
pub fn run(invocation: &Invocation) -> Result<Output, ProgramError> {
    let output = System.try_run(invocation)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let namespace = invocation.namespace.as_ref().and_then(Namespace::name);
    Ok(Output {
        status: output.status,
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
        command: invocation.to_string(),
        namespace: namespace.unwrap_or("this namespace").to_owned(),
    })
}

/// Whether a tool is on the path of this process, or in the directories of the administrator's tools.
pub fn is_installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(known).any(|directory| directory.join(tool).is_file())
}

/// Refuses to begin without what is needed: pairs of a tool and its Debian package.
///
/// # Errors
/// [`ProgramError::ToolMissing`] for the first one that is not installed.
pub fn require(tools: &[(&str, &str)]) -> Result<(), ProgramError> {
    match tools.iter().find(|(tool, _)| !is_installed(tool)) {
        None => Ok(()),
        Some((tool, package)) => {
            Err(ProgramError::ToolMissing { tool: (*tool).to_owned(), package: (*package).to_owned() })
        }
    }
}

/// Asks `ready` again and again until it gives a value or the deadline passes. `None` says "not yet".
///
/// # Errors
/// The first error of `ready`.
pub fn wait_for<T, E>(
    deadline: Instant,
    mut ready: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(value) = ready()? {
            return Ok(Some(value));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gives_its_output_or_its_reason() {
        let here = Namespace::current().unwrap();
        let said = |argv: &[&str]| run(&inside(&here, argv.iter().copied()).stdin("in")).unwrap().ok();
        assert_eq!(said(&["cat"]).unwrap(), "in");
        let error = said(&["sh", "-c", "echo broken >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains("exit status: 3: broken"), "{error}");
    }

    #[test]
    fn a_missing_tool_names_its_package() {
        let error = require(&[("sh", "dash"), ("weft-has-no-such-tool", "nothing")]).unwrap_err();
        let want = "weft-has-no-such-tool is not installed; `apt-get install nothing` installs it";
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn waiting_ends_at_the_deadline() {
        let never =
            wait_for(Instant::now() + Duration::from_millis(20), || Ok::<Option<()>, ()>(None)).unwrap();
        assert_eq!(never, None);
        assert_eq!(wait_for(Instant::now(), || Ok::<_, ()>(Some(1))).unwrap(), Some(1));
    }
}
