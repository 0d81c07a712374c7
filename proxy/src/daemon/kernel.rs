//! Settings of the kernel that the options ask for: limits of connection tracking and the like.
//!
//! Owns: setting them at the start, and again where the kernel did not have them yet: those of connection tracking
//! appear when the first rule needs it. Begin at [`KernelSettings::apply`].
//! Never: keeps the proxy from starting. In a container the settings may be read-only.

use host::sysctl;

use crate::error::chain;
use crate::options::{Conntrack, Options};

/// What is not set yet.
#[derive(Debug)]
pub(super) struct KernelSettings {
    conntrack: Conntrack,
    cpus: usize,
    /// Settings that the kernel did not have: path below /proc/sys, and value.
    missing: Vec<(String, String)>,
    widened: bool,
    said: bool,
}

impl KernelSettings {
    /// Sets what can be set.
    pub fn apply(options: &Options) -> Self {
        let score = options.oom_score_adj.to_string();
        if let Err(error) = std::fs::write("/proc/self/oom_score_adj", score) {
            tracing::warn!(%error, "the out-of-memory score stays as it is");
        }
        let conntrack = options.conntrack;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let wanted = conntrack.sysctls(cpus).into_iter();
        let missing = wanted
            .map(|wanted| (format!("net/netfilter/{}", wanted.name), wanted.value.to_string()))
            .collect();
        let mut settings = Self { conntrack, cpus, missing, widened: false, said: false };
        settings.set();
        settings
    }

    /// Nothing to set.
    #[cfg(test)]
    pub fn none() -> Self {
        Self { conntrack: Conntrack::default(), cpus: 1, missing: Vec::new(), widened: true, said: false }
    }

    /// After a pass: tries again what the kernel did not have before.
    pub fn again(&mut self) {
        if self.missing.is_empty() {
            return;
        }
        self.set();
        if !self.missing.is_empty() && !std::mem::replace(&mut self.said, true) {
            let missing: Vec<&str> = self.missing.iter().map(|(key, _)| &**key).collect();
            tracing::warn!(
                settings = missing.join(", "),
                "this kernel does not have these settings; they are set should they appear"
            );
        }
    }

    fn set(&mut self) {
        self.missing.retain(|(key, value)| match sysctl::ensure(key, value) {
            Ok(true) => {
                tracing::info!(sysctl = key, value, "set");
                false
            }
            Ok(false) => false,
            Err(error) if error.errno() == Some(libc::ENOENT) => true,
            Err(error) => {
                tracing::warn!(sysctl = key, value, error = chain(&error), "not set");
                false
            }
        });
        if self.missing.is_empty() && !std::mem::replace(&mut self.widened, true) {
            widen_conntrack(&self.conntrack, self.cpus);
        }
    }
}

/// Where the kernel has the size of its table of connections.
const BUCKETS: &str = "/sys/module/nf_conntrack/parameters/hashsize";

/// A table of too few buckets makes every look-up slow. Only the machine's own network namespace may write it.
fn widen_conntrack(conntrack: &Conntrack, cpus: usize) {
    // As kube-proxy: who may not set the limit leaves its table alone too.
    let limit = sysctl::read("net/netfilter/nf_conntrack_max").ok().and_then(|text| text.trim().parse().ok());
    if limit != conntrack.max(cpus) {
        return;
    }
    let have = std::fs::read_to_string(BUCKETS).ok().and_then(|text| text.trim().parse().ok());
    let Some(wanted) = have.and_then(|have| conntrack.buckets(cpus, have)) else { return };
    match std::fs::write(BUCKETS, wanted.to_string()) {
        Ok(()) => tracing::info!(buckets = wanted, "the table of connections is widened"),
        Err(error) => tracing::warn!(%error, buckets = wanted, "{BUCKETS} stays as it is"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_the_kernel_does_not_have_yet_is_tried_again() {
        let wanted = |key: &str| (key.to_owned(), "1".to_owned());
        let mut settings = KernelSettings::none();
        settings.missing = vec![wanted("net/netfilter/weft_nothing"), wanted("kernel/ostype")];
        settings.again();
        // What it has and does not let us set is no use trying.
        assert_eq!(settings.missing, [wanted("net/netfilter/weft_nothing")]);
        assert!(settings.said);
    }
}
