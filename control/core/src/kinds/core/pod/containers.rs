//! Containers of all sorts: regular ones, init containers and ephemeral ones.

use serde_json::Value;

use super::spec::{Pod, one_of};
use super::{env, mounts, probes, security};
use crate::at::{At, Errors};
use crate::field::{FieldError, Path};
use crate::kinds::core::endpoints::PROTOCOLS;
use crate::kinds::core::resources;
use crate::names;

pub fn regular(pod: &Pod<'_>) -> Errors {
    let list = pod.spec.get("containers");
    if list.is_empty() {
        return vec![list.required("")];
    }
    let mut errors = Errors::new();
    let mut seen: Vec<&str> = Vec::new();
    for container in list.items() {
        let name = container.get("name");
        errors.extend(common(&container, pod));
        if seen.contains(&name.text()) {
            errors.push(name.duplicate());
        } else {
            seen.push(name.text());
        }
        errors.extend(probes::lifecycle(&container, pod.grace()));
        errors.extend(probes::probes(&container));
        errors.extend(restart_policy(&container));
    }
    errors.extend(host_port_conflicts(list.items().map(|container| container.get("ports")).collect()));
    errors
}

pub fn init(pod: &Pod<'_>) -> Errors {
    let list = pod.spec.get("initContainers");
    let mut errors = Errors::new();
    let mut seen: Vec<&str> =
        pod.spec.get("containers").items().map(|container| container.get("name").text()).collect();
    for container in list.items() {
        let name = container.get("name");
        errors.extend(common(&container, pod));
        if container.has("restartPolicy") || container.get("restartPolicyRules").is_empty() {
            errors.extend(restart_policy(&container));
        } else {
            errors.push(
                container
                    .get("restartPolicy")
                    .required("must specify restartPolicy when restart rules are used"),
            );
        }
        if seen.contains(&name.text()) {
            errors.push(name.duplicate());
        } else if !name.text().is_empty() {
            seen.push(name.text());
        }
        // The original counts each of these as the first of the list.
        let ports = At::new(container.get("ports").value, list.path.index(0).child("ports"));
        errors.extend(host_port_conflicts(vec![ports]));
        let sidecar = container.get("restartPolicy").text() == "Always";
        if sidecar {
            errors.extend(probes::lifecycle(&container, pod.grace()));
            errors.extend(probes::probes(&container));
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            let field = container.get(field);
            if !field.is_absent() {
                errors
                    .push(field.forbidden("may not be set for init containers without restartPolicy=Always"));
            }
        }
        for policy in container.get("resizePolicy").items() {
            let policy = policy.get("restartPolicy");
            if policy.text() == "RestartContainer" {
                errors.push(
                    policy.invalid("must not be set to 'RestartContainer' for non-sidecar initContainers"),
                );
            }
        }
    }
    errors
}

pub fn ephemeral(pod: &Pod<'_>) -> Errors {
    let names = |list: &str| -> Vec<&str> {
        pod.spec.get(list).items().map(|container| container.get("name").text()).collect()
    };
    let others = [names("containers"), names("initContainers")].concat();
    let mut all = others.clone();
    let mut errors = Errors::new();
    for container in pod.spec.get("ephemeralContainers").items() {
        let (name, target) = (container.get("name"), container.get("targetContainerName"));
        errors.extend(common(&container, pod));
        errors.extend(padded_image(&container));
        if all.contains(&name.text()) {
            errors.push(name.duplicate());
        } else {
            all.push(name.text());
        }
        if !target.text().is_empty() && !others.contains(&target.text()) {
            errors.push(target.not_found());
        }
        errors.extend(not_for_ephemeral(&container));
        for mount in container.get("volumeMounts").items() {
            for field in ["subPath", "subPathExpr"] {
                let field = mount.get(field);
                if !field.text().is_empty() {
                    errors.push(field.forbidden(NOT_EPHEMERAL));
                }
            }
        }
    }
    errors
}

const NOT_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";

/// What a pod's services rely on.
fn not_for_ephemeral(container: &At<'_>) -> Errors {
    const FIELDS: [&str; 9] = [
        "ports",
        "resources",
        "resizePolicy",
        "restartPolicy",
        "restartPolicyRules",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
    ];
    // `resources` is no pointer: an empty one is as good as absent.
    let is_set = |field: &At<'_>| match field.path.to_string().ends_with(".resources") {
        true => !field.is_empty(),
        false => !field.is_absent(),
    };
    FIELDS
        .iter()
        .map(|field| container.get(field))
        .filter(is_set)
        .map(|field| field.forbidden(NOT_EPHEMERAL))
        .collect()
}

/// Of pods, not of templates: image names without spaces around.
pub fn padded_image(container: &At<'_>) -> Option<FieldError> {
    let image = container.get("image");
    (image.text().trim() != image.text())
        .then(|| image.invalid("must not have leading or trailing whitespace"))
}

