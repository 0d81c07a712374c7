//! What another mode, or kube-proxy, left here goes as soon as our own rules are complete.
//!
//! Until then both serve: a connection is translated by whichever sees it first, and keeps its endpoint when the other's
//! rules go.

use host::error::HostError;
use host::nftables::{Batch, Family as NftFamily, Nftables, TableId};

use super::start;
use crate::backends::iptables::IptablesBackend;
use crate::backends::nftables::NftablesBackend;
use crate::backends::{Backend, BackendError};
use crate::error::chain;
use crate::options::{Mode, Options};

/// Removes everything that serves the same services in another way. What cannot be removed is said, and stays.
pub(super) fn leave_others(options: &Options) {
    let outcome = match options.mode {
        Mode::Nftables => remove_iptables(options),
        Mode::Iptables => remove_nftables(options),
    };
    for error in [outcome.err(), remove_kube_proxy().err()].into_iter().flatten() {
        tracing::warn!(error = chain(&error), "rules of another mode stay, and go on serving beside ours");
    }
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
    let mut nf = Nftables::connect()?;
    let there = nf.tables()?;
    let mut batch = Batch::new();
    for family in [NftFamily::Ip, NftFamily::Ip6] {
        let id = TableId::new(family, "kube-proxy");
        if there.iter().any(|table| table.id == id) {
            batch.no_table(&id);
        }
    }
    Ok(nf.apply(&batch)?)
}
