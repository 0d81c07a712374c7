//! `subnet.env`: what Docker, the CNI plugin and the next start of the daemon learn about this node's subnets.
//!
//! Begin at [`SubnetEnv`] for writing and [`Earlier`] for reading. Source: flannel 0.28.4, `pkg/subnet/subnet.go`
//! (writing) and `main.go` (reading).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::acquire::Previous;
use crate::config::NetworkConfig;
use crate::go;
use crate::lease::Subnets;

/// The file. Prints flannel's exact bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetEnv {
    /// The whole network and our part of it. Ours is written with its first usable address, which is the bridge's.
    pub v4: Option<(Ipv4Net, Ipv4Net)>,
    pub v6: Option<(Ipv6Net, Ipv6Net)>,
    /// MTU for the pods, in bytes.
    pub mtu: u32,
    /// Whether the daemon masquerades, so that Docker must not.
    pub ip_masq: bool,
}

impl SubnetEnv {
    pub fn new(config: &NetworkConfig, subnets: &Subnets, mtu: u32, ip_masq: bool) -> Self {
        let v4 = match config.v4.as_ref().map(|pool| pool.network) {
            Some(IpNet::V4(network)) => Some((network, subnets.v4)),
            _ => None,
        };
        let v6 = match config.v6.as_ref().map(|pool| pool.network) {
            Some(IpNet::V6(network)) => subnets.v6.map(|subnet| (network, subnet)),
            _ => None,
        };
        Self { v4, v6, mtu, ip_masq }
    }
}

impl fmt::Display for SubnetEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((network, subnet)) = &self.v4 {
            writeln!(f, "FLANNEL_NETWORK={network}")?;
            writeln!(f, "FLANNEL_SUBNET={}/{}", first_usable(*subnet), subnet.prefix_len())?;
        }
        if let Some((network, subnet)) = &self.v6 {
            let text = go::ipv6_text;
            let first = first_usable_v6(*subnet);
            writeln!(f, "FLANNEL_IPV6_NETWORK={}/{}", text(network.addr()), network.prefix_len())?;
            writeln!(f, "FLANNEL_IPV6_SUBNET={}/{}", text(first), subnet.prefix_len())?;
        }
        writeln!(f, "FLANNEL_MTU={}", self.mtu)?;
        writeln!(f, "FLANNEL_IPMASQ={}", self.ip_masq)
    }
}

/// The first address that a machine may have: the one behind the network's own.
pub(crate) fn first_usable(subnet: Ipv4Net) -> Ipv4Addr {
    u32::from(subnet.addr()).wrapping_add(1).into()
}

pub(crate) fn first_usable_v6(subnet: Ipv6Net) -> Ipv6Addr {
    u128::from(subnet.addr()).wrapping_add(1).into()
}

/// What an earlier run has left, host bits cleared. Nothing in it is trusted: a network that is not one is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    pub network: Option<Ipv4Net>,
    pub subnet: Option<Ipv4Net>,
    pub ipv6_network: Option<Ipv6Net>,
    pub ipv6_subnet: Option<Ipv6Net>,
    /// One sentence for each value that was passed over.
    pub problems: Vec<String>,
}

impl Earlier {
    /// Reads the file, whoever wrote it. Several networks in one value, separated by commas, are as good as none:
    /// flannel does not know which one to take either.
    pub fn parse(text: &str) -> Self {
        let values = assignments(text);
        let mut problems = Vec::new();
        let network = one(&values, "FLANNEL_NETWORK", &mut problems);
        let subnet = one(&values, "FLANNEL_SUBNET", &mut problems);
        let ipv6_network = one(&values, "FLANNEL_IPV6_NETWORK", &mut problems);
        let ipv6_subnet = one(&values, "FLANNEL_IPV6_SUBNET", &mut problems);
        Self {
            network: network.map(|net: Ipv4Net| net.trunc()),
            subnet: subnet.map(|net: Ipv4Net| net.trunc()),
            ipv6_network: ipv6_network.map(|net: Ipv6Net| net.trunc()),
            ipv6_subnet: ipv6_subnet.map(|net: Ipv6Net| net.trunc()),
            problems,
        }
    }

    /// The networks that it speaks of.
    pub fn networks(&self) -> Vec<IpNet> {
        self.network.map(Into::into).into_iter().chain(self.ipv6_network.map(Into::into)).collect()
    }

    /// The subnets to ask for again.
    pub fn previous(&self) -> Previous {
        Previous { v4: self.subnet, v6: self.ipv6_subnet }
    }
}

fn one<T: std::str::FromStr>(
    values: &BTreeMap<String, String>,
    key: &str,
    problems: &mut Vec<String>,
) -> Option<T> {
    let value = values.get(key)?;
    let mut found = None;
    for part in value.split(',') {
        match part.trim().parse() {
            Ok(_) if found.is_some() => {
                problems.push(format!("{key}={value} has several networks and is ignored"));
                return None;
            }
            Ok(net) => found = Some(net),
            Err(_) => problems.push(format!("{part:?} in {key} is no network and is ignored")),
        }
    }
    found
}

