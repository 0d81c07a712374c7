//! `weft bench controllers`: controller managers on API servers, with the same work.
//!
//! In every repetition and workload each pair of a controller manager and an API server lives once, one after the other, over
//! an empty etcd. There are no nodes and no scheduler: what a kubelet would write of a pod, [`kubelet`] or the round itself
//! writes. Begin at [`run::controllers`]; the numbers' meaning is in [`metric`], what is worked on in [`objects`].

mod cli;
pub mod goals;
mod kubelet;
pub mod metric;
pub mod mode;
mod objects;
mod requests;
pub mod run;
pub mod sample;
mod stage;
pub mod table;
mod whole;
mod workloads;

use std::path::PathBuf;

use crate::servers;

pub use cli::Controllers;

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    pub servers: servers::Programs,
    pub kube_controller_manager: Option<PathBuf>,
    /// For the whole control plane.
    pub kube_scheduler: Option<PathBuf>,
}
