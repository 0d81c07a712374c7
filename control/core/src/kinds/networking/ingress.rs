//! Ingress.

use std::collections::BTreeSet;
use std::time::SystemTime;

use serde_json::Value;

use super::super::{cells, status};
use super::backend;
use crate::at::{At, Errors};
use crate::edit::{at, list, text};
use crate::field::{FieldError, Path};
use crate::kind::Context;
use crate::table::BuiltIn;
use crate::{ages, names};

/// The way to name the class before there was a field for it.
const CLASS: &str = "kubernetes.io/ingress.class";

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn prepare_create(&self, ingress: &mut Value, _: &Context<'_>) {
        status::prepare_create(ingress);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        status::prepare_update(new, old, context);
    }

    fn validate_create(&self, ingress: &Value, _: &Context<'_>) -> Errors {
        let at = At::object(ingress);
        let mut errors = validate(&at.get("spec"), Kept::default());
        let class = at.get("spec").get("ingressClassName");
        let annotation = at.get("metadata").get("annotations").get(CLASS);
        if !annotation.is_absent() && !class.is_absent() && annotation.text() != class.text() {
            let path = Path::new("annotations").child(CLASS);
            let problem = "must match `ingressClassName` when both are specified";
            errors.push(FieldError::invalid(&path, annotation.value, problem));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        if status::is_status(context) {
            return validate_status(new, old);
        }
        let before = At::object(old).get("spec");
        let kept = Kept {
            secrets: before.get("tls").items().any(|tls| !secret(&tls.get("secretName")).is_empty()),
            wildcard_rules: before
                .get("rules")
                .items()
                .any(|rule| rule.get("host").text().contains('*') && !rule_value(&rule).is_empty()),
        };
        validate(&At::object(new).get("spec"), kept)
    }

    fn warnings(&self, ingress: &Value, old: Option<&Value>) -> Vec<String> {
        let annotated = at(ingress, &["metadata", "annotations"]).get(CLASS).is_some();
        if old.is_none() && annotated && at(ingress, &["spec", "ingressClassName"]).is_null() {
            return vec![format!(
                "annotation \"{CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"
            )];
        }
        Vec::new()
    }
}

/// What was stored before and may stay, although it would be refused today.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    secrets: bool,
    wildcard_rules: bool,
}

fn validate(spec: &At<'_>, kept: Kept) -> Errors {
    let mut errors = Errors::new();
    let (rules, fallback, class) =
        (spec.get("rules"), spec.get("defaultBackend"), spec.get("ingressClassName"));
    if rules.is_empty() && fallback.is_absent() {
        let problem = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid_shown(&spec.path, "null", problem));
    }
    if !fallback.is_absent() {
        errors.extend(backend::validate(&fallback));
    }
    for rule in rules.items() {
        let host = rule.get("host");
        if !host.is_empty() {
            if names::sloppy_ip(host.text()).is_some() {
                errors.push(host.invalid(NO_ADDRESS));
            }
            errors.extend(host_name(&host));
        }
        if !(kept.wildcard_rules && host.text().contains('*')) {
            errors.extend(rule_value(&rule));
        }
    }
    for tls in spec.get("tls").items() {
        errors.extend(tls.get("hosts").items().flat_map(|host| host_name(&host)));
        if !kept.secrets {
            errors.extend(secret(&tls.get("secretName")));
        }
    }
    if !class.is_absent() {
        errors.extend(class.invalid_each(names::dns1123_subdomain(class.text())));
    }
    errors
}

const NO_ADDRESS: &str = "must be a DNS name, not an IP address";

/// The name of a Secret; may be absent.
fn secret(name: &At<'_>) -> Errors {
    if name.is_empty() {
        return Errors::new();
    }
    name.invalid_each(names::dns1123_subdomain(name.text())).collect()
}

/// The name of a host, perhaps with `*.` before it.
fn host_name(host: &At<'_>) -> Errors {
    let wildcard = host.text().contains('*');
    let rule = if wildcard { names::wildcard_dns1123_subdomain } else { names::dns1123_subdomain };
    host.invalid_each(rule(host.text())).collect()
}

