//! Decoding: what is understood, what is refused, and that nothing whatever makes it fall over.

use proptest::prelude::*;
use proptest::sample::select;
use proxy_core::cases::usual_options;
use proxy_core::cluster::{Change, Cluster};
use proxy_core::names::ObjectName;
use proxy_core::objects::{Kind, NodeInfo, Object, Policy, Service};
use proxy_core::table::ServiceTable;
use serde_json::{Value, json};

fn service(spec: Value) -> Service {
    let object = json!({"metadata": {"namespace": "n", "name": "s"}, "spec": spec});
    match Kind::Service.decode(object.to_string().as_bytes()).unwrap().object {
        Object::Service(service) => service,
        other => panic!("{other:?}"),
    }
}

fn node(object: Value) -> NodeInfo {
    match Kind::Node.decode(object.to_string().as_bytes()).unwrap().object {
        Object::Node(node) => node,
        other => panic!("{other:?}"),
    }
}

#[test]
fn policies_default_to_cluster() {
    let found = service(json!({"clusterIP": "10.96.0.1"}));
    assert_eq!((found.internal_policy, found.external_policy), (Policy::Cluster, Policy::Cluster));
    let found = service(json!({"clusterIP": "10.96.0.1", "externalTrafficPolicy": "Local"}));
    assert_eq!(found.external_policy, Policy::Cluster, "it has no external traffic");
    let found = service(json!({"externalTrafficPolicy": "Local", "externalIPs": ["198.51.100.1"]}));
    assert_eq!(found.external_policy, Policy::Local);
}

#[test]
fn older_is_smaller_and_unknown_is_last() {
    let created = |time: Value| {
        let object = json!({"metadata": {"namespace": "n", "name": "s", "creationTimestamp": time}});
        match Kind::Service.decode(object.to_string().as_bytes()).unwrap().object {
            Object::Service(service) => service.created,
            other => panic!("{other:?}"),
        }
    };
    let times = [
        json!("2025-12-31T23:59:59Z"),
        json!("2026-01-01T00:00:00Z"),
        json!("2026-01-01T00:00:01Z"),
        json!(null),
    ];
    assert!(times.map(created).is_sorted_by(|one, other| one < other));
}

