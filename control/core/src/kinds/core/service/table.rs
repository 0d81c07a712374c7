//! The columns of Services.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde_json::Value;

use super::node_port;
use crate::ages;
use crate::edit::{at, list, text};
use crate::kinds::core::cells;
use crate::table::BuiltIn;

pub const SERVICE: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new(
        "Type",
        "string",
        "How the service is reached: ClusterIP, NodePort, LoadBalancer or ExternalName.",
    ),
    BuiltIn::new("Cluster-IP", "string", "The service's first address inside of the cluster."),
    BuiltIn::new("External-IP", "string", "Addresses for clients outside of the cluster."),
    BuiltIn::new("Port(s)", "string", "The service's ports, each with its node port and protocol."),
    BuiltIn::age(),
    BuiltIn::new("Selector", "string", "Labels of the pods behind the service.").wide(),
];

pub fn service(object: &Value, now: SystemTime) -> Vec<Value> {
    let address = list(object, &["spec", "clusterIPs"]).first().and_then(Value::as_str).unwrap_or_default();
    let port = |port: &Value| {
        let (number, protocol) =
            (at(port, &["port"]).as_i64().unwrap_or_default(), text(port, &["protocol"]));
        match node_port(port) {
            0 => format!("{number}/{protocol}"),
            node => format!("{number}:{node}/{protocol}"),
        }
    };
    let ports: Vec<String> = list(object, &["spec", "ports"]).iter().map(port).collect();
    vec![
        cells::name(object),
        text(object, &["spec", "type"]).into(),
        cells::or_none(address),
        external(object).into(),
        cells::or_none(&ports.join(",")),
        ages::of(object, now).into(),
        cells::labels(at(object, &["spec", "selector"])),
    ]
}

fn external(service: &Value) -> String {
    let own: Vec<&str> = list(service, &["spec", "externalIPs"]).iter().filter_map(Value::as_str).collect();
    match text(service, &["spec", "type"]) {
        "ClusterIP" | "NodePort" if own.is_empty() => "<none>".to_owned(),
        "ClusterIP" | "NodePort" => own.join(","),
        "LoadBalancer" => {
            let of = |ingress: &'_ Value| match text(ingress, &["ip"]) {
                "" => text(ingress, &["hostname"]).to_owned(),
                ip => ip.to_owned(),
            };
            let balancer: BTreeSet<String> = list(service, &["status", "loadBalancer", "ingress"])
                .iter()
                .map(of)
                .filter(|address| !address.is_empty())
                .collect();
            let all: Vec<String> =
                balancer.into_iter().chain(own.iter().map(|address| (*address).to_owned())).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ExternalName" => text(service, &["spec", "externalName"]).to_owned(),
        _ => "<unknown>".to_owned(),
    }
}
