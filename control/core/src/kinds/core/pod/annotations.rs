//! Annotations that mean something to the API: mirror pods, the cost of deletion, seccomp and AppArmor of before they had fields.

use serde_json::Value;

use super::paths;
use super::scheduling;
use crate::at::{At, Errors};
use crate::field::{FieldError, Path, quote};

/// A pod that shows a static pod of its kubelet.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
pub const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

fn text<'a>(annotations: &At<'a>, key: &str) -> &'a str {
    annotations.value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Annotations of pods and of templates.
pub fn validate(annotations: &At<'_>, spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let at =
        |key: &str| At::new(annotations.value.get(key).unwrap_or(&Value::Null), annotations.path.key(key));
    if annotations.has(MIRROR) && spec.get("nodeName").text().is_empty() {
        errors.push(at(MIRROR).invalid("must set spec.nodeName if mirror pod annotation is set"));
    }
    if !text(annotations, TOLERATIONS).is_empty() {
        match serde_json::from_str::<Value>(text(annotations, TOLERATIONS)) {
            Ok(list @ Value::Array(_)) => {
                let path = annotations.path.child(TOLERATIONS);
                errors.extend(scheduling::tolerations(&At::new(&list, path)));
            }
            _ => {
                let detail = "invalid character looking for beginning of value";
                errors.push(FieldError::invalid(&annotations.path, &TOLERATIONS.into(), detail));
            }
        }
    }
    if annotations.has(DELETION_COST) && !is_cost(text(annotations, DELETION_COST)) {
        errors.push(at(DELETION_COST).invalid("must be a 32bit integer"));
    }
    if annotations.has(SECCOMP_POD) {
        errors.extend(seccomp(text(annotations, SECCOMP_POD), &annotations.path.child(SECCOMP_POD)));
    }
    for (key, value) in annotations.entries() {
        if key.starts_with(SECCOMP_CONTAINER) {
            errors.extend(seccomp(value.text(), &annotations.path.child(key)));
        }
    }
    for (key, value) in annotations.entries() {
        let Some(container) = key.strip_prefix(APP_ARMOR) else {
            continue;
        };
        if !container_names(spec).contains(&container) {
            errors.push(FieldError::invalid(&value.path, &container.into(), "container not found"));
        }
        let profile = value.text();
        let known =
            matches!(profile, "" | "runtime/default" | "unconfined") || profile.starts_with("localhost/");
        if !known {
            errors.push(value.invalid(&format!("invalid AppArmor profile name: {}", quote(profile))));
        }
    }
    errors
}

pub fn container_names<'a>(spec: &At<'a>) -> Vec<&'a str> {
    let lists = ["initContainers", "containers", "ephemeralContainers"].map(|list| spec.get(list));
    lists.iter().flat_map(At::items).map(|container| container.get("name").text()).collect()
}

fn is_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let first = digits.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    (first && !(digits.starts_with('0') && digits.len() > 1) || text == "0") && text.parse::<i32>().is_ok()
}

fn seccomp(profile: &str, path: &Path) -> Errors {
    match profile {
        "runtime/default" | "docker/default" | "unconfined" => Errors::new(),
        _ => match profile.strip_prefix("localhost/") {
            Some(file) => paths::descending(file, path),
            None => vec![FieldError::invalid(path, &profile.into(), "must be a valid seccomp profile")],
        },
    }
}

/// What an update may not change: mirror pods stay ones, and AppArmor follows its fields.
pub fn validate_update(new: &At<'_>, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let old = At::new(old, new.path.clone());
    for (key, value) in old.entries() {
        if new.value.get(key) == Some(value.value) {
            continue;
        }
        if key.starts_with(APP_ARMOR) {
            errors.push(value.forbidden("may not remove or update AppArmor annotations"));
        }
        if key == MIRROR {
            errors.push(value.forbidden("may not remove or update mirror pod annotation"));
        }
    }
    for (key, value) in new.entries().filter(|(key, _)| old.value.get(key).is_none()) {
        if key.starts_with(APP_ARMOR) {
            errors.push(value.forbidden("may not add AppArmor annotations"));
        }
        if key == MIRROR {
            errors.push(value.forbidden("may not add mirror pod annotation"));
        }
    }
    errors
}

/// Where both an annotation and its field are given they say the same.
pub fn match_fields(annotations: &At<'_>, spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let own = spec.get("securityContext").get("seccompProfile");
    if annotations.has(SECCOMP_POD) {
        errors.extend(same(text(annotations, SECCOMP_POD), &own, "seccomp"));
    }
    let lists = ["initContainers", "containers", "ephemeralContainers"].map(|list| spec.get(list));
    let containers: Vec<At<'_>> = lists.iter().flat_map(At::items).collect();
    for container in &containers {
        let key = format!("{SECCOMP_CONTAINER}{}", container.get("name").text());
        if annotations.has(&key) {
            let profile = container.get("securityContext").get("seccompProfile");
            errors.extend(same(text(annotations, &key), &profile, "seccomp"));
        }
    }
    if spec.get("os").get("name").text() == "windows" {
        return errors;
    }
    let whole = spec.get("securityContext").get("appArmorProfile");
    for container in &containers {
        let key = format!("{APP_ARMOR}{}", container.get("name").text());
        let profile = container.get("securityContext").get("appArmorProfile");
        let value = if profile.is_absent() { whole.value } else { profile.value };
        if annotations.has(&key) {
            errors.extend(same(text(annotations, &key), &At::new(value, profile.path), "apparmor"));
        }
    }
    errors
}

fn same(annotation: &str, profile: &At<'_>, what: &str) -> Option<FieldError> {
    let kind = profile.get("type");
    let differs = || Some(kind.forbidden(&format!("{what} type in annotation and field must match")));
    match kind.text() {
        "Unconfined" if annotation != "unconfined" => differs(),
        "RuntimeDefault" if annotation == "docker/default" && what == "seccomp" => None,
        "RuntimeDefault" if annotation != "runtime/default" => differs(),
        "Localhost" => match annotation.strip_prefix("localhost/") {
            None => differs(),
            Some(file) if file != profile.get("localhostProfile").text() => {
                let path = profile.get("localhostProfile");
                Some(path.forbidden(&format!("{what} profile in annotation and field must match")))
            }
            Some(_) => None,
        },
        _ => None,
    }
}
