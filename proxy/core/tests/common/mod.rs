//! Clusters for property tests: few distinct names and addresses, so that they often meet.

#![allow(dead_code, reason = "each test uses its part")]

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;
use proxy_core::cluster::{Change, Cluster};
use proxy_core::names::{Name, ObjectName};
use proxy_core::objects::{Kind, Object};
use proxy_core::options::{DetectLocal, NodePortAddresses, Options};
use serde_json::{Value, json};

pub fn decoded(object: Value) -> Object {
    Object::decode(object.to_string().as_bytes()).expect("a kind in use").expect("a good object").object
}

fn service_name() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "c", "d"])
}

fn service() -> impl Strategy<Value = Object> {
    let addresses = select(vec![
        vec!["10.96.0.1"],
        vec!["10.96.0.2"],
        vec!["10.96.0.3", "fd00::3"],
        vec!["fd00::3"],
        vec!["None"],
    ]);
    let ports = select(vec![
        json!([{"port": 80}]),
        json!([{"port": 80, "nodePort": 30080}]),
        json!([{"name": "x", "port": 53, "protocol": "UDP", "nodePort": 30080}, {"name": "y", "port": 80}]),
        json!([{"name": "y", "port": 80, "nodePort": 30081}]),
        json!([{"name": "x", "port": 53, "protocol": "UDP", "nodePort": 30081}]),
        json!([{"name": "z", "port": 53, "protocol": "UDP"}]),
    ]);
    let external =
        select(vec![vec![], vec!["198.51.100.1"], vec!["198.51.100.1", "198.51.100.2"], vec!["10.96.0.2"]]);
    let balancer = select(vec![vec![], vec!["198.51.100.1"], vec!["198.51.100.3"]]);
    let ranges = select(vec![vec![], vec!["192.0.2.0/24"], vec!["192.168.0.0/16"]]);
    let policies = (select(vec!["Cluster", "Local"]), select(vec!["Cluster", "Local"]), any::<bool>());
    (service_name(), addresses, ports, external, balancer, ranges, policies, 2020..2023u32).prop_map(
        |(name, addresses, ports, external, balancer, ranges, (internal, outer, other), year)| {
            let ingress: Vec<Value> = balancer.iter().map(|ip| json!({"ip": ip})).collect();
            let label = if other && year == 2020 { "service.kubernetes.io/service-proxy-name" } else { "x" };
            decoded(json!({
                "kind": "Service",
                "metadata": {
                    "namespace": "n", "name": name, "labels": {label: ""},
                    "creationTimestamp": format!("{year}-01-01T00:00:00Z"),
                },
                "spec": {
                    "type": "LoadBalancer", "clusterIPs": addresses, "ports": ports, "externalIPs": external,
                    "loadBalancerSourceRanges": ranges, "internalTrafficPolicy": internal,
                    "externalTrafficPolicy": outer, "healthCheckNodePort": 32000,
                    "sessionAffinity": if other { "ClientIP" } else { "None" },
                },
                "status": {"loadBalancer": {"ingress": ingress}},
            }))
        },
    )
}

fn endpoint(v6: bool) -> impl Strategy<Value = Value> {
    let addresses = if v6 {
        vec!["fd01::1", "fd01::2", "fd00::3"]
    } else {
        vec!["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.96.0.1", "10.96.0.2"]
    };
    let hints = select(vec![
        json!(null),
        json!({"forZones": [{"name": "a"}]}),
        json!({"forNodes": [{"name": "here"}]}),
    ]);
    let node = select(vec![json!(null), json!("here"), json!("there")]);
    (select(addresses), any::<(bool, bool, bool)>(), hints, node).prop_map(
        |(address, (ready, serving, terminating), hints, node)| {
            let conditions = json!({"ready": ready, "serving": serving, "terminating": terminating});
            json!({"addresses": [address], "conditions": conditions, "hints": hints, "nodeName": node})
        },
    )
}

fn slice() -> impl Strategy<Value = Object> {
    let ports = select(vec![
        json!([{"port": 8080}]),
        json!([{"name": "x", "port": 53, "protocol": "UDP"}, {"name": "y", "port": 8080}]),
        json!([{"name": "x", "port": 5353, "protocol": "UDP"}, {"name": "z", "port": 53, "protocol": "UDP"}]),
        json!([]),
    ]);
    any::<bool>().prop_flat_map(move |v6| {
        let endpoints = proptest::collection::vec(endpoint(v6), 0..4);
        (select(vec!["s1", "s2", "s3", "s4"]), service_name(), ports.clone(), endpoints).prop_map(
            move |(name, service, ports, endpoints)| {
                decoded(json!({
                    "kind": "EndpointSlice", "addressType": if v6 { "IPv6" } else { "IPv4" },
                    "metadata": {
                        "namespace": "n", "name": name, "labels": {"kubernetes.io/service-name": service},
                    },
                    "endpoints": endpoints, "ports": ports,
                }))
            },
        )
    })
}

