//! What the status of a pod may become.

use std::net::IpAddr;

use serde_json::Value;

use crate::at::{At, Errors};
use crate::edit::{at, items, list, set, text};
use crate::field::FieldError;
use crate::{metadata, names};

/// An update of the status by the node or a controller.
pub fn validate(new: &Value, old: &Value) -> Errors {
    let (object, before) = (At::object(new), At::object(old));
    let (status, old_status) = (object.get("status"), before.get("status"));
    let mut errors = conditions(&status.get("conditions"));
    let (node, bound) = (status.get("nominatedNodeName"), text(old, &["spec", "nodeName"]));
    if !node.text().is_empty() && node.text() != old_status.get("nominatedNodeName").text() {
        errors.extend(node.invalid_each(names::dns1123_subdomain(node.text())));
        if !bound.is_empty() {
            errors.push(node.forbidden("may not be set on pods that are already bound to a node"));
        }
    }
    let generation = status.get("observedGeneration");
    if generation.int().is_some_and(|generation| generation < 0) {
        errors.push(generation.invalid("must be a non-negative integer"));
    }
    errors.extend(
        (status.get("qosClass").text() != old_status.get("qosClass").text())
            .then(|| status.get("qosClass").invalid_text(metadata::IMMUTABLE)),
    );
    for (statuses, containers) in [
        ("containerStatuses", Some("containers")),
        ("initContainerStatuses", Some("initContainers")),
        ("ephemeralContainerStatuses", None),
    ] {
        errors.extend(no_revival(&status.get(statuses), &old_status.get(statuses), old, containers));
    }
    errors.extend(claims(&status.get("resourceClaimStatuses"), new));
    errors.extend(addresses(&status, &old_status, "podIPs"));
    let (hosts, host) = (status.get("hostIPs"), status.get("hostIP"));
    if let Some(first) = hosts.items().next().map(|first| first.get("ip"))
        && first.text() != host.text()
    {
        errors.push(first.invalid_text("must be equal to `hostIP`"));
    }
    errors.extend(addresses(&status, &old_status, "hostIPs"));
    errors
}

fn conditions(conditions: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for condition in conditions.items() {
        let (kind, generation) = (condition.get("type"), condition.get("observedGeneration"));
        if generation.int().is_some_and(|generation| generation < 0) {
            errors.push(generation.invalid("must be a non-negative integer"));
        }
        if !matches!(kind.text(), "PodScheduled" | "Ready" | "Initialized") {
            // The original's path is in capitals.
            let shown = At::new(kind.value, condition.path.child("Type"));
            errors.extend(shown.invalid_each(names::qualified(kind.text())));
        }
    }
    errors
}

/// A container that ended stays so, unless its policy lets it start again.
fn no_revival(new: &At<'_>, old: &At<'_>, pod: &Value, containers: Option<&str>) -> Errors {
    let mut errors = Errors::new();
    if containers.is_some() && restarts_all(pod) {
        return errors;
    }
    for before in old.items() {
        let ended = before.get("state").get("terminated");
        if ended.is_absent() {
            continue;
        }
        let name = before.get("name").text();
        let alive =
            |status: &At<'_>| status.get("name").text() == name && !status.get("state").has("terminated");
        let may = containers.is_some_and(|containers| {
            let code = ended.get("exitCode").int().unwrap_or_default();
            let own = list(pod, &["spec", containers]).iter().find(|own| text(own, &["name"]) == name);
            own.is_some_and(|own| restarts(own, text(pod, &["spec", "restartPolicy"]), code))
        });
        if !may && new.items().any(|status| alive(&status)) {
            let path = before.path.child("state");
            errors.push(FieldError::forbidden(&path, "may not be transitioned to non-terminated state"));
        }
    }
    errors
}

/// A rule of any container restarts all of them.
fn restarts_all(pod: &Value) -> bool {
    let rules = ["containers", "initContainers"].into_iter().flat_map(|all| list(pod, &["spec", all]));
    rules
        .flat_map(|container| list(container, &["restartPolicyRules"]))
        .any(|rule| text(rule, &["action"]) == "RestartAllContainers")
}