fn rule_value(rule: &At<'_>) -> Errors {
    if !rule.has("http") {
        return Errors::new();
    }
    let paths = rule.get("http").get("paths");
    if paths.is_empty() {
        return vec![paths.required("")];
    }
    paths.items().flat_map(|path| http_path(&path)).collect()
}

fn http_path(entry: &At<'_>) -> Errors {
    const WITHIN: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
    const AT_THE_END: [&str; 2] = ["/..", "/."];
    let (kind, path) = (entry.get("pathType"), entry.get("path"));
    if kind.is_absent() {
        return vec![kind.required("pathType must be specified")];
    }
    let mut errors = Errors::new();
    let absolute = path.text().starts_with('/');
    match kind.text() {
        "Exact" | "Prefix" => {
            if !absolute {
                errors.push(path.invalid_text("must be an absolute path"));
            }
            let within = WITHIN.into_iter().filter(|part| path.text().contains(part));
            errors.extend(within.map(|part| path.invalid_text(&format!("must not contain '{part}'"))));
            let end = AT_THE_END.into_iter().filter(|part| path.text().ends_with(part));
            errors.extend(end.map(|part| path.invalid_text(&format!("cannot end with '{part}'"))));
        }
        "ImplementationSpecific" if !absolute && !path.is_empty() => {
            errors.push(path.invalid_text("must be an absolute path"));
        }
        "ImplementationSpecific" => {}
        _ => errors.push(kind.not_supported(&["Exact", "ImplementationSpecific", "Prefix"])),
    }
    errors.extend(backend::validate(&entry.get("backend")));
    errors
}

fn validate_status(new: &Value, old: &Value) -> Errors {
    let before =
        list(old, &["status", "loadBalancer", "ingress"]).iter().map(|ingress| text(ingress, &["ip"]));
    let before: Vec<&str> = before.collect();
    let mut errors = Errors::new();
    for ingress in At::object(new).get("status").get("loadBalancer").get("ingress").items() {
        let (ip, host) = (ingress.get("ip"), ingress.get("hostname"));
        if !ip.is_empty() && !before.contains(&ip.text()) {
            errors.extend(ip.invalid_each(names::legacy_ip(ip.text())));
        }
        if !host.is_empty() {
            errors.extend(host.invalid_each(names::dns1123_subdomain(host.text())));
            if names::sloppy_ip(host.text()).is_some() {
                errors.push(host.invalid(NO_ADDRESS));
            }
        }
    }
    errors
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Class", "string", "The class of the Ingress."),
    BuiltIn::new("Hosts", "string", "The hosts of the rules."),
    BuiltIn::new("Address", "string", "Where requests come in."),
    BuiltIn::new("Ports", "string", "The ports, with TLS and without."),
    BuiltIn::age(),
];

pub fn row(ingress: &Value, now: SystemTime) -> Vec<Value> {
    let tls = !list(ingress, &["spec", "tls"]).is_empty();
    vec![
        cells::name(ingress),
        cells::text_or(ingress, &["spec", "ingressClassName"], "<none>"),
        hosts(list(ingress, &["spec", "rules"])).into(),
        addresses(list(ingress, &["status", "loadBalancer", "ingress"])).into(),
        if tls { "80, 443".into() } else { "80".into() },
        ages::of(ingress, now).into(),
    ]
}

/// At most three; rules without a host count, but are not named.
fn hosts(rules: &[Value]) -> String {
    const SHOWN: usize = 3;
    let mut named = Vec::new();
    let mut more = false;
    for rule in rules {
        more |= named.len() == SHOWN;
        let host = text(rule, &["host"]);
        if !more && !host.is_empty() {
            named.push(host);
        }
    }
    match (named.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (false, false) => named.join(","),
        (false, true) => format!("{} + {} more...", named.join(","), rules.len() - SHOWN),
    }
}

fn addresses(ingresses: &[Value]) -> String {
    let address = |ingress| match text(ingress, &["ip"]) {
        "" => text(ingress, &["hostname"]),
        ip => ip,
    };
    let all: BTreeSet<&str> = ingresses.iter().map(address).filter(|address| !address.is_empty()).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}
