//! All fields of KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1) as data.
//!
//! Names, kinds and defaults are those of kube-proxy 1.36 (k8s.io/kube-proxy/config/v1alpha1 and its defaults);
//! the mode is ours. The file's reader, --write-config-to, /configz and the flags derive from this table.

use super::kind::Kind::{self, *};

pub const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
pub const KIND: &str = "KubeProxyConfiguration";

/// Whether a field does something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Full,
    /// Accepted, and does nothing: why.
    None(&'static str),
}

/// One field.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Names from the top, with points between.
    pub path: &'static str,
    pub kind: Kind,
    /// As it would be written in a flag.
    pub default: &'static str,
    /// A zero or empty value in the file means the default (the original cannot tell the two apart).
    pub zero_is_default: bool,
    pub effect: Effect,
}

const fn field(path: &'static str, kind: Kind, default: &'static str) -> Field {
    Field { path, kind, default, zero_is_default: false, effect: Effect::Full }
}

impl Field {
    const fn zero_is_default(self) -> Self {
        Self { zero_is_default: true, ..self }
    }

    const fn without_effect(self, reason: &'static str) -> Self {
        Self { effect: Effect::None(reason), ..self }
    }
}

const JSON_ONLY: &str = "objects are always asked for as JSON";
const NO_LIMIT: &str = "four lists and four watches need no limit of requests";
const OWN_LOGS: &str = "logs are written as they come, to standard error";
const NO_GATES: &str = "there are no feature gates";
const NO_IPVS: &str = "there is no ipvs mode";
const NO_WINDOWS: &str = "this is for Linux";
const NO_RESYNC: &str = "what the kernel holds is compared when it changes, not when a period ends";

/// All of them.
pub static FIELDS: &[Field] = &[
    field("featureGates", Gates, "").without_effect(NO_GATES),
    field("clientConnection.kubeconfig", Text, ""),
    field("clientConnection.acceptContentTypes", Text, "").without_effect(JSON_ONLY),
    field("clientConnection.contentType", Text, "application/vnd.kubernetes.protobuf")
        .zero_is_default()
        .without_effect(JSON_ONLY),
    field("clientConnection.qps", Float, "5").zero_is_default().without_effect(NO_LIMIT),
    field("clientConnection.burst", Integer, "10").zero_is_default().without_effect(NO_LIMIT),
    field("logging.format", Text, "text").zero_is_default().without_effect("logs are text with fields"),
    field("logging.flushFrequency", DurationOrNanos, "5s").zero_is_default().without_effect(OWN_LOGS),
    field("logging.verbosity", Integer, "0"),
    field("logging.vmodule", Modules, "")
        .without_effect("use RUST_LOG for single modules, for instance RUST_LOG=proxy::feeds=debug"),
    field("logging.options.text.splitStream", Switch, "false").without_effect(OWN_LOGS),
    field("logging.options.text.infoBufferSize", Size, "0").without_effect(OWN_LOGS),
    field("logging.options.json.splitStream", Switch, "false").without_effect(OWN_LOGS),
    field("logging.options.json.infoBufferSize", Size, "0").without_effect(OWN_LOGS),
    field("hostnameOverride", Text, ""),
    field("bindAddress", Text, "0.0.0.0").zero_is_default(),
    field("healthzBindAddress", Text, "0.0.0.0:10256").zero_is_default(),
    field("metricsBindAddress", Text, "127.0.0.1:10249").zero_is_default(),
    field("bindAddressHardFail", Switch, "false"),
    field("enableProfiling", Switch, "false").without_effect("there is no /debug/pprof; use perf"),
    field("showHiddenMetricsForVersion", Text, "").without_effect("no metric is hidden"),
    field("mode", Text, ""),
    field("iptables.masqueradeBit", Integer, "14"),
    field("iptables.masqueradeAll", Switch, "false"),
    field("iptables.localhostNodePorts", Switch, "true"),
    field("iptables.syncPeriod", Duration, "30s").zero_is_default(),
    field("iptables.minSyncPeriod", Duration, "1s").zero_is_default(),
    field("ipvs.syncPeriod", Duration, "30s").zero_is_default().without_effect(NO_IPVS),
    field("ipvs.minSyncPeriod", Duration, "1s").zero_is_default().without_effect(NO_IPVS),
    field("ipvs.scheduler", Text, "").without_effect(NO_IPVS),
    field("ipvs.excludeCIDRs", List, "").without_effect(NO_IPVS),
    field("ipvs.strictARP", Switch, "false").without_effect(NO_IPVS),
    field("ipvs.tcpTimeout", Duration, "0s").without_effect(NO_IPVS),
    field("ipvs.tcpFinTimeout", Duration, "0s").without_effect(NO_IPVS),
    field("ipvs.udpTimeout", Duration, "0s").without_effect(NO_IPVS),
    field("nftables.masqueradeBit", Integer, "14"),
    field("nftables.masqueradeAll", Switch, "false"),
    field("nftables.syncPeriod", Duration, "30s").zero_is_default(),
    field("nftables.minSyncPeriod", Duration, "1s").zero_is_default(),
    field("winkernel.networkName", Text, "").without_effect(NO_WINDOWS),
    field("winkernel.sourceVip", Text, "").without_effect(NO_WINDOWS),
    field("winkernel.enableDSR", Switch, "false").without_effect(NO_WINDOWS),
    field("winkernel.rootHnsEndpointName", Text, "").without_effect(NO_WINDOWS),
    field("winkernel.forwardHealthCheckVip", Switch, "false").without_effect(NO_WINDOWS),
    field("detectLocalMode", Text, ""),
    field("detectLocal.bridgeInterface", Text, ""),
    field("detectLocal.interfaceNamePrefix", Text, ""),
    field("clusterCIDR", Text, ""),
    field("nodePortAddresses", List, ""),
    field("oomScoreAdj", Integer, "-999"),
    field("conntrack.maxPerCore", Integer, "32768"),
    field("conntrack.min", Integer, "131072"),
    field("conntrack.tcpEstablishedTimeout", Duration, "24h0m0s"),
    field("conntrack.tcpCloseWaitTimeout", Duration, "1h0m0s"),
    field("conntrack.tcpBeLiberal", Switch, "false"),
    field("conntrack.udpTimeout", Duration, "0s"),
    field("conntrack.udpStreamTimeout", Duration, "0s"),
    field("configSyncPeriod", Duration, "15m0s").zero_is_default().without_effect(NO_RESYNC),
    field("portRange", Text, "").without_effect("it belonged to the userspace mode, which is gone"),
    field("windowsRunAsService", Switch, "false").without_effect(NO_WINDOWS),
];

