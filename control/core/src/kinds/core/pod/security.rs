//! Security contexts of pods and containers.

use serde_json::Value;

use super::os;
use super::paths;
use super::spec::Pod;
use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::names;

/// `securityContext` of a pod, and what depends on the namespaces that it shares with its node.
pub fn pod(pod: &Pod<'_>) -> Errors {
    let (spec, at) = (&pod.spec, pod.spec.get("securityContext"));
    let mut errors = Errors::new();
    if at.is_absent() {
        return errors;
    }
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        errors.extend(id(&at.get(field)));
    }
    for group in at.get("supplementalGroups").items() {
        errors.extend(id(&group));
    }
    let share = spec.get("shareProcessNamespace");
    if share.is_true() && spec.get("hostPID").is_true() {
        // The original's path is below the security context, where its internal form has the field.
        let path = at.path.child("shareProcessNamespace");
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(&path, share.value, detail));
    }
    errors.extend(sysctls(&at.get("sysctls"), spec));
    errors.extend(optional(&at.get("fsGroupChangePolicy"), &["Always", "OnRootMismatch"]));
    errors.extend(seccomp(&at.get("seccompProfile")));
    errors.extend(os::windows_options(&at.get("windowsOptions")));
    errors.extend(app_armor(&at.get("appArmorProfile")));
    errors.extend(optional(&at.get("supplementalGroupsPolicy"), &["Merge", "Strict"]));
    // The other policy, MountOption, is not served by default in 1.36.
    errors.extend(optional(&at.get("seLinuxChangePolicy"), &["Recursive"]));
    errors
}

