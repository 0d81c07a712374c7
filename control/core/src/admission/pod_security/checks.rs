//! The checks of the Pod Security Standards, each with the versions in which it changed.

mod rules;

use serde_json::Value;

use self::rules::{
    app_armor, capabilities_baseline, capabilities_restricted, escalation, host_namespaces, host_paths,
    host_ports, host_process, non_root, privileged, probe_hosts, proc_mount, run_as_root,
    seccomp_annotations, seccomp_baseline, seccomp_restricted, selinux, sysctls, volumes,
};
use super::super::pod::containers;
use super::policy::{Level, Standard};
use crate::edit::text;

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

#[cfg(test)]
mod tests;
