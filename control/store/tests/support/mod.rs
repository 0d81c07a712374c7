//! A real etcd for each test, a second client in it, and stores over it.

pub mod cluster;
pub mod load;
pub mod wire;

use std::net::Ipv4Addr;
use std::time::Duration;

use control_store::{Change, Event, Settings, Store, Watcher};
use etcd::Client;
use host::netns::Namespace;
use host::programs::{Etcd as Program, Signal};
use tempfile::TempDir;

use wire::Wire;

/// For everything that is waited for: long enough for a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// A running etcd of one member; ended when dropped.
pub struct Etcd {
    program: Program,
    _directory: TempDir,
}

impl Etcd {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program =
            Program::on_loopback(Namespace::current().unwrap(), directory.path(), free_port(), free_port());
        let etcd = Self { program, _directory: directory };
        etcd.restart();
        etcd
    }

    /// A client with a connection of its own, that knows nothing of any store.
    pub fn client(&self) -> Client {
        client(self.program.endpoint())
    }

    /// A wire to it that can be cut.
    pub async fn wire(&self) -> Wire {
        Wire::to(self.program.address()).await
    }

    pub fn client_as(&self, user: &str, password: &str) -> Client {
        let endpoints = vec![self.program.endpoint().to_owned()];
        let user = Some((user.to_owned(), etcd::Secret::new(password)));
        Client::new(etcd::Settings { endpoints, user, ..etcd::Settings::default() }).unwrap()
    }

    /// SIGKILL, as when the machine loses its power.
    pub fn kill(&self) {
        self.program.stop(Signal::SIGKILL).unwrap();
    }

    /// SIGSTOP: it answers nothing, and its connections stay.
    pub fn freeze(&self) {
        host::programs::freeze(self.program.pid().unwrap()).unwrap();
    }

    /// Starts it again at the same address with the same data.
    pub fn restart(&self) {
        self.program.start().unwrap();
        self.program.wait_ready(SOON).unwrap();
    }

    /// Deletes its data while it is down.
    pub fn wipe(&self) {
        self.program.wipe().unwrap();
    }

    pub fn etcdctl(&self, arguments: &[&str]) -> String {
        self.program.etcdctl(arguments.iter().copied()).unwrap().ok().unwrap()
    }

    /// A store over it that has loaded everything.
    pub async fn store(&self) -> Store {
        self.store_with(settings()).await
    }

    pub async fn store_with(&self, settings: Settings) -> Store {
        let store = Store::open(self.client(), settings);
        within("the store is loaded", store.ready()).await;
        store
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.program.stop(Signal::SIGKILL);
    }
}

fn free_port() -> u16 {
    host::sockets::free_port(Ipv4Addr::LOCALHOST.into()).unwrap()
}

pub fn client(url: &str) -> Client {
    Client::new(etcd::Settings { endpoints: vec![url.to_owned()], ..etcd::Settings::default() }).unwrap()
}

/// No compaction but by the test.
pub fn settings() -> Settings {
    let kinds = ["configmaps/", "pods/", "services/specs/", "services/endpoints/"];
    Settings { kinds: kinds.map(str::to_owned).into(), compaction: None, ..Settings::default() }
}

/// Waits for something with a deadline.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {SOON:?}"),
    }
}

/// Looks again and again until it is true.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// `+key=value@revision`, `~` for a change, `-` for a deletion.
pub fn text(event: &Event) -> String {
    let sign = match event.change {
        Change::Added => '+',
        Change::Modified => '~',
        Change::Deleted => '-',
    };
    let value = String::from_utf8_lossy(event.object.bytes()).into_owned();
    format!("{sign}{}={value}@{}", event.key(), event.revision())
}

pub async fn next(watcher: &mut Watcher) -> String {
    text(&within("an event", watcher.next()).await.unwrap())
}
