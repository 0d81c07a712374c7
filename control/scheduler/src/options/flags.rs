//! All flags as data. Names and kinds are kube-scheduler 1.36's; the help is ours.

use goflags::Flag;
use goflags::Kind::{self, Duration, Float, Gates, Int32, List, Map, Modules, Repeated, Size, Switch, Text};

const SERVER: &str = "The API server";
const WORK: &str = "Scheduling";
const LEADER: &str = "Leader election";
const SERVING: &str = "Health and metrics";
const LOGS: &str = "Logs";
pub const IDLE: &str = "kube-scheduler's flags without effect here";

/// The headings of the help, in its order.
pub static GROUPS: &[&str] = &[SERVER, WORK, LEADER, SERVING, LOGS, IDLE];

const fn own(name: &'static str, kind: Kind, group: &'static str, default: &'static str) -> Flag {
    Flag::new(name, kind, default, group)
}

const fn idle(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Flag {
    own(name, kind, IDLE, default).idle(why)
}

const PACE: &str = "writes bend to the server's load instead of a fixed rate";
const PLAIN: &str = "health and metrics are served over HTTP without TLS";
const OPEN: &str = "health and metrics are open to whoever reaches --bind-address";
const LOG: &str = "logs have one form: text on standard error";
const SHOWN: &str = "all metrics are shown";

/// All of them.
pub static FLAGS: &[Flag] = &[
    own("kubeconfig", Text, SERVER, "").metavar("FILE").help(
        "Address and credentials of the API server. Without it and without --master: those of the pod this runs \
         in. Not used where --config is given: the file has a field for it.",
    ),
    own("master", Text, SERVER, "")
        .metavar("URL")
        .help("Address of the API server, instead of the one in the kubeconfig."),
    own("config", Text, WORK, "").metavar("FILE").help(
        "A KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1), as YAML or JSON: profiles, plugins and \
         their settings, extenders.",
    ),
    own("pod-max-in-unschedulable-pods-duration", Duration, WORK, "5m0s")
        .help("A pod that nothing has helped for so long is tried again."),
    own("leader-elect", Switch, LEADER, "true")
        .help("Schedule only while holding the Lease, so that of several schedulers one is active."),
    own("leader-elect-lease-duration", Duration, LEADER, "15s")
        .help("Others take over when the Lease was not renewed for so long: whole seconds."),
    own("leader-elect-renew-deadline", Duration, LEADER, "10s")
        .help("A leader that cannot renew for so long stops."),
    own("leader-elect-retry-period", Duration, LEADER, "2s").help("Between two attempts to get or renew the Lease."),
    own("leader-elect-resource-name", Text, LEADER, "kube-scheduler").help("Name of the Lease."),
    own("leader-elect-resource-namespace", Text, LEADER, "kube-system").help("Namespace of the Lease."),
    own("bind-address", Text, SERVING, "127.0.0.1").metavar("IP").help(
        "Where /healthz, /livez, /readyz and /metrics are served, over HTTP without TLS; kube-scheduler's default \
         is 0.0.0.0.",
    ),
    own("secure-port", Int32, SERVING, "10259").metavar("PORT").help("The port of it; 0: serve nothing."),
    own("v", Int32, LOGS, "0").letter('v').help("How much is logged: 0 what changes, 4 and more every decision."),
    own("version", Text, LOGS, "false").command().stands_alone().help("Print the version and exit."),
    idle("write-config-to", Text, "", "the configuration is logged at start"),
    idle("leader-elect-resource-lock", Text, "leases", "only leases are used"),
    idle("kube-api-qps", Float, "50", PACE),
    idle("kube-api-burst", Int32, "100", PACE),
    idle("kube-api-content-type", Text, "application/vnd.kubernetes.protobuf", "requests are JSON"),
    idle("profiling", Switch, "true", "Go's profiler has no counterpart here"),
    idle("contention-profiling", Switch, "true", "Go's profiler has no counterpart here"),
    idle("feature-gates", Gates, "", "what is here is on"),
    idle("emulated-version", List, "", "this is one version"),
    idle("min-compatibility-version", List, "", "this is one version"),
    idle("cert-dir", Text, "", PLAIN),
    idle("tls-cert-file", Text, "", PLAIN),
    idle("tls-private-key-file", Text, "", PLAIN),
    idle("tls-cipher-suites", List, "", PLAIN),
    idle("tls-curve-preferences", List, "", PLAIN),
    idle("tls-min-version", Text, "", PLAIN),
    idle("tls-sni-cert-key", Repeated, "", PLAIN),
    idle("disable-http2-serving", Switch, "false", PLAIN),
    idle("http2-max-streams-per-connection", Int32, "0", PLAIN),
    idle("permit-port-sharing", Switch, "false", "a second scheduler has a port of its own"),
    idle("permit-address-sharing", Switch, "false", "a second scheduler has a port of its own"),
    idle("client-ca-file", Text, "", OPEN),
    idle("authentication-kubeconfig", Text, "", OPEN),
    idle("authentication-skip-lookup", Switch, "false", OPEN),
    idle("authentication-token-webhook-cache-ttl", Duration, "10s", OPEN),
    idle("authentication-tolerate-lookup-failure", Switch, "true", OPEN),
    idle("authorization-kubeconfig", Text, "", OPEN),
    idle("authorization-always-allow-paths", List, "/healthz,/readyz,/livez", OPEN),
    idle("authorization-webhook-cache-authorized-ttl", Duration, "10s", OPEN),
    idle("authorization-webhook-cache-unauthorized-ttl", Duration, "10s", OPEN),
    idle("requestheader-allowed-names", List, "", OPEN),
    idle("requestheader-client-ca-file", Text, "", OPEN),
    idle("requestheader-extra-headers-prefix", List, "x-remote-extra-", OPEN),
    idle("requestheader-group-headers", List, "x-remote-group", OPEN),
    idle("requestheader-uid-headers", List, "", OPEN),
    idle("requestheader-username-headers", List, "x-remote-user", OPEN),
    idle("show-hidden-metrics-for-version", Text, "", SHOWN),
    idle("disabled-metrics", List, "", SHOWN),
    idle("allow-metric-labels", Map, "", SHOWN),
    idle("allow-metric-labels-manifest", Text, "", SHOWN),
    idle("logging-format", Text, "text", LOG),
    idle("log-flush-frequency", Duration, "5s", LOG),
    idle("vmodule", Modules, "", LOG),
    idle("log-text-split-stream", Switch, "false", LOG),
    idle("log-text-info-buffer-size", Size, "0", LOG),
    idle("log-json-split-stream", Switch, "false", LOG),
    idle("log-json-info-buffer-size", Size, "0", LOG),
];
