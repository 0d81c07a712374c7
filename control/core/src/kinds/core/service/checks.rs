//! What a Service must be, in the original's words and order.

use serde_json::Value;

use super::{externally_accessible, families, is_headless, is_type, needs_health_check};
use crate::at::{At, Errors};
use crate::cidrs;
use crate::edit::{at, list, text};
use crate::field::{FieldError, Path};
use crate::kinds::core::endpoints::{PROTOCOLS, endpoint_ip};
use crate::kinds::core::pod::port_number_or_name;
use crate::{metadata, names};

const RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";

/// `old` is what an update replaces: what was valid in it stays so.
pub fn validate(service: &Value, old: Option<&Value>) -> Errors {
    let object = At::object(service);
    let spec = object.get("spec");
    let annotations = object.get("metadata").get("annotations");
    let mut errors = Errors::new();
    let (mode, hints) = (annotations.value.get(MODE), annotations.value.get(HINTS));
    if let (Some(mode), Some(hints)) = (mode, hints)
        && mode != hints
    {
        let detail = format!("must match annotations[{HINTS}] when both are specified");
        errors.push(FieldError::invalid(&annotations.path.key(MODE), mode, &detail));
    }
    errors.extend(of_type(service, &spec));
    errors.extend(ports(&spec.get("ports")));
    errors.extend(metadata::labels(&spec.get("selector")));
    errors.extend(affinity(&spec));
    errors.extend(families::validate(service, old));
    errors.extend(external_ips(&spec.get("externalIPs"), old));
    match text(service, &["spec", "type"]) {
        "" => errors.push(spec.get("type").required("")),
        "ClusterIP" | "ExternalName" | "LoadBalancer" | "NodePort" => {}
        _ => errors.push(spec.get("type").not_supported(&[
            "ClusterIP",
            "ExternalName",
            "LoadBalancer",
            "NodePort",
        ])),
    }
    errors.extend(repeated_ports(service, &spec.get("ports")));
    errors.extend(source_ranges(&object, old));
    errors.extend(balancer(service, &spec));
    errors.extend(load_balancer_class(service));
    errors.extend(traffic(service, &spec));
    errors
}

fn of_type(service: &Value, spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let headless = is_headless(service);
    if spec.get("ports").is_empty() && !headless && !is_type(service, "ExternalName") {
        errors.push(spec.get("ports").required(""));
    }
    match text(service, &["spec", "type"]) {
        kind @ ("LoadBalancer" | "NodePort") if headless => {
            let path = spec.path.child("clusterIPs").index(0);
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid(&path, &"None".into(), &detail));
        }
        "ExternalName" => {
            let refuse = |field: &str| spec.get(field).forbidden("may not be set for ExternalName services");
            for field in ["clusterIPs", "ipFamilies"] {
                if !spec.get(field).is_empty() {
                    errors.push(refuse(field));
                }
            }
            if spec.has("ipFamilyPolicy") {
                errors.push(refuse("ipFamilyPolicy"));
            }
            let name = spec.get("externalName");
            let without_dot = name.text().strip_suffix('.').unwrap_or(name.text());
            if without_dot.is_empty() {
                errors.push(name.required(""));
            }
            let of = |detail: String| FieldError::invalid(&name.path, &without_dot.into(), &detail);
            if !without_dot.is_empty() {
                errors.extend(names::dns1123_subdomain(without_dot).into_iter().map(of));
            }
        }
        _ => {}
    }
    errors
}

fn ports(ports: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<&str> = Vec::new();
    for port in ports.items() {
        let (name, number, protocol, app) =
            (port.get("name"), port.get("port"), port.get("protocol"), port.get("appProtocol"));
        if !name.text().is_empty() {
            errors.extend(name.invalid_each(names::dns1123_label(name.text())));
            if seen.contains(&name.text()) {
                errors.push(name.duplicate());
            }
            seen.push(name.text());
        } else if ports.len() > 1 {
            errors.push(name.required(""));
        }
        let wrong = names::port_number(number.int().unwrap_or_default());
        errors.extend(wrong.iter().map(|detail| number.invalid_int(detail)));
        if protocol.text().is_empty() {
            errors.push(protocol.required(""));
        } else if !PROTOCOLS.contains(&protocol.text()) {
            errors.push(protocol.not_supported(&PROTOCOLS));
        }
        errors.extend(port_number_or_name(&port.get("targetPort")));
        if !app.is_absent() {
            errors.extend(app.invalid_each(names::qualified(app.text())));
        }
    }
    errors
}