/// `securityContext` of a container. `host_users`: its users are the node's.
pub fn container(at: &At<'_>, host_users: bool) -> Errors {
    let mut errors = Errors::new();
    if at.is_absent() {
        return errors;
    }
    let privileged = at.get("privileged").is_true();
    errors.extend(id(&at.get("runAsUser")));
    errors.extend(id(&at.get("runAsGroup")));
    let proc = at.get("procMount");
    errors.extend(optional(&proc, &["Default", "Unmasked"]));
    if host_users && proc.text() == "Unmasked" {
        errors.push(proc.invalid("`hostUsers` must be false to use `Unmasked`"));
    }
    errors.extend(seccomp(&at.get("seccompProfile")));
    if at.get("allowPrivilegeEscalation").value == &Value::Bool(false) {
        let mut refuse = |detail: &str| errors.push(FieldError::invalid_shown(&at.path, &shown(at), detail));
        if privileged {
            refuse("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        for _ in at.get("capabilities").get("add").items().filter(|added| added.text() == "CAP_SYS_ADMIN") {
            refuse("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    errors.extend(os::windows_options(&at.get("windowsOptions")));
    errors.extend(app_armor(&at.get("appArmorProfile")));
    errors
}

/// As the original shows its internal form of a container's security context.
fn shown(at: &At<'_>) -> String {
    let members = [
        "capabilities",
        "privileged",
        "seLinuxOptions",
        "windowsOptions",
        "runAsUser",
        "runAsGroup",
        "runAsNonRoot",
        "readOnlyRootFilesystem",
        "allowPrivilegeEscalation",
        "procMount",
        "seccompProfile",
        "appArmorProfile",
    ];
    let member = |field: &&str| {
        let name = match *field {
            "seLinuxOptions" => "SELinuxOptions".to_owned(),
            field => format!("{}{}", field[..1].to_uppercase(), &field[1..]),
        };
        let value = match (*field, at.get(field)) {
            ("capabilities", value) if !value.is_absent() => {
                format!("{{\"Add\":{},\"Drop\":{}}}", value.get("add").value, value.get("drop").value)
            }
            (_, value) => value.value.to_string(),
        };
        format!("\"{name}\":{value}")
    };
    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
}

fn id(field: &At<'_>) -> Errors {
    let wrong = field.int().map(names::unix_id).unwrap_or_default();
    wrong.iter().map(|detail| field.invalid(detail)).collect()
}

/// A pointer to one of these values.
fn optional(field: &At<'_>, values: &[&str]) -> Option<FieldError> {
    (!field.is_absent() && !values.contains(&field.text())).then(|| field.not_supported(values))
}

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

fn seccomp(at: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    if at.is_absent() {
        return errors;
    }
    let (kind, profile) = (at.get("type"), at.get("localhostProfile"));
    match kind.text() {
        "" => errors.push(kind.required("type is required when seccompProfile is set")),
        text if PROFILES.contains(&text) => {}
        _ => errors.push(kind.not_supported(&PROFILES)),
    }
    match (kind.text(), profile.is_absent()) {
        ("Localhost", true) => errors.push(profile.required("must be set when seccomp type is Localhost")),
        ("Localhost", false) => errors.extend(paths::descending(profile.text(), &profile.path)),
        (_, true) => {}
        (_, false) => {
            let (kind, profile_shown) = (Value::from(kind.text()), profile.value);
            let shown = format!("{{\"Type\":{kind},\"LocalhostProfile\":{profile_shown}}}");
            let detail = "can only be set when seccomp type is Localhost";
            errors.push(FieldError::invalid_shown(&profile.path, &shown, detail));
        }
    }
    errors
}

pub fn app_armor(at: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    if at.is_absent() {
        return errors;
    }
    let (kind, profile) = (at.get("type"), at.get("localhostProfile"));
    let missing = || profile.required("must be set when AppArmor type is Localhost");
    match kind.text() {
        "Localhost" if profile.is_absent() => errors.push(missing()),
        "Localhost" => {
            let name = profile.text();
            if name.trim() != name {
                errors.push(profile.invalid("must not be padded with whitespace"));
            } else if name.is_empty() {
                errors.push(missing());
            }
            if name.len() > 4095 {
                errors.push(FieldError::too_long(&profile.path, 4095));
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if !profile.is_absent() {
                errors.push(profile.invalid("can only be set when AppArmor type is Localhost"));
            }
        }
        "" => errors.push(kind.required("type is required when appArmorProfile is set")),
        _ => errors.push(kind.not_supported(&PROFILES)),
    }
    errors
}

fn sysctls(list: &At<'_>, spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen: Vec<&str> = Vec::new();
    for sysctl in list.items() {
        let name = sysctl.get("name");
        if name.text().is_empty() {
            errors.push(name.required(""));
        } else if !is_sysctl(name.text()) {
            errors.push(name.invalid(
                r"must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            ));
        } else if seen.contains(&name.text()) {
            errors.push(name.duplicate());
        }
        let dotted = name.text().replace('/', ".");
        let ipc = [
            "kernel.shmall",
            "kernel.shmmax",
            "kernel.shmmni",
            "kernel.shm_rmid_forced",
            "kernel.msgmax",
            "kernel.msgmnb",
            "kernel.msgmni",
            "kernel.sem",
        ];
        if spec.get("hostNetwork").is_true() && dotted.starts_with("net.") {
            errors.push(name.invalid("may not be specified when 'hostNetwork' is true"));
        } else if spec.get("hostIPC").is_true()
            && (ipc.contains(&dotted.as_str())
                || dotted.starts_with("fs.mqueue.")
                || dotted.starts_with("kernel.msg")
                || dotted.starts_with("kernel.shm"))
        {
            errors.push(name.invalid("may not be specified when 'hostIPC' is true"));
        }
        seen.push(name.text());
    }
    errors
}

fn is_sysctl(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let segment = |segment: &str| {
        let bytes = segment.as_bytes();
        bytes.first().zip(bytes.last()).is_some_and(|(first, last)| word(*first) && word(*last))
            && bytes.iter().all(|byte| word(*byte) || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

/// A pod with users of its own cannot share the node's other namespaces.
pub fn host_users(pod: &Pod<'_>) -> Errors {
    let mut errors = Errors::new();
    if pod.host_users() {
        return errors;
    }
    let detail = "when `hostUsers` is false";
    for (field, name) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if pod.spec.get(field).is_true() {
            errors.push(FieldError::forbidden(&pod.spec.path.child(name), detail));
        }
    }
    for container in pod.containers() {
        let devices = container.get("volumeDevices");
        if !devices.is_empty() {
            errors.push(devices.forbidden(detail));
        }
    }
    errors
}
