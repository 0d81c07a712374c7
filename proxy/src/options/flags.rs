//! All flags as data: the parser, `--help`, the documentation and the log at start derive from it.
//!
//! Names and kinds of kube-proxy's own flags are those of kube-proxy 1.36 (cmd/kube-proxy/app/options.go and
//! component-base's logging flags); the help is ours.

use super::fields;
use super::kind::Kind::{self, *};

/// Where a flag stands in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Feed,
    Node,
    Mode,
    Pods,
    Conntrack,
    Serving,
    Acts,
    Logs,
    Idle,
}

use Group::*;

impl Group {
    /// In the order of the help.
    pub const ALL: [Self; 9] = [Feed, Mode, Node, Pods, Conntrack, Serving, Acts, Logs, Idle];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Feed => "Where Services and EndpointSlices come from",
            Mode => "How they get into the kernel",
            Node => "This node",
            Pods => "How traffic of this cluster's pods is told apart",
            Conntrack => "Connection tracking (sysctls set at start)",
            Serving => "Health and metrics",
            Acts => "One act, then exit",
            Logs => "Logs",
            Idle => "kube-proxy's flags without effect here",
        }
    }
}

/// Whose flag it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Kube,
    /// An addition of this program.
    Weft,
}

/// One flag.
#[derive(Debug, PartialEq, Eq)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// `-v`.
    pub letter: Option<char>,
    pub kind: Kind,
    /// The fields it sets, all of the same kind; none where the file has no such field.
    pub sets: &'static [&'static str],
    /// Only where it sets no field.
    pub default: &'static str,
    pub metavar: &'static str,
    pub group: Group,
    pub origin: Origin,
    /// In force even where --config is given.
    pub with_config: bool,
    /// Does nothing, although no field says so: why.
    pub idle: Option<&'static str>,
    /// Sentences, with legal values and units.
    pub help: &'static str,
}

impl Flag {
    const fn new(name: &'static str, kind: Kind, group: Group, sets: &'static [&'static str]) -> Self {
        Self {
            name,
            letter: None,
            kind,
            sets,
            default: "",
            metavar: kind.metavar(),
            group,
            origin: Origin::Kube,
            with_config: false,
            idle: None,
            help: "",
        }
    }

    const fn own(name: &'static str, kind: Kind, group: Group, default: &'static str) -> Self {
        Self { default, with_config: true, ..Self::new(name, kind, group, &[]) }
    }

    const fn idle(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Self {
        Self { idle: Some(why), help: why, ..Self::own(name, kind, Idle, default) }
    }

    const fn metavar(self, metavar: &'static str) -> Self {
        Self { metavar, ..self }
    }

    const fn letter(self, letter: char) -> Self {
        Self { letter: Some(letter), ..self }
    }

    const fn weft(self) -> Self {
        Self { origin: Origin::Weft, ..self }
    }

    const fn with_config(self) -> Self {
        Self { with_config: true, ..self }
    }

    const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }

    /// What holds when nobody says anything, as it would be written in a flag.
    pub fn default(&self) -> &'static str {
        match self.sets.first().and_then(|path| fields::find(path)) {
            Some(field) => field.default,
            None => self.default,
        }
    }

    /// Why this flag does nothing here, where it does nothing.
    pub fn without_effect(&self) -> Option<&'static str> {
        match self.sets.first().and_then(|path| fields::find(path)).map(|field| field.effect) {
            Some(fields::Effect::None(reason)) => Some(reason),
            _ => self.idle,
        }
    }
}

/// The flag of that name; `_` counts as `-`, as in the original.
pub fn find(name: &str) -> Option<&'static Flag> {
    let name = name.replace('_', "-");
    FLAGS.iter().find(|flag| flag.name == name)
}

/// The flag of one letter.
pub fn by_letter(letter: char) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.letter == Some(letter))
}

const CADVISOR: &str = "cAdvisor is not part of this.";

