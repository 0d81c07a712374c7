//! Leader election: one of several processes leads, by a Lease.
//!
//! Owns: the requests of a candidate ([`lead`], where to begin), what tells a writer whether it leads ([`Leading`]), and the
//! Events about it. What a candidate does next is decided in [`apiclient_core::leader`].
//! Never: ends the process. Who loses the Lease gets [`Lost`], and decides.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use apiclient::{leader::{self, Standing}, objects::Api};
//! # async fn work(api: Arc<dyn Api>) {}
//! # async fn run(api: Arc<dyn Api>) -> Result<(), leader::Lost> {
//! let standing = Standing::new("kube-system", "kube-scheduler", "default-scheduler");
//! leader::lead(api.clone(), standing, |leading| async move {
//!     // Every write through this asks right before whether we lead.
//!     work(leading.guard(api)).await;
//! })
//! .await
//! # }
//! ```

mod candidate;
mod event;
mod leading;
mod sys;

use std::future::Future;
use std::sync::Arc;

use tokio::task::JoinHandle;

pub use apiclient_core::leader::{BadTiming, Loss, Timing};

use crate::Resource;
use crate::objects::Api;
use candidate::Candidate;
pub use leading::Leading;

const LEASES: Resource = Resource::new("coordination.k8s.io", "v1", "leases", true);

/// Who stands for which Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub namespace: String,
    pub name: String,
    /// Of this process, and of no other ever.
    pub identity: String,
    /// Who reports the Events, `default-scheduler` say.
    pub component: String,
    pub timing: Timing,
    /// The Lease is given up when the work is done, so that the next one need not wait.
    pub release: bool,
}

impl Standing {
    /// With the times that every Kubernetes component has, as this machine's name and a number drawn for this process.
    pub fn new(namespace: &str, name: &str, component: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity(),
            component: component.to_owned(),
            timing: Timing::default(),
            release: true,
        }
    }
}

/// The process does not lead any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not lead any more: {loss} (Lease {namespace}/{name})")]
pub struct Lost {
    pub namespace: String,
    pub name: String,
    pub loss: Loss,
}

/// Waits until this process leads, and works for as long as it does. To drop this ends the candidacy, or the lead.
///
/// # Errors
/// The Lease was lost. The work was dropped where it stood; what it began elsewhere asks [`Leading::holds`].
pub async fn lead<W: Future>(
    api: Arc<dyn Api>,
    standing: Standing,
    work: impl FnOnce(Leading) -> W,
) -> Result<W::Output, Lost> {
    let mut candidate = Candidate::new(api, standing);
    let leading = candidate.win().await;
    let lease = candidate.lease().clone();
    // In a task of its own: work that keeps its task busy must not cost the Lease.
    let mut term = Term { leading: leading.clone(), renewal: tokio::spawn(candidate.keep()) };
    // It would wait for this very thread, were the work to keep it busy from here on: what is spawned last runs on the
    // thread that spawned it.
    tokio::task::yield_now().await;
    tokio::select! {
        // Work that ended in the moment of the loss was done all the same.
        biased;
        done = work(leading) => {
            drop(term);
            lease.end().await;
            Ok(done)
        }
        ended = &mut term.renewal => {
            let (namespace, name) = (lease.standing.namespace.clone(), lease.standing.name.clone());
            Err(Lost { namespace, name, loss: ended.unwrap_or(Loss::Late) })
        }
    }
}

/// The time of a leader. With it ends the lead, whoever else still holds a [`Leading`].
struct Term {
    leading: Leading,
    renewal: JoinHandle<Loss>,
}

impl Drop for Term {
    fn drop(&mut self) {
        self.leading.end();
        self.renewal.abort();
    }
}

/// This machine's name, and a number drawn for this process.
fn identity() -> String {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    let host = read("/proc/sys/kernel/hostname").unwrap_or_default();
    // Without /proc the process and the time tell it apart.
    let unique = read("/proc/sys/kernel/random/uuid")
        .unwrap_or_else(|_| format!("{}-{}", std::process::id(), sys::since_boot().as_nanos()));
    format!("{host}_{unique}")
}
