//! An agent of a node for both servers: `originals/agent`, which `scripts/peers` builds.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use control_apiserver::pki::{self, Names};
use host::netns::Namespace;
use host::programs::{Daemon, Signal};
use tempfile::TempDir;

use super::{Pair, Side};
use crate::wait::until_explained;

/// Where it listens, in a namespace that nobody else uses.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 9, 1);
pub const PORT: u16 = 10_250;
/// What pods serve.
pub const PLAIN: u16 = 8080;

const READY: Duration = Duration::from_secs(30);

/// Keys of an agent, before servers are started that must know its authority.
pub struct Keys(TempDir);

impl Keys {
    /// # Panics
    /// They cannot be written.
    #[expect(clippy::new_without_default, reason = "it writes files")]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let names = Names::of_api("agent", [ADDRESS.into()], &[]);
        pki::ensure(directory.path(), &names, SystemTime::now()).unwrap_or_else(|error| panic!("{error}"));
        Self(directory)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The flag by which servers know the authority.
    pub fn flag(&self) -> String {
        format!("--kubelet-certificate-authority={}", self.file("ca.crt").display())
    }
}

/// A running agent. It ends with this value.
pub struct Agent {
    daemon: Daemon,
    events: PathBuf,
    keys: Keys,
}

impl Agent {
    /// # Panics
    /// The program is missing, or does not come up.
    pub fn start(keys: Keys, namespace: &Namespace, pair: &Pair) -> Self {
        let authorities = [&pair.original, &pair.ours].map(|side: &Side| {
            let file = side.pki().join("ca.crt");
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        });
        fs::write(keys.file("clients.crt"), authorities.concat()).expect("a file");
        let events = keys.file("events");
        let program = originals::program("agent").unwrap_or_else(|error| panic!("{error}"));
        let daemon = Daemon::new("the agent".to_owned(), namespace.clone(), keys.0.path(), "agent");
        let flags = [
            format!("--listen={ADDRESS}:{PORT}"),
            format!("--plain={ADDRESS}:{PLAIN}"),
            format!("--cert={}", keys.file("apiserver.crt").display()),
            format!("--key={}", keys.file("apiserver.key").display()),
            format!("--client-ca={}", keys.file("clients.crt").display()),
            format!("--events={}", events.display()),
            format!("--directory={}", keys.0.path().display()),
        ];
        let flags = flags.map(OsString::from);
        daemon.start(&program, &flags, &[]).unwrap_or_else(|error| panic!("{error}"));
        let agent = Self { daemon, events, keys };
        until_explained(
            "the agent to listen",
            READY,
            || {
                let connect = || std::net::TcpStream::connect((ADDRESS, PORT)).is_ok();
                namespace.run(connect).unwrap_or(false).then_some(())
            },
            || agent.daemon.log_tail(30),
        );
        agent
    }

    /// What has begun and ended there.
    pub fn events(&self) -> String {
        fs::read_to_string(&self.events).unwrap_or_default()
    }

    /// # Panics
    /// It does not happen.
    pub fn wait_for(&self, event: &str) {
        until_explained(
            &format!("the agent to say {event:?}"),
            READY,
            || self.events().contains(event).then_some(()),
            || self.events(),
        );
    }

    /// Where its commands run.
    pub fn directory(&self) -> &Path {
        self.keys.0.path()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.daemon.stop(Signal::SIGKILL);
    }
}
