//! All flags as data. Names and kinds are kube-scheduler 1.36's; the help is ours.

use control_serving::flags::{Daemon, OF_DAEMON, SERVING, of_daemon};
use goflags::Kind::{self, Duration, Float, Gates, Int32, List, Map, Modules, Size, Switch, Text};
use goflags::{Flag, joined};

const SERVER: &str = "The API server";
const WORK: &str = "Scheduling";
const LEADER: &str = "Leader election";
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
const LOG: &str = "logs have one form: text on standard error";
const SHOWN: &str = "all metrics are shown";

/// All of them.
pub static FLAGS: &[Flag] = &ALL;

static ALL: [Flag; OWN.len() + OF_DAEMON] =
    joined(OWN, of_daemon(Daemon { port: "10259", tolerates: "true", idle: IDLE }));

const OWN: [Flag; 33] = [
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