/// What all sorts have in common.
fn common(container: &At<'_>, pod: &Pod<'_>) -> Errors {
    let (name, image) = (container.get("name"), container.get("image"));
    let mut errors = Errors::new();
    if name.text().is_empty() {
        errors.push(name.required(""));
    } else {
        errors.extend(name.invalid_each(names::dns1123_label(name.text())));
    }
    if image.text().is_empty() {
        errors.push(image.required(""));
    }
    errors.extend(one_of(&container.get("terminationMessagePolicy"), &["File", "FallbackToLogsOnError"]));
    errors.extend(ports(&container.get("ports")));
    errors.extend(env::variables(&container.get("env")));
    errors.extend(env::from_objects(&container.get("envFrom")));
    errors.extend(mounts::mounts(container, pod));
    errors.extend(mounts::devices(container, pod));
    errors.extend(pull_policy(&container.get("imagePullPolicy")));
    errors.extend(resources::requirements(
        &container.get("resources"),
        resources::container_name,
        &pod.claims(),
    ));
    errors.extend(resize_policy(&container.get("resizePolicy"), pod));
    errors.extend(security::container(&container.get("securityContext"), pod.host_users()));
    errors
}

pub fn pull_policy(policy: &At<'_>) -> Option<FieldError> {
    one_of(policy, &["Always", "IfNotPresent", "Never"])
}

fn ports(ports: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<&str> = Vec::new();
    for port in ports.items() {
        let (name, number, host, protocol) =
            (port.get("name"), port.get("containerPort"), port.get("hostPort"), port.get("protocol"));
        if !name.text().is_empty() {
            let wrong = names::port_name(name.text());
            if !wrong.is_empty() {
                errors.extend(name.invalid_each(wrong));
            } else if seen.contains(&name.text()) {
                errors.push(name.duplicate());
            } else {
                seen.push(name.text());
            }
        }
        match number.int().unwrap_or_default() {
            0 => errors.push(number.required("")),
            own => errors.extend(names::port_number(own).iter().map(|detail| number.invalid(detail))),
        }
        if let Some(number) = host.int().filter(|number| *number != 0) {
            errors.extend(names::port_number(number).iter().map(|detail| host.invalid(detail)));
        }
        errors.extend(one_of(&protocol, &PROTOCOLS));
    }
    errors
}

/// A port of the host is taken once only.
fn host_port_conflicts(lists: Vec<At<'_>>) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<String> = Vec::new();
    for port in lists.iter().flat_map(At::items) {
        let number = port.get("hostPort").int().unwrap_or_default();
        if number == 0 {
            continue;
        }
        let taken = format!("{}/{}/{number}", port.get("protocol").text(), port.get("hostIP").text());
        if seen.contains(&taken) {
            errors.push(FieldError::duplicate(&port.get("hostPort").path, &Value::from(taken)));
        } else {
            seen.push(taken);
        }
    }
    errors
}

fn resize_policy(list: &At<'_>, pod: &Pod<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<&str> = Vec::new();
    let never = pod.spec.get("restartPolicy").text() == "Never";
    for policy in list.items() {
        let (name, restart) = (policy.get("resourceName").text(), policy.get("restartPolicy").text());
        // The original's paths here are those of the list.
        let at = |value: &str, check: &[&str], path: &Path| match value {
            "" => Some(FieldError::required(path, "")),
            value if check.contains(&value) => None,
            _ => Some(FieldError::not_supported(path, &Value::from(value), check)),
        };
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(&policy.path, &Value::from(name)));
        }
        seen.push(name);
        errors.extend(at(name, &["cpu", "memory"], &list.path));
        errors.extend(at(restart, &["NotRequired", "RestartContainer"], &list.path));
        if never && restart != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(&list.path, &Value::from(restart), detail));
        }
    }
    errors
}

/// A container's own restart policy, and what it does for certain exit codes.
fn restart_policy(container: &At<'_>) -> Errors {
    let (policy, rules) = (container.get("restartPolicy"), container.get("restartPolicyRules"));
    let mut errors = Errors::new();
    if policy.is_absent() {
        if rules.is_empty() {
            return errors;
        }
        errors.push(policy.required("must specify restartPolicy when restart rules are used"));
    } else if !matches!(policy.text(), "Always" | "Never" | "OnFailure") {
        errors.push(policy.not_supported(&["Always", "Never", "OnFailure"]));
    }
    if rules.len() > 20 {
        errors.push(FieldError::too_many(&rules.path, rules.len(), 20));
    }
    for rule in rules.items() {
        let (action, codes) = (rule.get("action"), rule.get("exitCodes"));
        if !matches!(action.text(), "Restart" | "RestartAllContainers") {
            errors.push(action.not_supported(&["Restart", "RestartAllContainers"]));
        }
        if codes.is_absent() {
            errors.push(codes.required("must be specified"));
            continue;
        }
        let (operator, values) = (codes.get("operator"), codes.get("values"));
        if !matches!(operator.text(), "In" | "NotIn") {
            errors.push(operator.not_supported(&["In", "NotIn"]));
        }
        if values.len() > 255 {
            errors.push(FieldError::too_many(&values.path, values.len(), 255));
        }
    }
    errors
}
