//! The addresses of a Service: one of each family at most, the first one never changing.

use serde_json::Value;

use super::{is_headless, is_type};
use crate::at::{At, Errors};
use crate::edit::{at, list, text};
use crate::field::FieldError;
use crate::names;

pub const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];

/// `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` (`ValidateServiceClusterIPsRelatedFields`).
pub fn validate(service: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::new();
    if is_type(service, "ExternalName") {
        return errors;
    }
    let spec = At::object(service).get("spec");
    let (one, ips, families, policy) =
        (spec.get("clusterIP"), spec.get("clusterIPs"), spec.get("ipFamilies"), spec.get("ipFamilyPolicy"));
    let first = ips.items().next();
    match (one.text(), &first) {
        ("", Some(_)) => errors.push(ips.invalid("must be empty when `clusterIP` is not specified")),
        ("", None) => {}
        (_, None) => errors.push(ips.required("")),
        (one, Some(first)) if first.text() != one => {
            errors.push(ips.invalid("first value must match `clusterIP`"));
        }
        _ => {}
    }
    let mut seen: Vec<&str> = Vec::new();
    for family in families.items() {
        if !matches!(family.text(), "IPv4" | "IPv6") {
            errors.push(family.not_supported(&["IPv4", "IPv6"]));
        }
        if seen.contains(&family.text()) {
            errors.push(family.duplicate());
        }
        seen.push(family.text());
    }
    if !policy.is_absent() && !POLICIES.contains(&policy.text()) {
        errors.push(policy.not_supported(&POLICIES));
    }
    let known = old.map_or(&[][..], |old| list(old, &["spec", "clusterIPs"]));
    let mut bad = false;
    for (n, ip) in ips.items().enumerate() {
        if n == 0 && ip.text() == "None" {
            if ips.len() > 1 {
                bad = true;
                errors.push(ips.invalid("'None' must be the first and only value"));
            }
            continue;
        }
        let wrong = if known.contains(ip.value) { Vec::new() } else { names::legacy_ip(ip.text()) };
        bad |= !wrong.is_empty();
        errors.extend(ip.invalid_each(wrong));
    }
    if ips.len() > 2 {
        errors.push(ips.invalid("may only hold up to 2 values"));
    }
    if bad {
        return errors;
    }
    let is_v6 = |ip: &At<'_>| ip.text().contains(':');
    if ips.len() > 1 && (ips.items().all(|ip| is_v6(&ip)) || !ips.items().any(|ip| is_v6(&ip))) {
        errors.push(ips.invalid("may specify no more than one IP for each IP family"));
    }
    if !is_headless(service) {
        for (n, (ip, family)) in ips.items().zip(families.items()).enumerate() {
            match (family.text(), is_v6(&ip)) {
                ("IPv4", true) | ("IPv6", false) => {
                    let family = family.text();
                    errors.push(
                        ip.invalid(&format!("expected an {family} value as indicated by `ipFamilies[{n}]`")),
                    );
                }
                _ => {}
            }
        }
    }
    errors
}

const ONCE: &str = "may not change once set";

/// A second address may come and go, with the policy that says so; the first one stays.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    if is_type(new, "ExternalName") || is_type(old, "ExternalName") {
        return errors;
    }
    let (was_headless, headless) = (is_headless(old), is_headless(new));
    let values = |service: &Value, field: &str| list(service, &["spec", field]).to_vec();
    let single = text(new, &["spec", "ipFamilyPolicy"]) == "SingleStack";
    let spec = At::object(new).get("spec");
    let (ips, families) = (spec.get("clusterIPs"), spec.get("ipFamilies"));
    let refuse = |field: &At<'_>, n: usize, shown: &Value, detail: &str| {
        let shown = if shown.is_null() { Value::Array(Vec::new()) } else { shown.clone() };
        FieldError::invalid(&field.path.index(n), &shown, detail)
    };
    let release = |what: &str| {
        let policy = spec.get("ipFamilyPolicy");
        policy.invalid(&format!("must be set to 'SingleStack' when releasing the secondary {what}"))
    };
    if !(was_headless && headless) {
        let (before, after) = (values(old, "clusterIPs"), values(new, "clusterIPs"));
        let moved = before.first().zip(after.first()).is_some_and(|(before, after)| before != after);
        if before.len() == after.len() {
            for (n, _) in before.iter().zip(&after).enumerate().filter(|(_, (before, after))| before != after)
            {
                errors.push(refuse(&ips, n, ips.value, ONCE));
            }
        } else {
            if before.len() > after.len() && after.is_empty() {
                errors.push(refuse(&ips, 0, ips.value, "primary clusterIP can not be unset"));
            }
            if moved {
                errors.push(refuse(&ips, 0, ips.value, ONCE));
            }
            if before.len() > after.len() && after.len() == 1 && !single {
                errors.push(release("clusterIP"));
            }
        }
    }
    if was_headless || headless {
        return errors;
    }
    let (before, after) = (values(old, "ipFamilies"), values(new, "ipFamilies"));
    let moved = before.first().zip(after.first()).is_some_and(|(before, after)| before != after);
    if before.len() == after.len() {
        let changed = before.iter().zip(&after).filter(|(before, after)| before != after);
        errors.extend(changed.map(|_| refuse(&families, 0, families.value, ONCE)));
    } else {
        if before.len() > after.len() && at(new, &["spec", "clusterIPs"]).as_array().is_none_or(Vec::is_empty)
        {
            errors.push(refuse(&families, 0, families.value, "primary ipFamily can not be unset"));
        }
        if moved {
            errors.push(refuse(&families, 0, ips.value, ONCE));
        }
        if before.len() > after.len() && after.len() == 1 && !single {
            errors.push(release("ipFamily"));
        }
    }
    errors
}
