//! An etcd for one test, an administrator's hand in it, and a wire that can be cut. flanneld's tests use it too.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions, PutOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// For everything that is waited for: long enough for a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// A running etcd of one member. Ended when dropped.
pub struct Etcd {
    child: Child,
    dir: TempDir,
    port: u16,
    peer_port: u16,
    scheme: &'static str,
    more: Vec<String>,
}

impl Etcd {
    pub async fn start() -> Self {
        Self::start_with("http", &[]).await
    }

    /// With more arguments; `{dir}` in them is the directory of [`Etcd::dir`].
    pub async fn start_with(scheme: &'static str, more: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), scheme, more).await
    }

    pub async fn start_in(dir: TempDir, scheme: &'static str, more: &[&str]) -> Self {
        let at = dir.path().to_str().unwrap().to_owned();
        let more: Vec<String> = more.iter().map(|argument| argument.replace("{dir}", &at)).collect();
        let (port, peer_port) = (free_port(), free_port());
        let child = spawn(dir.path(), port, peer_port, scheme, &more);
        let etcd = Self { child, dir, port, peer_port, scheme, more };
        etcd.ready().await;
        etcd
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// SIGKILL, as when the machine loses its power.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same address with the same data.
    pub async fn restart(&mut self) {
        self.child = spawn(self.dir.path(), self.port, self.peer_port, self.scheme, &self.more);
        self.ready().await;
    }

    /// Loses all data while it is down.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(self.dir.path().join("data")).unwrap();
    }

    /// Starts with more arguments from now on.
    #[allow(dead_code)] // Not every test that shares this needs it.
    pub fn add_argument(&mut self, argument: &str) {
        self.more.push(argument.to_owned());
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        match signal {
            Signal::SIGSTOP => host::programs::freeze(pid).unwrap(),
            signal => kill(pid, signal).unwrap(),
        }
    }

    /// Runs etcdctl against it; its output.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let out = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.url(), "--dial-timeout=5s", "--command-timeout=10s"])
            .args(arguments)
            .output()
            .expect("etcdctl is installed (Debian: etcd-client)");
        assert!(out.status.success(), "etcdctl {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    async fn ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let log = self.dir.path().join("log");
        loop {
            // A TLS etcd is ready when it takes connections; a plain one when it answers.
            let up = match self.scheme {
                "https" => TcpStream::connect(self.address()).await.is_ok(),
                _ => match Client::connect([self.url()], None).await {
                    Ok(mut client) => {
                        let ask = client.get("ready", Some(GetOptions::new().with_count_only()));
                        let answer = tokio::time::timeout(Duration::from_secs(1), ask).await;
                        // An etcd that wants a user answers too.
                        matches!(&answer, Ok(Ok(_)))
                            || matches!(&answer, Ok(Err(error)) if error.to_string().contains("user name"))
                    }
                    Err(_) => false,
                },
            };
            if up {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "etcd does not come up:\n{}",
                std::fs::read_to_string(&log).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path, port: u16, peer_port: u16, scheme: &str, more: &[String]) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let (client, peer) = (format!("{scheme}://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer_port}"));
    Command::new("etcd")
        .args(["--data-dir", dir.join("data").to_str().unwrap(), "--log-level", "warn", "--logger", "zap"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        .args(more)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("etcd is installed (Debian: etcd-server)")
}

fn free_port() -> u16 {
    host::sockets::free_port(Ipv4Addr::LOCALHOST.into()).unwrap()
}

/// A client with no opinions.
pub async fn admin(etcd: &Etcd) -> Client {
    Client::connect([etcd.url()], None).await.unwrap()
}

/// Value and etcd lease of a key.
pub async fn read(client: &mut Client, key: &str) -> Option<(String, i64)> {
    let answer = client.get(key, None).await.unwrap();
    answer.kvs().first().map(|kv| (kv.value_str().unwrap().to_owned(), kv.lease()))
}

/// Writes a key under an etcd lease of its own; the lease.
pub async fn put_leased(client: &mut Client, key: &str, value: &str, ttl: i64) -> i64 {
    let lease = client.lease_grant(ttl, None).await.unwrap().id();
    client.put(key, value, Some(PutOptions::new().with_lease(lease))).await.unwrap();
    lease
}

/// Waits for something with a deadline.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("{what}: not within {limit:?}"))
}

/// What a wire does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Carries them.
    Whole,
    /// Ends every connection, and each new one at once.
    Cut,
    /// Takes them and drops them without a word, as a firewall that has forgotten the connection.
    Black,
}

/// A wire between a source and its etcd. Connections that have seen it black stay dead.
pub struct Proxy {
    address: SocketAddr,
    wire: watch::Sender<Wire>,
}

impl Proxy {
    pub async fn to(etcd: &Etcd) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (wire, state) = watch::channel(Wire::Whole);
        let target = etcd.address();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, target, state.clone()));
            }
        });
        Self { address, wire }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, wire: Wire) {
        self.wire.send(wire).unwrap();
    }
}

async fn carry(mut near: TcpStream, target: SocketAddr, mut wire: watch::Receiver<Wire>) {
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    let mut dead = false;
    loop {
        match *wire.borrow_and_update() {
            Wire::Cut => return,
            Wire::Black => dead = true,
            Wire::Whole => {}
        }
        let gone = tokio::select! {
            changed = wire.changed() => changed.is_err(),
            read = near.read(&mut up) => pass(read, &up, &mut far, dead).await,
            read = far.read(&mut down) => pass(read, &down, &mut near, dead).await,
        };
        if gone {
            return;
        }
    }
}

/// Whether the connection is over.
async fn pass(read: std::io::Result<usize>, bytes: &[u8], to: &mut TcpStream, dead: bool) -> bool {
    match read {
        Ok(0) | Err(_) => true,
        Ok(_) if dead => false,
        Ok(length) => to.write_all(&bytes[..length]).await.is_err(),
    }
}
