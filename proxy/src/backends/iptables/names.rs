//! kube-proxy's names for chains, and which chains are ours to change.

use proxy_core::names::PortName;
use proxy_core::table::Endpoint;

use super::digest::sha256;

/// The tables that we write, in the order of writing: what refuses is there before what leads away from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Mangle,
    Filter,
    Nat,
}

impl Table {
    pub const ALL: [Table; 3] = [Table::Mangle, Table::Filter, Table::Nat];

    pub const fn as_str(self) -> &'static str {
        match self {
            Table::Mangle => "mangle",
            Table::Filter => "filter",
            Table::Nat => "nat",
        }
    }
}

/// Kinds of chains that belong to one service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Balances over the cluster's endpoints.
    Cluster,
    /// Balances over this node's endpoints.
    Local,
    /// Traffic that is for the outside of the service: node ports, external and load balancers' addresses.
    External,
    /// Source ranges of load balancers.
    Firewall,
}

impl Kind {
    pub const fn prefix(self) -> &'static str {
        match self {
            Kind::Cluster => "KUBE-SVC-",
            Kind::Local => "KUBE-SVL-",
            Kind::External => "KUBE-EXT-",
            Kind::Firewall => "KUBE-FW-",
        }
    }
}

pub const SERVICES: &str = "KUBE-SERVICES";
/// Leads on by the last hexadecimal digits of the destination, which follow. Ours alone, with a beginning by which
/// kube-proxy takes it for a service's and deletes it when nothing leads there.
pub const ENDS_IN: &str = "KUBE-SVC-ENDS-IN-";
pub const EXTERNAL_SERVICES: &str = "KUBE-EXTERNAL-SERVICES";
pub const NODE_PORTS: &str = "KUBE-NODEPORTS";
/// What is refused or dropped of node ports. Ours alone: kube-proxy has it in [`EXTERNAL_SERVICES`], for all addresses.
pub const REFUSED_NODE_PORTS: &str = "KUBE-NODEPORTS-REFUSED";
/// Ports of ClusterIPs that are no service's, and addresses that are no ClusterIPs. Ours alone.
pub const CLUSTER_IPS: &str = "KUBE-CLUSTER-IPS";
/// The right refusal for each protocol. Ours alone.
pub const REJECT: &str = "KUBE-REJECT";
/// Marks what is from none of several networks of pods. Ours alone.
pub const MARK_UNLESS_POD: &str = "KUBE-MARK-UNLESS-POD";
pub const MARK_MASQ: &str = "KUBE-MARK-MASQ";
pub const POSTROUTING: &str = "KUBE-POSTROUTING";
pub const FORWARD: &str = "KUBE-FORWARD";
pub const PROXY_FIREWALL: &str = "KUBE-PROXY-FIREWALL";
/// In every table, to notice that somebody flushed it.
pub const CANARY: &str = "KUBE-PROXY-CANARY";
/// Shared with kubelet: added to, never emptied.
pub const FIREWALL: &str = "KUBE-FIREWALL";

/// Written and deleted again to see what the kernel can do.
pub const PROBE: &str = "KUBE-PROXY-PROBE";

/// Of kube-proxy's ipvs mode alone: never written here, and whatever leads to them is kube-proxy's too.
const IPVS: [&str; 6] = [
    "KUBE-NODE-PORT",
    "KUBE-LOAD-BALANCER",
    "KUBE-LOAD-BALANCER-MARK",
    "KUBE-IPVS-FILTER",
    "KUBE-IPVS-OUT-FILTER",
    "KUBE-SOURCE-RANGES-FIREWALL",
];

/// Whether a chain is one that only kube-proxy's ipvs mode has.
pub fn is_of_ipvs(chain: &str) -> bool {
    IPVS.contains(&chain)
}

const OWNED: [&str; 13] = [
    SERVICES,
    EXTERNAL_SERVICES,
    NODE_PORTS,
    REFUSED_NODE_PORTS,
    CLUSTER_IPS,
    REJECT,
    MARK_UNLESS_POD,
    MARK_MASQ,
    POSTROUTING,
    FORWARD,
    PROXY_FIREWALL,
    CANARY,
    PROBE,
];

const OWNED_PREFIXES: [&str; 6] =
    ["KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-", "KUBE-XLB-"];

/// Whether a chain is the service proxy's, kube-proxy's or ours, of this or an older version.
pub fn is_owned(chain: &str) -> bool {
    OWNED.contains(&chain)
        || is_of_ipvs(chain)
        || OWNED_PREFIXES.iter().any(|prefix| chain.starts_with(prefix))
}

/// The names of one service port's chains.
pub struct Names {
    /// `namespace/name:port` and protocol.
    text: String,
    hash: String,
}

impl Names {
    pub fn of(port: &PortName) -> Self {
        let text = format!("{port}{}", port.protocol);
        Names { hash: hash(&text), text }
    }

    /// What the names of all chains of the port end in.
    pub fn digits(&self) -> &str {
        &self.hash
    }

    pub fn chain(&self, kind: Kind) -> String {
        format!("{}{}", kind.prefix(), self.hash)
    }

    pub fn endpoint(&self, endpoint: &Endpoint) -> String {
        format!("KUBE-SEP-{}", hash(&format!("{}{endpoint}", self.text)))
    }

    /// A chain for some of the endpoints of a wide group. Ours alone, with a beginning by which kube-proxy takes it for an
    /// endpoint's and deletes it when nothing leads there.
    pub fn leaf(&self, of: Kind, what: &str, number: usize) -> String {
        format!("KUBE-SEP-{}", hash(&format!("{} {}{what}-{number}", self.text, of.prefix())))
    }
}

/// The first 16 digits of the sum in base 32 (RFC 4648).
pub(super) fn hash(text: &str) -> String {
    let sum = sha256(text.as_bytes());
    let (high, _) = sum.split_at(10);
    let bits = high.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    let digit = |at: u32| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(bits >> (75 - 5 * at)) as usize & 31];
    (0..16).map(|at| char::from(digit(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_core::names::{Protocol, ServiceName};

    /// From kube-proxy's own tests.
    #[test]
    fn names_are_kube_proxys() {
        let port = PortName {
            service: ServiceName::new("ns1", "svc1"),
            port: "p80".into(),
            protocol: Protocol::Tcp,
        };
        let names = Names::of(&port);
        assert_eq!(names.chain(Kind::Cluster), "KUBE-SVC-XPGD46QRK7WJZT7O");
        let endpoint = Endpoint { ip: "10.180.0.1".parse().unwrap(), port: 80, is_local: false };
        assert_eq!(names.endpoint(&endpoint), "KUBE-SEP-SXIVWICOYRO3J4NJ");
    }

    #[test]
    fn chains_of_others_are_not_ours() {
        for chain in [
            "KUBE-SEP-SXIVWICOYRO3J4NJ",
            "KUBE-SERVICES",
            "KUBE-PROXY-CANARY",
            "KUBE-XLB-X",
            "KUBE-NODE-PORT",
        ] {
            assert!(is_owned(chain), "{chain}");
        }
        for chain in ["KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-ROUTER-INPUT", "INPUT", "DOCKER"] {
            assert!(!is_owned(chain), "{chain}");
        }
    }
}
