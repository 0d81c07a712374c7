//! All flags as data: the parser, `--help`, the documentation and the log at start derive from it.
//!
//! Names and kinds of kube-proxy's own flags are those of kube-proxy 1.36 (cmd/kube-proxy/app/options.go and
//! component-base's logging flags); the help is ours.

use goflags::Flag;
use goflags::Kind::{
    self, Duration, DurationOrNanos, Float, Gates, Int32, List, Modules, Size, Switch, Text,
};

use crate::modes::mode_names;

const FEED: &str = "Where Services and EndpointSlices come from";
const MODE: &str = "How they get into the kernel";
const NODE: &str = "This node";
const ANNOUNCE: &str = "Addresses of load balancers";
const PODS: &str = "How traffic of this cluster's pods is told apart";
const CONNTRACK: &str = "Connection tracking (sysctls set at start)";
const SERVING: &str = "Health and metrics";
const ACTS: &str = "One act, then exit";
const LOGS: &str = "Logs";
pub const IDLE: &str = "kube-proxy's flags without effect here";

/// The headings of the help, in its order.
pub static GROUPS: &[&str] = &[FEED, MODE, NODE, ANNOUNCE, PODS, CONNTRACK, SERVING, ACTS, LOGS, IDLE];

/// A flag that sets fields of the file.
const fn field(name: &'static str, kind: Kind, group: &'static str, sets: &'static [&'static str]) -> Flag {
    Flag::new(name, kind, "", group).sets(sets)
}

/// A flag that no field stands for.
const fn own(name: &'static str, kind: Kind, group: &'static str, default: &'static str) -> Flag {
    Flag::new(name, kind, default, group).with_file()
}