/// The assignments of a shell-like file, the last one of each name: `NAME=value`, an `export` in front, quotes around
/// the value, comments. A line that is none is passed over, as the CNI plugin does.
pub(crate) fn assignments(text: &str) -> BTreeMap<String, String> {
    let assignment = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, value) = line.split_once('=')?;
        let name = name.trim_end();
        is_name(name).then(|| (name.to_owned(), unquoted(value.trim())))
    };
    text.lines().filter_map(assignment).collect()
}

/// Whether a shell would take this for the name of a variable.
pub(crate) fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(legal) && !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit())
}

fn unquoted(value: &str) -> String {
    let quoted = value.chars().next().filter(|quote| ['"', '\''].contains(quote));
    let inner = quoted.and_then(|quote| value[1..].split_once(quote)).map(|(inner, _)| inner);
    let plain = || value.split_once(" #").map_or(value, |(value, _)| value).trim_end();
    inner.unwrap_or_else(plain).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(json: &str) -> NetworkConfig {
        NetworkConfig::parse(json).unwrap()
    }

    const DUAL: &str = r#"{"Network":"10.5.0.0/16","EnableIPv6":true,"IPv6Network":"2001:cafe:42::/56",
                           "Backend":{"Type":"vxlan"}}"#;

    #[test]
    fn writes_the_bytes_of_flannel() {
        let v4 = config(r#"{"Network":"10.5.0.0/16"}"#);
        let env = SubnetEnv::new(&v4, &"10.5.72.0-24".parse().unwrap(), 1472, false);
        assert_eq!(
            env.to_string(),
            "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.72.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=false\n"
        );
        let subnets = "10.5.72.0-24&2001:cafe:42::-64".parse().unwrap();
        let env = SubnetEnv::new(&config(DUAL), &subnets, 1450, true);
        assert_eq!(
            env.to_string(),
            "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.72.1/24\n\
             FLANNEL_IPV6_NETWORK=2001:cafe:42::/56\nFLANNEL_IPV6_SUBNET=2001:cafe:42::1/64\n\
             FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
        );
    }

    #[test]
    fn reads_what_it_wrote_without_host_bits() {
        let subnets = "10.5.72.0-24&2001:cafe:42::-64".parse().unwrap();
        let text = SubnetEnv::new(&config(DUAL), &subnets, 1450, true).to_string();
        let earlier = Earlier::parse(&text);
        assert_eq!(earlier.network, Some("10.5.0.0/16".parse().unwrap()));
        assert_eq!(earlier.previous(), Previous { v4: Some(subnets.v4), v6: subnets.v6 });
        assert_eq!(earlier.ipv6_network, Some("2001:cafe:42::/56".parse().unwrap()));
        assert_eq!(earlier.problems, Vec::<String>::new());
    }

    #[test]
    fn reads_what_people_write() {
        for text in [
            "export FLANNEL_SUBNET=\"10.5.72.1/24\"\r\n",
            "# mine\n\nFLANNEL_SUBNET = '10.5.72.1/24' # old\n",
            "FLANNEL_SUBNET=10.5.1.1/24\nnonsense\n=\n1A=2\nFLANNEL_SUBNET=10.5.72.1/24 # new",
            "FLANNEL_SUBNET=not-a-cidr,10.5.72.1/24",
        ] {
            assert_eq!(Earlier::parse(text).subnet, Some("10.5.72.0/24".parse().unwrap()), "{text:?}");
        }
    }

    /// As in flannel's `main_test.go`: what is no network is skipped, and several are as good as none.
    #[test]
    fn what_is_not_one_network_is_absent() {
        for (text, problems) in [
            ("", 0),
            ("FLANNEL_SUBNET=\n", 1),
            ("FLANNEL_SUBNET=not-a-cidr\n", 1),
            ("FLANNEL_SUBNET=10.5.72.1\n", 1),
            ("FLANNEL_SUBNET=fd00::1/64\n", 1),
            ("FLANNEL_SUBNET=\"10.5.72.1/24\n", 1),
            ("FLANNEL_SUBNET=10.244.1.0/24,not-a-cidr,10.244.2.0/24\n", 2),
        ] {
            let earlier = Earlier::parse(text);
            assert_eq!((earlier.subnet, earlier.problems.len()), (None, problems), "{text:?}");
        }
        assert_eq!(Earlier::parse("FLANNEL_IPV6_SUBNET=fd00::/64,fd01::/64\n").ipv6_subnet, None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(FLANNEL_SUBNET|export |[=\"' #,\n/]|[0-9.]{1,8}|é){0,12}") {
            Earlier::parse(&text);
        }
    }
}
