//! Ports of pods, services and nodes that clients reach through this server: `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`.

use std::net::IpAddr;

use apiclient_core::wire::Status;
use serde_json::Value;

use super::{Agent, Location, Scheme};
use crate::{edit, refusal};

/// A name as it stands in the path of a proxied request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    pub scheme: Scheme,
    pub name: &'a str,
    /// Empty where none is said.
    pub port: &'a str,
}

impl<'a> Named<'a> {
    /// # Errors
    /// 400; `what` is `pod`, `service` or `node`.
    pub fn parse(id: &'a str, what: &str) -> Result<Self, Status> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => ("", "", ""),
        };
        let scheme = match scheme {
            "" | "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            _ => None,
        };
        match scheme.filter(|_| !name.is_empty()) {
            Some(scheme) => Ok(Self { scheme, name, port }),
            None => Err(refusal::bad_request(format!("invalid {what} request {id:?}"))),
        }
    }
}

fn not_allowed() -> Status {
    refusal::bad_request("address not allowed")
}

/// An address that this server may be made to connect to by those who may not use its machine: no loopback or link-local
/// one, where its machine's own services listen.
pub fn is_allowed(address: IpAddr) -> bool {
    let refused = |v4: std::net::Ipv4Addr| {
        v4.is_unspecified()
            || v4.is_loopback()
            || v4.is_multicast()
            || v4.is_link_local()
            || v4.is_broadcast()
    };
    match address {
        IpAddr::V4(v4) => !refused(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => !refused(v4),
            None => {
                !(v6.is_unspecified() || v6.is_loopback() || v6.is_multicast() || v6.is_unicast_link_local())
            }
        },
    }
}

/// A port of a pod: the one that is asked for, or the first that one of its containers names.
///
/// # Errors
/// 400: the pod has no address, or one that is not allowed.
pub fn of_pod(named: &Named<'_>, pod: &Value) -> Result<Location, Status> {
    let host = edit::list(pod, &["status", "podIPs"]).first().map_or("", |first| edit::text(first, &["ip"]));
    if !host.parse().is_ok_and(is_allowed) {
        return Err(not_allowed());
    }
    let mut containers = edit::list(pod, &["spec", "containers"]).iter();
    let first = containers.find_map(|container| edit::list(container, &["ports"]).first());
    let port = match (named.port, first) {
        ("", Some(first)) => edit::at(first, &["containerPort"]).to_string(),
        (port, _) => port.to_owned(),
    };
    Ok(Location { scheme: named.scheme, host: host.to_owned(), port, ..Location::default() })
}

/// A port of a node; its agent's own where that is asked for, or no port is. The flag says that it is the agent's.
///
/// # Errors
/// 400 where one of the addresses of the node's name is not allowed.
pub fn of_node(named: &Named<'_>, agent: &Agent, resolved: &[IpAddr]) -> Result<(Location, bool), Status> {
    if resolved.is_empty() {
        return Err(refusal::bad_request("no addresses for hostname"));
    }
    if !resolved.iter().all(|address| is_allowed(*address)) {
        return Err(not_allowed());
    }
    let own = agent.location(String::new(), String::new());
    if named.port.is_empty() || named.port == own.port {
        return Ok((own, true));
    }
    Ok((Location { scheme: named.scheme, port: named.port.to_owned(), ..own }, false))
}

/// The name of the port of a service that is asked for by its number.
///
/// # Errors
/// 503: the service has no such port.
pub fn name_of_service_port(named: &Named<'_>, number: i64, service: &Value) -> Result<String, Status> {
    let found = edit::list(service, &["spec", "ports"])
        .iter()
        .find(|port| edit::at(port, &["port"]).as_i64() == Some(number));
    match found {
        Some(port) => Ok(edit::text(port, &["name"]).to_owned()),
        None => {
            let name = named.name;
            Err(refusal::unavailable(format!("no service port {number} found for service {name:?}")))
        }
    }
}

