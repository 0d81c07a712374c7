use super::*;
use proptest::prelude::*;

fn raw(text: &str) -> RawJson {
    RawJson::parse(text).unwrap()
}

fn vxlan() -> LeaseAttrs {
    let data = VxlanData { vni: Vni::DEFAULT, vtep_mac: "c6:d2:32:6f:8f:44".parse().unwrap() };
    LeaseAttrs {
        backend_type: "vxlan".to_owned(),
        backend_data: Some(data.render()),
        ..LeaseAttrs::new(Ipv4Addr::new(192, 168, 64, 3))
    }
}

/// Bytes seen in etcd under flannel 0.28.4, and those that its own tests assert.
#[test]
fn writes_the_bytes_of_flannel() {
    let udp = LeaseAttrs::new(Ipv4Addr::new(1, 2, 3, 4));
    assert_eq!(udp.to_json(), r#"{"PublicIP":"1.2.3.4","PublicIPv6":null}"#);

    let host_gw = LeaseAttrs { backend_type: "host-gw".to_owned(), ..udp.clone() };
    assert_eq!(host_gw.to_json(), r#"{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"host-gw"}"#);

    let one = r#"{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}"#;
    assert_eq!(vxlan().to_json(), one);

    let two = LeaseAttrs {
        public_ipv6: Some("fd00:0:0:0::3".parse().unwrap()),
        backend_v6_data: Some(raw(r#"{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}"#)),
        ..vxlan()
    };
    assert_eq!(
        two.to_json(),
        one.replace("null", r#""fd00::3""#)
            .replace("}}", r#"},"BackendV6Data":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}"#)
    );
}

#[test]
fn reads_what_people_and_other_versions_write() {
    let same = [
        r#" { "publicip" : "192.168.64.3", "BACKENDTYPE":"vxlan", "backendData": { "VNI": 1, "VtepMAC": "c6:d2:32:6f:8f:44" } } "#,
        r#"{"PublicIP":"192.168.64.3","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"},"BackendV6Data":null,"Later":[{}]}"#,
        r#"{"PublicIP":"10.0.0.1","PublicIP":"::ffff:192.168.64.3","BackendType":"vxlan","BackendType":null,"BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}"#,
    ];
    for json in same {
        assert_eq!(LeaseAttrs::from_json(json), Ok(vxlan()), "{json}");
    }
    for json in ["{}", "null"] {
        assert_eq!(LeaseAttrs::from_json(json), Ok(LeaseAttrs::new(Ipv4Addr::UNSPECIFIED)));
    }
    let v6 = LeaseAttrs::from_json(r#"{"PublicIP":"1.2.3.4","PublicIPv6":"FD00::3"}"#).unwrap();
    assert_eq!(v6.public_ipv6, Some("fd00::3".parse().unwrap()));
}

#[test]
fn refuses_what_flannel_refuses_and_says_why() {
    let refused = [
        ("", "it is not a JSON object: EOF while parsing a value at line 1 column 0"),
        ("[]", "it is not a JSON object: invalid type: sequence, expected a JSON object at line 1 column 0"),
        (r#"{"PublicIP":null}"#, "PublicIP is null, which is not an IPv4 address"),
        (r#"{"PublicIP":17}"#, "PublicIP is 17, which is not an IPv4 address"),
        (r#"{"PublicIP":"2001:db8::1"}"#, "PublicIP is \"2001:db8::1\", which is not an IPv4 address"),
        (r#"{"PublicIP":"1.2.3.4","PublicIPv6":"x"}"#, "PublicIPv6 is \"x\", which is not an IPv6 address"),
        (r#"{"PublicIP":"1.2.3.4","BackendType":1}"#, "BackendType is 1, which is not a string"),
    ];
    for (json, want) in refused {
        assert_eq!(LeaseAttrs::from_json(json).unwrap_err().to_string(), want);
    }
}

#[test]
fn backend_data_of_strangers_is_kept_as_it_is() {
    let json = r#"{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"wireguard","BackendData":{"PublicKey":"a+b/\u003c=","Port":51820,"z":1.50,"a":[]}}"#;
    let spaced = json.replace(':', " : ").replace(',', " ,\n");
    // The port's colon and the comma inside no string make this a harmless change.
    assert_eq!(LeaseAttrs::from_json(spaced).unwrap().to_json(), json);
}

#[test]
fn vxlan_data_is_read_leniently() {
    let mac: Mac = "c6:d2:32:6f:8f:44".parse().unwrap();
    let known = [
        (r#"{"VNI":42,"VtepMAC":"c6:d2:32:6f:8f:44"}"#, 42),
        (r#"{"vni":7,"vtepmac":"C6-D2-32-6F-8F-44","more":true}"#, 7),
        (r#"{"VtepMAC":"c6:d2:32:6f:8f:44"}"#, 1),
        (r#"{"VNI":0,"VtepMAC":"c6:d2:32:6f:8f:44"}"#, 1),
    ];
    for (json, vni) in known {
        let want = VxlanData { vni: Vni::new(vni).unwrap(), vtep_mac: mac };
        assert_eq!(VxlanData::parse(&raw(json)), Ok(want));
    }
}

#[test]
fn vxlan_data_without_a_station_is_refused() {
    let refused = [
        "null",
        "{}",
        "\"text\"",
        r#"{"VNI":1,"VtepMAC":null}"#,
        r#"{"VNI":1,"VtepMAC":"c6:d2:32"}"#,
        r#"{"VNI":1,"VtepMAC":"00:00:00:00:00:00"}"#,
        r#"{"VNI":1,"VtepMAC":"ff:ff:ff:ff:ff:ff"}"#,
        r#"{"VNI":1,"VtepMAC":"01:00:5e:00:00:01"}"#,
        r#"{"VNI":16777216,"VtepMAC":"c6:d2:32:6f:8f:44"}"#,
        r#"{"VNI":-1,"VtepMAC":"c6:d2:32:6f:8f:44"}"#,
    ];
    for json in refused {
        assert!(VxlanData::parse(&raw(json)).is_err(), "{json}");
    }
}

fn attrs() -> impl Strategy<Value = LeaseAttrs> {
    let data = prop_oneof![
        Just(None),
        Just(Some(raw(r#"{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}"#))),
        "\\PC{0,12}".prop_map(|text| Some(raw(&go::quote(&text)))),
        any::<i64>().prop_map(|number| Some(raw(&number.to_string()))),
    ];
    (any::<Ipv4Addr>(), any::<Option<Ipv6Addr>>(), "\\PC{0,12}", data.clone(), data).prop_map(
        |(public_ip, public_ipv6, backend_type, backend_data, backend_v6_data)| LeaseAttrs {
            public_ip,
            public_ipv6,
            backend_type,
            backend_data,
            backend_v6_data,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(attrs in attrs()) {
        let json = attrs.to_json();
        prop_assert_eq!(LeaseAttrs::from_json(&json), Ok(attrs), "{}", json);
    }

    #[test]
    fn what_is_written_is_json(attrs in attrs()) {
        let json: serde_json::Value = serde_json::from_str(&attrs.to_json()).unwrap();
        prop_assert_eq!(&json["PublicIP"], &serde_json::json!(attrs.public_ip));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(json: Vec<u8>) {
        let _ = LeaseAttrs::from_json(json);
    }

    #[test]
    fn vxlan_data_is_read_back(vni in 1u32..1 << 24, octets: [u8; 6]) {
        let data = VxlanData { vni: Vni::new(vni).unwrap(), vtep_mac: Mac::local(octets) };
        prop_assert_eq!(VxlanData::parse(&data.render()), Ok(data));
    }
}
