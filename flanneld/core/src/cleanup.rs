//! What `--cleanup` may take away: the things of one network, and of no other daemon on the host.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::Vni;
use crate::network_id::{NetworkId, is_mark};
use crate::tables::{LinkName, PROTOCOL};

/// What is known of the network whose daemon has stopped.
#[derive(Clone, Debug)]
pub struct Scope {
    pub id: NetworkId,
    /// Its networks, as `subnet.env` has them. Empty where that file is gone.
    pub networks: Vec<IpNet>,
}

/// A link, as far as it tells whose it is.
#[derive(Clone, Debug)]
pub struct SeenLink {
    pub name: String,
    pub kind: SeenKind,
    pub alias: Option<String>,
    pub addresses: Vec<IpAddr>,
}

/// The kinds that flanneld makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeenKind {
    Tun,
    /// With its VNI.
    Vxlan(u32),
    Other,
}

impl Scope {
    /// A tunnel of this network: by its mark; without one, as the original and earlier releases made it, by its name
    /// and an address of the network. The default network also has what tells of no network at all.
    pub fn owns_link(&self, link: &SeenLink) -> bool {
        let named = match link.kind {
            SeenKind::Tun => link.name.strip_prefix("flannel").is_some_and(|n| n.parse::<u32>().is_ok()),
            SeenKind::Vxlan(vni) => is_vxlan(&link.name, vni),
            SeenKind::Other => false,
        };
        let global = link.addresses.iter().filter(|ip| match ip {
            IpAddr::V4(_) => true,
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        });
        named
            && match &link.alias {
                Some(alias) if is_mark(alias) => *alias == self.id.mark(),
                _ if global.clone().any(|ip| self.networks.iter().any(|net| net.contains(ip))) => true,
                _ => self.id.is_default() && (self.networks.is_empty() || global.count() == 0),
            }
    }

    /// A route with our protocol number. `None`: nothing tells whose it is, because the network is not known and other
    /// daemons have links here.
    pub fn owns_route(&self, destination: &IpNet, protocol: u8, others: bool) -> Option<bool> {
        if protocol != PROTOCOL {
            return Some(false);
        }
        if self.networks.is_empty() {
            return if others || !self.id.is_default() { None } else { Some(true) };
        }
        Some(self.networks.iter().any(|network| network.contains(destination)))
    }

    /// Whether a link shows that another network has a daemon on this host.
    pub fn is_of_another(&self, link: &SeenLink) -> bool {
        link.alias.as_ref().is_some_and(|alias| is_mark(alias) && *alias != self.id.mark())
    }
}

fn is_vxlan(name: &str, vni: u32) -> bool {
    let Ok(vni) = Vni::new(vni) else { return false };
    name == LinkName::vxlan(vni).as_str() || LinkName::vxlan_v6(vni).is_ok_and(|v6| name == v6.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(prefix: &str, networks: &[&str]) -> Scope {
        Scope {
            id: NetworkId::of_etcd_prefix(prefix),
            networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
        }
    }

    fn link(name: &str, kind: SeenKind, alias: Option<&str>, address: Option<&str>) -> SeenLink {
        SeenLink {
            name: name.to_owned(),
            kind,
            alias: alias.map(str::to_owned),
            addresses: address.into_iter().map(|ip| ip.parse().unwrap()).collect(),
        }
    }

    const DEFAULT: &str = "/coreos.com/network";

    #[test]
    fn a_link_goes_with_its_own_network_only() {
        let (one, two) = (scope(DEFAULT, &["10.20.0.0/16"]), scope("/two", &["10.30.0.0/16"]));
        let vxlan = SeenKind::Vxlan(1);
        let marked = link("flannel.1", vxlan, Some("flanneld /two"), Some("10.20.1.0"));
        assert!(two.owns_link(&marked) && !one.owns_link(&marked) && one.is_of_another(&marked));
        let unmarked = link("flannel.1", vxlan, None, Some("10.20.1.0"));
        assert!(one.owns_link(&unmarked) && !two.owns_link(&unmarked));
        let bare = link("flannel0", SeenKind::Tun, None, None);
        assert!(one.owns_link(&bare) && !two.owns_link(&bare));
        let elsewhere = link("flannel0", SeenKind::Tun, None, Some("10.40.1.0"));
        assert!(!one.owns_link(&elsewhere) && scope(DEFAULT, &[]).owns_link(&elsewhere));
        assert!(!two.owns_link(&link("flannel.1", SeenKind::Other, Some("flanneld /two"), None)));
        assert!(!one.owns_link(&link("flannel.2", vxlan, None, None)), "another VNI than its name says");
        assert!(!one.owns_link(&link("tun7", SeenKind::Tun, None, None)));
    }

    #[test]
    fn a_route_goes_with_its_own_network_only() {
        let (one, lost) = (scope(DEFAULT, &["10.20.0.0/16"]), scope(DEFAULT, &[]));
        let (inside, outside): (IpNet, IpNet) =
            ("10.20.2.0/24".parse().unwrap(), "10.30.2.0/24".parse().unwrap());
        assert_eq!(one.owns_route(&inside, PROTOCOL, true), Some(true));
        assert_eq!(one.owns_route(&outside, PROTOCOL, true), Some(false));
        assert_eq!(one.owns_route(&inside, 4, false), Some(false));
        assert_eq!(lost.owns_route(&inside, PROTOCOL, false), Some(true));
        assert_eq!(lost.owns_route(&inside, PROTOCOL, true), None);
        assert_eq!(scope("/two", &[]).owns_route(&inside, PROTOCOL, false), None);
    }
}
