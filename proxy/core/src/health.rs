//! What a health-check node port answers a load balancer.

use crate::names::ServiceName;
use crate::table::HealthCheck;

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