/// A flag that does nothing, although no field says so.
const fn idle(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Flag {
    own(name, kind, IDLE, default).idle(why)
}

const CADVISOR: &str = "cAdvisor is not part of this";

/// All of them.
pub static FLAGS: &[Flag] = &[
    field("kubeconfig", Text, FEED, &["clientConnection.kubeconfig"]).metavar("FILE").help(
        "Address and credentials of the API server. Without it, without --master and without --feed-dir: those \
         of the pod this runs in.",
    ),
    own("master", Text, FEED, "").metavar("URL").help("Address of the API server, instead of the one in --kubeconfig."),
    own("feed-dir", Text, FEED, "").metavar("DIR").ours().help(
        "Take Service, EndpointSlice, Node and ServiceCIDR objects from the *.yaml, *.yml and *.json files of \
         this directory instead of an API server, and follow their changes.",
    ),
    own("config", Text, FEED, "").metavar("FILE").help(
        "A KubeProxyConfiguration (v1alpha1), as YAML or JSON. Flags that it has fields for are then ignored, but \
         for --hostname-override and the logging flags.",
    ),
    field("proxy-mode", Text, MODE, &["mode"]).metavar("MODE").help(
        concat!(mode_names!(), "; the first is the default here, kube-proxy's is iptables."),
    ),
    field("masquerade-all", Switch, MODE, &["iptables.masqueradeAll", "nftables.masqueradeAll"])
        .help("Masquerade all traffic to ClusterIPs."),
    field("iptables-masquerade-bit", Int32, MODE, &["iptables.masqueradeBit"])
        .metavar("BIT")
        .help("Bit of the packet mark that asks for masquerading in iptables mode, 0 to 31."),
    field("iptables-localhost-nodeports", Switch, MODE, &["iptables.localhostNodePorts"])
        .help("Serve node ports at 127.0.0.0/8 (IPv4, iptables mode)."),
    field("iptables-sync-period", Duration, MODE, &["iptables.syncPeriod", "nftables.syncPeriod"]).help(
        "Longest time between an attempt that failed and the next; health turns bad after twice this time. In \
         both modes.",
    ),
    field("iptables-min-sync-period", Duration, MODE, &["iptables.minSyncPeriod", "nftables.minSyncPeriod"])
        .help("Shortest time between two writes in iptables mode; 0 for none."),
    field("nodeport-addresses", List, MODE, &["nodePortAddresses"]).metavar("CIDR,...|primary").help(
        "Serve node ports at this node's addresses within these networks, or at its primary addresses. Empty: \
         primary in nftables mode, all addresses in iptables mode.",
    ),
    field("hostname-override", Text, NODE, &["hostnameOverride"])
        .metavar("NAME")
        .with_file()
        .help("Name of this node's Node object. Empty: the host's name."),
    own("node-ips", List, NODE, "").metavar("IP,IP").ours().help(
        "This node's own addresses, the primary one of each family first. Empty: those of the Node object.",
    ),
    field("bind-address", Text, NODE, &["bindAddress"])
        .metavar("IP")
        .help("This node's primary address, where it is not 0.0.0.0 or ::. Nothing is bound to it."),
    field("oom-score-adj", Int32, NODE, &["oomScoreAdj"])
        .help("How soon the kernel ends this process when memory runs out, -1000 to 1000."),
    own("announce-load-balancers", Switch, ANNOUNCE, "false").ours().help(
        "Announce addresses of Services of type LoadBalancer, without a class or of the class weft.dev/pool, on this \
         node's network by ARP and NDP. Of all nodes that do, one has each: by a Lease.",
    ),
    own("announce-interfaces", List, ANNOUNCE, "").metavar("NAME,...").ours().help(
        "The interfaces at which that is done. Empty: those with one of this node's addresses.",
    ),
    own("announce-namespace", Text, ANNOUNCE, "weft-load-balancers").metavar("NAME").ours().help(
        "Namespace of the Leases; deploy/load-balancers.yaml makes it and gives the right to write them.",
    ),
    field("detect-local-mode", Text, PODS, &["detectLocalMode"]).metavar("MODE").help(
        "ClusterCIDR (by --cluster-cidr), NodeCIDR (by the Node's podCIDRs), BridgeInterface or \
         InterfaceNamePrefix. Empty: ClusterCIDR.",
    ),
    field("cluster-cidr", Text, PODS, &["clusterCIDR"])
        .metavar("CIDR[,CIDR]")
        .help("Network of the pods, one for each family."),
    field("pod-bridge-interface", Text, PODS, &["detectLocal.bridgeInterface"])
        .metavar("NAME")
        .help("The pods' bridge, for BridgeInterface."),
    field("pod-interface-name-prefix", Text, PODS, &["detectLocal.interfaceNamePrefix"])
        .metavar("TEXT")
        .help("What the pods' interfaces' names begin with, for InterfaceNamePrefix."),
    field("conntrack-max-per-core", Int32, CONNTRACK, &["conntrack.maxPerCore"]).help(
        "Connections to track for each CPU, at most 1048576 in all; 0 leaves the limit alone.",
    ),
    field("conntrack-min", Int32, CONNTRACK, &["conntrack.min"])
        .help("Connections to track at least, whatever the number of CPUs."),
    field("conntrack-tcp-timeout-established", Duration, CONNTRACK, &["conntrack.tcpEstablishedTimeout"])
        .help("Idle time of established TCP connections; 0 leaves it alone."),
    field("conntrack-tcp-timeout-close-wait", Duration, CONNTRACK, &["conntrack.tcpCloseWaitTimeout"])
        .help("Idle time of TCP connections in CLOSE_WAIT; 0 leaves it alone."),
    field("conntrack-tcp-be-liberal", Switch, CONNTRACK, &["conntrack.tcpBeLiberal"])
        .help("Do not judge TCP packets by their window."),
    field("conntrack-udp-timeout", Duration, CONNTRACK, &["conntrack.udpTimeout"])
        .help("Idle time of UDP flows without a reply; 0 leaves it alone."),
    field("conntrack-udp-timeout-stream", Duration, CONNTRACK, &["conntrack.udpStreamTimeout"])
        .help("Idle time of UDP flows with replies; 0 leaves it alone."),
    field("healthz-bind-address", Text, SERVING, &["healthzBindAddress"])
        .metavar("IP:PORT")
        .help("Where /healthz and /livez are answered; empty for nowhere."),
    field("metrics-bind-address", Text, SERVING, &["metricsBindAddress"])
        .metavar("IP:PORT")
        .help("Where /metrics, /proxyMode, /configz and /healthz are answered; empty for nowhere."),
    own("healthz-port", Int32, SERVING, "10256").metavar("PORT").help(
        "Port for a --healthz-bind-address without one; 0 for no health server. Deprecated: write IP:PORT there.",
    ),
    own("metrics-port", Int32, SERVING, "10249").metavar("PORT").help(
        "Port for a --metrics-bind-address without one; 0 for no metrics server. Deprecated: write IP:PORT there.",
    ),
    field("bind-address-hard-fail", Switch, SERVING, &["bindAddressHardFail"])
        .help("End when a port for health or metrics is taken, instead of trying again."),
    own("cleanup", Switch, ACTS, "false").help("Remove all rules of this program and of kube-proxy; with --proxy-mode beside it only those that this program writes in that mode."),
    own("init-only", Switch, ACTS, "false")
        .help("Set the sysctls that need root. After it, CAP_NET_ADMIN is enough to run."),
    own("write-config-to", Text, ACTS, "").metavar("FILE").help("Write the resolved configuration as YAML."),
    own("version", Text, ACTS, "false").stands_alone().metavar("[raw]").help("Print the version."),
    field("v", Int32, LOGS, &["logging.verbosity"])
        .letter('v')
        .metavar("LEVEL")
        .with_file()
        .help("How much is logged: 0 is changes of state, 1 to 4 adds the plans, 5 and more adds everything."),
    field("vmodule", Modules, IDLE, &["logging.vmodule"]).with_file(),
    field("logging-format", Text, IDLE, &["logging.format"]).with_file(),
    field("log-flush-frequency", DurationOrNanos, IDLE, &["logging.flushFrequency"]).with_file(),
    field("log-text-split-stream", Switch, IDLE, &["logging.options.text.splitStream"]).with_file(),
    field("log-text-info-buffer-size", Size, IDLE, &["logging.options.text.infoBufferSize"]).with_file(),
    field("log-json-split-stream", Switch, IDLE, &["logging.options.json.splitStream"]).with_file(),
    field("log-json-info-buffer-size", Size, IDLE, &["logging.options.json.infoBufferSize"]).with_file(),
    field("feature-gates", Gates, IDLE, &["featureGates"]),
    field("kube-api-content-type", Text, IDLE, &["clientConnection.contentType"]),
    field("kube-api-qps", Float, IDLE, &["clientConnection.qps"]),
    field("kube-api-burst", Int32, IDLE, &["clientConnection.burst"]),
    field("profiling", Switch, IDLE, &["enableProfiling"]),
    field("show-hidden-metrics-for-version", Text, IDLE, &["showHiddenMetricsForVersion"]),
    field("config-sync-period", Duration, IDLE, &["configSyncPeriod"]),
    field("ipvs-sync-period", Duration, IDLE, &["ipvs.syncPeriod"]),
    field("ipvs-min-sync-period", Duration, IDLE, &["ipvs.minSyncPeriod"]),
    field("ipvs-scheduler", Text, IDLE, &["ipvs.scheduler"]),
    field("ipvs-exclude-cidrs", List, IDLE, &["ipvs.excludeCIDRs"]),
    field("ipvs-strict-arp", Switch, IDLE, &["ipvs.strictARP"]),
    field("ipvs-tcp-timeout", Duration, IDLE, &["ipvs.tcpTimeout"]),
    field("ipvs-tcpfin-timeout", Duration, IDLE, &["ipvs.tcpFinTimeout"]),
    field("ipvs-udp-timeout", Duration, IDLE, &["ipvs.udpTimeout"]),
    idle("boot-id-file", Text, "/proc/sys/kernel/random/boot_id", CADVISOR),
    idle("machine-id-file", Text, "/etc/machine-id,/var/lib/dbus/machine-id", CADVISOR),
];
