//! External commands: started with an argument list, never through a shell, and never without a time limit.
//!
//! Owns: the child processes that it starts; they are dead and reaped when [`Runner::run`] returns. Begin at [`Runner`].
//! Never: decides what to run. A test hands in a [`Recorder`] instead of [`System`].

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::error::HostError;
use crate::limits;
use crate::netns::{Namespace, Sysfs};

/// How long a command may take unless it says otherwise.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// A command to run.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// A name to look up in PATH, or a path.
    pub program: String,
    /// The arguments after the program's name.
    pub arguments: Vec<String>,
    /// What it reads; nothing by default.
    pub stdin: Vec<u8>,
    /// Variables on top of our own environment.
    pub environment: Vec<(String, String)>,
    /// It is killed, with all that it started, when it takes longer. [`TIME_LIMIT`] by default.
    pub time_limit: Duration,
    /// The network namespace to run in; the caller's by default.
    pub namespace: Option<Namespace>,
}

impl Invocation {
    /// `program ARGUMENTS...`
    pub fn new<A: Into<String>>(program: impl Into<String>, arguments: impl IntoIterator<Item = A>) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            stdin: Vec::new(),
            environment: Vec::new(),
            time_limit: TIME_LIMIT,
            namespace: None,
        }
    }

    /// With this on its standard input.
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = text.into();
        self
    }

    /// With another time limit.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// With one more environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Inside a network namespace.
    pub fn inside(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }
}

/// The command line as a person would type it.
impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        for argument in &self.arguments {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+!".contains(c);
            if !argument.is_empty() && argument.chars().all(plain) {
                write!(f, " {argument}")?;
            } else {
                write!(f, " '{}'", argument.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

/// What a command left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Output {
    /// An output as a command that ended with `code` would have left it, for tests.
    pub fn of(code: i32, stdout: impl Into<Vec<u8>>, stderr: impl Into<Vec<u8>>) -> Self {
        Self { status: ExitStatus::from_raw(code << 8), stdout: stdout.into(), stderr: stderr.into() }
    }

    /// Its standard output as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs commands. [`System`] really does; [`Recorder`] only writes down what was asked.
pub trait Runner: Send + Sync {
    /// Runs the command to its end, whatever its exit status. Blocks, for no longer than its time limit.
    ///
    /// Fails when the program is missing, cannot be started, or has to be killed at its time limit.
    fn try_run(&self, invocation: &Invocation) -> Result<Output, HostError>;

    /// As [`Runner::try_run`], and any exit status but 0 is an error that quotes the end of its standard error.
    fn run(&self, invocation: &Invocation) -> Result<Output, HostError> {
        let output = self.try_run(invocation)?;
        if output.status.success() {
            return Ok(output);
        }
        let reason = with_stderr(output.status.to_string(), &output.stderr);
        Err(HostError::Command { command: invocation.to_string(), reason })
    }
}

/// Runs commands on this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Runner for System {
    fn try_run(&self, invocation: &Invocation) -> Result<Output, HostError> {
        let deadline = Instant::now() + invocation.time_limit;
        let mut child = spawn(invocation)?;
        let conversation = converse(&mut child, &invocation.stdin, deadline);
        let finished = match conversation {
            Ok(Some((stdout, stderr))) => match reap(&mut child, deadline) {
                Ok(Some(status)) => return Ok(Output { status, stdout, stderr }),
                Ok(None) => Ok(stderr),
                Err(e) => Err(e),
            },
            Ok(None) => Ok(Vec::new()),
            Err(e) => Err(e),
        };
        // Its group, so that what it started goes too.
        let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
        let _ = child.wait();
        let stderr = finished.map_err(|e| HostError::io("talk to", invocation, e))?;
        let (command, limit) = (invocation.to_string(), invocation.time_limit);
        Err(HostError::Overran { command, limit, said: with_stderr(String::new(), &stderr) })
    }
}

fn spawn(invocation: &Invocation) -> Result<Child, HostError> {
    let mut command = std::process::Command::new(&invocation.program);
    command
        .args(&invocation.arguments)
        .envs(invocation.environment.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))))
        .stdin(if invocation.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(namespace) = &invocation.namespace {
        namespace.enter_on_spawn(&mut command, Sysfs::Keep);
    }
    let child = command.spawn().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => missing(&invocation.program),
        _ => HostError::io("start", invocation, e),
    })?;
    limits::lower_again(&child);
    Ok(child)
}

