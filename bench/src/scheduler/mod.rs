//! `weft bench scheduler`: schedulers on API servers, with the same nodes and pods.
//!
//! In every repetition and workload each pair of a scheduler and an API server lives once, one after the other, over an
//! empty etcd. There is no kubelet: a pod that is bound is done. Begin at [`run::scheduler`]; the numbers' meaning is in
//! [`metric`], what is scheduled in [`objects`].

mod cli;
pub mod goals;
pub mod metric;
pub mod mode;
mod objects;
mod round;
pub mod run;
pub mod sample;
pub mod table;

use std::path::PathBuf;

use crate::servers;

pub use cli::Scheduler;

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    pub servers: servers::Programs,
    pub kube_scheduler: Option<PathBuf>,
}
