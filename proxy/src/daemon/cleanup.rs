//! `--cleanup`: nothing of ours stays in the kernel.

use crate::backends::BackendError;
use crate::error::ProxyError;
use crate::modes::leftovers::{Look, Owner, look, remove};
use crate::options::{Options, Source};

/// Removes every rule of this proxy and of kube-proxy, whatever mode wrote it.
///
/// Where the command line names a mode, only what this proxy writes in that mode goes, so that kube-proxy can serve
/// beside it: in nftables mode our tables, in iptables mode the chains that bear kube-proxy's names.
///
/// # Errors
/// The first of what could not be looked at or removed; the rest has been.
pub fn cleanup(options: &Options) -> Result<(), ProxyError> {
    let named = matches!(options.settings.get("mode").source, Source::Flag(_)).then_some(options.mode);
    let Look { mut found, unseen } = match named {
        Some(mode) => mode.find(&[]),
        None => look(&[]),
    };
    found.retain(|leftover| named.is_none() || leftover.owner != Owner::KubeProxy);
    let mut trouble = remove(found);
    trouble.extend(unseen.iter().map(ToString::to_string));
    for text in &trouble {
        tracing::warn!("{text}");
    }
    if let Some(text) = trouble.into_iter().next() {
        return Err(BackendError::Left(text).into());
    }
    tracing::info!(mode = named.map_or("all", |mode| mode.as_str()), "the rules are removed");
    Ok(())
}
