//! What kube-proxy has in one of its modes only, and is registered in that mode only.

use telemetry::metrics::Registry;
use telemetry::metrics::metrics::counter::Counter;
use telemetry::metrics::metrics::family::Family;
use telemetry::metrics::metrics::gauge::Gauge;

use super::labels::{Label, Labels};

#[derive(Clone, Debug, Default)]
pub(super) struct Iptables {
    pub restore_failures: Family<Label, Counter>,
    pub partial_restore_failures: Family<Label, Counter>,
    pub rules: Family<Labels, Gauge>,
    pub rules_last: Family<Labels, Gauge>,
}

impl Iptables {
    pub fn register(&self, to: &mut Registry) {
        to.register(
            "sync_proxy_rules_iptables_restore_failures",
            "Failures of iptables-restore",
            self.restore_failures.clone(),
        );
        to.register(
            "sync_proxy_rules_iptables_partial_restore_failures",
            "Failures of iptables-restore in a partial sync",
            self.partial_restore_failures.clone(),
        );
        to.register(
            "sync_proxy_rules_iptables_total",
            "iptables rules of this proxy in the kernel, when they were counted last",
            self.rules.clone(),
        );
        to.register(
            "sync_proxy_rules_iptables_last",
            "iptables rules written by the last sync",
            self.rules_last.clone(),
        );
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Nftables {
    pub sync_failures: Family<Label, Counter>,
}

impl Nftables {
    pub fn register(&self, to: &mut Registry) {
        to.register(
            "sync_proxy_rules_nftables_sync_failures",
            "Failures of nftables syncs",
            self.sync_failures.clone(),
        );
    }
}
