//! `--cleanup`: nothing of ours stays in the kernel.

use super::switch;
use crate::error::ProxyError;
use crate::options::{Mode, Options, Source};

/// Removes every rule of this proxy and of kube-proxy, whatever mode wrote it.
///
/// Where the command line names a mode, only what this proxy writes in that mode goes, so that kube-proxy can serve
/// beside it: in nftables mode our tables, in iptables mode the chains that bear kube-proxy's names.
///
/// # Errors
/// The first of what could not be removed; the rest has been.
pub fn cleanup(options: &Options) -> Result<(), ProxyError> {
    let named = matches!(options.settings.get("mode").source, Source::Flag(_)).then_some(options.mode);
    let nftables = if named == Some(Mode::Iptables) { Ok(()) } else { switch::remove_nftables(options) };
    let iptables = if named == Some(Mode::Nftables) { Ok(()) } else { switch::remove_iptables(options) };
    let kube_proxy = if named.is_some() { Ok(()) } else { switch::remove_kube_proxy() };
    nftables.and(iptables).and(kube_proxy)?;
    tracing::info!(mode = named.map_or("all", Mode::as_str), "the rules are removed");
    Ok(())
}