fn affinity(spec: &At<'_>) -> Errors {
    let (kind, config) = (spec.get("sessionAffinity"), spec.get("sessionAffinityConfig"));
    let mut errors = Errors::new();
    match kind.text() {
        "" => errors.push(kind.required("")),
        "ClientIP" => {
            let seconds = config.get("clientIP").get("timeoutSeconds");
            let missing = [config.clone(), config.get("clientIP"), seconds.clone()];
            if let Some(missing) = missing.iter().find(|field| field.is_absent()) {
                errors.push(missing.required("when session affinity type is ClientIP"));
            } else if !(1..=86_400).contains(&seconds.int().unwrap_or_default()) {
                errors.push(seconds.invalid("must be greater than 0 and less than 86400"));
            }
        }
        "None" => {
            if !config.is_absent() {
                errors.push(config.forbidden("must not be set when session affinity is None"));
            }
        }
        _ => errors.push(kind.not_supported(&["ClientIP", "None"])),
    }
    errors
}

fn external_ips(list_at: &At<'_>, old: Option<&Value>) -> Errors {
    let known = old.map_or(&[][..], |old| list(old, &["spec", "externalIPs"]));
    let mut errors = Errors::new();
    for ip in list_at.items() {
        let wrong = if known.contains(ip.value) { Vec::new() } else { names::legacy_ip(ip.text()) };
        if wrong.is_empty() {
            errors.extend(endpoint_ip(&ip));
        } else {
            errors.extend(ip.invalid_each(wrong));
        }
    }
    errors
}

fn repeated_ports(service: &Value, ports: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let own = |port: &At<'_>, field: &str| {
        (port.get("protocol").text().to_owned(), port.get(field).int().unwrap_or_default())
    };
    if is_type(service, "ClusterIP") {
        for port in ports.items().map(|port| port.get("nodePort")) {
            if port.int().unwrap_or_default() != 0 {
                errors.push(port.forbidden("may not be used when `type` is 'ClusterIP'"));
            }
        }
    }
    let mut seen = Vec::new();
    for port in ports.items().filter(|port| own(port, "nodePort").1 != 0) {
        if seen.contains(&own(&port, "nodePort")) {
            errors.push(port.get("nodePort").duplicate());
        }
        seen.push(own(&port, "nodePort"));
    }
    let mut seen = Vec::new();
    for port in ports.items() {
        let (protocol, number) = own(&port, "port");
        if seen.contains(&(protocol.clone(), number)) {
            // As the original shows its internal form of a port.
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\"NodePort\":0}}",
                Value::from(protocol.as_str())
            );
            errors.push(FieldError::duplicate_shown(&port.path, &shown));
        }
        seen.push((protocol, number));
    }
    errors
}

fn source_ranges(object: &At<'_>, old: Option<&Value>) -> Errors {
    let (spec, annotations) = (object.get("spec"), object.get("metadata").get("annotations"));
    let ranges = spec.get("loadBalancerSourceRanges");
    let balancer = spec.get("type").text() == "LoadBalancer";
    let only = "may only be used when `type` is 'LoadBalancer'";
    let mut errors = Errors::new();
    let of = |path: &Path, text: &str| -> Errors {
        let one = |detail: String| FieldError::invalid(path, &text.into(), &detail);
        cidrs::legacy(text).into_iter().map(one).collect()
    };
    if !ranges.is_empty() {
        // The original's path is in capitals.
        let path = spec.path.child("LoadBalancerSourceRanges");
        if !balancer {
            errors.push(FieldError::forbidden(&path, only));
        }
        let known = old.map_or(&[][..], |old| list(old, &["spec", "loadBalancerSourceRanges"]));
        let known: Vec<&str> = known.iter().filter_map(Value::as_str).map(str::trim).collect();
        for (n, range) in ranges.items().enumerate() {
            if !known.contains(&range.text().trim()) {
                errors.extend(of(&path.index(n), range.text().trim()));
            }
        }
    } else if let Some(value) = annotations.value.get(RANGES).and_then(Value::as_str) {
        let path = annotations.path.key(RANGES);
        if !balancer {
            errors.push(FieldError::forbidden(&path, only));
        }
        let before = old.map_or("", |old| text(old, &["metadata", "annotations", RANGES]));
        if (old.is_none() || before != value) && !value.trim().is_empty() {
            errors.extend(value.split(',').flat_map(|range| of(&path, range.trim())));
        }
    }
    errors
}

