use super::*;
use crate::overlay::{Alloc, HostGw};
use proptest::prelude::*;

fn parse(json: &str) -> NetworkConfig {
    NetworkConfig::parse(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn error(json: &str) -> String {
    NetworkConfig::parse(json).expect_err(json).to_string()
}

fn with(more: &str) -> String {
    format!(r#"{{"Network":"10.5.0.0/16",{more}}}"#)
}

fn backend(options: &str) -> Backend {
    parse(&with(&format!(r#""Backend":{options}"#))).backend
}

#[track_caller]
fn check_v4(json: &str, want: &str) {
    assert_eq!(parse(json).v4.unwrap().to_string(), want, "{json}");
}

/// `TestConfigDefaults` and its like in flannel (`pkg/subnet/config_test.go`).
#[test]
fn defaults_are_those_of_flannel() {
    check_v4(
        r#"{ "network": "10.3.0.0/16" }"#,
        "network 10.3.0.0/16 in /24 subnets from 10.3.1.0 to 10.3.255.0",
    );
    let six = parse(
        r#"{ "Network": "10.3.0.0/16", "enableIPv6": true, "ipv6Network": "fc00::/48",
                         "Backend": {"Type": "vxlan"} }"#,
    );
    assert_eq!(
        six.v6.unwrap().to_string(),
        "network fc00::/48 in /64 subnets from fc00:0:0:1:: to fc00:0:0:ffff::"
    );
    assert_eq!(parse(r#"{"Network":"10.3.0.0/16"}"#).backend, Backend::Udp(Udp::default()));
}

/// `TestConfigOverrides` and its like in flannel.
#[test]
fn overrides_are_those_of_flannel() {
    check_v4(
        r#"{ "Network": "10.3.0.0/16", "SubnetMin": "10.3.5.0", "SubnetMax": "10.3.8.0", "SubnetLen": 28 }"#,
        "network 10.3.0.0/16 in /28 subnets from 10.3.5.0 to 10.3.8.0",
    );
    let six = parse(&with(
        r#""EnableIPv6": true, "IPv6Network": "fc00::/48", "IPv6SubnetMin": "fc00:0:0:1::",
           "IPv6SubnetMax": "fc00:0:0:f::", "IPv6SubnetLen": 124, "Backend": {"Type": "host-gw"}"#,
    ));
    assert_eq!(
        six.v6.unwrap().to_string(),
        "network fc00::/48 in /124 subnets from fc00:0:0:1:: to fc00:0:0:f::"
    );
}

#[test]
fn subnet_size_follows_the_network() {
    let known = [
        ("10.0.0.0/8", "network 10.0.0.0/8 in /24 subnets from 10.0.1.0 to 10.255.255.0"),
        ("10.5.7.9/16", "network 10.5.0.0/16 in /24 subnets from 10.5.1.0 to 10.5.255.0"),
        ("10.5.0.0/22", "network 10.5.0.0/22 in /24 subnets from 10.5.1.0 to 10.5.3.0"),
        ("10.5.0.0/23", "network 10.5.0.0/23 in /25 subnets from 10.5.0.128 to 10.5.1.128"),
        ("10.5.0.0/28", "network 10.5.0.0/28 in /30 subnets from 10.5.0.4 to 10.5.0.12"),
        ("255.0.0.0/8", "network 255.0.0.0/8 in /24 subnets from 255.0.1.0 to 255.255.255.0"),
    ];
    for (network, want) in known {
        check_v4(&format!(r#"{{"Network":"{network}"}}"#), want);
    }
    check_v4(
        &with(r#""SubnetLen":0,"SubnetMin":"0.0.0.0","SubnetMax":null"#),
        "network 10.5.0.0/16 in /24 subnets from 10.5.1.0 to 10.5.255.0",
    );
    // The first subnet is only left out by default.
    check_v4(
        &with(r#""SubnetMin":"10.5.0.0""#),
        "network 10.5.0.0/16 in /24 subnets from 10.5.0.0 to 10.5.255.0",
    );
}

#[test]
fn a_pool_of_the_wrong_shape_is_refused_with_the_remedy() {
    let known = [
        ("{}", "Network is missing; add it, for example \"Network\":\"10.5.0.0/16\""),
        (r#"{"Network":"0.0.0.0/0"}"#, "Network is missing; add it, for example \"Network\":\"10.5.0.0/16\""),
        (
            r#"{"Network":17}"#,
            "Network is 17, legal is a network such as \"10.5.0.0/16\"; correct it or leave it out",
        ),
        (
            r#"{"Network":"10.5.0.0"}"#,
            "Network is \"10.5.0.0\", legal is a network such as \"10.5.0.0/16\"; correct it",
        ),
        (
            r#"{"Network":"fd00::/48"}"#,
            "Network is \"fd00::/48\", legal is a network such as \"10.5.0.0/16\"; correct it",
        ),
        (
            r#"{"Network":"10.5.0.0/29"}"#,
            "Network is 10.5.0.0/29, legal is a prefix of /28 or shorter; take a larger network",
        ),
        (
            &with(r#""SubnetLen":17"#),
            "SubnetLen is 17, legal is 18 to 30, so that 10.5.0.0/16 holds four subnets of four addresses; correct it or leave it out",
        ),
        (
            &with(r#""SubnetLen":31"#),
            "SubnetLen is 31, legal is 18 to 30, so that 10.5.0.0/16 holds four subnets of four addresses; correct it or leave it out",
        ),
        (
            &with(r#""SubnetLen":24.0"#),
            "SubnetLen is 24.0, legal is a whole number from 0 to 32; correct it or leave it out",
        ),
        (
            &with(r#""SubnetMin":"10.6.1.0""#),
            "SubnetMin is \"10.6.1.0\", legal is an address of 10.5.0.0/16 that begins a subnet of 256 addresses; correct it or leave it out",
        ),
        (
            &with(r#""SubnetMax":"10.5.9.1""#),
            "SubnetMax is \"10.5.9.1\", legal is an address of 10.5.0.0/16 that begins a subnet of 256 addresses; write 10.5.9.0, or change SubnetLen",
        ),
        (
            &with(r#""SubnetMin":"10.5.9.0","SubnetMax":"10.5.8.0""#),
            "SubnetMax is 10.5.8.0, legal is SubnetMin (10.5.9.0) or later; swap the two or leave them out",
        ),
        (
            &with(r#""EnableIPv6":true"#),
            "IPv6Network is missing; add it, for example \"IPv6Network\":\"fd00:5::/48\"",
        ),
        (
            &with(r#""EnableIPv6":true,"IPv6Network":"::ffff:10.0.0.0/104""#),
            "IPv6Network is \"::ffff:10.0.0.0/104\", legal is a network such as \"fd00:5::/48\"; correct it",
        ),
        (
            &with(r#""EnableIPv6":true,"IPv6Network":"fd00::/125""#),
            "IPv6Network is fd00::/125, legal is a prefix of /124 or shorter; take a larger network",
        ),
        (
            &with(r#""EnableIPv6":true,"IPv6Network":"fd00::/64","IPv6SubnetLen":127"#),
            "IPv6SubnetLen is 127, legal is 66 to 126, so that fd00::/64 holds four subnets of four addresses; correct it or leave it out",
        ),
    ];
    for (json, want) in known {
        assert_eq!(error(json), want);
    }
}

#[test]
fn what_is_no_object_is_refused_with_an_example() {
    for json in
        ["", "[]", "10.5.0.0/16", "{\"Network\": \"10.5.0.0/16\",}", "{\"Network\": \"10.5.0.0/16\"} x"]
    {
        assert!(error(json).starts_with("the network config is not a JSON object ("), "{json}");
        assert!(error(json).contains(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}"#));
    }
    assert!(error("null").starts_with("Network is missing"));
}

#[test]
fn families_without_a_place_in_etcd_are_refused() {
    let six = r#""EnableIPv6":true,"IPv6Network":"fd00::/48""#;
    assert_eq!(NetworkConfig::parse(with(r#""EnableIPv4":false"#)), Err(ConfigError::NoFamily));
    assert_eq!(
        NetworkConfig::parse(with(&format!(r#""EnableIPv4":false,{six}"#))),
        Err(ConfigError::Ipv6Only)
    );
    assert_eq!(NetworkConfig::parse(with(six)), Err(ConfigError::UdpIsIpv4Only));
    let udp = format!(r#"{six},"Backend":{{"Type":"udp"}}"#);
    assert_eq!(NetworkConfig::parse(with(&udp)), Err(ConfigError::UdpIsIpv4Only));
    assert!(error(&with(&udp)).contains("set Backend.Type to vxlan or host-gw, or EnableIPv6 to false"));
    for name in ["vxlan", "host-gw", "alloc"] {
        assert!(parse(&with(&format!(r#"{six},"Backend":{{"Type":"{name}"}}"#))).v6.is_some());
    }
    // A network of a family that is off is not looked at.
    assert_eq!(parse(&with(r#""IPv6Network":"nonsense""#)).v6, None);
}

#[test]
fn nftables_can_be_left_open() {
    assert_eq!(parse(&with(r#""EnableNFTables":true"#)).enable_nftables, Some(true));
    assert_eq!(parse(&with(r#""enablenftables":false"#)).enable_nftables, Some(false));
    assert_eq!(parse(&with(r#""EnableNFTables":null"#)).enable_nftables, None);
    assert_eq!(
        error(&with(r#""EnableNFTables":"yes""#)),
        "EnableNFTables is \"yes\", legal is true or false; correct it or leave it out"
    );
}

#[test]
fn backends_and_their_options() {
    assert_eq!(backend(r#"{"Type":"udp"}"#), Backend::Udp(Udp::default()));
    let simple = Udp { port: 9000, datapath: Datapath::Simple };
    assert_eq!(
        backend(r#"{"type":"UDP","port":9000,"datapath":"SIMPLE","VNI":"ignored"}"#),
        Backend::Udp(simple)
    );
    assert_eq!(backend(r#"{"Type":"host-gw"}"#), Backend::HostGw(HostGw));
    assert_eq!(backend(r#"{"Type":"Alloc"}"#), Backend::Alloc(Alloc));

    let plain = Vxlan {
        vni: Vni::DEFAULT,
        port: None,
        mtu: None,
        gbp: false,
        learning: false,
        direct_routing: false,
    };
    assert_eq!(backend(r#"{"Type":"vxlan"}"#), Backend::Vxlan(plain));
    assert_eq!(backend(r#"{"Type":"vxlan","Port":0,"MTU":0,"VNI":null}"#), Backend::Vxlan(plain));
    let full = r#"{"Type":"VXLAN","VNI":4096,"Port":8472,"MTU":9000,"GBP":true,"Learning":true,"DirectRouting":true}"#;
    let want = Vxlan {
        vni: Vni::new(4096).unwrap(),
        port: Some(8472),
        mtu: Some(9000),
        gbp: true,
        learning: true,
        direct_routing: true,
    };
    assert_eq!(backend(full), Backend::Vxlan(want));
}

#[test]
fn a_wrong_backend_is_refused_with_the_remedy() {
    let here = "which is no backend of this release (udp, vxlan, host-gw, alloc)";
    let known = [
        (r#"{}"#, "Backend.Type is missing; add it, for example \"Backend\":{\"Type\":\"vxlan\"}".to_owned()),
        ("null", "Backend.Type is missing; add it, for example \"Backend\":{\"Type\":\"vxlan\"}".to_owned()),
        (r#""vxlan""#,
            r#"Backend is "vxlan", legal is an object such as {"Type":"vxlan"}; correct it, or leave it out for udp"#.to_owned()),
        (r#"{"Type":"vxlna"}"#, format!("Backend.Type is \"vxlna\", {here}; did you mean vxlan?")),
        (r#"{"Type":"hostgw"}"#, format!("Backend.Type is \"hostgw\", {here}; did you mean host-gw?")),
        (r#"{"Type":"carrier-pigeon"}"#, format!("Backend.Type is \"carrier-pigeon\", {here}")),
        (r#"{"Type":"WireGuard"}"#,
            "Backend.Type is wireguard, a backend of flannel that this release does not have; take udp, vxlan, \
             host-gw or alloc, or leave the network to flannel".to_owned()),
        (r#"{"Type":"udp","Port":0}"#,
            "Backend.Port is 0, legal is a whole number from 1 to 65535; correct it or leave it out".to_owned()),
        (r#"{"Type":"udp","Datapath":"xdp"}"#,
            "Backend.Datapath is \"xdp\", legal is auto, ebpf or simple; correct it or leave it out".to_owned()),
        (r#"{"Type":"vxlan","VNI":16777216}"#,
            "Backend.VNI is 16777216, legal is a whole number from 1 to 16777215; correct it or leave it out".to_owned()),
        (r#"{"Type":"vxlan","Port":65536}"#,
            "Backend.Port is 65536, legal is a whole number from 0 to 65535; correct it or leave it out".to_owned()),
        (r#"{"Type":"vxlan","MTU":500}"#,
            "Backend.MTU is 500, legal is 576 to 65535; give the MTU of the underlay, or leave it out".to_owned()),
        (r#"{"Type":"vxlan","DirectRouting":1}"#,
            "Backend.DirectRouting is 1, legal is true or false; correct it or leave it out".to_owned()),
    ];
    for (options, want) in known {
        assert_eq!(error(&with(&format!(r#""Backend":{options}"#))), want);
    }
    for name in ["wireguard", "ipip", "ipsec", "extension", "tencent-vpc"] {
        let json = with(&format!(r#""Backend":{{"Type":"{name}"}}"#));
        assert!(matches!(NetworkConfig::parse(json), Err(ConfigError::MissingBackend { .. })), "{name}");
    }
    let six = r#""EnableIPv6":true,"IPv6Network":"fd00::/48","Backend":{"Type":"vxlan","MTU":1349}"#;
    assert!(error(&with(six)).starts_with("Backend.MTU is 1349, legal is 1350 to 65535 with IPv6"));
}

#[test]
fn a_vni_has_24_bits() {
    assert_eq!(Vni::new(0), Err(BadVni(0)));
    assert_eq!(Vni::new(1 << 24), Err(BadVni(1 << 24)));
    assert_eq!(Vni::new((1 << 24) - 1).unwrap().get(), 16_777_215);
}

#[test]
fn a_config_prints_itself() {
    assert_eq!(
        parse(&with(r#""EnableNFTables":true"#)).to_string(),
        "network 10.5.0.0/16 in /24 subnets from 10.5.1.0 to 10.5.255.0, nftables, \
         backend udp (port 8285, datapath auto)"
    );
    let json = with(
        r#""EnableIPv6":true,"IPv6Network":"fd00::/48",
        "Backend":{"Type":"vxlan","VNI":7,"MTU":1500,"DirectRouting":true}"#,
    );
    assert_eq!(
        parse(&json).to_string(),
        "network 10.5.0.0/16 in /24 subnets from 10.5.1.0 to 10.5.255.0, \
         network fd00::/48 in /64 subnets from fd00:0:0:1:: to fd00:0:0:ffff::, \
         backend vxlan (VNI 7, port 8472, underlay MTU 1500, direct routing)"
    );
}

#[test]
fn a_pool_counts_its_subnets() {
    let pool = parse(r#"{"Network":"10.5.0.0/16"}"#).v4.unwrap();
    assert_eq!(pool.count(), 255);
    assert_eq!(pool.subnet(0).to_string(), "10.5.1.0/24");
    assert_eq!(pool.subnet(254).to_string(), "10.5.255.0/24");
    for (net, admitted) in [
        ("10.5.1.0/24", true),
        ("10.5.255.0/24", true),
        ("10.5.0.0/24", false),
        ("10.6.1.0/24", false),
        ("10.5.1.0/25", false),
        ("10.5.1.7/24", false),
        ("fd00::/24", false),
    ] {
        assert_eq!(pool.admits(net.parse().unwrap()), admitted, "{net}");
    }
}

proptest! {
    /// The bounds of a pool are aligned and inside, whatever the config asks for.
    #[test]
    fn a_pool_that_is_accepted_is_sound(
        address: u32, len in 0u8..=32, subnet_len in 0u8..=32, min: Option<u32>, max: Option<u32>
    ) {
        let ip = |number: Option<u32>| number.map(|number| std::net::Ipv4Addr::from(number).to_string());
        let json = serde_json::json!({
            "Network": format!("{}/{len}", std::net::Ipv4Addr::from(address)),
            "SubnetLen": subnet_len, "SubnetMin": ip(min), "SubnetMax": ip(max),
        });
        if let Ok(config) = NetworkConfig::parse(json.to_string()) {
            let pool = config.v4.unwrap();
            prop_assert!(pool.count() >= 1);
            for slot in [0, pool.count() - 1] {
                let subnet = pool.subnet(slot);
                prop_assert!(pool.admits(subnet));
                prop_assert!(pool.network.contains(&subnet));
                prop_assert_eq!(pool.slots(subnet), Some((slot, slot)));
            }
        }
    }

    #[test]
    fn defaults_exist_for_every_network_with_room(address in 1u32.., len in 1u8..=28) {
        let json = format!(r#"{{"Network":"{}/{len}"}}"#, std::net::Ipv4Addr::from(address));
        let pool = parse(&json).v4.unwrap();
        prop_assert!(pool.count() >= 3);
        prop_assert!(!pool.admits(IpNet::new(pool.network.addr(), pool.subnet_len).unwrap()));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(json: Vec<u8>) {
        let _ = NetworkConfig::parse(json);
    }
}
