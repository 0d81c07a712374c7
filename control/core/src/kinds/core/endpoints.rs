//! Endpoints: the addresses behind a Service, in the form before EndpointSlices.

use std::net::IpAddr;
use std::time::SystemTime;

use serde_json::Value;

use super::cells;
use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{at, default_text, items, list, semantic_eq, text};
use crate::kind::{Context, NameRule, Strategy};
use crate::table::BuiltIn;
use crate::{metadata, names};

pub const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

#[derive(Debug)]
pub struct Endpoints;

impl Strategy for Endpoints {
    fn set_defaults(&self, object: &mut Value) {
        for subset in items(object, "subsets") {
            for port in items(subset, "ports") {
                default_text(port, "protocol", "TCP");
            }
        }
    }

    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        At::object(object).get("subsets").items().flat_map(|subset| subset_errors(&subset)).collect()
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let mut errors = metadata::again(new, true, NameRule::Subdomain);
        // What was valid once stays so.
        if !semantic_eq(at(new, &["subsets"]), at(old, &["subsets"])) {
            errors.extend(self.validate_create(new, context));
        }
        errors
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let managed_by = "endpoints.kubernetes.io/managed-by";
        if text(object, &["metadata", "labels", managed_by]) == "endpoint-controller" {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        for subset in At::object(object).get("subsets").items() {
            for address in subset.get("addresses").items().chain(subset.get("notReadyAddresses").items()) {
                let ip = address.get("ip");
                warnings.extend(names::ip_warnings(&ip.path, ip.text()));
            }
        }
        warnings
    }
}

fn subset_errors(subset: &At<'_>) -> Errors {
    let (ready, waiting, ports) =
        (subset.get("addresses"), subset.get("notReadyAddresses"), subset.get("ports"));
    let mut errors = Errors::new();
    if ready.is_empty() && waiting.is_empty() {
        errors.push(subset.required("must specify `addresses` or `notReadyAddresses`"));
    }
    for address in ready.items().chain(waiting.items()) {
        errors.extend(address_errors(&address));
    }
    for port in ports.items() {
        errors.extend(port_errors(&port, ports.len() > 1));
    }
    errors
}

fn address_errors(address: &At<'_>) -> Errors {
    let (ip, host, node) = (address.get("ip"), address.get("hostname"), address.get("nodeName"));
    let mut errors: Errors = ip.invalid_each(names::legacy_ip(ip.text())).collect();
    if !host.text().is_empty() {
        errors.extend(host.invalid_each(names::dns1123_label(host.text())));
    }
    if !node.is_absent() {
        errors.extend(node.invalid_each(names::dns1123_subdomain(node.text())));
    }
    errors.extend(endpoint_ip(&ip));
    errors
}

/// An address that packets can be sent to (`ValidateEndpointIP`).
pub fn endpoint_ip(at: &At<'_>) -> Errors {
    let Some(ip) = names::sloppy_ip(at.text()) else {
        return vec![at.invalid_text("must be a valid IP address")];
    };
    let (link_local, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    let mut errors = Errors::new();
    if ip.is_unspecified() {
        errors.push(at.invalid_text(&format!("may not be unspecified ({})", at.text())));
    }
    let mut refuse = |wrong: bool, detail: &str| {
        if wrong {
            errors.push(at.invalid_text(detail));
        }
    };
    refuse(ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    refuse(link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    refuse(multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    errors
}

fn port_errors(port: &At<'_>, named: bool) -> Errors {
    let (name, number, protocol) = (port.get("name"), port.get("port"), port.get("protocol"));
    let mut errors = Errors::new();
    if !name.text().is_empty() {
        errors.extend(name.invalid_each(names::dns1123_label(name.text())));
    } else if named {
        errors.push(name.required(""));
    }
    let wrong = names::port_number(number.int().unwrap_or_default());
    errors.extend(wrong.iter().map(|detail| number.invalid_int(detail)));
    if protocol.text().is_empty() {
        errors.push(protocol.required(""));
    } else if !PROTOCOLS.contains(&protocol.text()) {
        errors.push(protocol.not_supported(&PROTOCOLS));
    }
    let app = port.get("appProtocol");
    if !app.is_absent() {
        errors.extend(app.invalid_each(names::qualified(app.text())));
    }
    errors
}

pub const ENDPOINTS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Endpoints", "string", "The first addresses, each with its port."),
    BuiltIn::age(),
];

pub fn endpoints(object: &Value, now: SystemTime) -> Vec<Value> {
    vec![cells::name(object), first_three(object).into(), ages::of(object, now).into()]
}

fn first_three(object: &Value) -> String {
    let subsets = list(object, &["subsets"]);
    if subsets.is_empty() {
        return "<none>".to_owned();
    }
    let mut all = Vec::new();
    for subset in subsets {
        let addresses: Vec<&str> =
            list(subset, &["addresses"]).iter().map(|address| text(address, &["ip"])).collect();
        let ports = list(subset, &["ports"]);
        if ports.is_empty() {
            all.extend(addresses.iter().map(|address| (*address).to_owned()));
        }
        for port in ports {
            let port = at(port, &["port"]).as_i64().unwrap_or_default();
            all.extend(addresses.iter().map(|address| match address.contains(':') {
                true => format!("[{address}]:{port}"),
                false => format!("{address}:{port}"),
            }));
        }
    }
    let shown = all[..all.len().min(3)].join(",");
    if all.len() > 3 { format!("{shown} + {} more...", all.len() - 3) } else { shown }
}