/// The field of that path.
pub fn find(path: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.path == path)
}

/// Whether some field lies below that path.
pub fn is_section(path: &str) -> bool {
    FIELDS.iter().any(|field| field.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// A field that KubeProxyConfiguration v1alpha1 once had. Files of those days still run, as with kube-proxy.
#[derive(Debug)]
pub struct Former {
    pub path: &'static str,
    /// The first release without it.
    pub until: &'static str,
    /// What does its work now.
    pub instead: &'static str,
}

/// All of them, from the type's history (staging/src/k8s.io/kube-proxy/config/v1alpha1/types.go).
pub static FORMER: &[Former] = &[
    Former {
        path: "conntrack.max",
        until: "Kubernetes 1.13",
        instead: "conntrack.maxPerCore and conntrack.min decide",
    },
    Former {
        path: "resourceContainer",
        until: "Kubernetes 1.16",
        instead: "a systemd unit or the DaemonSet says which cgroup the proxy runs in",
    },
    Former {
        path: "udpIdleTimeout",
        until: "Kubernetes 1.27",
        instead: "it was of the userspace mode; conntrack.udpTimeout is how long the kernel keeps a flow",
    },
    Former { path: "logging.sanitization", until: "Kubernetes 1.24", instead: "no secret is logged" },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        let paths: BTreeSet<_> = FIELDS.iter().map(|field| field.path).collect();
        assert_eq!(paths.len(), FIELDS.len(), "paths are distinct");
        for field in FIELDS {
            let value = field.kind.from_text(field.default);
            assert!(value.is_some_and(|value| field.kind.from_file(&value).is_some()), "{}", field.path);
            assert!(!is_section(field.path), "{}", field.path);
        }
    }
}
