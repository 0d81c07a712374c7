//! Flags of flannel that this release does not have: why, and what to use instead.
//!
//! Their default is accepted, and so is a value that says the same as the default: unit files that spell out
//! every flag go on working.

use goflags::words;

use super::error::OptionsError;
use super::source::{Setting, Settings};

/// A flag that this release cannot honour.
#[derive(Debug)]
pub struct Refused {
    pub name: &'static str,
    pub reason: &'static str,
    pub instead: &'static str,
}

const KUBERNETES: &str = "leases come from etcd; the Kubernetes API as their source is planned";
const USE_ETCD: &str = "run etcd (or use the cluster's), write the network configuration to <etcd-prefix>/config, and give --etcd-endpoints";

/// All of them.
pub static REFUSED: &[Refused] = &[
    Refused { name: "kube-subnet-mgr", reason: KUBERNETES, instead: USE_ETCD },
    Refused { name: "kube-api-url", reason: KUBERNETES, instead: USE_ETCD },
    Refused { name: "kubeconfig-file", reason: KUBERNETES, instead: USE_ETCD },
    Refused {
        name: "kube-annotation-prefix",
        reason: "no node annotations are read or written, since leases come from etcd",
        instead: "leave it out; several networks are told apart by --etcd-prefix",
    },
    Refused {
        name: "net-config-path",
        reason: "the network configuration is read from etcd",
        instead: "`etcdctl put <etcd-prefix>/config \"$(cat FILE)\"`, once for the whole cluster",
    },
    Refused {
        name: "set-node-network-unavailable",
        reason: "no node object is written, since leases come from etcd",
        instead: "leave it out",
    },
];

/// The first refused flag that is set to something else than its default.
pub fn check(settings: &Settings) -> Result<(), OptionsError> {
    for refused in REFUSED {
        let setting = settings.get(refused.name);
        if !is_harmless(setting) {
            return Err(OptionsError::Refused {
                origin: setting.origin(),
                value: setting.text().to_owned(),
                reason: refused.reason,
                instead: refused.instead,
            });
        }
    }
    Ok(())
}

fn is_harmless(setting: &Setting) -> bool {
    let default = setting.flag.default;
    match words::boolean(default) {
        Some(truth) => words::boolean(setting.text()) == Some(truth),
        None => setting.text() == default,
    }
}