/// Whether a container starts again after this exit code: by its rules, its own policy or the pod's.
fn restarts(container: &Value, of_pod: &str, code: i64) -> bool {
    for rule in list(container, &["restartPolicyRules"]) {
        let listed = list(rule, &["exitCodes", "values"]).iter().any(|value| value.as_i64() == Some(code));
        let fits = match text(rule, &["exitCodes", "operator"]) {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        if fits && text(rule, &["action"]) == "Restart" {
            return true;
        }
    }
    let policy = match text(container, &["restartPolicy"]) {
        "" => of_pod,
        own => own,
    };
    match policy {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    }
}

fn claims(statuses: &At<'_>, pod: &Value) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<&str> = Vec::new();
    for status in statuses.items() {
        let (name, claim) = (status.get("name"), status.get("resourceClaimName"));
        let known =
            list(pod, &["spec", "resourceClaims"]).iter().any(|own| text(own, &["name"]) == name.text());
        if !known {
            errors.push(name.invalid_text("must match the name of an entry in `spec.resourceClaims`"));
        }
        if seen.contains(&name.text()) {
            errors.push(name.duplicate());
        }
        seen.push(name.text());
        if !claim.is_absent() {
            errors.extend(claim.invalid_each(names::dns1123_subdomain(claim.text())));
        }
    }
    errors
}

/// One address of each family at most; those that were there may stay as they are.
fn addresses(new: &At<'_>, old: &At<'_>, field: &str) -> Errors {
    let known: Vec<&str> = old.get(field).items().map(|address| address.get("ip").text()).collect();
    let list = new.get(field);
    let all: Vec<&str> = list.items().map(|address| address.get("ip").text()).collect();
    let mut errors = Errors::new();
    for (n, ip) in all.iter().enumerate().filter(|(_, ip)| !known.contains(ip)) {
        let path = list.path.index(n);
        let of = |detail: String| FieldError::invalid(&path, &Value::from(*ip), &detail);
        errors.extend(names::legacy_ip(ip).into_iter().map(of));
    }
    if all.len() > 1 {
        let parsed: Vec<Option<IpAddr>> = all.iter().map(|ip| names::sloppy_ip(ip)).collect();
        if let Some(n) = parsed.iter().position(Option::is_none) {
            let detail = format!("failed to check for dual stack with error:invalid IP[{n}]: {}", all[n]);
            errors.push(FieldError::internal(&list.path, &detail));
        }
        let has = |v4: bool| parsed.iter().flatten().any(|ip| ip.is_ipv4() == v4);
        if all.len() > 2 || !has(true) || !has(false) || parsed.contains(&None) {
            let shown: Vec<String> =
                all.iter().map(|ip| format!("{{\"IP\":{}}}", Value::from(*ip))).collect();
            let detail = "may specify no more than one IP for each IP family";
            errors.push(FieldError::invalid_shown(&list.path, &format!("[{}]", shown.join(",")), detail));
        }
    }
    errors
}

/// `podIP` is the first of `podIPs`; where they differ the single one decides, for its clients know no other.
pub fn sync_addresses(status: &mut Value) {
    for (one, all) in [("podIP", "podIPs"), ("hostIP", "")] {
        if all.is_empty() {
            continue;
        }
        let single = text(status, &[one]).to_owned();
        let first = list(status, &[all]).first().map(|first| text(first, &["ip"]).to_owned());
        match first {
            Some(first) if single.is_empty() => set(status, one, first),
            Some(first) if first == single => {}
            _ if !single.is_empty() => set(status, all, serde_json::json!([{"ip": single}])),
            _ => {}
        }
    }
}

/// A client that knows nothing of observed generations does not take them away.
pub fn keep_generations(new: &mut Value, old: &Value) {
    let given = |object: &Value| at(object, &["observedGeneration"]).as_i64().unwrap_or_default();
    let Some(status) = crate::edit::existing(new, "status") else {
        return;
    };
    let before = at(old, &["status"]);
    if given(status) == 0 && given(before) != 0 {
        set(status, "observedGeneration", given(before));
    }
    let mut known: Vec<(&str, i64)> = list(before, &["conditions"])
        .iter()
        .map(|condition| (text(condition, &["type"]), given(condition)))
        .collect();
    for condition in items(status, "conditions") {
        let kind = text(condition, &["type"]).to_owned();
        let found = known.iter().position(|(known, _)| *known == kind);
        let generation = found.map_or(0, |place| known.remove(place).1);
        if given(condition) == 0 && generation != 0 {
            set(condition, "observedGeneration", generation);
        }
    }
}
