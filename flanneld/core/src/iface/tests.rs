use super::*;
use proptest::prelude::*;

fn link(index: u32, name: &str) -> Link {
    Link { index, name: name.to_owned(), mtu: 1500, up: true, role: Role::of(name, "", name == "lo") }
}

fn address(index: u32, ip: &str) -> Address {
    Address { index, ip: ip.parse().unwrap(), deprecated: false, permanent: true, temporary: false }
}

/// The node of flannel's `pkg/ipmatch/match_test.go`, with a default interface beside it.
fn node() -> Observed {
    Observed {
        links: vec![link(1, "lo"), link(2, "eth0"), link(7, "dummy0")],
        addresses: vec![
            address(1, "127.0.0.1"),
            address(1, "::1"),
            address(2, "192.168.0.4"),
            address(2, "fe80::4"),
            address(2, "2001:db8:1::4"),
            address(7, "1.10.100.1"),
            address(7, "192.168.200.128"),
            address(7, "172.16.30.18"),
            address(7, "172.16.31.200"),
            address(7, "172.16.32.100"),
            address(7, "2001:db8::1"),
        ],
        default_v4: vec![2, 7],
        default_v6: vec![2],
        reach: None,
    }
}

fn v4() -> Wanted {
    Wanted { v4: true, ..Wanted::default() }
}

fn dual() -> Wanted {
    Wanted { v6: true, ..v4() }
}

