//! The kinds of `discovery.k8s.io`: EndpointSlice.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

use control_schema::library::Library;
use serde_json::Value;

use super::cells;
use super::entry::Group;
use crate::at::{At, Errors};
use crate::edit::{at, default, generation, items, list, remove, semantic_eq, set, set_generation, text};
use crate::field::FieldError;
use crate::kind::{Context, Kind};
use crate::metadata::{self, immutable_text};
use crate::table::BuiltIn;
use crate::{ages, domains, names};

const ENDPOINTS: usize = 1_000;
const ADDRESSES: usize = 100;
const PORTS: usize = 20_000;
const HINTS: usize = 8;
const TOPOLOGY: usize = 16;

/// The controllers whose slices are not warned about.
const OWN: [&str; 2] = ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let discovery =
        Group { library, name: "discovery.k8s.io", package: "io.k8s.api.discovery", versions: &["v1"] };
    vec![discovery.kind("EndpointSlice", "endpointslices").columns(COLUMNS, row).strategy(Strategy).into()]
}

#[derive(Debug)]
struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, slice: &mut Value) {
        for port in items(slice, "ports") {
            default(port, "name", "");
            default(port, "protocol", "TCP");
        }
    }

    fn prepare_create(&self, slice: &mut Value, _: &Context<'_>) {
        set_generation(slice, 1);
        drop_topology(slice, &Value::Null);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, _: &Context<'_>) {
        let same = |path: &[&str]| semantic_eq(at(new, path), at(old, path));
        let all: [&[&str]; 4] = [&["addressType"], &["endpoints"], &["ports"], &["metadata", "labels"]];
        if !all.into_iter().all(same) {
            set_generation(new, generation(old) + 1);
        }
        drop_topology(new, old);
    }

    fn validate_create(&self, slice: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(slice), &Value::Null)
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let new = At::object(new);
        let mut errors = validate(&new, old);
        errors.extend(immutable_text(&new.get("addressType"), at(old, &["addressType"])));
        errors
    }

    fn warnings(&self, slice: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if old.is_none() && text(slice, &["addressType"]) == "FQDN" {
            warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        }
        let manager = text(slice, &["metadata", "labels", "endpointslice.kubernetes.io/managed-by"]);
        if !OWN.contains(&manager) {
            for endpoint in At::object(slice).get("endpoints").items() {
                for address in endpoint.get("addresses").items() {
                    warnings.extend(names::ip_warnings(&address.path, address.text()));
                }
            }
        }
        warnings
    }
}

/// `deprecatedTopology` is what v1beta1 had: it goes whenever the endpoints change. Where it named the node before, and
/// `nodeName` does not now, that comes from it.
fn drop_topology(new: &mut Value, old: &Value) {
    const HOST: &str = "kubernetes.io/hostname";
    if !old.is_null() && semantic_eq(at(old, &["endpoints"]), at(new, &["endpoints"])) {
        return;
    }
    let named = |endpoint: &Value| text(endpoint, &["deprecatedTopology", HOST]).to_owned();
    let before: Vec<String> = list(old, &["endpoints"]).iter().map(named).collect();
    for endpoint in items(new, "endpoints") {
        let name = named(endpoint);
        if at(endpoint, &["nodeName"]).is_null()
            && before.contains(&name)
            && names::dns1123_subdomain(&name).is_empty()
        {
            set(endpoint, "nodeName", name);
        }
        remove(endpoint, "deprecatedTopology");
    }
}

fn validate(slice: &At<'_>, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let kind = slice.get("addressType");
    match kind.text() {
        "IPv4" | "IPv6" | "FQDN" => {}
        "" => errors.push(kind.required("")),
        _ => errors.push(kind.not_supported(&["FQDN", "IPv4", "IPv6"])),
    }
    errors.extend(ports(&slice.get("ports")));
    let endpoints = slice.get("endpoints");
    // Endpoints that were stored by an older server may stay as they are.
    if old.is_null() || !semantic_eq(at(old, &["endpoints"]), endpoints.value) {
        errors.extend(all_endpoints(&endpoints, kind.text()));
    }
    errors
}

fn ports(ports: &At<'_>) -> Errors {
    if ports.len() > PORTS {
        return vec![FieldError::too_many(&ports.path, ports.len(), PORTS)];
    }
    let mut errors = Errors::new();
    let mut seen = Vec::new();
    for port in ports.items() {
        let (name, protocol, app) = (port.get("name"), port.get("protocol"), port.get("appProtocol"));
        if !name.is_empty() {
            errors.extend(name.invalid_each(names::dns1123_label(name.text())));
        }
        if seen.contains(&name.text()) {
            errors.push(name.duplicate());
        }
        seen.push(name.text());
        if !matches!(protocol.text(), "TCP" | "UDP" | "SCTP") {
            errors.push(protocol.not_supported(&["SCTP", "TCP", "UDP"]));
        }
        if !app.is_absent() {
            errors.extend(app.invalid_each(names::qualified(app.text())));
        }
    }
    errors
}

