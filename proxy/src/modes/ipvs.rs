//! kube-proxy's ipvs mode, as far as it leaves something: a link that holds the ClusterIPs, and sets of addresses.
//!
//! Its chains are found with those of the iptables mode. This program has no such mode.

use std::path::Path;

use host::error::HostError;
use host::ipset::Ipsets;
use host::netlink::Netlink;

use super::leftovers::{Leftover, Leftovers, Look, Owner, Unseen};
use crate::backends::{BackendError, Territory};

pub struct Ipvs;

/// As long as it is there, the kernel takes packets for any ClusterIP as its own.
const LINK: &str = "kube-ipvs0";

/// Where the kernel shows ip_vs' virtual servers in this thread's network namespace.
const SERVERS: &str = "/proc/thread-self/net/ip_vs";

const ADVICE: &str =
    "ip_vs has virtual servers still; if nothing but kube-proxy uses IPVS here, type `ipvsadm --clear`";

/// Without those for IPv6, which are `KUBE-6-...`.
const SETS: [&str; 17] = [
    "LOOP-BACK",
    "CLUSTER-IP",
    "EXTERNAL-IP",
    "EXTERNAL-IP-LOCAL",
    "LOAD-BALANCER",
    "LOAD-BALANCER-FW",
    "LOAD-BALANCER-LOCAL",
    "LOAD-BALANCER-SOURCE-IP",
    "LOAD-BALANCER-SOURCE-CIDR",
    "NODE-PORT-TCP",
    "NODE-PORT-LOCAL-TCP",
    "NODE-PORT-UDP",
    "NODE-PORT-LOCAL-UDP",
    "NODE-PORT-SCTP-HASH",
    "NODE-PORT-LOCAL-SCTP-HASH",
    "HEALTH-CHECK-NODE-PORT",
    "IPVS-IPS",
];

fn is_kube_proxys(set: &str) -> bool {
    let name = set.strip_prefix("KUBE-").map(|name| name.strip_prefix("6-").unwrap_or(name));
    name.is_some_and(|name| SETS.contains(&name))
}

impl Leftovers for Ipvs {
    fn find(&self, _: &[Territory]) -> Look {
        let mut look = Look::default();
        let mut unseen = |what: &str, error: HostError| {
            look.unseen.push(Unseen {
                what: what.to_owned(),
                why: error.to_string(),
                remedy: "the proxy needs CAP_NET_ADMIN (root, or a privileged container)".to_owned(),
            });
        };
        let sets = Ipsets::connect().and_then(|mut sets| sets.names());
        let sets = sets.unwrap_or_else(|error| {
            unseen("ipsets of kube-proxy's ipvs mode", error);
            Vec::new()
        });
        let link = on_netlink(async |netlink| netlink.link_by_name(LINK).await);
        let link = link.unwrap_or_else(|error| {
            unseen(LINK, error);
            None
        });
        if link.is_some() {
            let advice = has_servers(Path::new(SERVERS)).then_some(ADVICE);
            look.found
                .push(Leftover::new(format!("link {LINK}"), Owner::KubeProxy, remove_link).advice(advice));
        }
        let sets: Vec<String> = sets.into_iter().filter(|name| is_kube_proxys(name)).collect();
        if !sets.is_empty() {
            let what = format!("ipsets {}", sets.join(", "));
            look.found.push(Leftover::new(what, Owner::KubeProxy, move || destroy(&sets)));
        }
        look
    }
}

/// Two lines of headings, then one for each server and destination; no such file without ip_vs.
fn has_servers(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| {
        let of_servers = |line: &str| ["TCP", "UDP", "SCTP", "FWM"].iter().any(|word| line.starts_with(word));
        text.lines().any(of_servers)
    })
}

fn remove_link() -> Result<(), BackendError> {
    let gone = on_netlink(async |netlink| match netlink.link_by_name(LINK).await? {
        Some(link) => netlink.delete_link(link.index).await,
        None => Ok(()),
    });
    Ok(gone?)
}

/// Every one that can be; the first failure is returned.
fn destroy(names: &[String]) -> Result<(), BackendError> {
    let mut sets = Ipsets::connect()?;
    let outcomes: Vec<_> = names.iter().map(|name| sets.destroy(name)).collect();
    Ok(outcomes.into_iter().collect::<Result<(), HostError>>()?)
}

/// On a runtime of its own: looks are made where blocking does no harm.
fn on_netlink<T>(ask: impl AsyncFnOnce(&Netlink) -> Result<T, HostError>) -> Result<T, HostError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| HostError::io("start", "a runtime", error))?;
    runtime.block_on(async { ask(&Netlink::connect()?).await })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_kube_proxy_are_told_from_those_of_others() {
        for name in ["KUBE-CLUSTER-IP", "KUBE-6-LOAD-BALANCER-SOURCE-CIDR", "KUBE-IPVS-IPS"] {
            assert!(is_kube_proxys(name), "{name}");
        }
        for name in ["CLUSTER-IP", "KUBE-MINE", "KUBE-6-", "kube-router-svip", "KUBE-CLUSTER-IP-2"] {
            assert!(!is_kube_proxys(name), "{name}");
        }
    }

    #[test]
    fn virtual_servers_are_told_from_headings() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ip_vs");
        assert!(!has_servers(&path));
        let headings =
            "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n";
        std::fs::write(&path, headings).unwrap();
        assert!(!has_servers(&path));
        std::fs::write(&path, format!("{headings}TCP  0A600001:0050 rr\n")).unwrap();
        assert!(has_servers(&path));
    }
}
