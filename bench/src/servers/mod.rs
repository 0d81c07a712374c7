//! API servers: ours and kube-apiserver, each over an etcd of its own, and clients that ask as fast as they are answered.
//!
//! Begin at [`side::Side`]. What is measured of them or with them is the business of [`crate::api`], [`crate::scheduler`] and
//! [`crate::controllers`].

pub mod arguments;
pub mod client;
pub mod clients;
pub mod side;
pub mod watcher;
pub mod worker;

use std::path::{Path, PathBuf};

use host::netns::Namespace;
use host::programs;
use lab::LabError;

/// Whose API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ours,
    Original,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    pub weft: PathBuf,
    pub kube_apiserver: Option<PathBuf>,
    pub etcd: PathBuf,
}

/// etcd of the originals, or the one on the path.
///
/// # Errors
/// There is neither.
pub fn etcd() -> Result<PathBuf, LabError> {
    if let Ok(program) = originals::program("etcd") {
        return Ok(program);
    }
    programs::require(&[("etcd", "etcd-server")])?;
    Ok(PathBuf::from("etcd"))
}

/// `etcd 3.6.0`, as it says itself.
///
/// # Errors
/// It does not run.
pub fn version(etcd: &Path) -> Result<String, LabError> {
    let argv = [etcd.display().to_string(), "--version".to_owned()];
    let text = programs::run(&programs::inside(&Namespace::current()?, argv))?.ok()?;
    let version =
        text.lines().next().and_then(|line| line.rsplit(' ').next()).unwrap_or("of unknown version");
    Ok(format!("etcd {version}"))
}
