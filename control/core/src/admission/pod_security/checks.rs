//! The checks of the Pod Security Standards, each with the versions in which it changed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::pod::containers;
use super::policy::{Level, Standard};
use crate::access::quoted;
use crate::edit::{list, text};

/// What a pod does that it may not: `host namespaces`, and `hostPID=true`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub reason: String,
    pub detail: String,
}

type Run = fn(&Value) -> Option<Violation>;

struct Check {
    level: Level,
    /// Since which minor version it is this.
    versions: &'static [(u32, Run)],
    /// The check of the baseline whose place it takes.
    replaces: &'static str,
    id: &'static str,
}

const fn baseline(id: &'static str, versions: &'static [(u32, Run)]) -> Check {
    Check { level: Level::Baseline, versions, replaces: "", id }
}

const fn restricted(id: &'static str, versions: &'static [(u32, Run)], replaces: &'static str) -> Check {
    Check { level: Level::Restricted, versions, replaces, id }
}

/// In the order in which violations are listed.
const CHECKS: [Check; 19] = [
    baseline("appArmorProfile", &[(0, app_armor)]),
    baseline("capabilities_baseline", &[(0, capabilities_baseline)]),
    baseline("hostNamespaces", &[(0, host_namespaces)]),
    baseline("hostPathVolumes", &[(0, host_paths)]),
    baseline("hostPorts", &[(0, host_ports)]),
    baseline("hostProbesAndHostLifecycle", &[(34, probe_hosts)]),
    baseline("privileged", &[(0, privileged)]),
    baseline("procMount", &[(0, proc_mount), (35, |pod| unless_user_namespace(pod, proc_mount))]),
    baseline("seLinuxOptions", &[(0, |pod| selinux(pod, 3)), (31, |pod| selinux(pod, 4))]),
    baseline("seccompProfile_baseline", &[(0, seccomp_annotations), (19, seccomp_baseline)]),
    baseline(
        "sysctls",
        &[
            (0, |pod| sysctls(pod, 5)),
            (27, |pod| sysctls(pod, 6)),
            (29, |pod| sysctls(pod, 10)),
            (32, |pod| sysctls(pod, 12)),
        ],
    ),
    baseline("windowsHostProcess", &[(0, host_process)]),
    restricted(
        "allowPrivilegeEscalation",
        &[(8, escalation), (25, |pod| unless_windows(pod, escalation))],
        "",
    ),
    restricted(
        "capabilities_restricted",
        &[(22, capabilities_restricted), (25, |pod| unless_windows(pod, capabilities_restricted))],
        "capabilities_baseline",
    ),
    restricted("procMount_restricted", &[(35, proc_mount)], "procMount"),
    restricted("restrictedVolumes", &[(0, volumes)], "hostPathVolumes"),
    restricted("runAsNonRoot", &[(0, non_root), (35, |pod| unless_user_namespace(pod, non_root))], ""),
    restricted("runAsUser", &[(23, run_as_root), (35, |pod| unless_user_namespace(pod, run_as_root))], ""),
    restricted(
        "seccompProfile_restricted",
        &[(19, seccomp_restricted), (25, |pod| unless_windows(pod, seccomp_restricted))],
        "seccompProfile_baseline",
    ),
];

/// Everything that violates the standard; `pod` is a Pod or the template of one.
pub fn evaluate(standard: Standard, pod: &Value) -> Vec<Violation> {
    let version = standard.version.unwrap_or(u32::MAX);
    let current =
        |check: &Check| check.versions.iter().rev().find(|(since, _)| *since <= version).map(|(_, run)| *run);
    let runs = |check: &&Check| check.level <= standard.level && standard.level != Level::Privileged;
    let replaced: Vec<_> = CHECKS
        .iter()
        .filter(runs)
        .filter(|check| current(check).is_some())
        .map(|check| check.replaces)
        .collect();
    let all = CHECKS.iter().filter(runs).filter(|check| !replaced.contains(&check.id));
    all.filter_map(|check| current(check)?(pod)).collect()
}

/// `host namespaces (hostPID=true), privileged (...)`
pub fn details(found: &[Violation]) -> String {
    let one = |violation: &Violation| match violation.detail.as_str() {
        "" => violation.reason.clone(),
        detail => format!("{} ({detail})", violation.reason),
    };
    found.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `host namespaces, privileged`
pub fn reasons(found: &[Violation]) -> String {
    found.iter().map(|violation| violation.reason.as_str()).collect::<Vec<_>>().join(", ")
}

fn violation(reason: &str, detail: String) -> Option<Violation> {
    Some(Violation { reason: reason.to_owned(), detail })
}

fn joined<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| format!("\"{}\"", item.as_ref())).collect::<Vec<_>>().join(", ")
}

fn plural<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

