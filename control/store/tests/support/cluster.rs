//! An etcd of three members, each of which can be killed, frozen and started again.

use std::process::{Child, Command, Stdio};

use etcd::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{free_port, until};

pub struct Cluster {
    directory: TempDir,
    /// Ports for clients and for peers.
    ports: [(u16, u16); 3],
    members: [Option<Child>; 3],
}

impl Cluster {
    pub async fn start() -> Self {
        let ports = [(); 3].map(|()| (free_port(), free_port()));
        let mut cluster =
            Self { directory: tempfile::tempdir().unwrap(), ports, members: [None, None, None] };
        (0..3).for_each(|member| cluster.start_member(member));
        for member in 0..3 {
            cluster.wait_for(member).await;
        }
        cluster
    }

    pub fn start_member(&mut self, member: usize) {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let (client, peer) = self.ports[member];
        let all: Vec<String> = (0..3).map(|other| format!("m{other}={}", url(self.ports[other].1))).collect();
        let log = self.directory.path().join(format!("m{member}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new("etcd")
            .arg(format!("--name=m{member}"))
            .arg(format!("--data-dir={}", self.directory.path().join(format!("m{member}")).display()))
            .args([format!("--listen-client-urls={}", url(client))])
            .args([format!("--advertise-client-urls={}", url(client))])
            .args([format!("--listen-peer-urls={}", url(peer))])
            .args([format!("--initial-advertise-peer-urls={}", url(peer))])
            .args([format!("--initial-cluster={}", all.join(","))])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("etcd is installed (Debian: etcd-server)");
        self.members[member] = Some(child);
    }

    /// Until it serves, and so is one of a majority.
    pub async fn wait_for(&self, member: usize) {
        let client = self.client_of(&[member]);
        until("the member serves", async || client.get("health").await.is_ok()).await;
    }

    /// A client of some members.
    pub fn client_of(&self, members: &[usize]) -> Client {
        let endpoints =
            members.iter().map(|member| format!("http://127.0.0.1:{}", self.ports[*member].0)).collect();
        Client::new(etcd::Settings { endpoints, ..etcd::Settings::default() }).unwrap()
    }

    /// The member that leads at this moment.
    pub async fn leader(&self) -> usize {
        let mut found = None;
        until("there is a leader", async || {
            for member in 0..3 {
                let status = self.client_of(&[member]).status().await;
                if status.is_ok_and(|status| status.leader == status.header.member) {
                    found = Some(member);
                }
            }
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    pub fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.members[member].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn signal(&self, member: usize, signal: Signal) {
        let child = self.members[member].as_ref().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        match signal {
            Signal::SIGSTOP => host::programs::freeze(pid).unwrap(),
            signal => kill(pid, signal).unwrap(),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..3).for_each(|member| self.kill(member));
    }
}
