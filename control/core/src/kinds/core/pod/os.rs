//! What a pod may not set on one operating system or the other.

use super::spec::Pod;
use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::names;

/// `os` of a pod's spec, and the fields that are not for it.
pub fn validate(pod: &Pod<'_>) -> Errors {
    let os = pod.spec.get("os");
    if os.is_absent() {
        return Errors::new();
    }
    match os.get("name").text() {
        "" => vec![os.get("name").required("")],
        "linux" => linux(pod),
        "windows" => windows(pod),
        name => vec![FieldError::not_supported(&os.path, &name.into(), &["linux", "windows"])],
    }
}

fn linux(pod: &Pod<'_>) -> Errors {
    let contexts = std::iter::once(pod.spec.get("securityContext"))
        .chain(pod.containers().map(|container| container.get("securityContext")));
    let options = contexts.map(|context| context.get("windowsOptions"));
    let set = options.filter(|options| !options.is_absent());
    set.map(|options| options.forbidden("windows options cannot be set for a linux pod")).collect()
}

fn windows(pod: &Pod<'_>) -> Errors {
    let detail = "cannot be set for a windows pod";
    let (spec, context) = (&pod.spec, pod.spec.get("securityContext"));
    let mut errors = Errors::new();
    let mut refuse = |field: At<'_>| {
        if !field.is_absent() {
            errors.push(field.forbidden(detail));
        }
    };
    refuse(context.get("appArmorProfile"));
    refuse(context.get("seLinuxOptions"));
    refuse(spec.get("hostUsers"));
    // No pointers: false is as good as absent.
    for field in ["hostPID", "hostIPC"].map(|field| spec.get(field)) {
        if field.is_true() {
            refuse(field);
        }
    }
    for field in ["seccompProfile", "fsGroup", "fsGroupChangePolicy", "sysctls"] {
        refuse(context.get(field));
    }
    refuse(spec.get("shareProcessNamespace"));
    for field in
        ["runAsUser", "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy", "seLinuxChangePolicy"]
    {
        refuse(context.get(field));
    }
    for context in pod.containers().map(|container| container.get("securityContext")) {
        for field in [
            "appArmorProfile",
            "seLinuxOptions",
            "seccompProfile",
            "capabilities",
            "readOnlyRootFilesystem",
            "privileged",
            "allowPrivilegeEscalation",
            "procMount",
            "runAsUser",
            "runAsGroup",
        ] {
            let field = context.get(field);
            if !field.is_absent() {
                errors.push(field.forbidden(detail));
            }
        }
    }
    errors
}

/// Containers that are processes of a Windows host: all of a pod or none, in the host's network.
pub fn host_process(pod: &Pod<'_>) -> Errors {
    let whole = host_process_of(&pod.spec).value.as_bool();
    let mut errors = Errors::new();
    let (mut all, mut found) = (0, 0);
    for container in pod.containers() {
        let field = host_process_of(&container);
        let own = field.value.as_bool();
        all += 1;
        found += usize::from(own.or(whole).unwrap_or_default());
        if let (Some(whole), Some(own)) = (whole, own)
            && whole != own
        {
            errors.push(field.invalid(&format!(
                "pod hostProcess value must be identical if both are specified, was {whole}"
            )));
        }
    }
    if found > 0 {
        if found != all {
            let detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
            errors.push(FieldError::invalid(&pod.spec.path, &"".into(), detail));
        }
        let network = pod.spec.get("hostNetwork");
        if !network.is_true() {
            let detail = "hostNetwork must be true if pod contains any hostProcess containers";
            errors.push(FieldError::invalid(&network.path, &false.into(), detail));
        }
    }
    errors
}

/// Of a pod's spec or of a container.
fn host_process_of<'a>(at: &At<'a>) -> At<'a> {
    at.get("securityContext").get("windowsOptions").get("hostProcess")
}

/// `windowsOptions` of a security context.
pub fn windows_options(options: &At<'_>) -> Errors {
    let (name, spec, user) = (
        options.get("gmsaCredentialSpecName"),
        options.get("gmsaCredentialSpec"),
        options.get("runAsUserName"),
    );
    let mut errors = Errors::new();
    if !name.is_absent() {
        errors.extend(name.invalid_each(names::dns1123_subdomain(name.text())));
    }
    if !spec.is_absent() {
        if spec.text().is_empty() {
            errors.push(spec.invalid("gmsaCredentialSpec cannot be an empty string"));
        } else if spec.text().len() > 64 * 1024 {
            errors.push(spec.invalid("gmsaCredentialSpec size must be under 64 KiB"));
        }
    }
    if !user.is_absent() {
        errors.extend(user_name(user.text()).into_iter().map(|detail| user.invalid(detail)));
    }
    errors
}

/// `DOMAIN\USER` or `USER`.
fn user_name(text: &str) -> Vec<&'static str> {
    if text.is_empty() {
        return vec!["runAsUserName cannot be an empty string"];
    }
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters"];
    }
    let (domain, user) = match text.split('\\').collect::<Vec<_>>()[..] {
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return vec!["runAsUserName cannot contain more than one backslash"],
    };
    let mut errors = Vec::new();
    if let Some(domain) = domain {
        if domain.len() >= 256 {
            errors.push("runAsUserName's Domain length must be under 256 characters");
        }
        let net_bios = (1..=15).contains(&domain.chars().count())
            && !domain.starts_with('.')
            && !domain.contains(['/', ':', '*', '?', '"', '<', '>', '|']);
        let label = |label: &str| {
            let ends = |at: Option<u8>| at.is_some_and(|byte| byte.is_ascii_alphanumeric());
            label.len() <= 63
                && ends(label.bytes().next())
                && ends(label.bytes().last())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !net_bios && !domain.split('.').all(label) {
            errors.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
        }
    }
    if user.is_empty() {
        errors.push("runAsUserName's User cannot be empty");
    } else if user.len() > 104 {
        errors.push("runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|found| matches!(found, '.' | ' ')) {
        errors.push("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        errors.push("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
    errors
}
