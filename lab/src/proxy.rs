//! The service proxy as the lab starts it on a node: which program, in which mode, with which flags.

use std::ffi::OsString;
use std::path::Path;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::flanneld::Binary;
use crate::words::ProxyMode;

/// Where the proxy of a node answers `/readyz`, `/proxyMode` and `/metrics`, on the node's loopback address.
pub const REPORT_PORT: u16 = 10249;
/// Where the proxy of a node answers `/healthz` and `/livez`.
pub const HEALTH_PORT: u16 = 10256;

/// ClusterIPs of a lab, as kubeadm has them.
pub const SERVICE_CIDR: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 96, 0, 0), 12);
/// IPv6 ClusterIPs.
pub const IPV6_SERVICE_CIDR: &str = "fd00:96::/112";

/// Flags of the proxy that its tools (`weft explain`, `weft proxy diff`) take as well, because they decide about
/// packets.
const FOR_TOOLS: [&str; 7] = [
    "node-ips",
    "detect-local-mode",
    "pod-bridge-interface",
    "pod-interface-name-prefix",
    "masquerade-all",
    "nodeport-addresses",
    "iptables-localhost-nodeports",
];

/// How the proxy is started on the nodes, and where ClusterIPs are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyOptions {
    /// A `weft`; never an original, which has no directory to take objects from.
    pub binary: Binary,
    pub mode: ProxyMode,
    /// Flags after those of the lab, so that they win over them: `-v=4`, `--masquerade-all`.
    pub args: Vec<String>,
    pub service_cidr: Ipv4Net,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self {
            binary: Binary::default(),
            mode: ProxyMode::default(),
            args: Vec::new(),
            service_cidr: SERVICE_CIDR,
        }
    }
}

impl ProxyOptions {
    /// In this mode.
    pub fn mode(mode: ProxyMode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// With one more flag.
    pub fn arg(mut self, flag: impl Into<String>) -> Self {
        self.args.push(flag.into());
        self
    }

    /// The whole command line but the program.
    pub fn argv(&self, place: &Place<'_>) -> Vec<OsString> {
        let mut words = vec!["proxy".to_owned()];
        words.extend(self.common(place));
        words.extend([
            format!("--proxy-mode={}", self.mode),
            // Limits of the whole machine, and who dies first on it, are no business of a lab.
            "--conntrack-max-per-core=0".to_owned(),
            "--oom-score-adj=0".to_owned(),
        ]);
        words.into_iter().chain(self.args.iter().cloned()).map(OsString::from).collect()
    }

    /// What `weft explain` and `weft proxy diff` need, to answer as this proxy acts on a node.
    pub fn tool_flags(&self, place: &Place<'_>) -> Vec<String> {
        let mut words = self.common(place);
        if self.mode != ProxyMode::default() {
            words.push(format!("--proxy-mode={}", self.mode));
        }
        let known = |arg: &&String| {
            let name = arg.trim_start_matches('-').split('=').next().unwrap_or_default();
            FOR_TOOLS.contains(&name)
        };
        words.extend(self.args.iter().filter(known).cloned());
        words
    }

    fn common(&self, place: &Place<'_>) -> Vec<String> {
        let networks: Vec<String> = place.pod_networks.iter().map(ToString::to_string).collect();
        vec![
            format!("--feed-dir={}", place.feed.display()),
            format!("--hostname-override={}", place.node),
            format!("--cluster-cidr={}", networks.join(",")),
        ]
    }
}

/// What the flags of a node's proxy depend on.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub node: &'a str,
    /// The directory of the lab's objects.
    pub feed: &'a Path,
    pub pod_networks: &'a [IpNet],
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: &str = "/s/services";

    fn networks() -> [IpNet; 1] {
        ["10.244.0.0/16".parse().unwrap()]
    }

    #[test]
    fn the_lab_says_who_the_node_is_and_leaves_the_machines_limits_alone() {
        let networks = networks();
        let place = Place { node: "n1", feed: Path::new(FEED), pod_networks: &networks };
        let options = ProxyOptions::mode("iptables".parse().unwrap()).arg("-v=4").arg("--masquerade-all");
        let words: Vec<String> =
            options.argv(&place).into_iter().map(|word| word.into_string().unwrap()).collect();
        assert_eq!(
            words.join(" "),
            "proxy --feed-dir=/s/services --hostname-override=n1 --cluster-cidr=10.244.0.0/16 --proxy-mode=iptables \
             --conntrack-max-per-core=0 --oom-score-adj=0 -v=4 --masquerade-all"
        );
        assert_eq!(
            options.tool_flags(&place).join(" "),
            "--feed-dir=/s/services --hostname-override=n1 --cluster-cidr=10.244.0.0/16 --proxy-mode=iptables \
             --masquerade-all"
        );
    }
}
