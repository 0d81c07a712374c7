//! One etcd server: started on a directory of its own, stopped, started again on its data, and talked to by etcdctl.

use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::netns::Namespace;
use nix::unistd::Pid;

use super::daemon::{Daemon, Signal};
use super::error::ProgramError;
use super::run::{self, Output, wait_for};

/// An etcd of one member. Its data outlives its process.
#[derive(Debug)]
pub struct Etcd {
    namespace: Namespace,
    directory: PathBuf,
    endpoint: String,
    listen: IpAddr,
    ports: Ports,
    program: PathBuf,
    daemon: Daemon,
}

/// Where etcd listens: for its clients, and for peers that it has not.
#[derive(Clone, Copy, Debug)]
struct Ports {
    client: u16,
    peer: u16,
}

impl Etcd {
    /// One that listens at all addresses of its namespace: for clients at `port`, for peers that it has not at the
    /// next one. `endpoint` is what it tells its clients. Its data and its log go to `directory`.
    pub fn new(namespace: Namespace, directory: &Path, endpoint: &str, port: u16) -> Self {
        Self {
            daemon: Daemon::new("etcd".to_owned(), namespace.clone(), directory, "etcd"),
            namespace,
            directory: directory.to_owned(),
            endpoint: endpoint.to_owned(),
            listen: Ipv4Addr::UNSPECIFIED.into(),
            ports: Ports { client: port, peer: port + 1 },
            program: PathBuf::from("etcd"),
        }
    }

    /// Another etcd than the one on the path.
    #[must_use]
    pub fn with_program(self, program: PathBuf) -> Self {
        Self { program, ..self }
    }

    /// One that listens at the loopback address alone, at ports that were free a moment ago.
    pub fn on_loopback(namespace: Namespace, directory: &Path, client: u16, peer: u16) -> Self {
        let endpoint = format!("http://127.0.0.1:{client}");
        let listen = Ipv4Addr::LOCALHOST.into();
        Self { listen, ports: Ports { client, peer }, ..Self::new(namespace, directory, &endpoint, client) }
    }

    /// etcd as the nodes see it: `http://172.30.0.1:2379`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The namespace that it runs in, for a client of one's own.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Starts it, on the data of its last life if there was one. It may take a moment until it answers:
    /// [`Etcd::wait_ready`].
    ///
    /// # Errors
    /// It is not installed, or runs already.
    pub fn start(&self) -> Result<Pid, ProgramError> {
        fs::create_dir_all(&self.directory).map_err(ProgramError::io("create", &self.directory))?;
        let Ports { client, peer } = self.ports;
        let peer = format!("http://127.0.0.1:{peer}");
        let arguments = [
            format!("--data-dir={}", self.directory.join("data").display()),
            format!("--listen-client-urls=http://{}:{client}", self.listen),
            format!("--advertise-client-urls={}", self.endpoint),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        self.daemon.start(&self.program, &arguments.map(OsString::from), &[])
    }

    /// Waits until it serves requests.
    ///
    /// # Errors
    /// It has ended, or does not answer within the limit.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), ProgramError> {
        let ready = wait_for(Instant::now() + limit, || match self.is_healthy() {
            true => Ok(Some(())),
            false if self.daemon.pid().is_none() => Err(self.daemon.died()),
            false => Ok(None),
        })?;
        ready.ok_or_else(|| ProgramError::NotReady {
            what: "etcd".to_owned(),
            waited: limit,
            reason: format!("the end of its log:\n{}", self.daemon.log_tail(10)),
        })
    }

    /// Whether it serves requests now.
    pub fn is_healthy(&self) -> bool {
        super::http::get(&self.namespace, self.address(), "/health").is_ok_and(|(status, _)| status == 200)
    }

    /// Where a client in its namespace finds it.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.client))
    }

    /// Its process, if it runs.
    pub fn pid(&self) -> Option<Pid> {
        self.daemon.pid()
    }

    /// Ends it: SIGTERM for a clean end, SIGKILL for a crash. Its data stays.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self, signal: Signal) -> Result<Option<ExitStatus>, ProgramError> {
        self.daemon.stop(signal)
    }

    /// Deletes its data. It must have ended.
    ///
    /// # Errors
    /// They cannot be deleted.
    pub fn wipe(&self) -> Result<(), ProgramError> {
        let data = self.directory.join("data");
        fs::remove_dir_all(&data).map_err(ProgramError::io("delete", &data))
    }

    /// Its log.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Runs `etcdctl` (API 3) beside it.
    ///
    /// # Errors
    /// etcdctl is not installed, or takes too long.
    pub fn etcdctl<S: Into<String>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Output, ProgramError> {
        let fixed = ["etcdctl".to_owned(), format!("--endpoints=http://{}", self.address())];
        let argv = fixed.into_iter().chain(arguments.into_iter().map(Into::into));
        run::run(&run::inside(&self.namespace, argv).env("ETCDCTL_API", "3"))
    }

    /// The keys below a prefix, in order, each with its value.
    ///
    /// # Errors
    /// etcd does not answer.
    pub fn list(&self, prefix: &str) -> Result<Vec<(String, String)>, ProgramError> {
        let text = self.etcdctl(["get", "--prefix", prefix, "--write-out=json"])?.ok()?;
        entries(&text).ok_or_else(|| ProgramError::Protocol {
            what: "etcdctl get".to_owned(),
            reason: format!("not the JSON that we know: {text}"),
        })
    }

    /// Sets a key.
    ///
    /// # Errors
    /// etcd does not answer.
    pub fn put(&self, key: &str, value: &str) -> Result<(), ProgramError> {
        self.etcdctl(["put", "--", key, value])?.ok().map(drop)
    }
}

/// The key-value pairs of etcdctl's JSON, whose texts are in base64.
fn entries(text: &str) -> Option<Vec<(String, String)>> {
    let answer: serde_json::Value = serde_json::from_str(text).ok()?;
    let Some(found) = answer.get("kvs") else { return Some(Vec::new()) };
    let decode = |entry: &serde_json::Value, key| match entry.get(key) {
        None => Some(String::new()), // an empty value is left out
        Some(text) => Some(String::from_utf8_lossy(&base64(text.as_str()?)?).into_owned()),
    };
    found.as_array()?.iter().map(|entry| Some((decode(entry, "key")?, decode(entry, "value")?))).collect()
}

/// RFC 4648 base64 with padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for c in text.trim_end_matches('=').bytes() {
        let digit = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (text, want) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(base64(text).unwrap(), want.as_bytes());
        }
        assert_eq!(base64("a?=="), None);
    }

    #[test]
    fn etcdctl_writes_pairs() {
        let text =
            r#"{"header":{"revision":5},"kvs":[{"key":"Zm9v","value":"YmFy"},{"key":"Zg=="}],"count":2}"#;
        let want = [("foo", "bar"), ("f", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(entries(text).unwrap(), want);
        assert_eq!(entries(r#"{"header":{}}"#).unwrap(), []);
        assert_eq!(entries("Error"), None);
    }
}