fn all_endpoints(endpoints: &At<'_>, kind: &str) -> Errors {
    if endpoints.len() > ENDPOINTS {
        return vec![FieldError::too_many(&endpoints.path, endpoints.len(), ENDPOINTS)];
    }
    endpoints.items().flat_map(|one| endpoint(&one, kind)).collect()
}

fn endpoint(endpoint: &At<'_>, kind: &str) -> Errors {
    let mut errors = Errors::new();
    let (addresses, topology) = (endpoint.get("addresses"), endpoint.get("deprecatedTopology"));
    if addresses.is_empty() {
        errors.push(addresses.required("must contain at least 1 address"));
    } else if addresses.len() > ADDRESSES {
        errors.push(FieldError::too_many(&addresses.path, addresses.len(), ADDRESSES));
    }
    for one in addresses.items() {
        errors.extend(match kind {
            "IPv4" | "IPv6" => address(&one, &addresses, kind == "IPv4"),
            "FQDN" => domains::two_parts(&one),
            _ => Errors::new(),
        });
    }
    let (node, host) = (endpoint.get("nodeName"), endpoint.get("hostname"));
    if !node.is_absent() {
        errors.extend(node.invalid_each(names::dns1123_subdomain(node.text())));
    }
    if topology.len() > TOPOLOGY {
        errors.push(FieldError::too_many(&topology.path, topology.len(), TOPOLOGY));
    }
    errors.extend(metadata::labels(&topology));
    if !host.is_absent() {
        errors.extend(host.invalid_each(names::dns1123_label(host.text())));
    }
    errors.extend(hints(&endpoint.get("hints")));
    errors
}

/// An error about the family names the list, as in the original.
fn address(address: &At<'_>, all: &At<'_>, v4: bool) -> Errors {
    let problems = if v4 { names::legacy_ip(address.text()) } else { names::strict_ip(address.text()) };
    if !problems.is_empty() {
        return address.invalid_each(problems).collect();
    }
    let mut errors = Errors::new();
    let Some(parsed) = names::sloppy_ip(address.text()) else {
        return errors;
    };
    if parsed.is_ipv4() != v4 {
        let family = if v4 { "must be an IPv4 address" } else { "must be an IPv6 address" };
        errors.push(FieldError::invalid(&all.path, address.value, family));
    }
    errors.extend(address.invalid_each(special(parsed, address.text())));
    errors
}

/// Why an address cannot be an endpoint.
fn special(address: IpAddr, text: &str) -> Vec<String> {
    let (link_local, link_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == Ipv4Addr::new(224, 0, 0, 0).octets()[..3]),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0 == 0xfe80, v6.segments()[0] & 0xff0f == 0xff02),
    };
    let problems = [
        (address.is_unspecified(), format!("may not be unspecified ({text})")),
        (address.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (link_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()),
    ];
    problems.into_iter().filter(|(wrong, _)| *wrong).map(|(_, problem)| problem).collect()
}

fn hints(hints: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for (field, rule) in
        [("forZones", names::label_value as fn(&str) -> Vec<String>), ("forNodes", names::dns1123_subdomain)]
    {
        let all = hints.get(field);
        if all.len() > HINTS {
            errors.push(FieldError::too_many(&all.path, all.len(), HINTS));
            return errors;
        }
        let mut seen = Vec::new();
        for hint in all.items() {
            let name = hint.get("name");
            if seen.contains(&name.text()) {
                errors.push(name.duplicate());
            }
            seen.push(name.text());
            errors.extend(name.invalid_each(rule(name.text())));
        }
    }
    errors
}

const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("AddressType", "string", "What the addresses are: IPv4, IPv6 or names."),
    BuiltIn::new("Ports", "string", "The ports of all endpoints."),
    BuiltIn::new("Endpoints", "string", "The addresses of the endpoints."),
    BuiltIn::age(),
];

fn row(slice: &Value, now: SystemTime) -> Vec<Value> {
    let port = |port: &Value| match (at(port, &["port"]), at(port, &["name"])) {
        (Value::Number(number), _) => number.to_string(),
        (_, Value::String(name)) => name.clone(),
        _ => "*".to_owned(),
    };
    let ports: Vec<String> = list(slice, &["ports"]).iter().map(port).collect();
    let addresses = list(slice, &["endpoints"]).iter().flat_map(|endpoint| list(endpoint, &["addresses"]));
    let addresses: Vec<String> = addresses.filter_map(Value::as_str).map(str::to_owned).collect();
    vec![
        cells::name(slice),
        cells::text_or(slice, &["addressType"], ""),
        cells::first_three(&ports),
        cells::first_three(&addresses),
        ages::of(slice, now).into(),
    ]
}