/// All of them.
pub static FLAGS: &[Flag] = &[
    Flag::new("kubeconfig", Text, Feed, &["clientConnection.kubeconfig"]).metavar("FILE").help(
        "Address and credentials of the API server. Without it, without --master and without --feed-dir: those \
         of the pod this runs in.",
    ),
    Flag::own("master", Text, Feed, "").metavar("URL").help("Address of the API server, instead of the one in --kubeconfig."),
    Flag::own("feed-dir", Text, Feed, "").metavar("DIR").weft().help(
        "Take Service, EndpointSlice, Node and ServiceCIDR objects from the *.yaml, *.yml and *.json files of \
         this directory instead of an API server, and follow their changes.",
    ),
    Flag::own("config", Text, Feed, "").metavar("FILE").help(
        "A KubeProxyConfiguration (v1alpha1), as YAML or JSON. Flags that it has fields for are then ignored, but \
         for --hostname-override and the logging flags.",
    ),
    Flag::new("proxy-mode", Text, Mode, &["mode"]).metavar("MODE").help(
        "nftables (the default here; kube-proxy's is iptables) or iptables.",
    ),
    Flag::new("masquerade-all", Switch, Mode, &["iptables.masqueradeAll", "nftables.masqueradeAll"])
        .help("Masquerade all traffic to ClusterIPs."),
    Flag::new("iptables-masquerade-bit", Integer, Mode, &["iptables.masqueradeBit"])
        .metavar("BIT")
        .help("Bit of the packet mark that asks for masquerading in iptables mode, 0 to 31."),
    Flag::new("iptables-localhost-nodeports", Switch, Mode, &["iptables.localhostNodePorts"])
        .help("Serve node ports at 127.0.0.0/8 (IPv4, iptables mode)."),
    Flag::new("iptables-sync-period", Duration, Mode, &["iptables.syncPeriod", "nftables.syncPeriod"]).help(
        "Longest time between an attempt that failed and the next; health turns bad after twice this time. In \
         both modes.",
    ),
    Flag::new("iptables-min-sync-period", Duration, Mode, &["iptables.minSyncPeriod", "nftables.minSyncPeriod"])
        .help("Shortest time between two writes in iptables mode; 0 for none."),
    Flag::new("nodeport-addresses", List, Mode, &["nodePortAddresses"]).metavar("CIDR,...|primary").help(
        "Serve node ports at this node's addresses within these networks, or at its primary addresses. Empty: \
         primary in nftables mode, all addresses in iptables mode.",
    ),
    Flag::new("hostname-override", Text, Node, &["hostnameOverride"])
        .metavar("NAME")
        .with_config()
        .help("Name of this node's Node object. Empty: the host's name."),
    Flag::own("node-ips", List, Node, "").metavar("IP,IP").weft().help(
        "This node's own addresses, the primary one of each family first. Empty: those of the Node object.",
    ),
    Flag::new("bind-address", Text, Node, &["bindAddress"])
        .metavar("IP")
        .help("This node's primary address, where it is not 0.0.0.0 or ::. Nothing is bound to it."),
    Flag::new("oom-score-adj", Integer, Node, &["oomScoreAdj"])
        .help("How soon the kernel ends this process when memory runs out, -1000 to 1000."),
    Flag::new("detect-local-mode", Text, Pods, &["detectLocalMode"]).metavar("MODE").help(
        "ClusterCIDR (by --cluster-cidr), NodeCIDR (by the Node's podCIDRs), BridgeInterface or \
         InterfaceNamePrefix. Empty: ClusterCIDR.",
    ),
    Flag::new("cluster-cidr", Text, Pods, &["clusterCIDR"])
        .metavar("CIDR[,CIDR]")
        .help("Network of the pods, one for each family."),
    Flag::new("pod-bridge-interface", Text, Pods, &["detectLocal.bridgeInterface"])
        .metavar("NAME")
        .help("The pods' bridge, for BridgeInterface."),
    Flag::new("pod-interface-name-prefix", Text, Pods, &["detectLocal.interfaceNamePrefix"])
        .metavar("TEXT")
        .help("What the pods' interfaces' names begin with, for InterfaceNamePrefix."),
    Flag::new("conntrack-max-per-core", Integer, Conntrack, &["conntrack.maxPerCore"]).help(
        "Connections to track for each CPU, at most 1048576 in all; 0 leaves the limit alone.",
    ),
    Flag::new("conntrack-min", Integer, Conntrack, &["conntrack.min"])
        .help("Connections to track at least, whatever the number of CPUs."),
    Flag::new("conntrack-tcp-timeout-established", Duration, Conntrack, &["conntrack.tcpEstablishedTimeout"])
        .help("Idle time of established TCP connections; 0 leaves it alone."),
    Flag::new("conntrack-tcp-timeout-close-wait", Duration, Conntrack, &["conntrack.tcpCloseWaitTimeout"])
        .help("Idle time of TCP connections in CLOSE_WAIT; 0 leaves it alone."),
    Flag::new("conntrack-tcp-be-liberal", Switch, Conntrack, &["conntrack.tcpBeLiberal"])
        .help("Do not judge TCP packets by their window."),
    Flag::new("conntrack-udp-timeout", Duration, Conntrack, &["conntrack.udpTimeout"])
        .help("Idle time of UDP flows without a reply; 0 leaves it alone."),
    Flag::new("conntrack-udp-timeout-stream", Duration, Conntrack, &["conntrack.udpStreamTimeout"])
        .help("Idle time of UDP flows with replies; 0 leaves it alone."),
    Flag::new("healthz-bind-address", Text, Serving, &["healthzBindAddress"])
        .metavar("IP:PORT")
        .help("Where /healthz and /livez are answered; empty for nowhere."),
    Flag::new("metrics-bind-address", Text, Serving, &["metricsBindAddress"])
        .metavar("IP:PORT")
        .help("Where /metrics, /proxyMode, /configz and /healthz are answered; empty for nowhere."),
    Flag::own("healthz-port", Integer, Serving, "10256").metavar("PORT").help(
        "Port for a --healthz-bind-address without one; 0 for no health server. Deprecated: write IP:PORT there.",
    ),
    Flag::own("metrics-port", Integer, Serving, "10249").metavar("PORT").help(
        "Port for a --metrics-bind-address without one; 0 for no metrics server. Deprecated: write IP:PORT there.",
    ),
    Flag::new("bind-address-hard-fail", Switch, Serving, &["bindAddressHardFail"])
        .help("End when a port for health or metrics is taken, instead of trying again."),
    Flag::own("cleanup", Switch, Acts, "false").help("Remove all rules of this program and of kube-proxy; with --proxy-mode beside it only those that this program writes in that mode."),
    Flag::own("init-only", Switch, Acts, "false")
        .help("Set the sysctls that need root. After it, CAP_NET_ADMIN is enough to run."),
    Flag::own("write-config-to", Text, Acts, "").metavar("FILE").help("Write the resolved configuration as YAML."),
    Flag::own("version", Text, Acts, "false").metavar("[raw]").help("Print the version."),
    Flag::new("v", Integer, Logs, &["logging.verbosity"])
        .letter('v')
        .metavar("LEVEL")
        .with_config()
        .help("How much is logged: 0 is changes of state, 1 to 4 adds the plans, 5 and more adds everything."),
    Flag::new("vmodule", Modules, Idle, &["logging.vmodule"]).with_config(),
    Flag::new("logging-format", Text, Idle, &["logging.format"]).with_config(),
    Flag::new("log-flush-frequency", DurationOrNanos, Idle, &["logging.flushFrequency"]).with_config(),
    Flag::new("log-text-split-stream", Switch, Idle, &["logging.options.text.splitStream"]).with_config(),
    Flag::new("log-text-info-buffer-size", Size, Idle, &["logging.options.text.infoBufferSize"]).with_config(),
    Flag::new("log-json-split-stream", Switch, Idle, &["logging.options.json.splitStream"]).with_config(),
    Flag::new("log-json-info-buffer-size", Size, Idle, &["logging.options.json.infoBufferSize"]).with_config(),
    Flag::new("feature-gates", Gates, Idle, &["featureGates"]),
    Flag::new("kube-api-content-type", Text, Idle, &["clientConnection.contentType"]),
    Flag::new("kube-api-qps", Float, Idle, &["clientConnection.qps"]),
    Flag::new("kube-api-burst", Integer, Idle, &["clientConnection.burst"]),
    Flag::new("profiling", Switch, Idle, &["enableProfiling"]),
    Flag::new("show-hidden-metrics-for-version", Text, Idle, &["showHiddenMetricsForVersion"]),
    Flag::new("config-sync-period", Duration, Idle, &["configSyncPeriod"]),
    Flag::new("ipvs-sync-period", Duration, Idle, &["ipvs.syncPeriod"]),
    Flag::new("ipvs-min-sync-period", Duration, Idle, &["ipvs.minSyncPeriod"]),
    Flag::new("ipvs-scheduler", Text, Idle, &["ipvs.scheduler"]),
    Flag::new("ipvs-exclude-cidrs", List, Idle, &["ipvs.excludeCIDRs"]),
    Flag::new("ipvs-strict-arp", Switch, Idle, &["ipvs.strictARP"]),
    Flag::new("ipvs-tcp-timeout", Duration, Idle, &["ipvs.tcpTimeout"]),
    Flag::new("ipvs-tcpfin-timeout", Duration, Idle, &["ipvs.tcpFinTimeout"]),
    Flag::new("ipvs-udp-timeout", Duration, Idle, &["ipvs.udpTimeout"]),
    Flag::idle("boot-id-file", Text, "/proc/sys/kernel/random/boot_id", CADVISOR),
    Flag::idle("machine-id-file", Text, "/etc/machine-id,/var/lib/dbus/machine-id", CADVISOR),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_every_flag_has_help() {
        let names: BTreeSet<_> = FLAGS.iter().map(|flag| flag.name).collect();
        assert_eq!(names.len(), FLAGS.len());
        for flag in FLAGS {
            let says =
                if flag.help.is_empty() { flag.without_effect().is_some() } else { flag.help.ends_with('.') };
            assert!(says, "--{}", flag.name);
            assert!(Group::ALL.contains(&flag.group), "--{}", flag.name);
            assert_eq!(flag.group == Idle, flag.without_effect().is_some(), "--{}", flag.name);
        }
    }

    #[test]
    fn flags_and_their_fields_agree() {
        for flag in FLAGS {
            for path in flag.sets {
                let field = fields::find(path).unwrap_or_else(|| panic!("--{} sets {path}", flag.name));
                assert_eq!(field.kind, flag.kind, "--{}", flag.name);
                assert_eq!(field.default, flag.default(), "--{}", flag.name);
            }
            assert!(flag.kind.from_text(flag.default()).is_some(), "--{}", flag.name);
        }
    }
}
