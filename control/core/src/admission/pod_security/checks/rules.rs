//! What each check looks at, in the order of the table.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::super::pod::containers;
use super::{Violation, bad, joined, plural, setters, shown, violation};
use crate::access::quoted;
use crate::edit::{list, text};

pub fn app_armor(pod: &Value) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let mut forbidden = |context: &Value| {
        let kind = text(context, &["appArmorProfile", "type"]);
        let wrong = context["appArmorProfile"].is_object() && !matches!(kind, "RuntimeDefault" | "Localhost");
        if wrong {
            values.insert(kind.to_owned());
        }
        wrong
    };
    let of_pod = forbidden(&pod["spec"]["securityContext"]);
    let names = bad(pod, forbidden);
    let mut values: Vec<String> = values.into_iter().collect();
    let mut all: Vec<String> = setters(of_pod, &names).into_iter().collect();
    let annotations = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    let mut annotated: Vec<String> = annotations
        .filter(|(key, _)| key.starts_with("container.apparmor.security.beta.kubernetes.io/"))
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(_, value)| {
            !value.is_empty() && *value != "runtime/default" && !value.starts_with("localhost/")
        })
        .map(|(key, value)| format!("{key}={}", quoted(value)))
        .collect();
    if !annotated.is_empty() {
        annotated.sort();
        all.push(plural(annotated.len(), "annotation", "annotations").to_owned());
        values.extend(annotated);
    }
    if all.is_empty() {
        return None;
    }
    let reason = plural(values.len(), "forbidden AppArmor profile", "forbidden AppArmor profiles");
    let detail =
        format!("{} must not set AppArmor profile type to {}", all.join(" and "), joined(values.clone()));
    violation(reason, detail)
}

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Containers that add others, and what they add.
pub fn added(pod: &Value, allowed: &[&str]) -> Option<String> {
    let mut more = BTreeSet::new();
    let names = bad(pod, |context| {
        let adds = list(context, &["capabilities", "add"]).iter().filter_map(Value::as_str);
        let before: Vec<_> = adds.filter(|one| !allowed.contains(one)).collect();
        more.extend(before.iter().map(|one| (*one).to_owned()));
        !before.is_empty()
    });
    let what =
        format!("{} must not include {} in securityContext.capabilities.add", shown(&names), joined(more));
    (!names.is_empty()).then_some(what)
}

pub fn capabilities_baseline(pod: &Value) -> Option<Violation> {
    violation("non-default capabilities", added(pod, &CAPABILITIES)?)
}

pub fn capabilities_restricted(pod: &Value) -> Option<Violation> {
    let keep = bad(pod, |context| !list(context, &["capabilities", "drop"]).iter().any(|one| *one == "ALL"));
    let drop = format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", shown(&keep));
    let all: Vec<_> =
        (!keep.is_empty()).then_some(drop).into_iter().chain(added(pod, &["NET_BIND_SERVICE"])).collect();
    if all.is_empty() { None } else { violation("unrestricted capabilities", all.join("; ")) }
}

pub fn host_namespaces(pod: &Value) -> Option<Violation> {
    let fields =
        ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| pod["spec"][*field] == true);
    let shown: Vec<_> = fields.map(|field| format!("{field}=true")).collect();
    if shown.is_empty() { None } else { violation("host namespaces", shown.join(", ")) }
}

pub fn host_paths(pod: &Value) -> Option<Violation> {
    let volumes = list(pod, &["spec", "volumes"]).iter().filter(|volume| volume["hostPath"].is_object());
    let names: Vec<_> = volumes.map(|volume| text(volume, &["name"])).collect();
    let detail = format!("{} {}", plural(names.len(), "volume", "volumes"), joined(&names));
    if names.is_empty() { None } else { violation("hostPath volumes", detail) }
}

