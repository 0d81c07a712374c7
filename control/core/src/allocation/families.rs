//! How families, policy and addresses of a Service follow from one another (`initIPFamilyFields` of the original).

use serde_json::Value;

use super::Family;
use crate::at::Errors;
use crate::edit::{at, existing, list, set, text};
use crate::field::{FieldError, Path};
use crate::kinds::core::service::{families, is_type};
use crate::names;

/// Sets `ipFamilyPolicy` and `ipFamilies`. `configured` are the cluster's families, the default one first.
pub fn default(service: &mut Value, old: Option<&Value>, configured: &[Family]) -> Result<(), Errors> {
    let Some(primary) = configured.first().copied() else {
        return Ok(());
    };
    if is_type(service, "ExternalName") || is_settled(service, old) {
        return Ok(());
    }
    let headless = text(service, &["spec", "clusterIP"]) == "None";
    let selects = at(service, &["spec", "selector"]).as_object().is_some_and(|labels| !labels.is_empty());
    let free = headless && !selects;
    if at(service, &["spec", "ipFamilyPolicy"]).is_null() {
        let before = old.map_or("", |old| text(old, &["spec", "ipFamilyPolicy"]));
        let policy = match before {
            "" if free => "RequireDualStack",
            "" => "SingleStack",
            before => before,
        };
        put(service, "ipFamilyPolicy", policy.into());
    }
    refuse(families::validate(service, old))?;
    let mut errors = Errors::new();
    let policy = text(service, &["spec", "ipFamilyPolicy"]).to_owned();
    let single = policy == "SingleStack";
    let spec = Path::new("spec");
    let about_policy =
        |detail: &str| FieldError::invalid(&spec.child("ipFamilyPolicy"), &policy.as_str().into(), detail);
    let values = |service: &Value, field: &str| list(service, &["spec", field]).to_vec();
    if let Some(old) = old {
        for (field, detail) in [
            ("clusterIPs", "must be 'SingleStack' to release the secondary cluster IP"),
            ("ipFamilies", "must be 'SingleStack' to release the secondary IP family"),
        ] {
            let (before, after) = (values(old, field), values(service, field));
            if single && before == after && after.len() > 1 {
                put(service, field, after[..1].to_vec().into());
            } else if !single && !after.is_empty() && after.len() < before.len() {
                errors.push(about_policy(detail));
            }
        }
    }
    if single {
        for (field, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
            if values(service, field).len() == 2 {
                errors.push(about_policy(&format!(
                    "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                )));
            }
        }
    }
    let mut found = values(service, "ipFamilies");
    let addresses = values(service, "clusterIPs");
    for (n, address) in addresses.iter().enumerate().skip(found.len()) {
        let Some(address) = address.as_str().and_then(names::sloppy_ip) else {
            break;
        };
        let family = Family::of(address);
        if configured.contains(&family) {
            found.push(family.name().into());
        } else {
            let path = spec.child("clusterIPs").index(n);
            let detail = format!("{} is not configured on this cluster", family.name());
            errors.push(FieldError::invalid(&path, &addresses.clone().into(), &detail));
        }
    }
    refuse(errors)?;
    if free {
        if found.is_empty() {
            found.push(primary.name().into());
        }
        if found.len() < 2 && !single {
            found.extend(other(&found));
        }
        put(service, "ipFamilies", found.into());
        return Ok(());
    }
    let mut errors = Errors::new();
    if policy == "RequireDualStack" && configured.len() < 2 {
        errors.push(about_policy("this cluster is not configured for dual-stack services"));
    }
    for (n, family) in found.iter().enumerate() {
        let known =
            family.as_str().and_then(Family::parse).is_some_and(|family| configured.contains(&family));
        if !known {
            let path = spec.child("ipFamilies").index(n);
            errors.push(FieldError::invalid(&path, family, "not configured on this cluster"));
        }
    }
    refuse(errors)?;
    if found.is_empty() {
        found.push(primary.name().into());
    }
    if !single && found.len() == 1 && configured.len() == 2 {
        found.extend(other(&found));
    }
    put(service, "ipFamilies", found.into());
    Ok(())
}

fn put(service: &mut Value, field: &str, value: Value) {
    if let Some(spec) = existing(service, "spec") {
        set(spec, field, value);
    }
}

fn other(found: &[Value]) -> Option<Value> {
    let first = found.first().and_then(Value::as_str).and_then(Family::parse)?;
    Some(first.other().name().into())
}

fn refuse(errors: Errors) -> Result<(), Errors> {
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// A service that prefers two families and changes nothing of it keeps what it has, even if the cluster's families
/// changed meanwhile.
pub fn is_settled(service: &Value, old: Option<&Value>) -> bool {
    let Some(old) = old else {
        return false;
    };
    let policy = |service: &Value| text(service, &["spec", "ipFamilyPolicy"]).to_owned();
    let same = |field: &str| list(service, &["spec", field]) == list(old, &["spec", field]);
    policy(service) == "PreferDualStack"
        && matches!(policy(old).as_str(), "" | "PreferDualStack")
        && text(service, &["spec", "type"]) == text(old, &["spec", "type"])
        && same("clusterIPs")
        && same("ipFamilies")
}

/// What a service of before there were families shows when it is read.
pub fn default_on_read(service: &mut Value, primary: Family) {
    if is_type(service, "ExternalName") {
        if let Some(spec) = existing(service, "spec") {
            crate::edit::remove(spec, "internalTrafficPolicy");
        }
        return;
    }
    let one = text(service, &["spec", "clusterIP"]).to_owned();
    if !one.is_empty() && list(service, &["spec", "clusterIPs"]).is_empty() {
        put(service, "clusterIPs", vec![Value::from(one.as_str())].into());
    }
    if !list(service, &["spec", "ipFamilies"]).is_empty() {
        return;
    }
    let selects = at(service, &["spec", "selector"]).as_object().is_some_and(|labels| !labels.is_empty());
    let found: Vec<Family> = match (one.as_str(), selects) {
        ("None", false) => vec![primary, primary.other()],
        ("None", true) => vec![primary],
        _ => list(service, &["spec", "clusterIPs"])
            .iter()
            .filter_map(|address| address.as_str().and_then(names::sloppy_ip))
            .map(Family::of)
            .collect(),
    };
    let policy = if found.len() == 2 { "RequireDualStack" } else { "SingleStack" };
    if !found.is_empty() {
        put(service, "ipFamilyPolicy", policy.into());
        put(service, "ipFamilies", found.iter().map(|family| family.name()).collect());
    }
}
