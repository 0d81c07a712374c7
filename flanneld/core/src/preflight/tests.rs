use super::*;
use crate::iface::Endpoint;

const VXLAN: &str = r#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#;
const HOST_GW: &str = r#"{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}"#;

/// A node with eth0 below br0, which has the address and the default route, a VLAN on br0, and links beside.
struct Node {
    config: NetworkConfig,
    underlay: Underlay,
    links: Vec<Link>,
    addresses: Vec<(u32, IpNet)>,
    gateways: Vec<(Option<IpAddr>, Option<u32>)>,
    etcd: Vec<IpAddr>,
}

fn link(index: u32, name: &str, kind: &str, master: Option<u32>, below: Option<u32>) -> Link {
    Link { index, name: name.to_owned(), kind: kind.to_owned(), master, below }
}

fn node(config: &str) -> Node {
    Node {
        config: NetworkConfig::parse(config).unwrap(),
        underlay: underlay(3, "br0", "192.168.90.11"),
        links: vec![
            link(1, "lo", "", None, None),
            link(2, "eth0", "veth", Some(3), None),
            link(3, "br0", "bridge", None, None),
            link(4, "br0.5", "vlan", None, Some(3)),
            link(5, "docker0", "bridge", None, None),
            link(6, "inner0", "bridge", Some(5), None),
            link(7, "flannel.1", "vxlan", None, None),
            link(8, "eth1", "", None, None),
        ],
        addresses: vec![
            (3, "192.168.90.11/24".parse().unwrap()),
            (3, "192.168.90.12/24".parse().unwrap()),
            (4, "192.168.95.11/24".parse().unwrap()),
            (8, "10.9.1.5/16".parse().unwrap()),
        ],
        gateways: vec![(Some("192.168.90.1".parse().unwrap()), Some(3))],
        etcd: vec!["192.168.90.2".parse().unwrap()],
    }
}

fn underlay(index: u32, name: &str, ip: &str) -> Underlay {
    let ip = ip.parse().unwrap();
    let v4 = Some(Endpoint { iface_addr: ip, ext_addr: ip });
    Underlay { name: name.to_owned(), index, mtu: 1500, up: true, v4, v6: None }
}

impl Node {
    fn check(&self, bridge: Option<&str>) -> String {
        let Self { config, underlay, links, addresses, gateways, etcd } = self;
        let facts = Facts { config, underlay, bridge, links, addresses, gateways, etcd };
        check(&facts).map_or_else(|refusal| refusal.to_string(), |()| "fine".to_owned())
    }

    fn public(mut self, ip: &str) -> Self {
        self.underlay.v4.as_mut().unwrap().ext_addr = ip.parse().unwrap();
        self
    }
}

#[track_caller]
fn refused(what: &str, words: &[&str]) {
    for word in words {
        assert!(what.contains(word), "{word:?} in {what:?}");
    }
}

#[test]
fn a_bridge_for_the_pods_is_a_bridge_and_nobodys_way_out() {
    let plain = node(VXLAN);
    for fine in [None, Some("docker0"), Some("weft0")] {
        assert_eq!(plain.check(fine), "fine", "{fine:?}");
    }
    refused(
        &plain.check(Some("br0")),
        &["--bridge br0", "carries the overlay's packets", "MTU", "a bridge of its own"],
    );
    refused(&plain.check(Some("flannel.1")), &["--bridge flannel.1", "tunnel"]);
    refused(&plain.check(Some("eth0")), &["eth0", "is a veth, not a bridge", "delete or rename"]);
    refused(&plain.check(Some("lo")), &["lo", "is a device, not a bridge"]);
    refused(&plain.check(Some("inner0")), &["inner0", "a port of docker0"]);
    // The underlay stands on the bridge, or is a port of it.
    let above = Node { underlay: underlay(4, "br0.5", "192.168.95.11"), gateways: vec![], ..node(VXLAN) };
    refused(&above.check(Some("br0")), &["br0", "packets of interface br0.5", "pass through it"]);
    let port = Node { underlay: underlay(2, "eth0", "192.168.90.11"), gateways: vec![], ..node(VXLAN) };
    refused(&port.check(Some("br0")), &["br0", "packets of interface eth0", "pass through it"]);
    // The underlay is another link, but everything else leaves by the bridge.
    let other = Node { underlay: underlay(8, "eth1", "10.9.1.5"), ..node(VXLAN) };
    refused(&other.check(Some("br0")), &["br0", "default route"]);
}

