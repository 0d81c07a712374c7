//! An etcd of our own: started on our directory, restarted when it dies, ended with us.
//!
//! Owns: its process. It listens on the loopback addresses alone, and serves nobody without a certificate of ours, for who
//! may write there may do everything.
//! Never: leaves an etcd on our directory beside the one it starts: what a killed process of ours left is ended first.
//! Begin at [`OwnEtcd::start`].

use std::collections::VecDeque;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd::{Client, Settings};
use host::sockets::free_port;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::directory::{Places, remove};
use super::error::LocalError;

/// How long it may take until it answers: a large store is read in whole.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How long it may take to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Between its death and the next start.
const PAUSE: Duration = Duration::from_secs(1);
/// For its last words to be read after its death.
const LAST_WORDS: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);
/// Lines of its log that are kept for the message of its death.
const KEPT: usize = 8;

/// A running etcd. [`OwnEtcd::stop`] ends it; dropping this leaves it to the next start.
#[derive(Debug)]
pub struct OwnEtcd {
    settings: Settings,
    stop: watch::Sender<bool>,
    supervisor: JoinHandle<()>,
    places: Places,
}

/// The last lines of its log.
type Tail = Arc<Mutex<VecDeque<String>>>;

impl OwnEtcd {
    /// Starts it on the directory, which must be locked and hold the keys, and waits until it answers.
    ///
    /// # Errors
    /// It is not installed, or does not come up: with the end of its log.
    pub async fn start(places: &Places, program: &str) -> Result<Self, LocalError> {
        end_leftover(&places.etcd()).await?;
        begin(places)?;
        let url = |port: u16| format!("https://127.0.0.1:{port}");
        let (client, peer) = free_ports().map_err(LocalError::file("listen at", "127.0.0.1"))?;
        let (client, peer) = (url(client), url(peer));
        let arguments = arguments(places, &client, &peer);
        let tail = Tail::default();
        let mut process = spawn(program, &arguments, &tail)?;
        let settings = settings(places, client.clone());
        if let Err(error) = ready(&settings, &mut process, &tail).await {
            end(&mut process.child).await;
            return Err(error);
        }
        remove(&places.unfinished())?;
        let written = fs::write(places.endpoint(), format!("{client}\n"));
        written.map_err(LocalError::file("write", places.endpoint()))?;
        let (stop, stopped) = watch::channel(false);
        let supervisor = tokio::spawn(supervise(program.to_owned(), arguments, process, tail, stopped));
        Ok(Self { settings, stop, supervisor, places: places.clone() })
    }

    /// How to reach it.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Ends it: SIGTERM, and SIGKILL where that is not enough.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.supervisor.await;
        let _ = remove(&self.places.endpoint());
    }
}

/// An etcd that was killed while it made its files never finds a leader again. Until it has answered once nobody has
/// written anything to it, so that its files may go.
fn begin(places: &Places) -> Result<(), LocalError> {
    let (mark, member) = (places.unfinished(), places.etcd().join("member"));
    if !member.exists() {
        return fs::write(&mark, "").map_err(LocalError::file("write", mark));
    }
    if mark.exists() {
        tracing::info!(directory = %member.display(), "making etcd's files again: it was ended before it had made them");
        fs::remove_dir_all(&member).map_err(LocalError::file("delete", member))?;
    }
    Ok(())
}

/// How to reach the etcd of this directory, if the file that says where it is tells the truth.
pub fn settings(places: &Places, endpoint: String) -> Settings {
    let pki = places.pki();
    Settings {
        endpoints: vec![endpoint],
        ca: Some(pki.join("etcd/ca.crt")),
        identity: Some((pki.join("apiserver-etcd-client.crt"), pki.join("apiserver-etcd-client.key"))),
        server_name: None,
        user: None,
    }
}

/// Two ports where nobody listens now.
fn free_ports() -> std::io::Result<(u16, u16)> {
    let port = || free_port(Ipv4Addr::LOCALHOST.into());
    Ok((port()?, port()?))
}

fn data_dir(directory: &Path) -> String {
    format!("--data-dir={}", directory.display())
}

fn arguments(places: &Places, client: &str, peer: &str) -> Vec<String> {
    let pki = places.pki().join("etcd");
    let [ca, certificate, key] =
        ["ca.crt", "server.crt", "server.key"].map(|name| pki.join(name).display().to_string());
    vec![
        data_dir(&places.etcd()),
        "--name=weft".to_owned(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=weft={peer}"),
        "--initial-cluster-token=weft-control".to_owned(),
        // It is alone: there is no network between members to be patient with, and it is its own leader at once.
        "--heartbeat-interval=10".to_owned(),
        "--election-timeout=100".to_owned(),
        "--snapshot-count=10000".to_owned(),
        "--quota-backend-bytes=8589934592".to_owned(),
        "--logger=zap".to_owned(),
        "--log-outputs=stderr".to_owned(),
        "--client-cert-auth=true".to_owned(),
        format!("--trusted-ca-file={ca}"),
        format!("--cert-file={certificate}"),
        format!("--key-file={key}"),
        "--peer-client-cert-auth=true".to_owned(),
        format!("--peer-trusted-ca-file={ca}"),
        format!("--peer-cert-file={certificate}"),
        format!("--peer-key-file={key}"),
    ]
}

struct Process {
    child: Child,
    /// Ends with its log.
    follows: Option<JoinHandle<()>>,
}

impl Process {
    /// What it said last, after its end.
    async fn last_words(&mut self, tail: &Tail) -> String {
        // What it wrote right before its end may not have been read yet.
        if let Some(follows) = self.follows.take() {
            let _ = tokio::time::timeout(LAST_WORDS, follows).await;
        }
        said(tail)
    }
}

/// Starts it in a process group of its own: a Ctrl-C on the terminal is for us alone, who end it last.
fn spawn(program: &str, arguments: &[String], tail: &Tail) -> Result<Process, LocalError> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Variables named ETCD_ would be settings.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_")) {
        command.env_remove(name);
    }
    command.process_group(0).current_dir("/");
    let spawned = command.spawn();
    let mut child = spawned.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            LocalError::NoProgram { program: program.to_owned(), package: "etcd-server" }
        }
        _ => LocalError::file("start", PathBuf::from(program))(error),
    })?;
    let follows = child.stderr.take().map(|output| tokio::spawn(follow(output, Arc::clone(tail))));
    Ok(Process { child, follows })
}