/// A port of an endpoint of a service that is one of its pods. `start` is any number: who is asked first. `pod` finds a
/// pod of the namespace.
///
/// # Errors
/// 503: there is none.
pub fn of_service(
    named: &Named<'_>,
    id: &str,
    port_name: &str,
    endpoints: &Value,
    namespace: &str,
    start: usize,
    pod: impl Fn(&str) -> Option<Value>,
) -> Result<Location, Status> {
    let none = |name: &str| refusal::unavailable(format!("no endpoints available for service {name:?}"));
    let subsets = edit::list(endpoints, &["subsets"]);
    if subsets.is_empty() {
        return Err(none(named.name));
    }
    let is_pods = |address: &Value| {
        let of = |field| edit::text(address, &["targetRef", field]);
        let ip = edit::text(address, &["ip"]);
        of("namespace") == namespace
            && pod(of("name")).is_some_and(|pod| {
                edit::list(&pod, &["status", "podIPs"]).iter().any(|own| edit::text(own, &["ip"]) == ip)
            })
    };
    for subset in rotated(subsets, start) {
        let mut ports = edit::list(subset, &["ports"]).iter();
        let Some(port) = ports.find(|port| edit::text(port, &["name"]) == port_name) else { continue };
        let addresses = edit::list(subset, &["addresses"]);
        if let Some(address) = rotated(addresses, start).find(|address| is_pods(address)) {
            return Ok(Location {
                scheme: named.scheme,
                host: edit::text(address, &["ip"]).to_owned(),
                port: edit::at(port, &["port"]).to_string(),
                ..Location::default()
            });
        }
    }
    Err(none(id))
}

fn rotated(all: &[Value], start: usize) -> impl Iterator<Item = &Value> {
    let (before, after) = all.split_at(start.checked_rem(all.len()).unwrap_or(0));
    after.iter().chain(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_name_may_have_a_port_and_a_scheme() {
        let named = |id| Named::parse(id, "pod");
        assert_eq!(named("a"), Ok(Named { scheme: Scheme::Http, name: "a", port: "" }));
        assert_eq!(named("a:80"), Ok(Named { scheme: Scheme::Http, name: "a", port: "80" }));
        assert_eq!(named("https:a:"), Ok(Named { scheme: Scheme::Https, name: "a", port: "" }));
        for id in ["", ":80", "ftp:a:1", "a:b:c:d"] {
            assert_eq!(named(id).expect_err(id).message, format!("invalid pod request {id:?}"));
        }
    }

    #[test]
    fn nobody_reaches_what_listens_at_loopback() {
        for (address, allowed) in [
            ("10.0.0.1", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("fd00::1", true),
            ("::1", false),
            ("fe80::1", false),
            ("::ffff:127.0.0.1", false),
        ] {
            assert_eq!(is_allowed(address.parse().expect("an address")), allowed, "{address}");
        }
        let pod = json!({"status": {"podIPs": [{"ip": "127.0.0.1"}]}});
        let named = Named::parse("a", "pod").expect("a name");
        assert_eq!(of_pod(&named, &pod).expect_err("loopback").message, "address not allowed");
        assert!(of_pod(&named, &json!({})).is_err());
    }

    #[test]
    fn a_pods_port_is_the_first_that_a_container_names() {
        let pod = json!({
            "spec": {"containers": [{"name": "a"}, {"name": "b", "ports": [{"containerPort": 81}]}]},
            "status": {"podIPs": [{"ip": "10.0.0.1"}]},
        });
        let port = |id| of_pod(&Named::parse(id, "pod").expect("a name"), &pod).expect("a port").authority();
        assert_eq!((port("p").as_str(), port("p:9").as_str()), ("10.0.0.1:81", "10.0.0.1:9"));
    }

    #[test]
    fn a_service_is_reached_at_an_endpoint_that_is_a_pod() {
        let service = json!({"spec": {"ports": [{"name": "web", "port": 80}]}});
        let endpoints = json!({"subsets": [
            {"addresses": [{"ip": "10.0.0.8"}], "ports": [{"name": "web", "port": 8080}]},
            {"addresses": [
                {"ip": "10.0.0.9", "targetRef": {"namespace": "n", "name": "gone"}},
                {"ip": "10.0.0.1", "targetRef": {"namespace": "n", "name": "p"}},
             ], "ports": [{"name": "web", "port": 8080}]},
        ]});
        let pod = |name: &str| (name == "p").then(|| json!({"status": {"podIPs": [{"ip": "10.0.0.1"}]}}));
        for start in 0..4 {
            let named = Named::parse("s:80", "service").expect("a name");
            let name = name_of_service_port(&named, 80, &service).expect("a port");
            let found = of_service(&named, "s:80", &name, &endpoints, "n", start, pod).expect("an endpoint");
            assert_eq!(found.authority(), "10.0.0.1:8080");
        }
        let named = Named::parse("s:81", "service").expect("a name");
        let refused = name_of_service_port(&named, 81, &service).expect_err("no port");
        assert_eq!(refused.message, "no service port 81 found for service \"s\"");
        let refused = of_service(&named, "s:81", "x", &endpoints, "n", 0, pod).expect_err("no port");
        assert_eq!(refused.message, "no endpoints available for service \"s:81\"");
    }
}