#[test]
fn a_public_address_that_peers_ignore_is_refused() {
    for (address, why) in [
        ("0.0.0.0", "no host has it"),
        ("0.1.2.3", "no host has it"),
        ("127.0.0.1", "itself"),
        ("127.1.2.3", "itself"),
        ("224.0.0.9", "multicast"),
        ("169.254.7.7", "link-local"),
        ("255.255.255.255", "broadcast"),
        ("192.168.90.255", "broadcast"),
    ] {
        refused(&node(VXLAN).public(address).check(None), &["--public-ip", address, why]);
    }
    for address in ["192.168.90.12", "203.0.113.7", "10.9.255.255"] {
        assert_eq!(node(VXLAN).public(address).check(None), "fine", "{address}");
    }
    let mut v6 = node(VXLAN);
    for (address, why) in
        [("fe80::1", "link-local"), ("::1", "itself"), ("::", "no host"), ("ff02::1", "multicast")]
    {
        let end =
            Endpoint { iface_addr: "2001:db8::11".parse().unwrap(), ext_addr: address.parse().unwrap() };
        v6.underlay.v6 = Some(end);
        refused(&v6.check(None), &["--public-ipv6", address, why]);
    }
}

#[test]
fn with_host_gw_the_public_address_is_the_interfaces() {
    refused(
        &node(HOST_GW).public("203.0.113.7").check(None),
        &["host-gw", "203.0.113.7", "br0", "192.168.90.11", "NAT", "vxlan"],
    );
    // Of another link of this host: not on the link either.
    refused(&node(HOST_GW).public("192.168.95.11").check(None), &["host-gw", "192.168.95.11"]);
    for address in ["192.168.90.11", "192.168.90.12"] {
        assert_eq!(node(HOST_GW).public(address).check(None), "fine");
    }
}

#[test]
fn what_the_node_needs_lies_outside_of_the_subnets_that_are_leased() {
    let covering = |network: &str| node(&VXLAN.replace("10.244.0.0/16", network));
    refused(
        &covering("192.168.0.0/16").check(None),
        &["this node's public address", "192.168.90.11", "192.168.0.0/16"],
    );
    // Behind NAT the interface's own address counts as well.
    refused(&covering("192.168.0.0/16").public("203.0.113.7").check(None), &["this node's own address"]);
    let mut far = covering("172.16.0.0/12");
    far.gateways = vec![(Some("172.20.0.1".parse().unwrap()), Some(3)), (None, Some(3))];
    refused(&far.check(None), &["default gateway", "172.20.0.1", "172.16.0.0/12", "SubnetMin"]);
    far.gateways.clear();
    far.etcd = vec!["172.20.0.2".parse().unwrap(), "2001:db8::2".parse().unwrap()];
    refused(&far.check(None), &["etcd endpoint", "172.20.0.2"]);
    // In the network, but in no subnet that may be leased.
    let spared = r#"{"Network":"192.168.0.0/16","SubnetMin":"192.168.128.0","Backend":{"Type":"vxlan"}}"#;
    assert_eq!(node(spared).check(None), "fine");
}

#[test]
fn an_mtu_above_what_the_underlay_carries_is_refused() {
    let with = |mtu: &str| node(&VXLAN.replace("\"vxlan\"", &format!("\"vxlan\",\"MTU\":{mtu}"))).check(None);
    refused(&with("9000"), &["Backend.MTU is 9000", "br0", "1500"]);
    refused(&with("1501"), &["1501"]);
    for fine in ["1500", "1400", "0"] {
        assert_eq!(with(fine), "fine", "{fine}");
    }
}