pub fn host_ports(pod: &Value) -> Option<Violation> {
    let (mut names, mut ports) = (Vec::new(), BTreeSet::new());
    for container in containers(pod) {
        let own = list(container, &["ports"]).iter().filter_map(|port| port["hostPort"].as_i64());
        let before = own.filter(|port| *port != 0).map(|port| port.to_string()).collect::<Vec<_>>();
        if !before.is_empty() {
            names.push(text(container, &["name"]).to_owned());
        }
        ports.extend(before);
    }
    let uses = plural(names.len(), "uses", "use");
    let what = plural(ports.len(), "hostPort", "hostPorts");
    let list = ports.into_iter().collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        None
    } else {
        violation("hostPort", format!("{} {uses} {what} {list}", shown(&names)))
    }
}

pub fn probe_hosts(pod: &Value) -> Option<Violation> {
    let (mut names, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for container in containers(pod) {
        let lifecycle = &container["lifecycle"];
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|field| &container[field]);
        for action in probes.into_iter().chain([&lifecycle["postStart"], &lifecycle["preStop"]]) {
            for sort in ["httpGet", "tcpSocket"] {
                let host = text(action, &[sort, "host"]);
                if !host.is_empty() {
                    names.insert(text(container, &["name"]).to_owned());
                    hosts.insert(host.to_owned());
                }
            }
        }
    }
    let names: Vec<_> = names.into_iter().collect();
    let uses = plural(names.len(), "uses", "use");
    let what = plural(hosts.len(), "probe or lifecycle host", "probe or lifecycle hosts");
    let detail = format!("{} {uses} {what} {}", shown(&names), joined(hosts));
    if names.is_empty() { None } else { violation("probe or lifecycle host", detail) }
}

pub fn privileged(pod: &Value) -> Option<Violation> {
    let names = bad(pod, |context| context["privileged"] == true);
    let detail = format!("{} must not set securityContext.privileged=true", shown(&names));
    if names.is_empty() { None } else { violation("privileged", detail) }
}

pub fn proc_mount(pod: &Value) -> Option<Violation> {
    let mut types = BTreeSet::new();
    let names = bad(pod, |context| match context["procMount"].as_str() {
        None | Some("Default") => false,
        Some(other) => {
            types.insert(other.to_owned());
            true
        }
    });
    let detail = format!("{} must not set securityContext.procMount to {}", shown(&names), joined(types));
    if names.is_empty() { None } else { violation("procMount", detail) }
}

const SELINUX_TYPES: [&str; 4] = ["container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// The first so many types are allowed.
pub fn selinux(pod: &Value, allowed: usize) -> Option<Violation> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut forbidden = |context: &Value| {
        let of = |field: &str| text(context, &["seLinuxOptions", field]);
        let kind = of("type");
        let wrong = !kind.is_empty() && !SELINUX_TYPES[..allowed].contains(&kind);
        if wrong {
            types.insert(kind.to_owned());
        }
        user |= !of("user").is_empty();
        role |= !of("role").is_empty();
        wrong || !of("user").is_empty() || !of("role").is_empty()
    };
    let of_pod = forbidden(&pod["spec"]["securityContext"]);
    let names = bad(pod, forbidden);
    let who = setters(of_pod, &names)?;
    let mut what = Vec::new();
    if !types.is_empty() {
        what.push(format!("{} {}", plural(types.len(), "type", "types"), joined(&types)));
    }
    what.extend(user.then(|| "user may not be set".to_owned()));
    what.extend(role.then(|| "role may not be set".to_owned()));
    violation(
        "seLinuxOptions",
        format!("{who} set forbidden securityContext.seLinuxOptions: {}", what.join("; ")),
    )
}

pub fn seccomp_annotations(pod: &Value) -> Option<Violation> {
    let names = containers(pod).map(|container| text(container, &["name"]));
    let of_containers = names.map(|name| format!("container.seccomp.security.alpha.kubernetes.io/{name}"));
    let keys = ["seccomp.security.alpha.kubernetes.io/pod".to_owned()].into_iter().chain(of_containers);
    let mut found = BTreeSet::new();
    for key in keys {
        let Some(value) = pod["metadata"]["annotations"][key.as_str()].as_str() else { continue };
        if !matches!(value, "runtime/default" | "docker/default") && !value.starts_with("localhost/") {
            found.insert(format!("{key}={}", quoted(value)));
        }
    }
    let what = plural(found.len(), "annotation", "annotations");
    let list = found.iter().cloned().collect::<Vec<_>>().join(", ");
    if found.is_empty() { None } else { violation("seccompProfile", format!("forbidden {what} {list}")) }
}

