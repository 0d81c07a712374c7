//! Real pods: `weft control`, and nodes with containerd, the original kubelet, our flanneld and our proxy.
//!
//! Owns: a lab with two nodes and their switch, all processes on them ([`Machine`]), and the control plane ([`Cluster`]).
//! Images are made on the spot, without a registry. Begin at [`Cluster::up`]. The files of it are in `tests/pods`.

mod cgroups;
mod cluster;
mod machine;
mod web;

pub use cluster::{Cluster, Pod};
pub use machine::Machine;
pub use web::nodes;

use std::path::{Path, PathBuf};

/// A file of `tests/pods`.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pods").join(name)
}

/// Its text.
fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