/// Its log in ours: what matters to it is a detail to us.
async fn follow(output: impl AsyncRead + Unpin, tail: Tail) {
    let mut lines = BufReader::new(output).lines();
    let mut is_over = false;
    while let Ok(Some(line)) = lines.next_line().await {
        let (level, message) = read_line(&line);
        // Behind its last words come the stacks of its threads, which tell an operator nothing.
        if is_over && !line.starts_with('{') {
            continue;
        }
        is_over |= matches!(level, "panic" | "fatal");
        match level {
            "error" | "dpanic" | "panic" | "fatal" => tracing::warn!(etcd = %message),
            _ => tracing::debug!(etcd = %message),
        }
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == KEPT {
            tail.pop_front();
        }
        tail.push_back(message);
    }
}

/// Level and message of a line of zap's JSON; another line is a message as it is.
fn read_line(line: &str) -> (&'static str, String) {
    const LEVELS: [&str; 7] = ["debug", "info", "warn", "error", "dpanic", "panic", "fatal"];
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { return ("info", line.to_owned()) };
    let mut text = |name: &str| fields.remove(name).and_then(|value| value.as_str().map(str::to_owned));
    let level = text("level").and_then(|level| LEVELS.into_iter().find(|known| *known == level));
    let mut message = text("msg").unwrap_or_default();
    if let Some(error) = text("error") {
        message.push_str(": ");
        message.push_str(&error);
    }
    (level.unwrap_or("info"), message)
}

fn said(tail: &Tail) -> String {
    let tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
    tail.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

async fn ready(settings: &Settings, process: &mut Process, tail: &Tail) -> Result<(), LocalError> {
    let client = Client::new(settings.clone())?;
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        if let Ok(Some(status)) = process.child.try_wait() {
            let log = process.last_words(tail).await;
            return Err(LocalError::EtcdStart { reason: format!("it ended with {status}"), log });
        }
        match client.status().await {
            // Without a leader it takes no writes yet.
            Ok(status) if status.leader != 0 => return Ok(()),
            answer if Instant::now() >= deadline => {
                let why = answer.map_or_else(|error| error.to_string(), |_| "it has no leader".to_owned());
                let reason = format!("it does not answer after {} s: {why}", READY_LIMIT.as_secs());
                return Err(LocalError::EtcdStart { reason, log: said(tail) });
            }
            _ => sleep(LOOK).await,
        }
    }
}

async fn supervise(
    program: String,
    arguments: Vec<String>,
    mut process: Process,
    tail: Tail,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let status = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => None,
            status = process.child.wait() => Some(status),
        };
        let Some(status) = status else { return end(&mut process.child).await };
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::error!(
            "etcd ended ({how}) and is started again; it said last:\n{}",
            process.last_words(&tail).await
        );
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                () = sleep(PAUSE) => {}
            }
            match spawn(&program, &arguments, &tail) {
                Ok(next) => {
                    process = next;
                    break;
                }
                Err(error) => tracing::error!("{}", telemetry::logs::chain(&error)),
            }
        }
    }
}

async fn end(child: &mut Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill(pid, Signal::SIGTERM);
    }
    if tokio::time::timeout(STOP_LIMIT, child.wait()).await.is_err() {
        tracing::warn!("etcd does not end, and is killed; it loses nothing that it has confirmed");
        let _ = child.kill().await;
    }
}

/// Ends an etcd that runs on this directory: it outlived the process of ours that started it.
async fn end_leftover(directory: &Path) -> Result<(), LocalError> {
    let mark = data_dir(directory);
    let deadline = Instant::now() + STOP_LIMIT;
    let mut told = Vec::new();
    loop {
        let found = running(&mark);
        if found.is_empty() {
            return Ok(());
        }
        let late = Instant::now() >= deadline;
        for pid in found {
            if told.contains(&pid) && !late {
                continue;
            }
            tracing::info!(%pid, "ending the etcd that a former process left on {}", directory.display());
            let signal = if late { Signal::SIGKILL } else { Signal::SIGTERM };
            match kill(pid, signal) {
                Ok(()) | Err(Errno::ESRCH) => told.push(pid),
                Err(errno) => {
                    let reason =
                        format!("process {pid} is an etcd on our directory, and cannot be ended: {errno}");
                    return Err(LocalError::EtcdStart { reason, log: String::new() });
                }
            }
        }
        sleep(LOOK).await;
    }
}

/// Processes with exactly this argument that are alive.
fn running(mark: &str) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = |pid: &i32| {
        // Empty for one that has ended and waits to be collected.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).skip(1).any(|word| word == mark.as_bytes())
    };
    pids.filter(ours).map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_its_log_are_read_in_both_forms() {
        let line =
            r#"{"level":"warn","ts":1,"caller":"x.go:1","msg":"request took too long","error":"slow"}"#;
        assert_eq!(read_line(line), ("warn", "request took too long: slow".to_owned()));
        assert_eq!(read_line("2026-01-01 plain"), ("info", "2026-01-01 plain".to_owned()));
        assert_eq!(read_line("{}"), ("info", String::new()));
    }
}