pub fn seccomp_baseline(pod: &Value) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let mut forbidden = |context: &Value| {
        let kind = text(context, &["seccompProfile", "type"]);
        let wrong = context["seccompProfile"].is_object() && !matches!(kind, "Localhost" | "RuntimeDefault");
        if wrong {
            values.insert(kind.to_owned());
        }
        wrong
    };
    let of_pod = forbidden(&pod["spec"]["securityContext"]);
    let names = bad(pod, forbidden);
    let who = setters(of_pod, &names)?;
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {}", joined(values));
    violation("seccompProfile", detail)
}

pub fn seccomp_restricted(pod: &Value) -> Option<Violation> {
    if let found @ Some(_) = seccomp_baseline(pod) {
        return found;
    }
    if pod["spec"]["securityContext"]["seccompProfile"].is_object() {
        return None;
    }
    let names = bad(pod, |context| !context["seccompProfile"].is_object());
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        shown(&names)
    );
    if names.is_empty() { None } else { violation("seccompProfile", detail) }
}

const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// The first so many are allowed.
pub fn sysctls(pod: &Value, allowed: usize) -> Option<Violation> {
    let names = list(pod, &["spec", "securityContext", "sysctls"]).iter().map(|one| text(one, &["name"]));
    let found: Vec<_> = names.filter(|name| !SYSCTLS[..allowed].contains(name)).collect();
    if found.is_empty() { None } else { violation("forbidden sysctls", found.join(", ")) }
}

pub fn host_process(pod: &Value) -> Option<Violation> {
    let forbidden = |context: &Value| context["windowsOptions"]["hostProcess"] == true;
    let who = setters(forbidden(&pod["spec"]["securityContext"]), &bad(pod, forbidden))?;
    violation("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true"))
}

pub fn escalation(pod: &Value) -> Option<Violation> {
    let names = bad(pod, |context| context["allowPrivilegeEscalation"] != false);
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", shown(&names));
    if names.is_empty() { None } else { violation("allowPrivilegeEscalation != false", detail) }
}

pub fn volumes(pod: &Value) -> Option<Violation> {
    const ALLOWED: [&str; 9] = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let (mut names, mut types) = (Vec::new(), BTreeSet::new());
    for volume in list(pod, &["spec", "volumes"]) {
        if ALLOWED.iter().any(|sort| volume[*sort].is_object()) {
            continue;
        }
        names.push(text(volume, &["name"]));
        let mut sorts = volume.as_object().into_iter().flatten().filter(|(_, value)| value.is_object());
        types.insert(sorts.next().map_or("unknown", |(sort, _)| sort.as_str()));
    }
    let detail = format!(
        "{} {} {} {} {}",
        plural(names.len(), "volume", "volumes"),
        joined(&names),
        plural(names.len(), "uses", "use"),
        plural(types.len(), "restricted volume type", "restricted volume types"),
        joined(&types),
    );
    if names.is_empty() { None } else { violation("restricted volume types", detail) }
}

pub fn non_root(pod: &Value) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let of_pod = pod["spec"]["securityContext"]["runAsNonRoot"].as_bool();
    let explicit = bad(pod, |context| context["runAsNonRoot"] == false);
    if let Some(who) = setters(of_pod == Some(false), &explicit) {
        return violation(REASON, format!("{who} must not set securityContext.runAsNonRoot=false"));
    }
    let implicit = bad(pod, |context| of_pod != Some(true) && context["runAsNonRoot"].is_null());
    let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", shown(&implicit));
    if implicit.is_empty() { None } else { violation(REASON, detail) }
}

pub fn run_as_root(pod: &Value) -> Option<Violation> {
    let forbidden = |context: &Value| context["runAsUser"] == 0;
    let who = setters(forbidden(&pod["spec"]["securityContext"]), &bad(pod, forbidden))?;
    violation("runAsUser=0", format!("{who} must not set runAsUser=0"))
}
