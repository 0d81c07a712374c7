//! All flags of flanneld as data: the parser, `--help`, the documentation and the log at start derive from it.
//!
//! Names, defaults and kinds of flannel's own flags are those of flannel 0.28 (its main.go); the help is ours.

use goflags::Flag;
use goflags::Kind::{Int64, Repeated, Switch, Text};

const ETCD: &str = "Where leases are kept (etcd, API version 3)";
const LEASE: &str = "The lease of this node";
const UNDERLAY: &str = "Interface and address towards the other nodes (the underlay)";
const PODS: &str = "What the pods' side gets";
const FIREWALL: &str = "Masquerade and forward rules";
const DATA_PATH: &str = "Data path";
const HEALTH: &str = "Health and metrics";
const OTHER: &str = "Other";
const KUBERNETES: &str = "flannel's flags for leases from the Kubernetes API (not in this release)";

/// The headings of the help, in its order.
pub static GROUPS: &[&str] = &[ETCD, LEASE, UNDERLAY, PODS, FIREWALL, DATA_PATH, HEALTH, OTHER, KUBERNETES];

/// The default of `--bpf-pin-dir`, for the network below flannel's default prefix.
pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/weft/flanneld";

/// Every flag there is, in the order of the help.
pub static FLAGS: &[Flag] = &[
    Flag::new("etcd-endpoints", Text, "http://127.0.0.1:4001,http://127.0.0.1:2379", ETCD).metavar("URLS").help(
        "Addresses of etcd, separated by commas. All are tried; the first that answers is used until it fails. \
         https:// means TLS; an address without a scheme is https where a certificate, key or CA is given, else \
         http.",
    ),
    Flag::new("etcd-prefix", Text, "/coreos.com/network", ETCD).metavar("KEY").help(
        "Where the network lives in etcd: the configuration at KEY/config, leases below KEY/subnets. Repeated and \
         trailing slashes do not matter.",
    ),
    Flag::new("etcd-keyfile", Text, "", ETCD).metavar("FILE").help(
        "Private key (PEM) by which this node proves itself to etcd. Goes with --etcd-certfile.",
    ),
    Flag::new("etcd-certfile", Text, "", ETCD)
        .metavar("FILE")
        .help("Certificate (PEM) of this node for etcd. Goes with --etcd-keyfile."),
    Flag::new("etcd-cafile", Text, "", ETCD).metavar("FILE").help(
        "Certificates (PEM) of the authorities that may have signed etcd's certificate; without it, those that the \
         system trusts. Honoured with and without a client certificate (flannel ignores it without one).",
    ),
    Flag::new("etcd-username", Text, "", ETCD).metavar("NAME").help("User in etcd, where etcd asks for one."),
    Flag::new("etcd-password", Text, "", ETCD).metavar("TEXT").secret().help(
        "Password of that user. Other users of this machine can read a command line: prefer the variable \
         FLANNELD_ETCD_PASSWORD. Never printed.",
    ),
    Flag::new("subnet-lease-renew-margin", Int64, "60", LEASE).metavar("MINUTES").help(
        "How long before its end the lease is renewed: 1 to 1439, and less than the time to live. Where only \
         --subnet-lease-ttl is given, the margin is at most a third of it.",
    ),
    Flag::new("subnet-lease-ttl", Int64, "86400", LEASE).metavar("SECONDS").ours().help(
        "Time to live of this node's lease, 2 to 31536000. flannel's is fixed at 86400; a shorter one is for tests \
         and labs.",
    ),
    Flag::new("iface", Repeated, "", UNDERLAY).metavar("NAME|IP").help(
        "Interface to reach the other nodes by, or an address on it. May be repeated: the first that exists is \
         used. Default: the interface that owns --public-ip, else that of the default route.",
    ),
    Flag::new("iface-regex", Repeated, "", UNDERLAY).metavar("REGEX").help(
        "The same by pattern, matched with addresses first and then with names, after every --iface has failed. \
         May be repeated.",
    ),
    Flag::new("iface-can-reach", Text, "", UNDERLAY).metavar("IP").help(
        "The interface, and source address, that the kernel would use towards this address (`ip route get IP`). \
         Used when --iface and --iface-regex found nothing.",
    ),
    Flag::new("public-ip", Text, "", UNDERLAY)
        .metavar("IPV4")
        .help("Address that the other nodes send to. Default: the address of the interface."),
    Flag::new("public-ipv6", Text, "", UNDERLAY).metavar("IPV6").help("The same for IPv6."),
    Flag::new("subnet-file", Text, "/run/flannel/subnet.env", PODS).metavar("FILE").help(
        "Where FLANNEL_NETWORK, FLANNEL_SUBNET, FLANNEL_MTU and FLANNEL_IPMASQ are written for Docker and CNI \
         plugins, once all else is in place. Read at start for the subnet that this node had before.",
    ),
    Flag::new("bridge", Text, "", PODS).metavar("NAME").ours().help(
        "Make this bridge (docker0, cni0, ...) with the first address of the subnet and the right MTU, and keep it \
         so.",
    ),
    Flag::new("cni-conf", Text, "", PODS).metavar("FILE").ours().help(
        "Write a CNI configuration list for the standard bridge and host-local plugins to this file, for instance \
         /etc/cni/net.d/10-flannel.conflist.",
    ),
    Flag::new("ip-masq", Switch, "false", FIREWALL)
        .help("Masquerade what leaves the pod network, so that pods reach the world with the node's address."),
    Flag::new("ip-masq-fully-random-disable", Switch, "false", FIREWALL)
        .help("Masquerade without choosing the source port at random."),
    Flag::new("iptables-forward-rules", Switch, "true", FIREWALL).help(
        "Accept what is forwarded from and to the pod network. Also where Docker has set the policy of FORWARD to \
         DROP.",
    ),
    Flag::new("iptables-resync", Int64, "5", FIREWALL).metavar("SECONDS").help(
        "With iptables rules: how often they are looked at, at least 1. nftables rules are watched instead, and \
         put back at once.",
    ),
    Flag::new("ip-blackhole-route", Switch, "false", FIREWALL)
        .help("Keep a blackhole route for this node's subnet, which catches addresses that no pod has (Canal)."),
    Flag::new("firewall", Text, "auto", FIREWALL).metavar("auto|nftables|iptables").ours().help(
        "Who holds the rules. auto: nftables, unless the network configuration says EnableNFTables=false in so \
         many words.",
    ),
    Flag::new("check-source", Switch, "true", DATA_PATH).ours().help(
        "Backend udp: drop, and count, packets whose inner source is not in the subnet of the node that sent them.",
    ),
    Flag::new("bpf-pin-dir", Text, DEFAULT_PIN_DIR, DATA_PATH).metavar("DIR").ours().help(
        "Where the programs and maps of the udp data path `ebpf` stay while flanneld restarts. In a BPF file \
         system. A network below another --etcd-prefix than the default one has a directory of its own beside \
         the default.",
    ),
    Flag::new("probe-interval", Int64, "15", DATA_PATH).metavar("SECONDS").ours().help(
        "Time between round-trip probes of each other node, 0 to 3600; 0 means none.",
    ),
    Flag::new("peer-accounting", Text, "local", DATA_PATH).metavar("WHO").ours().help(
        "For whom the kernel counts each peer's packets, which every packet pays for: local (while somebody on this \
         host reads /metrics), any (while anybody does) or off. The udp data path counts always.",
    ),
    Flag::new("healthz-ip", Text, "0.0.0.0", HEALTH)
        .metavar("IP")
        .help("Address on which /healthz, /readyz and /metrics are answered."),
    Flag::new("healthz-port", Int64, "0", HEALTH).metavar("PORT").help("Their port, 0 to 65535; 0 means none."),
    Flag::new("cleanup", Switch, "false", OTHER).ours().command().help(
        "Remove what a stopped flanneld left in the kernel (interfaces, rules, pinned programs), and exit.",
    ),
    Flag::new("version", Switch, "false", OTHER).command().help("Print the version to standard error, and exit."),
    Flag::new("v", Text, "0", OTHER).metavar("LEVEL").help(
        "How much is logged: 0 is changes of state, 1 to 4 adds the plans, 5 and more adds everything.",
    ),
    Flag::new("vmodule", Text, "", OTHER).metavar("PATTERN=N,...").idle(
        "klog's level for single files; use RUST_LOG instead, for instance RUST_LOG=flanneld::etcd=debug",
    ),
    Flag::new("log_backtrace_at", Text, "", OTHER)
        .metavar("FILE:LINE")
        .idle("klog's stack trace at a line"),
    Flag::new("kube-subnet-mgr", Switch, "false", KUBERNETES)
        .help("Take the subnet from the Kubernetes API instead of etcd."),
    Flag::new("kube-api-url", Text, "", KUBERNETES).metavar("URL").help("Address of the API server."),
    Flag::new("kubeconfig-file", Text, "", KUBERNETES).metavar("FILE").help("Credentials for the API server."),
    Flag::new("kube-annotation-prefix", Text, "flannel.alpha.coreos.com", KUBERNETES)
        .metavar("TEXT")
        .help("Prefix of the node annotations."),
    Flag::new("net-config-path", Text, "/etc/kube-flannel/net-conf.json", KUBERNETES)
        .metavar("FILE")
        .help("Network configuration as a file."),
    Flag::new("set-node-network-unavailable", Switch, "true", KUBERNETES)
        .help("Clear the node condition NetworkUnavailable when ready."),
];
