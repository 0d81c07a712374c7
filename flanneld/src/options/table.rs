//! All flags of flanneld as data: the parser, `--help`, the documentation and the log at start derive from it.
//!
//! Names, defaults and kinds of flannel's own flags are those of flannel 0.28 (its main.go); the help is ours.

/// How a flag's text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `-x`, `-x=true`, `-x=false` (Go's truth words).
    Switch,
    /// A whole number in Go's base-0 form.
    Integer,
    /// Text; may be given several times.
    List,
}

/// Where a flag stands in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Etcd,
    Lease,
    Underlay,
    Pods,
    Firewall,
    DataPath,
    Health,
    Other,
    Kubernetes,
}

impl Group {
    /// In the order of the help.
    pub const ALL: [Self; 9] = [
        Self::Etcd,
        Self::Lease,
        Self::Underlay,
        Self::Pods,
        Self::Firewall,
        Self::DataPath,
        Self::Health,
        Self::Other,
        Self::Kubernetes,
    ];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Etcd => "Where leases are kept (etcd, API version 3)",
            Self::Lease => "The lease of this node",
            Self::Underlay => "Interface and address towards the other nodes (the underlay)",
            Self::Pods => "What the pods' side gets",
            Self::Firewall => "Masquerade and forward rules",
            Self::DataPath => "Data path",
            Self::Health => "Health and metrics",
            Self::Other => "Other",
            Self::Kubernetes => "flannel's flags for leases from the Kubernetes API (not in this release)",
        }
    }
}

/// Whose flag it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// flannel has it too.
    Flannel,
    /// flannel has it; here it is accepted and does nothing.
    NoEffect,
    /// An addition of this program.
    Weft,
}

/// One flag.
#[derive(Debug, PartialEq, Eq)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    pub kind: Kind,
    /// As it would be written on the command line; "" for none.
    pub default: &'static str,
    /// What stands for the value in the help.
    pub metavar: &'static str,
    pub group: Group,
    pub origin: Origin,
    /// Never printed.
    pub secret: bool,
    /// Asks for one act and then an exit; has no environment form.
    pub command: bool,
    /// Sentences, with legal values and units.
    pub help: &'static str,
}

