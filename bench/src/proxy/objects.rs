//! What every proxy reads: services of one TCP port and two ready endpoints, as an API server would hand them out. Pure.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

/// The node that the proxies believe to be on.
pub const NODE: &str = "node";
/// Its own address.
pub const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 1);
/// The two endpoints of every service.
pub const ENDPOINTS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 244, 2, 2), Ipv4Addr::new(10, 244, 3, 2)];
/// Where the endpoints listen.
pub const TARGET_PORT: u16 = 8080;
/// The services' port.
pub const PORT: u16 = 80;
/// The network of all pods.
pub const PODS: &str = "10.244.0.0/16";
/// The networks of all services: the API server's own range.
pub const SERVICES: &str = "10.96.0.0/16";
/// A service beside the others, with iperf3's port, of the first endpoint.
pub const THROUGHPUT: SocketAddr = address(MOST + 1, IPERF);
/// As many fit into [`SERVICES`] with room to spare.
pub const MOST: u32 = 60_000;

const IPERF: u16 = 5201;
/// The first addresses belong to the API server.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 16);

/// The frontend of the service with that number, from 0.
pub const fn frontend(number: u32) -> SocketAddr {
    address(number, PORT)
}

const fn address(number: u32, port: u16) -> SocketAddr {
    let ip = Ipv4Addr::from_bits(FIRST.to_bits() + number);
    SocketAddr::V4(std::net::SocketAddrV4::new(ip, port))
}

fn name(number: u32) -> String {
    format!("service-{number:05}")
}

/// The Service with that number.
pub fn service(number: u32) -> Value {
    service_named(&name(number), frontend(number), TARGET_PORT)
}

/// The EndpointSlice of that service.
pub fn slice(number: u32, endpoints: &[Ipv4Addr]) -> Value {
    slice_named(&name(number), TARGET_PORT, endpoints)
}

/// What there is besides the services: the node, and a service for throughput with its slice.
pub fn surroundings() -> [Value; 3] {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}},
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
        "status": {"addresses": [
            {"type": "InternalIP", "address": NODE_ADDRESS}, {"type": "Hostname", "address": NODE}]}
    });
    let name = "throughput";
    [node, service_named(name, THROUGHPUT, IPERF), slice_named(name, IPERF, &ENDPOINTS[..1])]
}

/// The networks of all services, where no API server tells them.
pub fn service_cidr() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"}, "spec": {"cidrs": [SERVICES]}
    })
}

fn service_named(name: &str, frontend: SocketAddr, target: u16) -> Value {
    let ip = frontend.ip();
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "default", "name": name, "labels": {"app": name},
            "managedFields": managed("v1", &json!({
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {"f:internalTrafficPolicy": {}, "f:selector": {}, "f:sessionAffinity": {}, "f:type": {},
                    "f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}":
                        {".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}}}}}))},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            "selector": {"app": name},
            "ports": [{"port": frontend.port(), "protocol": "TCP", "targetPort": target}]},
        "status": {"loadBalancer": {}}
    })
}

fn slice_named(name: &str, port: u16, endpoints: &[Ipv4Addr]) -> Value {
    let endpoint = |ip: &Ipv4Addr| {
        json!({"addresses": [ip], "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": format!("node-of-{ip}"),
            "targetRef": {"kind": "Pod", "namespace": "default", "name": format!("{name}-{}", ip.to_bits())}})
    };
    let endpoints: Vec<Value> = endpoints.iter().map(endpoint).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": "default", "name": format!("{name}-x"),
            "labels": {"app": name, "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
            "managedFields": managed("discovery.k8s.io/v1", &json!({
                "f:addressType": {}, "f:endpoints": {}, "f:ports": {},
                "f:metadata": {"f:labels": {".": {}, "f:app": {}, "f:kubernetes.io/service-name": {},
                    "f:endpointslice.kubernetes.io/managed-by": {}}}}))},
        "endpoints": endpoints,
        "ports": [{"name": "", "port": port, "protocol": "TCP"}]
    })
}

/// The API server's note of who wrote which field: a third of an object, which a proxy has to read past.
fn managed(version: &str, fields: &Value) -> Value {
    json!([{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": version,
        "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields}])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::Ipv4Net;

    #[test]
    fn every_address_is_a_services_and_no_two_are_alike() {
        let net: Ipv4Net = SERVICES.parse().unwrap();
        let last = [frontend(0), frontend(MOST - 1), THROUGHPUT].map(|frontend| match frontend {
            SocketAddr::V4(v4) => *v4.ip(),
            SocketAddr::V6(_) => unreachable!("IPv4"),
        });
        assert!(last.iter().all(|ip| net.contains(ip)) && last[1] < last[2], "{last:?}");
        assert_eq!(frontend(1).to_string(), "10.96.0.17:80");
    }

    #[test]
    fn a_slice_belongs_to_its_service() {
        let (service, slice) = (service(7), slice(7, &ENDPOINTS));
        assert_eq!(service["metadata"]["name"], slice["metadata"]["labels"]["kubernetes.io/service-name"]);
        assert_eq!(service["spec"]["ports"][0]["targetPort"], slice["ports"][0]["port"]);
        assert_eq!(slice["endpoints"].as_array().unwrap().len(), 2);
    }
}
