//! Flags of flannel that this release does not have: why, and what to use instead.
//!
//! Their default is accepted, and so is a value that says the same as the default: unit files that spell out
//! every flag go on working.

use goflags::Refused;

const KUBERNETES: &str = "leases come from etcd; the Kubernetes API as their source is planned";
const USE_ETCD: &str = "run etcd (or use the cluster's), write the network configuration to <etcd-prefix>/config, and give --etcd-endpoints";

/// All of them.
pub static REFUSED: &[Refused] = &[
    Refused { name: "kube-subnet-mgr", value: None, reason: KUBERNETES, instead: USE_ETCD },
    Refused { name: "kube-api-url", value: None, reason: KUBERNETES, instead: USE_ETCD },
    Refused { name: "kubeconfig-file", value: None, reason: KUBERNETES, instead: USE_ETCD },
    Refused {
        name: "kube-annotation-prefix",
        value: None,
        reason: "no node annotations are read or written, since leases come from etcd",
        instead: "leave it out; several networks are told apart by --etcd-prefix",
    },
    Refused {
        name: "net-config-path",
        value: None,
        reason: "the network configuration is read from etcd",
        instead: "`etcdctl put <etcd-prefix>/config \"$(cat FILE)\"`, once for the whole cluster",
    },
    Refused {
        name: "set-node-network-unavailable",
        value: None,
        reason: "no node object is written, since leases come from etcd",
        instead: "leave it out",
    },
];
