//! `--cleanup`: nothing of ours stays in the kernel.

use super::start;
use crate::backends::iptables::IptablesBackend;
use crate::backends::nftables::NftablesBackend;
use crate::backends::{Backend, BackendError};
use crate::error::{ProxyError, chain};
use crate::options::Options;
use host::error::HostError;

/// Removes every rule of this proxy, whatever mode wrote it. What kube-proxy wrote in its iptables mode bears the same
/// names and goes too.
///
/// # Errors
/// The first of what could not be removed; the rest has been.
pub fn cleanup(options: &Options) -> Result<(), ProxyError> {
    let families = start::families();
    let nftables = NftablesBackend::open(&families, start::nftables_settings(options))
        .and_then(|mut backend| backend.remove());
    let iptables = IptablesBackend::open(&families, start::iptables_settings(options))
        .and_then(|mut backend| backend.remove());
    let iptables = match iptables {
        // Who has no such tools has no such rules either.
        Err(BackendError::Host(error @ HostError::NoProgram { .. })) => {
            tracing::debug!(error = chain(&error), "no iptables");
            Ok(())
        }
        done => done,
    };
    nftables.and(iptables)?;
    tracing::info!("our rules are removed");
    Ok(())
}
