//! What a health-check node port answers a load balancer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::names::{Family, ServiceName};
use crate::table::{HealthCheck, NodeView};

/// The addresses at which health-check node ports are opened: those of node ports. `local` are the node's own, as the
/// kernel has them. A family is left out where nobody knows them and only they would tell.
pub fn places(
    node: &NodeView,
    families: &[Family],
    local: Option<&BTreeSet<IpAddr>>,
) -> BTreeMap<Family, Vec<IpAddr>> {
    let at = |family: &Family| {
        let node_ports = &node.family(*family).node_ports;
        if node_ports.within.is_none() {
            let everywhere = match family {
                Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
                Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
            };
            return Some((*family, vec![everywhere]));
        }
        let of_family = local?.iter().copied().filter(|ip| Family::of(*ip) == *family);
        // Without a zone nobody can listen at a link-local address.
        let here = of_family.filter(|ip| !ip.is_loopback() && !is_link_local(*ip) && node_ports.covers(*ip));
        Some((*family, here.collect()))
    };
    families.iter().filter_map(at).collect()
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// An HTTP reply, the same as kube-proxy's to the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 or 503.
    pub status: u16,
    pub headers: [(&'static str, String); 3],
    pub body: String,
}

/// 200 where an endpoint is ready here and the proxy itself is well; how many there are either way.
pub fn reply(service: &ServiceName, check: HealthCheck, proxy_is_healthy: bool) -> Reply {
    let local = check.local_ready;
    let (namespace, name) = (&service.namespace, &service.name);
    Reply {
        status: if local > 0 && proxy_is_healthy { 200 } else { 503 },
        headers: [
            ("Content-Type", "application/json".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
            ("X-Load-Balancing-Endpoint-Weight", local.to_string()),
        ],
        body: format!(
            "{{\n\t\"service\": {{\n\t\t\"namespace\": {namespace:?},\n\t\t\"name\": {name:?}\n\t}},\n\
             \t\"localEndpoints\": {local},\n\t\"serviceProxyHealthy\": {proxy_is_healthy}\n}}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(local_ready: usize, healthy: bool) -> Reply {
        reply(&ServiceName::new("default", "web"), HealthCheck { node_port: 32000, local_ready }, healthy)
    }

    #[test]
    fn ports_are_opened_at_the_addresses_of_node_ports_and_nowhere_while_those_are_unknown() {
        use crate::table::NodePortsAt;
        let ips = |text: &str| -> Vec<IpAddr> { text.split(' ').map(|ip| ip.parse().unwrap()).collect() };
        let local: BTreeSet<IpAddr> =
            ips("127.0.0.1 192.168.0.1 192.168.0.7 10.0.0.1 fe80::1 fd00::1").into_iter().collect();
        let mut node = NodeView::default();
        node.v4.node_ports =
            NodePortsAt { within: Some(vec!["192.168.0.0/16".parse().unwrap()]), loopback: false };
        let ask = |node: &NodeView, local| places(node, &Family::BOTH, local);
        let want = BTreeMap::from([(Family::V4, ips("192.168.0.1 192.168.0.7")), (Family::V6, ips("::"))]);
        assert_eq!(ask(&node, Some(&local)), want);
        assert_eq!(ask(&node, None), BTreeMap::from([(Family::V6, ips("::"))]), "not: nowhere");
        node.v6.node_ports.within = Some(vec!["fd00::/8".parse().unwrap(), "fe80::/10".parse().unwrap()]);
        assert_eq!(ask(&node, Some(&local))[&Family::V6], ips("fd00::1"));
    }

    #[test]
    fn a_load_balancer_is_sent_here_only_for_ready_endpoints_and_by_a_healthy_proxy() {
        let statuses = [(2, true), (0, true), (2, false)].map(|(local, healthy)| ask(local, healthy).status);
        assert_eq!(statuses, [200, 503, 503]);
    }

    #[test]
    fn the_reply_is_kube_proxys() {
        let reply = ask(2, true);
        let want = "{
	\"service\": {
		\"namespace\": \"default\",
		\"name\": \"web\"
	},
	\"localEndpoints\": 2,
	\"serviceProxyHealthy\": true
}";
        assert_eq!(reply.body, want);
        assert!(reply.headers.contains(&("X-Load-Balancing-Endpoint-Weight", "2".to_owned())));
        assert!(serde_json::from_str::<serde_json::Value>(&reply.body).is_ok());
    }
}
