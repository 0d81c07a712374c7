//! Long-running programs: started into a namespace, in a session of their own, with a log; found again by
//! the number in a file, also by another process of ours.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::netns::Namespace;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

pub use nix::sys::signal::Signal;

use super::error::ProgramError;
use super::freeze::freeze;
use super::run::wait_for;

/// How long a program may take to end after a signal that asks it to.
pub const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The place of one daemon: where it runs, where its pid and its log are.
#[derive(Debug)]
pub struct Daemon {
    /// For messages: `flanneld on n1`.
    what: String,
    namespace: Namespace,
    pid_file: PathBuf,
    log_file: PathBuf,
    /// The exit of the last one that this process started.
    exit: Arc<Mutex<Exit>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// Never started by this process: nobody tells us how it ends.
    Unknown,
    Running(Pid),
    Ended(Pid, ExitStatus),
}

impl Daemon {
    pub fn new(what: String, namespace: Namespace, directory: &Path, name: &str) -> Self {
        Self {
            what,
            namespace,
            pid_file: directory.join(format!("{name}.pid")),
            log_file: directory.join(format!("{name}.log")),
            exit: Arc::new(Mutex::new(Exit::Unknown)),
        }
    }

    /// Starts it; its log is appended to.
    ///
    /// # Errors
    /// It runs already, the program is missing, or a file cannot be written.
    pub fn start(
        &self,
        program: &Path,
        arguments: &[OsString],
        env: &[(String, String)],
    ) -> Result<Pid, ProgramError> {
        if let Some(pid) = self.pid() {
            let reason = format!("it runs already, as process {pid}");
            return Err(ProgramError::Protocol { what: self.what.clone(), reason });
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log_file);
        let log = log.map_err(ProgramError::io("open", &self.log_file))?;
        let errors = log.try_clone().map_err(ProgramError::io("open", &self.log_file))?;
        let mut command = self.namespace.command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log).stderr(errors).current_dir("/");
        command.envs(env.iter().map(|(key, value)| (key, value)));
        super::sys::in_own_session(&mut command);
        let mut child = command.spawn().map_err(ProgramError::io("start", program))?;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        self.set_exit(Exit::Running(pid));
        // Somebody has to collect it when it ends, or it stays as a zombie for as long as we live.
        let exit = Arc::clone(&self.exit);
        thread::spawn(move || {
            let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0));
            let mut exit = exit.lock().unwrap_or_else(PoisonError::into_inner);
            if *exit == Exit::Running(pid) {
                *exit = Exit::Ended(pid, status);
            }
        });
        fs::write(&self.pid_file, format!("{pid}\n")).map_err(ProgramError::io("write", &self.pid_file))?;
        Ok(pid)
    }

    /// Its process, if it runs.
    pub fn pid(&self) -> Option<Pid> {
        let pid = fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok().map(Pid::from_raw)?;
        // The number may have gone to somebody else, but hardly inside this namespace. A process that ended and
        // waits to be collected has no namespace any more.
        Namespace::of_process(pid).is_ok_and(|its| its.is(&self.namespace)).then_some(pid)
    }

    /// How the last one ended that this process started; None while it runs, and for others.
    pub fn exit(&self) -> Option<ExitStatus> {
        match *self.exit.lock().unwrap_or_else(PoisonError::into_inner) {
            Exit::Ended(_, status) => Some(status),
            Exit::Unknown | Exit::Running(_) => None,
        }
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// [`ProgramError::NotReady`] when it still runs at the deadline.
    pub fn wait_exit(&self, limit: Duration) -> Result<Option<ExitStatus>, ProgramError> {
        let ended = wait_for(Instant::now() + limit, || {
            let collecting =
                matches!(*self.exit.lock().unwrap_or_else(PoisonError::into_inner), Exit::Running(_));
            Ok::<_, ProgramError>((self.pid().is_none() && !collecting).then_some(()))
        })?;
        match ended {
            Some(()) => Ok(self.exit()),
            None => Err(ProgramError::NotReady {
                what: format!("the end of {}", self.what),
                waited: limit,
                reason: "it still runs".to_owned(),
            }),
        }
    }

    /// Sends it a signal; says nothing if it does not run. After SIGSTOP it has stopped.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn signal(&self, signal: Signal) -> Result<(), ProgramError> {
        let send = |pid| if signal == Signal::SIGSTOP { freeze(pid) } else { kill(pid, signal) };
        match self.pid().map(send) {
            None | Some(Ok(()) | Err(Errno::ESRCH)) => Ok(()),
            Some(Err(errno)) => Err(ProgramError::Protocol {
                what: format!("{signal} to {}", self.what),
                reason: errno.to_string(),
            }),
        }
    }

    /// Sends it a signal that ends it, and waits until it has ended, at most [`STOP_LIMIT`]. The status is known if
    /// this process started it.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self, signal: Signal) -> Result<Option<ExitStatus>, ProgramError> {
        self.signal(signal)?;
        self.wait_exit(STOP_LIMIT)
    }

    /// All that it has written, over all its lives.
    pub fn log(&self) -> String {
        fs::read(&self.log_file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log(), lines)
    }

    /// The error that says that it ended when it should not have.
    pub fn died(&self) -> ProgramError {
        let how = self.exit().map_or_else(|| "by itself".to_owned(), |status| format!("with {status}"));
        ProgramError::Died { what: self.what.clone(), how, log: self.log_tail(15) }
    }

    pub fn log_file(&self) -> &Path {
        &self.log_file
    }

    pub fn what(&self) -> &str {
        &self.what
    }

    fn set_exit(&self, value: Exit) {
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed_in(directory: &Path) -> Daemon {
        Daemon::new("a test".to_owned(), Namespace::current().unwrap(), directory, "x")
    }

    #[test]
    fn a_daemon_is_found_again_and_says_how_it_ended() {
        let directory = tempfile::tempdir().unwrap();
        let daemon = placed_in(directory.path());
        let arguments = ["-c", "echo hello; exec sleep 100"].map(OsString::from);
        let pid = daemon.start(Path::new("/bin/sh"), &arguments, &[]).unwrap();
        assert_eq!(daemon.pid(), Some(pid));
        let again = daemon.start(Path::new("/bin/sh"), &arguments, &[]).unwrap_err();
        assert!(again.to_string().contains("runs already"));
        let other = placed_in(directory.path());
        assert_eq!(other.pid(), Some(pid));
        wait_for(Instant::now() + STOP_LIMIT, || {
            Ok::<_, ProgramError>((daemon.log() == "hello\n").then_some(()))
        })
        .unwrap()
        .unwrap();
        let status = daemon.stop(Signal::SIGTERM).unwrap().unwrap();
        assert_eq!(status.signal(), Some(15));
        assert_eq!((daemon.pid(), other.pid()), (None, None));
    }

    #[test]
    fn the_tail_of_a_log() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 5), "a");
    }
}