fn balancer(service: &Value, spec: &At<'_>) -> Errors {
    let field = spec.get("allocateLoadBalancerNodePorts");
    match (is_type(service, "LoadBalancer"), field.is_absent()) {
        (false, false) => vec![field.forbidden("may only be used when `type` is 'LoadBalancer'")],
        (true, true) => vec![FieldError::required(&Path::new("allocateLoadBalancerNodePorts"), "")],
        _ => Errors::new(),
    }
}

fn load_balancer_class(service: &Value) -> Errors {
    let class = At::object(service).get("spec").get("loadBalancerClass");
    if class.is_absent() {
        return Errors::new();
    }
    if is_type(service, "LoadBalancer") {
        return class.invalid_each(names::qualified(class.text())).collect();
    }
    vec![class.forbidden("may only be used when `type` is 'LoadBalancer'")]
}

fn traffic(service: &Value, spec: &At<'_>) -> Errors {
    let (external, health, internal, distribution) = (
        spec.get("externalTrafficPolicy"),
        spec.get("healthCheckNodePort"),
        spec.get("internalTrafficPolicy"),
        spec.get("trafficDistribution"),
    );
    let mut errors = Errors::new();
    match (externally_accessible(spec.value), external.text()) {
        (false, "") | (true, "Cluster" | "Local") => {}
        (false, _) => errors.push(external.invalid("may only be set for externally-accessible services")),
        (true, "") => errors.push(external.required("")),
        (true, _) => errors.push(external.not_supported(&["Cluster", "Local"])),
    }
    match (needs_health_check(service), health.int().unwrap_or_default()) {
        (false, 0) => {}
        (false, _) => {
            errors.push(health.invalid(
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            ))
        }
        (true, 0) => errors.push(health.required("")),
        (true, port) => errors.extend(names::port_number(port).iter().map(|detail| health.invalid(detail))),
    }
    if internal.is_absent() {
        if matches!(spec.get("type").text(), "NodePort" | "LoadBalancer" | "ClusterIP") {
            errors.push(internal.required(""));
        }
    } else if !matches!(internal.text(), "Cluster" | "Local") {
        errors.push(internal.not_supported(&["Cluster", "Local"]));
    }
    const NEAR: [&str; 3] = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    if !distribution.is_absent() && !NEAR.contains(&distribution.text()) {
        errors.push(distribution.not_supported(&NEAR));
    }
    errors
}

/// What may not change.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let spec = At::object(new).get("spec");
    let mut errors = Errors::new();
    if is_type(new, "LoadBalancer") && is_type(old, "LoadBalancer") {
        let class = spec.get("loadBalancerClass");
        if class.value != at(old, &["spec", "loadBalancerClass"]) {
            errors.push(class.invalid("may not change once set"));
        }
    }
    errors.extend(load_balancer_class(new));
    let port = |service: &Value| at(service, &["spec", "healthCheckNodePort"]).as_i64().unwrap_or_default();
    if needs_health_check(old) && needs_health_check(new) && port(new) != port(old) {
        errors.push(spec.get("healthCheckNodePort").forbidden(metadata::IMMUTABLE));
    }
    errors
}

/// What a load balancer says of itself in the status.
pub fn balancer_status(new: &Value, old: &Value) -> Errors {
    let ingresses = At::object(new).get("status").get("loadBalancer").get("ingress");
    if !is_type(new, "LoadBalancer") && !ingresses.is_empty() {
        return vec![ingresses.forbidden("may only be used when `spec.type` is 'LoadBalancer'")];
    }
    let known: Vec<&str> = list(old, &["status", "loadBalancer", "ingress"])
        .iter()
        .map(|ingress| text(ingress, &["ip"]))
        .collect();
    let mut errors = Errors::new();
    for ingress in ingresses.items() {
        let (ip, mode, host) = (ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname"));
        if !ip.text().is_empty() && !known.contains(&ip.text()) {
            errors.extend(ip.invalid_each(names::legacy_ip(ip.text())));
        }
        match (mode.is_absent(), ip.text().is_empty()) {
            (true, false) => errors.push(mode.required("must be specified when `ip` is set")),
            (false, true) => errors.push(mode.forbidden("may not be specified when `ip` is not set")),
            (false, false) if !matches!(mode.text(), "VIP" | "Proxy") => {
                errors.push(mode.not_supported(&["Proxy", "VIP"]));
            }
            _ => {}
        }
        if !host.text().is_empty() {
            errors.extend(host.invalid_each(names::dns1123_subdomain(host.text())));
            if names::sloppy_ip(host.text()).is_some() {
                errors.push(host.invalid("must be a DNS name, not an IP address"));
            }
        }
    }
    errors
}