/// The error that a program is not there.
pub(crate) fn missing(program: &str) -> HostError {
    HostError::NoProgram { program: program.to_owned(), advice: advice(program) }
}

/// The Debian package of a program that we use.
fn advice(program: &str) -> String {
    let name = program.rsplit('/').next().unwrap_or(program);
    let package = match name {
        "ip" | "bridge" | "tc" | "ss" => "iproute2",
        "nft" => "nftables",
        n if n.starts_with("iptables") || n.starts_with("ip6tables") || n.starts_with("xtables") => {
            "iptables"
        }
        "ping" => "iputils-ping",
        "iperf3" | "tcpdump" | "ethtool" | "conntrack" | "ipset" | "strace" | "jq" => name,
        "sysctl" => "procps",
        "nsenter" | "unshare" | "mount" | "umount" => "util-linux",
        "etcd" => "etcd-server",
        "etcdctl" => "etcd-client",
        "bpftool" => "bpftool",
        n if n.starts_with("clang") => "clang",
        _ => return "install it, or put it in PATH".to_owned(),
    };
    format!("install it (Debian, Ubuntu: apt-get install {package})")
}

/// Feeds and drains the child until both its outputs are closed: `None` when that took longer than the deadline.
fn converse(child: &mut Child, stdin: &[u8], deadline: Instant) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut input = child.stdin.take();
    if let Some(pipe) = &input {
        unblock(pipe)?;
    }
    let mut outputs = [
        child.stdout.take().map(|p| std::fs::File::from(OwnedFd::from(p))),
        child.stderr.take().map(|p| std::fs::File::from(OwnedFd::from(p))),
    ];
    for pipe in outputs.iter().flatten() {
        unblock(pipe)?;
    }
    let mut texts = [Vec::new(), Vec::new()];
    let mut unsent = stdin;
    while input.is_some() || outputs.iter().any(Option::is_some) {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else { return Ok(None) };
        {
            let mut waiting: Vec<PollFd<'_>> =
                outputs.iter().flatten().map(|p| PollFd::new(p.as_fd(), PollFlags::POLLIN)).collect();
            waiting.extend(input.iter().map(|p| PollFd::new(p.as_fd(), PollFlags::POLLOUT)));
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            match poll(&mut waiting, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if let Some(pipe) = &mut input {
            match pipe.write(unsent) {
                Ok(n) => unsent = &unsent[n..],
                Err(e) if transient(&e) => {}
                // It does not want the rest; its exit status will say whether that matters.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => unsent = &[],
                Err(e) => return Err(e),
            }
            if unsent.is_empty() {
                input = None;
            }
        }
        for (output, text) in outputs.iter_mut().zip(&mut texts) {
            let Some(pipe) = output else { continue };
            match pipe.read_to_end(text) {
                Ok(_) => *output = None,
                Err(e) if transient(&e) => {}
                Err(e) => return Err(e),
            }
        }
    }
    let [stdout, stderr] = texts;
    Ok(Some((stdout, stderr)))
}

fn transient(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn unblock(pipe: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL)?);
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Waits for a child that has closed its outputs, which is nearly always already dead.
fn reap(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_micros(50);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// A reason, and the last lines of what the command complained about.
pub(crate) fn with_stderr(reason: String, stderr: &[u8]) -> String {
    const LINES: usize = 5;
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
    if last.is_empty() { reason } else { format!("{reason}: {last}") }
}

/// A runner for tests: writes down every command and gives the answers that it was told to.
#[derive(Default)]
pub struct Recorder {
    asked: Mutex<Vec<Invocation>>,
    answer: Option<Box<Answer>>,
}

type Answer = dyn Fn(&Invocation) -> Result<Output, HostError> + Send + Sync;

impl Recorder {
    /// Every command succeeds and says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Commands end as `answer` says.
    pub fn answering(
        answer: impl Fn(&Invocation) -> Result<Output, HostError> + Send + Sync + 'static,
    ) -> Self {
        Self { asked: Mutex::default(), answer: Some(Box::new(answer)) }
    }

    /// The commands so far, oldest first.
    pub fn asked(&self) -> Vec<Invocation> {
        self.asked.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

impl Runner for Recorder {
    fn try_run(&self, invocation: &Invocation) -> Result<Output, HostError> {
        self.asked.lock().unwrap_or_else(|e| e.into_inner()).push(invocation.clone());
        match &self.answer {
            Some(answer) => answer(invocation),
            None => Ok(Output::of(0, "", "")),
        }
    }
}

#[cfg(test)]
mod tests;