/// `container "a"`, `containers "a", "b"`
fn shown(names: &[String]) -> String {
    format!("{} {}", plural(names.len(), "container", "containers"), joined(names))
}

/// Names of the containers of which `bad` holds, which is given their security context.
fn bad(pod: &Value, mut bad: impl FnMut(&Value) -> bool) -> Vec<String> {
    let all = containers(pod).filter(|container| bad(&container["securityContext"]));
    all.map(|container| text(container, &["name"]).to_owned()).collect()
}

/// `pod and containers "a", "b"`
fn setters(pod: bool, names: &[String]) -> Option<String> {
    let of_pod = pod.then(|| "pod".to_owned());
    let of_containers = (!names.is_empty()).then(|| shown(names));
    let all: Vec<_> = of_pod.into_iter().chain(of_containers).collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

fn unless_windows(pod: &Value, run: Run) -> Option<Violation> {
    if text(pod, &["spec", "os", "name"]) == "windows" { None } else { run(pod) }
}

fn unless_user_namespace(pod: &Value, run: Run) -> Option<Violation> {
    if pod["spec"]["hostUsers"] == false { None } else { run(pod) }
}

fn app_armor(pod: &Value) -> Option<Violation> {
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
fn added(pod: &Value, allowed: &[&str]) -> Option<String> {
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

fn capabilities_baseline(pod: &Value) -> Option<Violation> {
    violation("non-default capabilities", added(pod, &CAPABILITIES)?)
}

fn capabilities_restricted(pod: &Value) -> Option<Violation> {
    let keep = bad(pod, |context| !list(context, &["capabilities", "drop"]).iter().any(|one| *one == "ALL"));
    let drop = format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", shown(&keep));
    let all: Vec<_> =
        (!keep.is_empty()).then_some(drop).into_iter().chain(added(pod, &["NET_BIND_SERVICE"])).collect();
    if all.is_empty() { None } else { violation("unrestricted capabilities", all.join("; ")) }
}

fn host_namespaces(pod: &Value) -> Option<Violation> {
    let fields =
        ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| pod["spec"][*field] == true);
    let shown: Vec<_> = fields.map(|field| format!("{field}=true")).collect();
    if shown.is_empty() { None } else { violation("host namespaces", shown.join(", ")) }
}

fn host_paths(pod: &Value) -> Option<Violation> {
    let volumes = list(pod, &["spec", "volumes"]).iter().filter(|volume| volume["hostPath"].is_object());
    let names: Vec<_> = volumes.map(|volume| text(volume, &["name"])).collect();
    let detail = format!("{} {}", plural(names.len(), "volume", "volumes"), joined(&names));
    if names.is_empty() { None } else { violation("hostPath volumes", detail) }
}

fn host_ports(pod: &Value) -> Option<Violation> {
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

fn probe_hosts(pod: &Value) -> Option<Violation> {
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

fn privileged(pod: &Value) -> Option<Violation> {
    let names = bad(pod, |context| context["privileged"] == true);
    let detail = format!("{} must not set securityContext.privileged=true", shown(&names));
    if names.is_empty() { None } else { violation("privileged", detail) }
}

fn proc_mount(pod: &Value) -> Option<Violation> {
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
fn selinux(pod: &Value, allowed: usize) -> Option<Violation> {
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

fn seccomp_annotations(pod: &Value) -> Option<Violation> {
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

fn seccomp_baseline(pod: &Value) -> Option<Violation> {
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

fn seccomp_restricted(pod: &Value) -> Option<Violation> {
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
fn sysctls(pod: &Value, allowed: usize) -> Option<Violation> {
    let names = list(pod, &["spec", "securityContext", "sysctls"]).iter().map(|one| text(one, &["name"]));
    let found: Vec<_> = names.filter(|name| !SYSCTLS[..allowed].contains(name)).collect();
    if found.is_empty() { None } else { violation("forbidden sysctls", found.join(", ")) }
}

fn host_process(pod: &Value) -> Option<Violation> {
    let forbidden = |context: &Value| context["windowsOptions"]["hostProcess"] == true;
    let who = setters(forbidden(&pod["spec"]["securityContext"]), &bad(pod, forbidden))?;
    violation("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true"))
}

fn escalation(pod: &Value) -> Option<Violation> {
    let names = bad(pod, |context| context["allowPrivilegeEscalation"] != false);
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", shown(&names));
    if names.is_empty() { None } else { violation("allowPrivilegeEscalation != false", detail) }
}

fn volumes(pod: &Value) -> Option<Violation> {
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

fn non_root(pod: &Value) -> Option<Violation> {
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

fn run_as_root(pod: &Value) -> Option<Violation> {
    let forbidden = |context: &Value| context["runAsUser"] == 0;
    let who = setters(forbidden(&pod["spec"]["securityContext"]), &bad(pod, forbidden))?;
    violation("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

#[cfg(test)]
mod tests;
