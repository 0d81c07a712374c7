//! All fields of KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1) as data.
//!
//! Names, kinds and defaults are those of kube-proxy 1.36 (k8s.io/kube-proxy/config/v1alpha1 and its defaults);
//! the mode is ours. The file's reader, --write-config-to, /configz and the flags derive from this table.

use goflags::Kind::{
    self, Duration, DurationOrNanos, Float, Gates, Int32, List, Modules, Size, Switch, Text,
};
use goflags::{Field, Former};

pub const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
pub const KIND: &str = "KubeProxyConfiguration";

const fn field(path: &'static str, kind: Kind, default: &'static str) -> Field {
    Field::new(path, kind, default)
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
    field("featureGates", Gates, "").idle(NO_GATES),
    field("clientConnection.kubeconfig", Text, ""),
    field("clientConnection.acceptContentTypes", Text, "").idle(JSON_ONLY),
    field("clientConnection.contentType", Text, "application/vnd.kubernetes.protobuf")
        .zero_is_default()
        .idle(JSON_ONLY),
    field("clientConnection.qps", Float, "5").zero_is_default().idle(NO_LIMIT),
    field("clientConnection.burst", Int32, "10").zero_is_default().idle(NO_LIMIT),
    field("logging.format", Text, "text").zero_is_default().idle("logs are text with fields"),
    field("logging.flushFrequency", DurationOrNanos, "5s").zero_is_default().idle(OWN_LOGS),
    field("logging.verbosity", Int32, "0"),
    field("logging.vmodule", Modules, "")
        .idle("use RUST_LOG for single modules, for instance RUST_LOG=proxy::feeds=debug"),
    field("logging.options.text.splitStream", Switch, "false").idle(OWN_LOGS),
    field("logging.options.text.infoBufferSize", Size, "0").idle(OWN_LOGS),
    field("logging.options.json.splitStream", Switch, "false").idle(OWN_LOGS),
    field("logging.options.json.infoBufferSize", Size, "0").idle(OWN_LOGS),
    field("hostnameOverride", Text, ""),
    field("bindAddress", Text, "0.0.0.0").zero_is_default(),
    field("healthzBindAddress", Text, "0.0.0.0:10256").zero_is_default(),
    field("metricsBindAddress", Text, "127.0.0.1:10249").zero_is_default(),
    field("bindAddressHardFail", Switch, "false"),
    field("enableProfiling", Switch, "false").idle("there is no /debug/pprof; use perf"),
    field("showHiddenMetricsForVersion", Text, "").idle("no metric is hidden"),
    field("mode", Text, ""),
    field("iptables.masqueradeBit", Int32, "14"),
    field("iptables.masqueradeAll", Switch, "false"),
    field("iptables.localhostNodePorts", Switch, "true"),
    field("iptables.syncPeriod", Duration, "30s").zero_is_default(),
    field("iptables.minSyncPeriod", Duration, "1s").zero_is_default(),
    field("ipvs.syncPeriod", Duration, "30s").zero_is_default().idle(NO_IPVS),
    field("ipvs.minSyncPeriod", Duration, "1s").zero_is_default().idle(NO_IPVS),
    field("ipvs.scheduler", Text, "").idle(NO_IPVS),
    field("ipvs.excludeCIDRs", List, "").idle(NO_IPVS),
    field("ipvs.strictARP", Switch, "false").idle(NO_IPVS),
    field("ipvs.tcpTimeout", Duration, "0s").idle(NO_IPVS),
    field("ipvs.tcpFinTimeout", Duration, "0s").idle(NO_IPVS),
    field("ipvs.udpTimeout", Duration, "0s").idle(NO_IPVS),
    field("nftables.masqueradeBit", Int32, "14"),
    field("nftables.masqueradeAll", Switch, "false"),
    field("nftables.syncPeriod", Duration, "30s").zero_is_default(),
    field("nftables.minSyncPeriod", Duration, "1s").zero_is_default(),
    field("winkernel.networkName", Text, "").idle(NO_WINDOWS),
    field("winkernel.sourceVip", Text, "").idle(NO_WINDOWS),
    field("winkernel.enableDSR", Switch, "false").idle(NO_WINDOWS),
    field("winkernel.rootHnsEndpointName", Text, "").idle(NO_WINDOWS),
    field("winkernel.forwardHealthCheckVip", Switch, "false").idle(NO_WINDOWS),
    field("detectLocalMode", Text, ""),
    field("detectLocal.bridgeInterface", Text, ""),
    field("detectLocal.interfaceNamePrefix", Text, ""),
    field("clusterCIDR", Text, ""),
    field("nodePortAddresses", List, ""),
    field("oomScoreAdj", Int32, "-999"),
    field("conntrack.maxPerCore", Int32, "32768"),
    field("conntrack.min", Int32, "131072"),
    field("conntrack.tcpEstablishedTimeout", Duration, "24h0m0s"),
    field("conntrack.tcpCloseWaitTimeout", Duration, "1h0m0s"),
    field("conntrack.tcpBeLiberal", Switch, "false"),
    field("conntrack.udpTimeout", Duration, "0s"),
    field("conntrack.udpStreamTimeout", Duration, "0s"),
    field("configSyncPeriod", Duration, "15m0s").zero_is_default().idle(NO_RESYNC),
    field("portRange", Text, "").idle("it belonged to the userspace mode, which is gone"),
    field("windowsRunAsService", Switch, "false").idle(NO_WINDOWS),
];

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