#[test]
fn a_node_tells_its_zone_networks_addresses_and_whether_it_leaves() {
    let found = node(json!({
        "metadata": {"name": "here", "labels": {"topology.kubernetes.io/zone": "a"}},
        "spec": {"podCIDR": "10.244.1.0/24", "taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]},
        "status": {"addresses": [
            {"type": "ExternalIP", "address": "203.0.113.1"},
            {"type": "Hostname", "address": "here"},
            {"type": "InternalIP", "address": "192.168.0.1"},
        ]},
    }));
    assert_eq!(found.zone.as_deref(), Some("a"));
    assert_eq!(found.pod_cidrs, ["10.244.1.0/24".parse().unwrap()].into());
    assert_eq!(found.addresses, ["192.168.0.1", "203.0.113.1"].map(|ip| ip.parse().unwrap()).into());
    assert!(found.leaving);
}

#[test]
fn a_node_leaves_when_it_is_deleted_or_the_autoscaler_says_so() {
    let leaving = |metadata: Value, taint: &str| {
        node(json!({"metadata": metadata, "spec": {"taints": [{"key": taint}]}})).leaving
    };
    let taint = "ToBeDeletedByClusterAutoscaler";
    assert!(!leaving(json!({"name": "here"}), "node.kubernetes.io/unreachable"));
    assert!(!leaving(json!({"name": "here", "deletionTimestamp": null}), "x"));
    assert!(leaving(json!({"name": "here"}), taint));
    assert!(leaving(json!({"name": "here", "deletionTimestamp": "2026-11-21T11:33:16Z"}), "x"));
}

#[test]
fn an_error_names_object_and_field() {
    let decode = |json: &str| Kind::Service.decode(json.as_bytes()).unwrap_err().to_string();
    let named = |spec: &str| format!(r#"{{"metadata": {{"namespace": "n", "name": "s"}}, "spec": {spec}}}"#);
    assert_eq!(
        decode(&named(r#"{"clusterIP": "10.96.0.1", "ports": [{"port": 0}]}"#)),
        "Service n/s: spec.ports[0].port: 0 is not a port (1..=65535)"
    );
    assert_eq!(decode(&named("7")), "Service n/s: spec: invalid type: integer `7`, expected an object");
    assert_eq!(decode(&named("[]")), "Service n/s: spec: invalid type: sequence, expected an object");
    assert_eq!(
        decode(&named(r#"{"ports": [{"port": 80}, {"nodePort": 80}]}"#)),
        "Service n/s: spec.ports[1]: missing field `port`"
    );
    assert_eq!(
        decode(&named("{\n \"ports\": [\n  {\"port\": 80, \"protocol\": \"QUIC\"}]}")),
        "Service n/s: spec.ports[0].protocol: invalid value: string \"QUIC\", expected TCP, UDP or SCTP"
    );
    assert!(decode("{").starts_with("Service : "));
}

/// One of each kind with every field that is read.
fn whole(kind: Kind) -> Value {
    let metadata = json!({
        "namespace": "n", "name": "x", "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z",
        "labels": {"kubernetes.io/service-name": "s", "topology.kubernetes.io/zone": "a"},
    });
    match kind {
        Kind::Service => json!({
            "metadata": metadata,
            "spec": {
                "type": "LoadBalancer", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"],
                "externalIPs": ["198.51.100.1"], "loadBalancerSourceRanges": ["192.0.2.0/24"],
                "ports": [{"name": "a", "protocol": "TCP", "port": 80, "nodePort": 30080}],
                "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}, "healthCheckNodePort": 32000,
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.2", "ipMode": "VIP"}]}},
        }),
        Kind::EndpointSlice => json!({
            "metadata": metadata, "addressType": "IPv4",
            "endpoints": [{
                "addresses": ["10.1.0.1"], "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": "here", "hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": "here"}]},
            }],
            "ports": [{"name": "a", "protocol": "UDP", "port": 53}],
        }),
        Kind::Node => json!({
            "metadata": metadata,
            "spec": {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"], "taints": [{"key": "a"}]},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.168.0.1"}]},
        }),
        Kind::ServiceCidr => json!({"metadata": metadata, "spec": {"cidrs": ["10.96.0.0/16"]}}),
    }
}

/// The paths of all values in a value, as JSON pointers and as people write them.
fn places(value: &Value, pointer: &str, path: &str, found: &mut Vec<(String, String)>) {
    let mut each = |pointer: String, path: String, value: &Value| {
        found.push((pointer.clone(), path.clone()));
        places(value, &pointer, &path, found);
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                each(format!("{pointer}/{}", key.replace('/', "~1")), path, value);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                each(format!("{pointer}/{index}"), format!("{path}[{index}]"), value);
            }
        }
        _ => {}
    }
}

