//! `--cleanup`: nothing of ours stays in the kernel.

use super::switch;
use crate::error::ProxyError;
use crate::options::Options;

/// Removes every rule of this proxy and of kube-proxy, whatever mode wrote it.
///
/// # Errors
/// The first of what could not be removed; the rest has been.
pub fn cleanup(options: &Options) -> Result<(), ProxyError> {
    let nftables = switch::remove_nftables(options);
    let iptables = switch::remove_iptables(options);
    let kube_proxy = switch::remove_kube_proxy();
    nftables.and(iptables).and(kube_proxy)?;
    tracing::info!("the rules are removed");
    Ok(())
}
