//! Network namespaces for tests: named by the test's process, gone when the test ends, however it ends.
#![allow(dead_code)] // each test binary uses its part

use std::time::{Duration, Instant};

use host::netlink::{Link, LinkChange, Netlink, NewLink, NewLinkKind, Peer};
use host::netns::{self, Namespace};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PREFIX: &str = "weft-host-";

/// How long a test waits for what must happen soon.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A namespace with a test's name in it.
pub struct Place {
    pub namespace: Namespace,
    name: String,
}

impl Place {
    /// `tag` is unique within the test binary. Needs root.
    pub fn new(tag: &str) -> Self {
        sweep();
        let name = format!("{PREFIX}{tag}-{}", Pid::this());
        let namespace = Namespace::create(&name).expect("these tests need root");
        println!("to look: nsenter --net=/run/netns/{name}");
        Self { namespace, name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Netlink inside, with `lo` up.
    pub async fn netlink(&self) -> Netlink {
        let netlink = Netlink::connect_in(&self.namespace).unwrap();
        let lo = netlink.link_by_name("lo").await.unwrap().unwrap();
        netlink.set_link(lo.index, &LinkChange::up()).await.unwrap();
        netlink
    }

    /// What `program` says about this place, in words that are not ours.
    pub fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.namespace.command(program).args(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for pid in self.namespace.pids().unwrap_or_default() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let _ = Namespace::delete(&self.name);
    }
}

/// Removes what a killed test process left.
fn sweep() {
    for name in netns::list().unwrap_or_default() {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once('-')?.1.parse().ok());
        if owner.is_some_and(|pid| kill(Pid::from_raw(pid), None).is_err()) {
            let _ = Namespace::delete(&name);
        }
    }
}

/// A veth pair within one place, both ends up.
pub async fn veth(netlink: &Netlink, name: &str, peer: &str) -> Link {
    let other = Peer { up: true, ..Peer::new(peer) };
    let new = NewLink { up: true, ..NewLink::new(name, NewLinkKind::Veth(other)) };
    let index = netlink.create_link(&new).await.unwrap();
    netlink.link(index).await.unwrap().unwrap()
}

/// Waits until `look` finds something.
pub async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {DEADLINE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
