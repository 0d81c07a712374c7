//! What another mode, or kube-proxy, left here goes as soon as our own rules are complete.
//!
//! Until then both serve: a connection is translated by whichever sees it first, and keeps its endpoint when the other's
//! rules go. Complete means that the kernel was looked at again and found to hold everything. Begin at [`leave_others`].
//! Never: takes anything away before that, or keeps the loop waiting meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use host::command::System;
use host::error::HostError;
use host::iptables::{Flavour, Flush, Iptables, survey};
use host::nftables::{Batch, Family as NftFamily, Nftables, TableId};
use proxy_core::names::Family;
use tokio::sync::mpsc;

use super::questions::{self, Question};
use super::start;
use crate::backends::iptables::{self, IptablesBackend, restore};
use crate::backends::nftables::{NftablesBackend, layout};
use crate::backends::{Backend, BackendError};
use crate::error::chain;
use crate::options::Options;

/// Between two attempts: at first, and at last.
const WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Removes everything that serves the same services in another way: rules of the other mode, of the other flavour of
/// iptables, and of kube-proxy. Tries until nothing is left; what stands in the way is said once.
pub(super) async fn leave_others(in_use: InUse, ask: mpsc::Sender<Question>) {
    let (mut wait, mut said) = (WAIT.0, String::new());
    loop {
        let why = match attempt(&in_use, &ask).await {
            Ok(Left::Nothing) => return,
            Ok(Left::Removed) => {
                tracing::info!("the rules of another mode, or of kube-proxy, are removed");
                return;
            }
            // The syncer says what is missing.
            Ok(Left::Unverified) => String::new(),
            Err(error) => chain(&error),
        };
        if !why.is_empty() && why != said {
            tracing::warn!(why, "rules of another mode stay for now, and serve beside ours");
            said = why;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT.1);
    }
}

/// What this proxy writes.
#[derive(Clone, Debug)]
pub(super) enum InUse {
    Nftables,
    Iptables(BTreeMap<Family, Flavour>),
}

impl InUse {
    pub fn iptables(backend: &IptablesBackend) -> Self {
        let flavours = Family::BOTH.into_iter().filter_map(|family| Some((family, backend.flavour(family)?)));
        Self::Iptables(flavours.collect())
    }

    fn is(&self, family: Family, flavour: Flavour) -> bool {
        matches!(self, Self::Iptables(flavours) if flavours.get(&family) == Some(&flavour))
    }
}

enum Left {
    Nothing,
    Removed,
    /// The kernel does not hold all of our own rules.
    Unverified,
}

async fn attempt(in_use: &InUse, ask: &mpsc::Sender<Question>) -> Result<Left, BackendError> {
    let in_use = in_use.clone();
    let others = on_thread(move || Others::find(&in_use)).await?;
    if others.is_empty() {
        return Ok(Left::Nothing);
    }
    if !questions::is_whole(ask).await {
        return Ok(Left::Unverified);
    }
    on_thread(move || others.remove()).await?;
    Ok(Left::Removed)
}

/// Where blocking does no harm.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// What serves services here besides the mode in use.
struct Others {
    tables: Vec<TableId>,
    iptables: Vec<(Iptables, restore::Text)>,
}

impl Others {
    fn find(in_use: &InUse) -> Result<Self, BackendError> {
        let tables = tables_named(match in_use {
            InUse::Nftables => &[KUBE_PROXY],
            InUse::Iptables(_) => &[KUBE_PROXY, layout::TABLE],
        });
        let mut others = Self { tables: tables?, iptables: Vec::new() };
        for family in start::families() {
            let found = match survey(Arc::new(System), iptables::program_family(family)) {
                Ok(found) => found,
                // Who has no such tools has no such rules either.
                Err(HostError::NoProgram { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            for found in found.into_iter().filter(|found| !in_use.is(family, found.tool.flavour)) {
                // A flavour that this kernel does not have holds nothing.
                let text = found.saved.as_ref().map(restore::removal).unwrap_or_default();
                if !text.is_empty() {
                    others.iptables.push((found.tool, text));
                }
            }
        }
        Ok(others)
    }

    fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.iptables.is_empty()
    }

    /// Everything that can be; the first failure is returned.
    fn remove(self) -> Result<(), BackendError> {
        let mut outcome = remove_tables(&self.tables);
        for (tool, text) in self.iptables {
            let removed = tool.restore(&text.to_string(), Flush::Declared);
            outcome = outcome.and(removed.map_err(Into::into));
        }
        outcome
    }
}

/// The table of kube-proxy's nftables mode.
const KUBE_PROXY: &str = "kube-proxy";

/// Those of these tables that there are.
fn tables_named(names: &[&str]) -> Result<Vec<TableId>, BackendError> {
    let there = match Nftables::connect()?.tables() {
        Ok(there) => there,
        // A kernel without nf_tables.
        Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let ours = |id: &TableId| {
        matches!(id.family, NftFamily::Ip | NftFamily::Ip6) && names.contains(&id.name.as_str())
    };
    Ok(there.into_iter().map(|table| table.id).filter(ours).collect())
}

fn remove_tables(tables: &[TableId]) -> Result<(), BackendError> {
    let mut batch = Batch::new();
    for table in tables {
        batch.no_table(table);
    }
    if batch.is_empty() {
        return Ok(());
    }
    Ok(Nftables::connect()?.apply(&batch)?)
}

pub(super) fn remove_nftables(options: &Options) -> Result<(), BackendError> {
    NftablesBackend::open(&start::families(), start::nftables_settings(options))?.remove()
}

/// Those of kube-proxy's iptables mode bear the same names, and go too.
pub(super) fn remove_iptables(options: &Options) -> Result<(), BackendError> {
    match IptablesBackend::open(&start::families(), start::iptables_settings(options)) {
        Ok(mut backend) => backend.remove(),
        // Who has no such tools has no such rules either.
        Err(BackendError::Host(HostError::NoProgram { .. })) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The tables of kube-proxy's nftables mode.
pub(super) fn remove_kube_proxy() -> Result<(), BackendError> {
    remove_tables(&tables_named(&[KUBE_PROXY])?)
}