fn node() -> impl Strategy<Value = Object> {
    let zones = select(vec![json!({}), json!({"topology.kubernetes.io/zone": "a"})]);
    let addresses = select(vec!["192.168.0.1", "10.0.0.1"]);
    (select(vec!["here", "there"]), zones, addresses, any::<bool>()).prop_map(
        |(name, labels, address, cidr)| {
            decoded(json!({
                "kind": "Node", "metadata": {"name": name, "labels": labels},
                "spec": {"podCIDRs": if cidr { vec!["10.1.0.0/24"] } else { vec![] }},
                "status": {"addresses": [{"type": "InternalIP", "address": address}]},
            }))
        },
    )
}

fn cidr() -> impl Strategy<Value = Object> {
    // The last ones have addresses of endpoints or nodes in them.
    let nets = select(vec!["10.96.0.0/16", "fd00::/64", "10.1.0.0/30", "10.0.0.0/8", "192.168.0.0/24"]);
    (select(vec!["k", "l"]), nets).prop_map(|(name, net)| {
        decoded(json!({"kind": "ServiceCIDR", "metadata": {"name": name}, "spec": {"cidrs": [net]}}))
    })
}

fn object() -> impl Strategy<Value = Object> {
    prop_oneof![6 => service(), 8 => slice(), 1 => node(), 1 => cidr()]
}

pub fn change() -> impl Strategy<Value = Change> {
    let of = |kind: Kind| {
        proptest::collection::vec(object(), 0..6).prop_map(move |objects| {
            Change::Replace(kind, objects.into_iter().filter(|object| object.kind() == kind).collect())
        })
    };
    prop_oneof![
        12 => object().prop_map(Change::Put),
        4 => object().prop_map(|object| Change::Delete(object.kind(), object.name())),
        1 => select(Kind::ALL.to_vec()).prop_flat_map(of),
    ]
}

/// Mostly the same.
pub fn options() -> impl Strategy<Value = Options> {
    let usual = Options { node_name: Name::from("here"), ..Options::default() };
    let detect = select(vec![
        DetectLocal::None,
        DetectLocal::NodeCidr,
        DetectLocal::Bridge("cni0".into()),
        DetectLocal::ClusterCidr(vec!["10.1.0.0/16".parse().expect("a CIDR")]),
    ]);
    let ips = select(vec![vec![], vec![IpAddr::from([192, 168, 0, 1])]]);
    let ports = select(vec![
        NodePortAddresses::All,
        NodePortAddresses::Primary,
        NodePortAddresses::Cidrs(vec!["172.16.0.0/12".parse().expect("a CIDR")]),
    ]);
    let name = select(vec!["here", "there"]);
    let other =
        (detect, ips, ports, any::<bool>(), name).prop_map(|(detect_local, node_ips, ports, all, name)| {
            Options {
                node_name: name.into(),
                node_ips,
                detect_local,
                nodeport_addresses: ports,
                masquerade_all: all,
                ..Options::default()
            }
        });
    prop_oneof![4 => Just(usual), 1 => other]
}

/// A slice of service number `index` with one endpoint.
pub fn put_endpoint(index: usize, ip: &str) -> Change {
    Change::Put(decoded(json!({
        "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "namespace": "default", "name": format!("service-{index}-abcde"),
            "labels": {"kubernetes.io/service-name": format!("service-{index}")},
        },
        "endpoints": [
            {"addresses": [ip], "nodeName": "here", "conditions": {"ready": true}},
            {"addresses": ["10.8.0.1"], "nodeName": "there", "conditions": {"ready": true}},
        ],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })))
}

/// Service number `index` goes.
pub fn delete_service(index: usize) -> Change {
    Change::Delete(Kind::Service, ObjectName::new("default", format!("service-{index}")))
}

/// Many services of two endpoints.
pub fn large(count: usize) -> (Cluster, Options) {
    let mut cluster = Cluster::default();
    for index in 0..count {
        let (high, low) = (index / 250, index % 250 + 1);
        cluster.apply(Change::Put(decoded(json!({
            "kind": "Service", "metadata": {"namespace": "default", "name": format!("service-{index}")},
            "spec": {"clusterIP": format!("10.96.{high}.{low}"), "ports": [{"name": "http", "port": 80}]},
        }))));
        cluster.apply(put_endpoint(index, &format!("10.1.{high}.{low}")));
    }
    (cluster, Options { node_name: "here".into(), ..Options::default() })
}
