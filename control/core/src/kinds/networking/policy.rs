//! NetworkPolicy.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::super::cells;
use super::super::status::count_exact_generation;
use crate::at::{At, Errors};
use crate::edit::{default, existing, items, list, set, set_generation, text};
use crate::field::FieldError;
use crate::kind::Context;
use crate::table::BuiltIn;
use crate::{ages, cidrs, names, selectors};

#[derive(Debug)]
pub struct Strategy;

impl crate::kind::Strategy for Strategy {
    fn set_defaults(&self, policy: &mut Value) {
        // An empty spec is a policy too: it isolates all pods.
        default(policy, "spec", Map::new());
        let Some(spec) = existing(policy, "spec") else {
            return;
        };
        for direction in ["ingress", "egress"] {
            for rule in items(spec, direction) {
                items(rule, "ports").for_each(|port| default(port, "protocol", "TCP"));
            }
        }
        if list(spec, &["policyTypes"]).is_empty() {
            let both = !list(spec, &["egress"]).is_empty();
            set(spec, "policyTypes", if both { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
        }
    }

    fn prepare_create(&self, policy: &mut Value, _: &Context<'_>) {
        set_generation(policy, 1);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, _: &Context<'_>) {
        count_exact_generation(new, old, &["spec"]);
    }

    fn validate_create(&self, policy: &Value, _: &Context<'_>) -> Errors {
        validate(&At::object(policy).get("spec"), &Kept::default())
    }

    fn validate_update(&self, new: &Value, old: &Value, _: &Context<'_>) -> Errors {
        let before = At::object(old).get("spec");
        let mut kept = Kept {
            selectors: !selectors::validate(&before.get("podSelector"), false).is_empty(),
            ranges: Vec::new(),
        };
        for block in blocks(&before) {
            kept.ranges.push(text(block.value, &["cidr"]));
            kept.ranges.extend(list(block.value, &["except"]).iter().filter_map(Value::as_str));
        }
        validate(&At::object(new).get("spec"), &kept)
    }

    fn warnings(&self, policy: &Value, _: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        for block in blocks(&At::object(policy).get("spec")) {
            let except = block.get("except");
            for range in std::iter::once(block.get("cidr")).chain(except.items()) {
                warnings.extend(cidrs::warnings(&range.path, range.text()));
            }
        }
        warnings
    }
}

/// What was stored before and may stay, although it would be refused today.
#[derive(Debug, Default)]
struct Kept<'a> {
    selectors: bool,
    ranges: Vec<&'a str>,
}

/// The rules of both directions, and what the peers of a rule are called there.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

/// The ranges of addresses that a policy names.
fn blocks<'a>(spec: &At<'a>) -> Vec<At<'a>> {
    let mut blocks = Vec::new();
    for (rules, peers) in DIRECTIONS {
        for rule in spec.get(rules).items() {
            let peers = rule.get(peers);
            blocks.extend(peers.items().filter(|peer| peer.has("ipBlock")).map(|peer| peer.get("ipBlock")));
        }
    }
    blocks
}

fn validate(spec: &At<'_>, kept: &Kept<'_>) -> Errors {
    let mut errors = selectors::validate(&spec.get("podSelector"), kept.selectors);
    for (rules, peers) in DIRECTIONS {
        for rule in spec.get(rules).items() {
            errors.extend(rule.get("ports").items().flat_map(|one| port(&one)));
            errors.extend(rule.get(peers).items().flat_map(|one| peer(&one, kept)));
        }
    }
    let types = spec.get("policyTypes");
    if types.len() > 2 {
        errors.push(types.invalid("may not specify more than two policyTypes"));
        return errors;
    }
    let unknown = types.items().filter(|one| !matches!(one.text(), "Ingress" | "Egress"));
    errors.extend(unknown.map(|one| one.not_supported(&["Ingress", "Egress"])));
    errors
}

fn port(port: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (protocol, number, end) = (port.get("protocol"), port.get("port"), port.get("endPort"));
    if !protocol.is_absent() && !matches!(protocol.text(), "TCP" | "UDP" | "SCTP") {
        errors.push(protocol.not_supported(&["TCP", "UDP", "SCTP"]));
    }
    match (number.int(), end.int()) {
        (Some(first), last) => {
            errors.extend(names::port_number(first).iter().map(|problem| number.invalid(problem)));
            if let Some(last) = last {
                if last < first {
                    // The original shows the first port here.
                    let problem = "must be greater than or equal to `port`";
                    errors.push(FieldError::invalid(&end.path, number.value, problem));
                }
                errors.extend(names::port_number(last).iter().map(|problem| end.invalid(problem)));
            }
        }
        (None, last) if !number.is_absent() => {
            if last.is_some() {
                errors.push(end.invalid("may not be specified when `port` is non-numeric"));
            }
            errors.extend(number.invalid_each(names::port_name(number.text())));
        }
        (None, Some(_)) => errors.push(end.invalid("may not be specified when `port` is not specified")),
        (None, None) => {}
    }
    errors
}

fn peer(peer: &At<'_>, kept: &Kept<'_>) -> Errors {
    let mut errors = Errors::new();
    for selector in ["podSelector", "namespaceSelector"] {
        errors.extend(selectors::validate(&peer.get(selector), kept.selectors));
    }
    if peer.has("ipBlock") {
        errors.extend(ip_block(&peer.get("ipBlock"), kept));
    }
    match (peer.has("podSelector") || peer.has("namespaceSelector"), peer.has("ipBlock")) {
        (false, false) => errors.push(peer.required("must specify a peer")),
        (true, true) => errors.push(peer.forbidden("may not specify both ipBlock and another peer")),
        _ => {}
    }
    errors
}

fn ip_block(block: &At<'_>, kept: &Kept<'_>) -> Errors {
    let cidr = block.get("cidr");
    if cidr.is_empty() {
        return vec![cidr.required("")];
    }
    let check = |range: &At<'_>| -> Errors {
        let stored = kept.ranges.contains(&range.text());
        range.invalid_each(if stored { Vec::new() } else { cidrs::legacy(range.text()) }).collect()
    };
    let mut errors = check(&cidr);
    let Some(outer) = cidrs::Cidr::parse(cidr.text()) else {
        return errors;
    };
    for except in block.get("except").items() {
        errors.extend(check(&except));
        if let Some(inner) = cidrs::Cidr::parse(except.text())
            && (!outer.contains(inner.first()) || outer.prefix >= inner.prefix)
        {
            errors.push(except.invalid_text("must be a strict subset of `cidr`"));
        }
    }
    errors
}

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Pod-Selector", "string", "The pods that the policy is for."),
    BuiltIn::age(),
];

pub fn row(policy: &Value, now: SystemTime) -> Vec<Value> {
    let selector = selectors::shown(At::object(policy).get("spec").get("podSelector").value);
    vec![cells::name(policy), selector.into(), ages::of(policy, now).into()]
}
