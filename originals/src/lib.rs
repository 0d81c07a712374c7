//! The originals beside ours: Kubernetes' API server over an etcd of its own, and kube-proxy on a node.
//!
//! Owns: where the programs are ([`program`]), the daemons it starts, and a scratch directory for each control plane.
//! Never: runs in production. It is for tests, the benchmark, and the lab.
//!
//! Everything ends with its handle; what a killed process of ours left behind ends when the next [`ControlPlane`] is made.
//! All calls block. In an async test use a runtime of several threads.
//!
//! - [`ControlPlane::new`] makes keys, tokens and kubeconfigs, and starts nothing. [`ControlPlane::up`] starts all and waits.
//! - [`ControlPlane::start_server`], [`ControlPlane::stop_server`]: the API server alone, always at the same address, over the same
//!   etcd. [`ControlPlane::back_door`] is another API server over that etcd, for changes while the first one is away.
//! - [`ControlPlane::start_etcd`], [`ControlPlane::stop_etcd`]; [`ControlPlane::new_etcd`] is another one with nothing in it;
//!   [`ControlPlane::compact`] lets the server forget what watches would need.
//! - [`ControlPlane::kubeconfig`] of a [`User`]: the proxy with the rights of `system:node-proxier` and no others, or the
//!   administrator.
//! - [`ControlPlane::admin`] gives an [`Api`]: objects as JSON, by `apply`, `get`, `delete`, `merge`.
//! - [`ControlPlane::load`] writes tens of thousands of objects into etcd, past the server.
//! - [`Connection`] and [`Scratch`] are for those who start other servers: a client that speaks HTTP/1.1, and a directory that goes
//!   with what runs in it.
//! - [`KubeScheduler::start`] runs kube-scheduler, or another program that takes its flags; [`Worker::start`] any such program
//!   beside a server.
//! - [`KubeProxy::start`] runs kube-proxy in a namespace; [`KubeProxy::wait_ready`] waits for its first sync.
//!
//! ```no_run
//! use host::netns::Namespace;
//! use originals::{KubeProxy, Mode, ControlPlane, User};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Namespace::open("weft-demo-hub")?;
//! let control_plane = ControlPlane::up(&hub, "10.250.0.1".parse()?)?;
//! control_plane.admin()?.apply(&serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}))?;
//! let node = Namespace::open("weft-demo-n1")?;
//! let proxy = KubeProxy::start(&node, Mode::Nftables, &control_plane.kubeconfig(User::Proxy), &["--hostname-override=n1"])?;
//! proxy.wait_ready(originals::READY_LIMIT)?;
//! # Ok(())
//! # }
//! ```

mod api;
mod control_plane;
mod credentials;
mod kinds;
mod kube_proxy;
mod kube_scheduler;
mod leftovers;
mod server;
mod store;
mod wire;
mod worker;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use host::netns::Namespace;

pub use api::{Answer, Api};
pub use control_plane::ControlPlane;
pub use credentials::User;
pub use kube_proxy::{KubeProxy, Mode};
pub use kube_scheduler::KubeScheduler;
pub use leftovers::Scratch;
pub use server::Server;
pub use wire::{Connection, Trust};
pub use worker::{UNLIMITED, Worker};

use host::programs::ProgramError;

/// How long a daemon of the control plane may take until it serves, on a busy machine.
pub const READY_LIMIT: Duration = Duration::from_secs(60);

/// Named on a command line, before all else.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Takes the originals from this folder from now on. The first call counts.
pub fn take_from(folder: &Path) {
    let _ = FOLDER.set(folder.to_owned());
}

/// An original by its name, `kube-proxy` say, in the folder that `scripts/peers` fills or WEFT_PEERS names.
///
/// # Errors
/// It is not there.
pub fn program(name: &str) -> Result<PathBuf, ProgramError> {
    let named = FOLDER.get().cloned().or_else(|| std::env::var_os("WEFT_PEERS").map(PathBuf::from));
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers/bin"));
    let path = folder.join(name);
    if path.is_file() {
        return std::path::absolute(&path).map_err(ProgramError::io("find", path));
    }
    Err(ProgramError::Unusable(format!(
        "there is no original {name} at {}: run scripts/peers, or let WEFT_PEERS name its folder",
        path.display()
    )))
}

/// A port where nobody listens now.
fn free_port(namespace: &Namespace, address: IpAddr) -> Result<u16, ProgramError> {
    namespace.run(|| host::sockets::free_port(address))?.map_err(|error| ProgramError::Protocol {
        what: format!("a free port at {address}"),
        reason: error.to_string(),
    })
}