fn iface(all: &[&str]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// `name iface_addr>ext_addr ..`, or the error.
fn text(result: Result<Underlay, IfaceError>) -> String {
    fn end<A: ToString>(end: Endpoint<A>) -> String {
        format!(" {}>{}", end.iface_addr.to_string(), end.ext_addr.to_string())
    }
    match result {
        Ok(found) => {
            found.name + &found.v4.map(end).unwrap_or_default() + &found.v6.map(end).unwrap_or_default()
        }
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(wanted: Wanted, want: &str) {
    assert_eq!(text(choose(&wanted, &node())), want);
}

#[test]
fn without_flags_it_is_the_first_default_route() {
    check(v4(), "eth0 192.168.0.4>192.168.0.4");
    check(dual(), "eth0 192.168.0.4>192.168.0.4 2001:db8:1::4>2001:db8:1::4");
    check(Wanted { v4: false, ..dual() }, "eth0 2001:db8:1::4>2001:db8:1::4");
    let other = Observed { default_v4: vec![7, 2], ..node() };
    assert_eq!(text(choose(&v4(), &other)), "dummy0 1.10.100.1>1.10.100.1");
    assert_eq!(
        text(choose(&dual(), &other)),
        "IPv4 leads to interface dummy0 and IPv6 to eth0, but the overlay has one underlay; name it with --iface"
    );
    let none = Observed { default_v4: vec![], ..node() };
    insta::assert_snapshot!(text(choose(&v4(), &none)), @"there is no IPv4 default route to tell the interface by; name it with --iface. There are lo (no usable address), eth0 (192.168.0.4, 2001:db8:1::4, fe80::4), dummy0 (1.10.100.1, 192.168.200.128, 172.16.30.18, 172.16.31.200, 172.16.32.100, 2001:db8::1)");
}

#[test]
fn iface_is_a_name_or_an_address() {
    check(Wanted { iface: iface(&["dummy0"]), ..v4() }, "dummy0 1.10.100.1>1.10.100.1");
    check(Wanted { iface: iface(&["172.16.30.18"]), ..v4() }, "dummy0 172.16.30.18>172.16.30.18");
    check(
        Wanted { iface: iface(&["172.16.30.18"]), ..dual() },
        "dummy0 172.16.30.18>172.16.30.18 2001:db8::1>2001:db8::1",
    );
    check(Wanted { iface: iface(&["fe80::4"]), ..dual() }, "eth0 192.168.0.4>192.168.0.4 fe80::4>fe80::4");
    check(
        Wanted { iface: iface(&["dummy0"]), public_ip: Some(Ipv4Addr::new(203, 0, 113, 9)), ..v4() },
        "dummy0 1.10.100.1>203.0.113.9",
    );
}

#[test]
fn the_first_iface_that_works_is_taken() {
    check(
        Wanted { iface: iface(&["eth9", "lo", "10.9.9.9", "dummy0", "eth0"]), ..v4() },
        "dummy0 1.10.100.1>1.10.100.1",
    );
    let all = Wanted { iface: iface(&["eth9", "lo"]), iface_regex: iface(&["^x"]), ..v4() };
    let small = Observed { links: vec![link(1, "lo"), Link { up: false, ..link(2, "eth0") }], ..node() };
    insta::assert_snapshot!(text(choose(&all, &small)), @"no interface fits: --iface eth9: there is no such interface; there are lo (no usable address), eth0 (192.168.0.4, 2001:db8:1::4, fe80::4, down); interface lo cannot carry the overlay: nothing leaves the host by the loopback interface; name the interface by which packets reach the other nodes with --iface, and an address that only lo has with --public-ip; --iface-regex ^x: it matches no address and no interface that could carry the overlay; there are lo (no usable address), eth0 (192.168.0.4, 2001:db8:1::4, fe80::4, down)");
    check(
        Wanted { iface: iface(&["10.9.9.9"]), ..v4() },
        "--iface 10.9.9.9: no interface has this address; there are lo (no usable address), eth0 (192.168.0.4, \
         2001:db8:1::4, fe80::4), dummy0 (1.10.100.1, 192.168.200.128, 172.16.30.18, 172.16.31.200, 172.16.32.100, \
         2001:db8::1)",
    );
}

/// Addresses come before names, and both after every `--iface`.
#[test]
fn a_regex_is_for_addresses_then_for_names() {
    let regex = |all: &[&str], wanted: Wanted| Wanted { iface_regex: iface(all), ..wanted };
    check(regex(&[r"192\.168\.200\.\d+"], v4()), "dummy0 192.168.200.128>192.168.200.128");
    check(regex(&[r"dummy\d+"], v4()), "dummy0 1.10.100.1>1.10.100.1");
    check(regex(&["(?i)^DUMMY"], v4()), "dummy0 1.10.100.1>1.10.100.1");
    check(regex(&["nothing", "0"], v4()), "eth0 192.168.0.4>192.168.0.4");
    let public = Wanted { public_ip: Some(Ipv4Addr::new(172, 16, 31, 200)), ..v4() };
    check(regex(&[r"172\.16\.30\.\d+"], public), "dummy0 172.16.30.18>172.16.31.200");
    check(Wanted { iface: iface(&["eth0"]), ..regex(&["dummy0"], v4()) }, "eth0 192.168.0.4>192.168.0.4");
}

#[test]
fn with_two_families_a_regex_matches_both_or_a_name_or_one() {
    let regex = |pattern: &str| Wanted { iface_regex: iface(&[pattern]), ..dual() };
    check(
        regex(r"^(192\.168\.200\.|2001:)"),
        "dummy0 192.168.200.128>192.168.200.128 2001:db8::1>2001:db8::1",
    );
    check(regex("1:4$|^eth"), "eth0 192.168.0.4>192.168.0.4 2001:db8:1::4>2001:db8:1::4");
    // flannel finds nothing here.
    check(regex(r"^172\.16\.31\."), "dummy0 172.16.31.200>172.16.31.200 2001:db8::1>2001:db8::1");
    check(regex("^2001:db8::1$"), "dummy0 1.10.100.1>1.10.100.1 2001:db8::1>2001:db8::1");
}

#[test]
fn a_bad_regex_is_explained() {
    let error = text(choose(&Wanted { iface_regex: iface(&["eth("]), ..v4() }, &node()));
    assert!(error.starts_with("--iface-regex eth(: regex parse error:"), "{error}");
}

#[test]
fn can_reach_takes_the_way_of_the_kernel() {
    let wanted = Wanted { can_reach: Some("172.16.32.254".parse().unwrap()), ..v4() };
    let reach = Reach { index: 7, src: Some("172.16.32.100".parse().unwrap()) };
    let found = choose(&wanted, &Observed { reach: Some(reach), ..node() });
    assert_eq!(text(found), "dummy0 172.16.32.100>172.16.32.100");
    check(
        wanted,
        "--iface-can-reach 172.16.32.254: the kernel has no route to it; correct the address or add a route",
    );
}

#[test]
fn a_public_ip_alone_chooses_its_owner() {
    let wanted = |ip: &str| Wanted { public_ip: Some(ip.parse().unwrap()), ..v4() };
    check(wanted("172.16.30.18"), "dummy0 172.16.30.18>172.16.30.18");
    insta::assert_snapshot!(text(choose(&wanted("203.0.113.9"), &Observed { links: vec![link(2, "eth0")], ..node() })), @"--public-ip 203.0.113.9: no interface has this address; there are eth0 (192.168.0.4, 2001:db8:1::4, fe80::4). Behind NAT, name the interface with --iface as well");

    let six = Wanted { public_ipv6: Some("2001:db8::1".parse().unwrap()), ..dual() };
    check(six.clone(), "dummy0 1.10.100.1>1.10.100.1 2001:db8::1>2001:db8::1");
    check(
        Wanted { public_ip: Some(Ipv4Addr::new(172, 16, 30, 18)), ..six.clone() },
        "dummy0 172.16.30.18>172.16.30.18 2001:db8::1>2001:db8::1",
    );
    check(
        Wanted { public_ip: Some(Ipv4Addr::new(192, 168, 0, 4)), ..six.clone() },
        "IPv4 leads to interface eth0 and IPv6 to dummy0, but the overlay has one underlay; name it with --iface",
    );
    // Nobody asked for IPv6.
    check(Wanted { v6: false, ..six }, "eth0 192.168.0.4>192.168.0.4");
}

#[test]
fn the_best_address_is_global_permanent_and_lasting() {
    let plain = |ip| Address { permanent: false, ..address(2, ip) };
    let mut addresses = vec![
        Address { deprecated: true, ..address(2, "2001:db8::a") },
        address(2, "fe80::1"),
        Address { temporary: true, ..plain("2001:db8::b") },
        plain("2001:db8::c"),
        address(2, "ff02::1"),
        address(2, "2001:db8::d"),
        address(2, "2001:db8::e"),
    ];
    let mut found = Vec::new();
    while let Some(best) = (Observed { addresses: addresses.clone(), ..node() }).v6(&link(2, "eth0")).next() {
        found.push(best.to_string());
        addresses.retain(|address| address.ip != IpAddr::V6(best));
    }
    assert_eq!(found, ["2001:db8::d", "2001:db8::e", "2001:db8::c", "2001:db8::b", "fe80::1"]);
}

#[test]
fn an_interface_without_address_or_mtu_is_refused() {
    let bare = Observed { addresses: vec![address(2, "fe80::4")], ..node() };
    assert_eq!(
        text(choose(&v4(), &bare)),
        "interface eth0 has no usable IPv4 address; give it one, or name another with --iface"
    );
    let mut flat = node();
    flat.links[1].mtu = 0;
    assert_eq!(text(choose(&v4(), &flat)), "interface eth0 has an MTU of 0; name another with --iface");
    assert_eq!(
        text(choose(&v4(), &Observed { default_v4: vec![99], ..node() })),
        "interface 99 of the chosen route has just gone; look again"
    );
}

proptest! {
    /// Whatever is chosen exists, and its addresses are on it or were asked for.
    #[test]
    fn the_choice_is_there(
        iface in prop::collection::vec("eth0|eth9|lo|dummy0|172\\.16\\.30\\.18|fe80::4|[a-z0-9.:]{0,6}", 0..3),
        iface_regex in prop::collection::vec("eth|.*|[a-z.:()\\[\\]*+\\\\d]{0,6}", 0..2),
        public_ip: Option<Ipv4Addr>, v4: bool, v6: bool,
    ) {
        let wanted = Wanted { iface, iface_regex, public_ip, v4, v6, ..Wanted::default() };
        if let Ok(found) = choose(&wanted, &node()) {
            let node = node();
            let link = node.link(found.index).unwrap();
            prop_assert_eq!((&link.name, link.mtu), (&found.name, found.mtu));
            prop_assert_eq!((found.v4.is_some(), found.v6.is_some()), (v4, v6));
            if let Some(end) = found.v4 {
                prop_assert!(node.has(link, end.iface_addr.into()));
                prop_assert_eq!(end.ext_addr, public_ip.unwrap_or(end.iface_addr));
            }
            if let Some(end) = found.v6 {
                prop_assert!(node.has(link, end.iface_addr.into()));
            }
        }
    }
}

#[test]
fn loopback_tunnels_and_the_pods_bridge_carry_no_overlay() {
    let mut node = node();
    let with =
        |index, name: &str, kind: &str| Link { role: Role::of(name, kind, false), ..link(index, name) };
    // Older, and so before eth0, as after a restart at which eth0 was made again.
    let left = [with(3, "flannel.1", "vxlan"), with(4, "flannel0", "tun"), with(5, "cni0", "bridge")];
    node.links.splice(1..1, left);
    node.addresses.extend([address(3, "10.5.7.0"), address(4, "10.5.7.0"), address(5, "10.5.7.1")]);
    node.addresses.push(address(2, "10.9.1.5"));
    let choose = |wanted| text(choose(&wanted, &node));
    for (name, why) in
        [("lo", "loopback"), ("flannel.1", "tunnel"), ("flannel0", "tunnel"), ("cni0", "bridge")]
    {
        let error = choose(Wanted { iface: iface(&[name]), ..v4() });
        assert!(error.contains(name) && error.contains(why) && error.contains("--iface"), "{error}");
    }
    for address in ["127.0.0.1", "10.5.7.0", "10.5.7.1"] {
        let error = choose(Wanted { iface: iface(&[address]), ..v4() });
        assert!(error.contains("cannot carry the overlay"), "{error}");
    }
    // The next one that is named will do.
    assert_eq!(choose(Wanted { iface: iface(&["lo", "eth0"]), ..v4() }), "eth0 192.168.0.4>192.168.0.4");
    // A pattern does not see them.
    assert_eq!(choose(Wanted { iface_regex: iface(&["^10\\."]), ..v4() }), "eth0 10.9.1.5>10.9.1.5");
    let error = choose(Wanted { iface_regex: iface(&["^(10\\.5|127)\\.", "^flannel"]), ..v4() });
    assert!(error.contains("matches no address and no interface that could"), "{error}");
    // An address of this node itself is reached by lo.
    let reach = Some(Reach { index: 1, src: Some("192.168.0.4".parse().unwrap()) });
    let wanted = Wanted { can_reach: Some("192.168.0.4".parse().unwrap()), ..v4() };
    let error = text(super::choose(&wanted, &Observed { reach, ..node.clone() }));
    assert!(error.contains("lo") && error.contains("loopback"), "{error}");
}

#[test]
fn links_of_others_are_told_from_flannels_by_name_and_kind() {
    let of = |name, kind| Role::of(name, kind, false);
    for (name, kind) in
        [("flannel.7", "vxlan"), ("flannel-v6.1", "vxlan"), ("flannel1", "tun"), ("flannel-wg", "wireguard")]
    {
        assert_eq!(of(name, kind), Role::Tunnel, "{name}");
    }
    for (name, kind) in
        [("flannel-uplink", ""), ("vxlan7", "vxlan"), ("wg0", "wireguard"), ("br0", "bridge"), ("cni0", "")]
    {
        assert_eq!(of(name, kind), Role::Underlay, "{name}");
    }
}