#[test]
fn a_field_of_the_wrong_type_is_named_with_its_object() {
    let wrongs = [
        json!([]),
        json!({}),
        json!([[]]),
        json!({"TCP": null}),
        json!(true),
        json!(7),
        json!(1.5),
        json!("x"),
    ];
    let same = |one: &Value, other: &Value| {
        let number = |value: &Value| value.as_i64().is_some();
        std::mem::discriminant(one) == std::mem::discriminant(other) && number(one) == number(other)
    };
    let mut tried = 0;
    for kind in Kind::ALL {
        let good = whole(kind);
        assert!(kind.decode(good.to_string().as_bytes()).unwrap().left_out.is_empty(), "{kind:?}");
        let mut found = Vec::new();
        places(&good, "", "", &mut found);
        for (pointer, path) in found {
            let was = good.pointer(&pointer).unwrap();
            // Lists and objects with something wrong in them are other places' matter.
            for wrong in wrongs.iter().filter(|wrong| !same(wrong, was)) {
                for text in [serde_json::to_string, serde_json::to_string_pretty] {
                    let mut bad = good.clone();
                    *bad.pointer_mut(&pointer).unwrap() = wrong.clone();
                    let error = kind.decode(text(&bad).unwrap().as_bytes()).expect_err(&path);
                    assert_eq!(error.field, path, "{wrong}: {error}");
                    let name = bad["metadata"]["name"].as_str().unwrap_or_default();
                    assert_eq!(&*error.name.name, name, "{path}: {error}");
                    assert!(error.problem.starts_with("invalid "), "{error}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 500, "{tried}");
}

#[test]
fn null_is_absent_wherever_absence_is_allowed() {
    for kind in Kind::ALL {
        let good = whole(kind);
        let mut found = Vec::new();
        places(&good, "", "", &mut found);
        for (pointer, path) in found {
            let mut with_null = good.clone();
            *with_null.pointer_mut(&pointer).unwrap() = Value::Null;
            if path.ends_with(']') || path.contains("labels.") {
                continue;
            }
            let mut without = good.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
            let [with_null, without] =
                [with_null, without].map(|object| kind.decode(object.to_string().as_bytes()));
            match (with_null, without) {
                (Ok(with_null), Ok(without)) => assert_eq!(with_null, without, "{path}"),
                (Err(_), Err(_)) => {}
                (with_null, without) => panic!("{path}: {with_null:?} {without:?}"),
            }
        }
    }
}

#[test]
fn a_service_of_a_thousand_ports_and_a_slice_of_a_thousand_endpoints_are_served() {
    let ports: Vec<Value> =
        (1..=1000).map(|port| json!({"name": format!("p{port}"), "port": port})).collect();
    let endpoints: Vec<Value> = (0..1000)
        .map(|index| json!({"addresses": [format!("10.244.{}.{}", index / 250, index % 250 + 1)]}))
        .collect();
    let slice = |name: &str, service: &str, ports: &Value, endpoints: &[Value]| {
        json!({
            "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "n", "name": name, "labels": {"kubernetes.io/service-name": service}},
            "ports": ports, "endpoints": endpoints,
        })
    };
    let service = |name: &str, ip: &str, ports: &Value| {
        json!({
            "kind": "Service", "metadata": {"namespace": "n", "name": name},
            "spec": {"clusterIP": ip, "ports": ports},
        })
    };
    let (many, one) = (json!(ports), json!([{"port": 80}]));
    let mut cluster = Cluster::default();
    for object in [
        service("ports", "10.96.0.1", &many),
        slice("ports-1", "ports", &many, &endpoints[..2]),
        service("endpoints", "10.96.0.2", &one),
        slice("endpoints-1", "endpoints", &one, &endpoints),
    ] {
        cluster.apply(Change::Put(Object::decode(object.to_string().as_bytes()).unwrap().unwrap().object));
    }
    let table = ServiceTable::build(&cluster, &usual_options());
    assert_eq!(table.ports.len(), 1001);
    let endpoints = |service: &str| {
        let ports = table.ports.values().filter(|port| &*port.name.service.name == service);
        ports.map(|port| port.cluster.len()).collect::<Vec<_>>()
    };
    assert_eq!(endpoints("ports"), vec![2; 1000]);
    assert_eq!(endpoints("endpoints"), vec![1000]);
}

/// Any JSON, with the words of these objects often in it.
fn any_json() -> impl Strategy<Value = Value> {
    let words = select(vec![
        "metadata",
        "namespace",
        "name",
        "labels",
        "kubernetes.io/service-name",
        "spec",
        "status",
        "ports",
        "port",
        "nodePort",
        "protocol",
        "TCP",
        "clusterIP",
        "clusterIPs",
        "externalIPs",
        "10.96.0.1",
        "fd00::1",
        "None",
        "10.0.0.0/8",
        "endpoints",
        "addresses",
        "addressType",
        "IPv4",
        "conditions",
        "ready",
        "hints",
        "forZones",
        "loadBalancer",
        "ingress",
        "ip",
        "type",
        "LoadBalancer",
        "sessionAffinity",
        "ClientIP",
        "cidrs",
        "podCIDRs",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        words.clone().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(words.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_makes_decoding_or_the_table_fall_over(
        spec in any_json(), status in any_json(), rest in any_json(), kind in select(Kind::ALL.to_vec())
    ) {
        let metadata = json!({"namespace": "n", "name": "x", "labels": {"kubernetes.io/service-name": "x"}});
        let mut object = json!({"metadata": metadata, "spec": spec, "status": status, "addressType": "IPv4"});
        if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
            object.extend(rest);
        }
        if let Ok(checked) = kind.decode(object.to_string().as_bytes()) {
            let mut cluster = Cluster::default();
            cluster.apply(Change::Put(checked.object));
            ServiceTable::build(&cluster, &usual_options());
        }
    }

    #[test]
    fn no_bytes_make_decoding_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Kind::ALL.into_iter().all(|kind| kind.decode(&bytes).is_err()));
        prop_assert!(Object::decode(&bytes).is_none());
    }
}

#[test]
fn what_a_change_touches() {
    let slice = |service: &str, ip: &str| {
        let object = json!({
            "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "n", "name": "s-1", "labels": {"kubernetes.io/service-name": service}},
            "endpoints": [{"addresses": [ip]}], "ports": [{"port": 80}],
        });
        Object::decode(object.to_string().as_bytes()).unwrap().unwrap().object
    };
    let touched = |cluster: &mut Cluster, change| {
        let touched = cluster.apply(change).services.into_iter();
        touched.map(|name| name.name.to_string()).collect::<Vec<_>>()
    };
    let mut cluster = Cluster::default();
    let name = || ObjectName::new("n", "s-1");
    assert_eq!(touched(&mut cluster, Change::Put(slice("a", "10.0.0.1"))), ["a"]);
    assert!(touched(&mut cluster, Change::Put(slice("a", "10.0.0.1"))).is_empty(), "the same again");
    assert_eq!(
        touched(&mut cluster, Change::Put(slice("b", "10.0.0.1"))),
        ["a", "b"],
        "from one service to another"
    );
    assert_eq!(
        touched(&mut cluster, Change::Replace(Kind::EndpointSlice, vec![slice("b", "10.0.0.2")])),
        ["b"]
    );
    assert!(touched(&mut cluster, Change::Replace(Kind::Service, vec![])).is_empty(), "another kind");
    assert_eq!(touched(&mut cluster, Change::Replace(Kind::EndpointSlice, vec![])), ["b"]);
    assert!(touched(&mut cluster, Change::Delete(Kind::EndpointSlice, name())).is_empty(), "long gone");
}

/// Whatever an object holds, what a rule may be written from is a name as of DNS.
#[test]
fn names_that_an_api_server_refuses_are_refused_with_object_field_and_rule() {
    let long = "a".repeat(64);
    let service = |namespace: &str, name: &str, port: &str| {
        let object = json!({"metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": port, "port": 80}]}});
        Kind::Service.decode(object.to_string().as_bytes()).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(service(&long[1..], &long[1..], &long[1..]), Ok(()));
    assert_eq!(service("n", "1s", ""), Ok(()), "as servers from 1.34 on");
    for hostile in
        ["a\" -j DROP", "a\nCOMMIT", "a\\", "a'b", "A", "a_b", "a.b", "-a", "é", " ", long.as_str()]
    {
        let quoted = format!("{hostile:?} is not a DNS label");
        for (namespace, name, port, field) in [
            (hostile, "s", "p", "metadata.namespace"),
            ("n", hostile, "p", "metadata.name"),
            ("n", "s", hostile, "spec.ports[0].name"),
        ] {
            let error = service(namespace, name, port).expect_err(hostile);
            assert!(error.contains(&format!("{field}: {quoted}")), "{error}");
            assert!(!error.contains('\n') && error.starts_with("Service "), "{error}");
        }
    }
    let refused = |kind: Kind, object: Value, want: &str| {
        let error = kind.decode(object.to_string().as_bytes()).expect_err(want).to_string();
        assert!(error.contains(want), "{error}");
    };
    refused(
        Kind::EndpointSlice,
        json!({"metadata": {"namespace": "n", "name": "s-1", "labels": {"kubernetes.io/service-name": "a\nb"}}, "addressType": "IPv4"}),
        "metadata.labels[\"kubernetes.io/service-name\"]: \"a\\nb\" is not a label value",
    );
    refused(
        Kind::EndpointSlice,
        json!({"metadata": {"namespace": "n", "name": "s-1", "labels": {"a b": "c"}}, "addressType": "IPv4"}),
        "metadata.labels: \"a b\" is not a label key",
    );
    refused(
        Kind::EndpointSlice,
        json!({"metadata": {"namespace": "n", "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
               "addressType": "IPv4", "ports": [{"name": "a b", "port": 1}]}),
        "ports[0].name: \"a b\" is not a DNS label",
    );
    refused(
        Kind::Node,
        json!({"metadata": {"name": "a/b"}}),
        "metadata.name: \"a/b\" is not a DNS subdomain",
    );
    refused(Kind::ServiceCidr, json!({"metadata": {"name": "A"}}), "metadata.name: \"A\"");
}
