//! The lab's objects as text. Pure: files that a person may read, copy and change.

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{ANSWER_PORT, NODE_PORT, PORT};

/// A node and its pods.
#[derive(Clone, Debug)]
pub struct Member {
    pub name: String,
    /// Primary address of each family, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// One of each family, IPv4 first; none before it has a lease.
    pub pod_networks: Vec<IpNet>,
    /// Each with its addresses, one of each family.
    pub pods: Vec<(String, Vec<IpAddr>)>,
}

/// The range of ClusterIPs, and the Nodes.
pub fn nodes(service_networks: &[IpNet], nodes: &[Member]) -> String {
    let mut text = format!(
        "\
# The range of ClusterIPs and the nodes of this lab, as its service proxies see them. `weft lab up` wrote this.
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata:
  name: kubernetes
spec:
  cidrs: [{}]
",
        list(service_networks)
    );
    for Member { name, addresses, pod_networks, .. } in nodes {
        let networks: Vec<IpNet> = pod_networks.iter().map(IpNet::trunc).collect();
        let _ = write!(
            text,
            "\
---
apiVersion: v1
kind: Node
metadata:
  name: {name}
  labels: {{kubernetes.io/hostname: {name}}}
spec:
  podCIDRs: [{}]
status:
  addresses:
",
            list(&networks)
        );
        for address in addresses {
            let _ = writeln!(text, "  - {{type: InternalIP, address: \"{address}\"}}");
        }
    }
    text
}

/// The Service to try, and for each node and family an EndpointSlice of the node's pods.
pub fn web(cluster_ips: &[IpAddr], nodes: &[Member]) -> String {
    let first = cluster_ips.first().map(ToString::to_string).unwrap_or_default();
    let families = list(&cluster_ips.iter().map(|ip| family(*ip)).collect::<Vec<_>>());
    let policy = if cluster_ips.len() > 1 { "RequireDualStack" } else { "SingleStack" };
    let mut text = format!(
        "\
# A Service to try: every pod of this lab answers it with its own name. `weft lab up` wrote this.
#
# Change it, or write another file like it (*.yaml) beside it: every proxy follows at once. There is no controller that
# fills in endpoints or addresses: ClusterIPs, node ports and EndpointSlices are written by hand. Pods listen
# on port {ANSWER_PORT}, TCP and UDP.
apiVersion: v1
kind: Service
metadata:
  namespace: lab
  name: web
spec:
  type: NodePort
  clusterIP: \"{first}\"
  clusterIPs: [{}]
  ipFamilies: [{families}]
  ipFamilyPolicy: {policy}
  ports:
  - {{name: tcp, protocol: TCP, port: {PORT}, targetPort: {ANSWER_PORT}, nodePort: {NODE_PORT}}}
  - {{name: udp, protocol: UDP, port: {PORT}, targetPort: {ANSWER_PORT}, nodePort: {NODE_PORT}}}
",
        list(cluster_ips)
    );
    for ip in cluster_ips {
        for node in nodes.iter().filter(|node| !node.pods.is_empty()) {
            slice(&mut text, node, family(*ip));
        }
    }
    text
}

fn slice(text: &mut String, node: &Member, family: &str) {
    let name = &node.name;
    let suffix = if family == "IPv6" { "-v6" } else { "" };
    let _ = write!(
        text,
        "\
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  namespace: lab
  name: web-{name}{suffix}
  labels: {{kubernetes.io/service-name: web}}
addressType: {family}
ports:
- {{name: tcp, protocol: TCP, port: {ANSWER_PORT}}}
- {{name: udp, protocol: UDP, port: {ANSWER_PORT}}}
endpoints:
"
    );
    for (pod, addresses) in &node.pods {
        for address in addresses.iter().filter(|address| self::family(**address) == family) {
            let _ = writeln!(
                text,
                "- {{addresses: [\"{address}\"], nodeName: {name}, conditions: {{ready: true}}}}  # {pod}"
            );
        }
    }
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// `"a", "b"`.
fn list<T: ToString>(items: &[T]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| format!("\"{}\"", item.to_string())).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use proxy::feeds::directory;
    use proxy_core::cluster::{Change, Cluster};
    use proxy_core::names::{Family, ServiceName};

    use super::*;

    fn members() -> Vec<Member> {
        let member = |i: u8| Member {
            name: format!("n{i}"),
            addresses: vec![IpAddr::from([172, 30, 0, 10 + i]), format!("fd30::1{i}").parse().unwrap()],
            pod_networks: vec![
                format!("10.244.{i}.1/24").parse().unwrap(),
                format!("fd00:244:0:{i}::1/64").parse().unwrap(),
            ],
            pods: vec![(
                format!("n{i}-p1"),
                vec![IpAddr::from([10, 244, i, 2]), format!("fd00:244:0:{i}::2").parse().unwrap()],
            )],
        };
        vec![member(1), member(2)]
    }

    /// A proxy that reads them has nothing to complain of.
    #[test]
    fn a_proxy_understands_every_word() {
        let directory = tempfile::tempdir().unwrap();
        let networks: Vec<IpNet> = ["10.96.0.0/12", "fd00:96::/112"].map(|net| net.parse().unwrap()).into();
        let ips: Vec<IpAddr> = ["10.96.0.10", "fd00:96::10"].map(|ip| ip.parse().unwrap()).into();
        std::fs::write(directory.path().join("nodes.yaml"), nodes(&networks, &members())).unwrap();
        std::fs::write(directory.path().join("web.yaml"), web(&ips, &members())).unwrap();
        let loaded = directory::load(directory.path()).unwrap();
        assert_eq!(loaded.troubles, []);
        let mut cluster = Cluster::default();
        for object in loaded.objects {
            cluster.apply(Change::Put(object));
        }
        assert_eq!(cluster.service_cidrs(), networks);
        assert_eq!(cluster.nodes().count(), 2);
        let name = ServiceName::new("lab", "web");
        let service = cluster.service(&name).unwrap();
        assert_eq!(&service.cluster_ips[..], ips);
        assert_eq!(service.ports.len(), 2);
        for family in Family::BOTH {
            let slices = cluster.slices(&name).filter(|slice| slice.family == family);
            let endpoints: Vec<String> =
                slices.flat_map(|slice| &slice.endpoints).map(|e| e.ip.to_string()).collect();
            assert_eq!(endpoints.len(), 2, "{endpoints:?}");
        }
    }
}