impl Flag {
    /// The variable that is read when the flag is not on the command line.
    pub fn env(&self) -> String {
        format!("FLANNELD_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    const fn new(name: &'static str, kind: Kind, default: &'static str, group: Group) -> Self {
        let metavar = match kind {
            Integer => "N",
            Switch => "",
            Text | List => "TEXT",
        };
        let (origin, secret, command, help) = (Origin::Flannel, false, false, "");
        Self { name, kind, default, metavar, group, origin, secret, command, help }
    }

    const fn metavar(self, metavar: &'static str) -> Self {
        Self { metavar, ..self }
    }

    const fn origin(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn command(self) -> Self {
        Self { command: true, ..self }
    }

    const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }
}

/// The flag of this name.
pub fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

use Group::{DataPath, Etcd, Firewall, Health, Kubernetes, Lease, Other, Pods, Underlay};
use Kind::{Integer, List, Switch, Text};
use Origin::{NoEffect, Weft};

/// Every flag there is, in the order of the help.
/// The default of `--bpf-pin-dir`, for the network below flannel's default prefix.
pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/weft/flanneld";

pub static FLAGS: &[Flag] = &[
    Flag::new("etcd-endpoints", Text, "http://127.0.0.1:4001,http://127.0.0.1:2379", Etcd).metavar("URLS").help(
        "Addresses of etcd, separated by commas. All are tried; the first that answers is used until it fails. \
         https:// means TLS; an address without a scheme is https where a certificate, key or CA is given, else \
         http.",
    ),
    Flag::new("etcd-prefix", Text, "/coreos.com/network", Etcd).metavar("KEY").help(
        "Where the network lives in etcd: the configuration at KEY/config, leases below KEY/subnets. Repeated and \
         trailing slashes do not matter.",
    ),
    Flag::new("etcd-keyfile", Text, "", Etcd).metavar("FILE").help(
        "Private key (PEM) by which this node proves itself to etcd. Goes with --etcd-certfile.",
    ),
    Flag::new("etcd-certfile", Text, "", Etcd)
        .metavar("FILE")
        .help("Certificate (PEM) of this node for etcd. Goes with --etcd-keyfile."),
    Flag::new("etcd-cafile", Text, "", Etcd).metavar("FILE").help(
        "Certificates (PEM) of the authorities that may have signed etcd's certificate; without it, those that the \
         system trusts. Honoured with and without a client certificate (flannel ignores it without one).",
    ),
    Flag::new("etcd-username", Text, "", Etcd).metavar("NAME").help("User in etcd, where etcd asks for one."),
    Flag::new("etcd-password", Text, "", Etcd).metavar("TEXT").secret().help(
        "Password of that user. Other users of this machine can read a command line: prefer the variable \
         FLANNELD_ETCD_PASSWORD. Never printed.",
    ),
    Flag::new("subnet-lease-renew-margin", Integer, "60", Lease).metavar("MINUTES").help(
        "How long before its end the lease is renewed: 1 to 1439, and less than the time to live. Where only \
         --subnet-lease-ttl is given, the margin is at most a third of it.",
    ),
    Flag::new("subnet-lease-ttl", Integer, "86400", Lease).metavar("SECONDS").origin(Weft).help(
        "Time to live of this node's lease, 2 to 31536000. flannel's is fixed at 86400; a shorter one is for tests \
         and labs.",
    ),
    Flag::new("iface", List, "", Underlay).metavar("NAME|IP").help(
        "Interface to reach the other nodes by, or an address on it. May be repeated: the first that exists is \
         used. Default: the interface that owns --public-ip, else that of the default route.",
    ),
    Flag::new("iface-regex", List, "", Underlay).metavar("REGEX").help(
        "The same by pattern, matched with addresses first and then with names, after every --iface has failed. \
         May be repeated.",
    ),
    Flag::new("iface-can-reach", Text, "", Underlay).metavar("IP").help(
        "The interface, and source address, that the kernel would use towards this address (`ip route get IP`). \
         Used when --iface and --iface-regex found nothing.",
    ),
    Flag::new("public-ip", Text, "", Underlay)
        .metavar("IPV4")
        .help("Address that the other nodes send to. Default: the address of the interface."),
    Flag::new("public-ipv6", Text, "", Underlay).metavar("IPV6").help("The same for IPv6."),
    Flag::new("subnet-file", Text, "/run/flannel/subnet.env", Pods).metavar("FILE").help(
        "Where FLANNEL_NETWORK, FLANNEL_SUBNET, FLANNEL_MTU and FLANNEL_IPMASQ are written for Docker and CNI \
         plugins, once all else is in place. Read at start for the subnet that this node had before.",
    ),
    Flag::new("bridge", Text, "", Pods).metavar("NAME").origin(Weft).help(
        "Make this bridge (docker0, cni0, ...) with the first address of the subnet and the right MTU, and keep it \
         so.",
    ),
    Flag::new("cni-conf", Text, "", Pods).metavar("FILE").origin(Weft).help(
        "Write a CNI configuration list for the standard bridge and host-local plugins to this file, for instance \
         /etc/cni/net.d/10-flannel.conflist.",
    ),
    Flag::new("ip-masq", Switch, "false", Firewall)
        .help("Masquerade what leaves the pod network, so that pods reach the world with the node's address."),
    Flag::new("ip-masq-fully-random-disable", Switch, "false", Firewall)
        .help("Masquerade without choosing the source port at random."),
    Flag::new("iptables-forward-rules", Switch, "true", Firewall).help(
        "Accept what is forwarded from and to the pod network. Also where Docker has set the policy of FORWARD to \
         DROP.",
    ),
    Flag::new("iptables-resync", Integer, "5", Firewall).metavar("SECONDS").help(
        "With iptables rules: how often they are looked at, at least 1. nftables rules are watched instead, and \
         put back at once.",
    ),
    Flag::new("ip-blackhole-route", Switch, "false", Firewall)
        .help("Keep a blackhole route for this node's subnet, which catches addresses that no pod has (Canal)."),
    Flag::new("firewall", Text, "auto", Firewall).metavar("auto|nftables|iptables").origin(Weft).help(
        "Who holds the rules. auto: nftables, unless the network configuration says EnableNFTables=false in so \
         many words.",
    ),
    Flag::new("check-source", Switch, "true", DataPath).origin(Weft).help(
        "Backend udp: drop, and count, packets whose inner source is not in the subnet of the node that sent them.",
    ),
    Flag::new("bpf-pin-dir", Text, DEFAULT_PIN_DIR, DataPath).metavar("DIR").origin(Weft).help(
        "Where the programs and maps of the udp data path `ebpf` stay while flanneld restarts. In a BPF file \
         system. A network below another --etcd-prefix than the default one has a directory of its own beside \
         the default.",
    ),
    Flag::new("probe-interval", Integer, "15", DataPath).metavar("SECONDS").origin(Weft).help(
        "Time between round-trip probes of each other node, 0 to 3600; 0 means none.",
    ),
    Flag::new("peer-accounting", Text, "local", DataPath).metavar("WHO").origin(Weft).help(
        "For whom the kernel counts each peer's packets, which every packet pays for: local (while somebody on this \
         host reads /metrics), any (while anybody does) or off. The udp data path counts always.",
    ),
    Flag::new("healthz-ip", Text, "0.0.0.0", Health)
        .metavar("IP")
        .help("Address on which /healthz, /readyz and /metrics are answered."),
    Flag::new("healthz-port", Integer, "0", Health).metavar("PORT").help("Their port, 0 to 65535; 0 means none."),
    Flag::new("cleanup", Switch, "false", Other).origin(Weft).command().help(
        "Remove what a stopped flanneld left in the kernel (interfaces, rules, pinned programs), and exit.",
    ),
    Flag::new("version", Switch, "false", Other).command().help("Print the version to standard error, and exit."),
    Flag::new("v", Text, "0", Other).metavar("LEVEL").help(
        "How much is logged: 0 is changes of state, 1 to 4 adds the plans, 5 and more adds everything.",
    ),
    Flag::new("vmodule", Text, "", Other).metavar("PATTERN=N,...").origin(NoEffect).help(
        "klog's level for single files. Use RUST_LOG instead, for instance RUST_LOG=flanneld::etcd=debug.",
    ),
    Flag::new("log_backtrace_at", Text, "", Other)
        .metavar("FILE:LINE")
        .origin(NoEffect)
        .help("klog's stack trace at a line."),
    Flag::new("kube-subnet-mgr", Switch, "false", Kubernetes)
        .help("Take the subnet from the Kubernetes API instead of etcd."),
    Flag::new("kube-api-url", Text, "", Kubernetes).metavar("URL").help("Address of the API server."),
    Flag::new("kubeconfig-file", Text, "", Kubernetes).metavar("FILE").help("Credentials for the API server."),
    Flag::new("kube-annotation-prefix", Text, "flannel.alpha.coreos.com", Kubernetes)
        .metavar("TEXT")
        .help("Prefix of the node annotations."),
    Flag::new("net-config-path", Text, "/etc/kube-flannel/net-conf.json", Kubernetes)
        .metavar("FILE")
        .help("Network configuration as a file."),
    Flag::new("set-node-network-unavailable", Switch, "true", Kubernetes)
        .help("Clear the node condition NetworkUnavailable when ready."),
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
            assert!(flag.help.ends_with('.'), "-{}", flag.name);
            assert!(Group::ALL.contains(&flag.group), "-{}", flag.name);
        }
    }

    #[test]
    fn variables_are_flannels() {
        let env = |name: &str| find(name).map(Flag::env);
        assert_eq!(env("etcd-endpoints").as_deref(), Some("FLANNELD_ETCD_ENDPOINTS"));
        assert_eq!(env("log_backtrace_at").as_deref(), Some("FLANNELD_LOG_BACKTRACE_AT"));
        assert_eq!(env("v").as_deref(), Some("FLANNELD_V"));
    }
}
