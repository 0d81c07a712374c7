//! The original flanneld beside ours: where it is, mixed labs, what each leaves behind, and the bytes on the wire.
//!
//! Begin at [`original`] and [`mixed`]. Its programs are those whose name begins with `peers`: they are run by
//! `scripts/test --peers` alone, for a plain machine has no original, and they fail where it is missing.

mod race;
mod trace;
pub mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::etcd::NetworkKeys;
use lab::spec::Backend;
use lab::{FlanneldOptions, Node, ScratchLab, Signal, Spec};

pub use race::Race;
pub use trace::Trace;

use crate::testbed::{self, weft};
use crate::wait::{SOON, until_explained};

/// How long a daemon may take to follow a lease that comes or goes. The original asks etcd once more for each.
pub const FOLLOW: Duration = Duration::from_secs(60);

/// How long the original may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(3);

/// flannel's own daemon, as `scripts/peers` builds it.
///
/// # Panics
/// It is not there.
pub fn original() -> FlanneldOptions {
    let folder = std::env::var_os("WEFT_PEERS").map_or_else(
        || {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .parent()
                .expect("tests/ is in the workspace")
                .join("peers/bin")
        },
        PathBuf::from,
    );
    let path = folder.join("flanneld");
    assert!(
        path.is_file(),
        "there is no original flanneld at {}: run scripts/peers, or let WEFT_PEERS name its folder",
        path.display()
    );
    FlanneldOptions::original(path)
}

/// A lab of one pod on each node where ours runs everywhere but on `originals`.
///
/// # Panics
/// As [`testbed::spec`], and without an original.
pub fn mixed(prefix: &str, backend: Backend, nodes: u16, originals: &[&str]) -> Spec {
    let on = originals.iter().map(|name| ((*name).to_owned(), original()));
    Spec { nodes, flanneld_on: BTreeMap::from_iter(on), ..testbed::spec(prefix, backend) }
}

/// The same network config, with the rules in iptables, where both daemons write the same ones.
pub fn with_iptables(spec: Spec) -> Spec {
    let mut config = spec.network_config.unwrap_or_else(|| serde_json::json!({}));
    config["EnableNFTables"] = serde_json::json!(false);
    Spec { network_config: Some(config), ..spec }
}

/// Ends the daemon of a node as its service manager would: SIGTERM, and what does not heed it is killed. Only the
/// original may not heed it: its udp proxy, told to end while it begins, goes on for ever.
///
/// # Panics
/// It does not end.
pub fn stop(node: &Node) {
    let ours = node.flanneld_options().is_some_and(|options| options.binary.is_ours());
    node.flanneld().signal(Signal::SIGTERM).unwrap_or_else(|error| panic!("{error}"));
    let ended = match ours {
        true => node.flanneld().wait_exit(SOON),
        false => node.flanneld().wait_exit(PATIENCE).or_else(|_| node.stop_flanneld(Signal::SIGKILL)),
    };
    ended.unwrap_or_else(|error| panic!("{error}"));
}

/// Ends whatever runs on a node and starts `options` there.
///
/// # Panics
/// One does not end, or the other not start.
pub fn swap(node: &Node, options: &FlanneldOptions) {
    stop(node);
    testbed::start(node, options);
}

/// Runs `weft flanneld --cleanup` on a node where no daemon runs.
///
/// # Panics
/// It fails.
pub fn cleanup(node: &Node) {
    let program = weft().binary.program().unwrap_or_else(|error| panic!("{error}"));
    let pins = format!("--bpf-pin-dir={}", node.directory().join("bpf/flanneld").display());
    let argv = [&program.display().to_string(), "flanneld", "--cleanup", &pins];
    node.run(argv).unwrap_or_else(|error| panic!("{error}"));
}

/// The lease of a node: its key and its value.
///
/// # Panics
/// It has none.
pub fn lease(lab: &ScratchLab, node: &Node) -> (String, String) {
    crate::leases::of(lab, &node.underlay().to_string())
        .unwrap_or_else(|| panic!("{} holds no lease: {:?}", node.name(), lab.etcd().leases()))
}

/// The subnet of a key of etcd: `10.244.7.0-24` is `10.244.7.0/24`, and of two families the first counts.
pub fn subnet(key: &str) -> String {
    key.split('&').next().unwrap_or_default().replace('-', "/")
}

/// What a node's kernel knows of a peer's subnet: its route, its neighbour entry, its FDB entry.
///
/// # Panics
/// A tool is missing.
pub fn knows(node: &Node, subnet: &str, public_ip: &str) -> [bool; 3] {
    let gateway = subnet.split('/').next().unwrap_or_default();
    let text = |script: &str| testbed::sh(node, &format!("{script} 2>/dev/null || true"));
    let has = |script: &str, words: &str| text(script).lines().any(|line| line.contains(words));
    [
        has("ip route show", &format!("{subnet} ")),
        has("ip neigh show dev flannel.1 nud permanent", &format!("{gateway} ")),
        has("bridge fdb show dev flannel.1", &format!("dst {public_ip} ")),
    ]
}

/// Waits until a node's kernel knows of a peer exactly this much; see [`knows`].
///
/// # Panics
/// It does not within [`FOLLOW`].
pub fn until_knows(node: &Node, subnet: &str, public_ip: &str, want: [bool; 3]) {
    until_explained(
        &format!("{} to know of {subnet} at {public_ip}: {want:?} (route, neighbour, FDB)", node.name()),
        FOLLOW,
        || (knows(node, subnet, public_ip) == want).then_some(()),
        || testbed::sh(node, "ip route; ip neigh; bridge fdb | grep dst || true"),
    );
}
