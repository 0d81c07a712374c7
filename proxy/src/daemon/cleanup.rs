//! `--cleanup`: nothing of ours stays in the kernel.

use super::start;
use crate::backends::Backend;
use crate::backends::nftables::NftablesBackend;
use crate::error::ProxyError;
use crate::options::Options;

/// Removes every rule of this proxy, whatever mode wrote it.
///
/// # Errors
/// The kernel refuses.
pub fn cleanup(options: &Options) -> Result<(), ProxyError> {
    NftablesBackend::open(&start::families(), start::nftables_settings(options))?.remove()?;
    tracing::info!("our rules are removed");
    Ok(())
}
