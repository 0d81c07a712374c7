//! What is legal in a pod and yet hardly meant.

use serde_json::Value;

use crate::at::At;
use crate::field::{Path, quote};
use crate::kinds::core::resources::quantity;
use crate::names;

/// Labels and annotations of before, and what has come in their place.
const OLD_LABELS: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

const OLD_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

const OLD_VOLUMES: [(&str, &str, &str); 9] = [
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// What is said of a label that has another name now.
pub fn old_label(key: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _)| *old == key).map(|(_, advice)| *advice)
}

/// For a pod, or for a template: `at` is what holds `metadata` and `spec`.
pub fn of(at: &At<'_>) -> Vec<String> {
    let (spec, annotations) = (at.get("spec"), at.get("metadata").get("annotations"));
    let mut all = labels(&spec);
    for (key, advice) in OLD_ANNOTATIONS.iter().filter(|(key, _)| annotations.has(key)) {
        all.push(format!("{}: {advice}", annotations.path.key(key)));
    }
    for volume in spec.get("volumes").items() {
        for (source, shown, advice) in OLD_VOLUMES.iter().filter(|(source, ..)| volume.has(source)) {
            let _ = source;
            all.push(format!("{}: {advice}", volume.path.child(shown)));
        }
    }
    all.extend(overlapping_paths(&spec.get("volumes")));
    all.extend(repeated(&spec.get("hostAliases"), "ip"));
    let secrets = spec.get("imagePullSecrets");
    all.extend(repeated(&secrets, "name"));
    for secret in secrets.items().filter(|secret| secret.get("name").text().is_empty()) {
        all.push(format!("{}: invalid empty name \"\"", secret.path.child("name")));
    }
    all.extend(fractions(&spec.get("overhead")));
    let old_seccomp = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
    let key = "seccomp.security.alpha.kubernetes.io/pod";
    if annotations.has(key) && !spec.get("securityContext").has("seccompProfile") {
        all.push(format!("{}: {old_seccomp}", annotations.path.key(key)));
    }
    let lists = ["initContainers", "containers", "ephemeralContainers"].map(|list| spec.get(list));
    let containers: Vec<At<'_>> = lists.iter().flat_map(At::items).collect();
    for container in &containers {
        let key = format!("container.seccomp.security.alpha.kubernetes.io/{}", container.get("name").text());
        if annotations.has(&key) && !container.get("securityContext").has("seccompProfile") {
            all.push(format!("{}: {old_seccomp}", annotations.path.key(&key)));
        }
        for resource in ["memory", "ephemeral-storage"] {
            for field in ["limits", "requests"] {
                all.extend(fraction(&container.get("resources").get(field), resource));
            }
        }
        all.extend(hidden_variables(&container.get("env")));
    }
    all.extend(ports(&containers));
    let grace = spec.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds < 0) {
        all.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            grace.path
        ));
    }
    all.extend(null_selectors(&spec));
    for server in spec.get("dnsConfig").get("nameservers").items() {
        all.extend(names::ip_warnings(&server.path, server.text()));
    }
    for alias in spec.get("hostAliases").items() {
        let ip = alias.get("ip");
        all.extend(names::ip_warnings(&ip.path, ip.text()));
    }
    all
}

fn labels(spec: &At<'_>) -> Vec<String> {
    let mut all = Vec::new();
    for (key, value) in spec.get("nodeSelector").entries() {
        all.extend(old_label(key).map(|advice| format!("{}: {advice}", value.path)));
    }
    let affinity = spec.get("affinity").get("nodeAffinity");
    let required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution").get("nodeSelectorTerms");
    let preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution");
    let terms = required.items().map(|term| (term, false));
    for (term, values) in terms.chain(preferred.items().map(|term| (term.get("preference"), true))) {
        for expression in term.get("matchExpressions").items() {
            let key = expression.get("key");
            all.extend(
                old_label(key.text()).map(|advice| format!("{}: {} is {advice}", key.path, key.text())),
            );
            for value in expression.get("values").items().filter(|_| values) {
                for detail in names::label_value(value.text()) {
                    all.push(format!("{}: {} is invalid, {detail}", value.path, value.text()));
                }
            }
        }
    }
    for constraint in spec.get("topologySpreadConstraints").items() {
        let key = constraint.get("topologyKey");
        all.extend(old_label(key.text()).map(|advice| format!("{}: {} is {advice}", key.path, key.text())));
        all.extend(null_selector(&constraint));
    }
    all
}

fn null_selector(at: &At<'_>) -> Option<String> {
    let selector = at.get("labelSelector");
    selector
        .is_absent()
        .then(|| format!("{}: a null labelSelector results in matching no pod", selector.path))
}

fn null_selectors(spec: &At<'_>) -> Vec<String> {
    let mut all = Vec::new();
    for kind in ["podAffinity", "podAntiAffinity"] {
        let affinity = spec.get("affinity").get(kind);
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution").items() {
            all.extend(null_selector(&term));
        }
        for term in affinity.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
            all.extend(null_selector(&term.get("podAffinityTerm")));
        }
    }
    all
}

fn repeated(list: &At<'_>, field: &str) -> Vec<String> {
    let mut seen: Vec<&str> = Vec::new();
    let mut all = Vec::new();
    for value in list.items().map(|item| item.get(field)) {
        if seen.contains(&value.text()) {
            all.push(format!("{}: duplicate {field} {}", value.path, quote(value.text())));
        }
        seen.push(value.text());
    }
    all
}

fn fractions(amounts: &At<'_>) -> Vec<String> {
    ["memory", "ephemeral-storage"].iter().filter_map(|resource| fraction(amounts, resource)).collect()
}

/// Bytes have no parts.
fn fraction(amounts: &At<'_>, resource: &str) -> Option<String> {
    let amount = amounts.value.get(resource).and_then(quantity)?;
    let path = amounts.path.key(resource);
    (amount.milli_value() % 1000 != 0)
        .then(|| format!("{path}: fractional byte value \"{amount}\" is invalid, must be an integer"))
}

fn hidden_variables(env: &At<'_>) -> Vec<String> {
    let mut seen: Vec<&str> = Vec::new();
    let mut all = Vec::new();
    for variable in env.items() {
        let (name, value) = (variable.get("name").text(), variable.get("value").text());
        let reference = format!("$({name})");
        let hides = variable.has("valueFrom") || value == reference || !value.contains(&reference);
        if seen.contains(&name) && hides {
            all.push(format!(
                "{}: hides previous definition of {}, which may be dropped when using apply",
                variable.path,
                quote(name)
            ));
        }
        seen.push(name);
    }
    all
}

fn ports(containers: &[At<'_>]) -> Vec<String> {
    struct Port {
        path: Path,
        number: i64,
        protocol: String,
        host: i64,
        ip: String,
        name: String,
    }
    let int = |port: &At<'_>, field: &str| port.get(field).int().unwrap_or_default();
    let of = |port: &At<'_>| Port {
        path: port.path.clone(),
        number: int(port, "containerPort"),
        host: int(port, "hostPort"),
        protocol: port.get("protocol").text().to_owned(),
        ip: port.get("hostIP").text().to_owned(),
        name: port.get("name").text().to_owned(),
    };
    let all: Vec<Port> = containers
        .iter()
        .flat_map(|container| container.get("ports").items())
        .map(|port| of(&port))
        .collect();
    let mut warnings = Vec::new();
    for (n, port) in all.iter().enumerate() {
        if !port.ip.is_empty() && port.host == 0 {
            warnings.push(format!(
                "{}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{}}}",
                port.path, port.name, port.number, port.protocol, port.ip
            ));
        }
        for other in
            all[..n].iter().filter(|other| (other.number, &other.protocol) == (port.number, &port.protocol))
        {
            let what = if (&port.ip, port.host) == (&other.ip, other.host) {
                "duplicate"
            } else if port.host == 0 || other.host == 0 {
                "overlapping"
            } else if port.host == other.host && port.ip.is_empty() != other.ip.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            warnings.push(format!("{}: {what} port definition with {}", port.path, other.path));
        }
    }
    for (n, port) in all.iter().enumerate().filter(|(_, port)| !port.name.is_empty()) {
        if let Some(first) = all[..n].iter().find(|other| other.name == port.name) {
            warnings.push(format!(
                "{}: duplicate port name {} with {}, services and probes that select ports by name will use {}",
                port.path,
                quote(&port.name),
                first.path,
                first.path
            ));
        }
    }
    warnings
}

/// Files of one volume that would lie on or in each other.
fn overlapping_paths(volumes: &At<'_>) -> Vec<String> {
    let mut all = Vec::new();
    for volume in volumes.items() {
        let name = quote(volume.get("name").text());
        let mut say = |what: &str, files: Vec<(String, String)>| {
            for overlap in overlaps(&files) {
                all.push(format!("volume {name} ({what}): overlapping paths: {overlap}"));
            }
        };
        let files = |source: &At<'_>, from: &str| -> Vec<(String, String)> {
            let path = |item: At<'_>| (item.get("path").text().to_owned(), from.to_owned());
            source.get("items").items().map(path).collect()
        };
        let (map, secret, pod) = (volume.get("configMap"), volume.get("secret"), volume.get("downwardAPI"));
        say(&format!("ConfigMap {}", quote(map.get("name").text())), files(&map, ""));
        say(&format!("Secret {}", quote(secret.get("secretName").text())), files(&secret, ""));
        say("DownwardAPI", files(&pod, ""));
        let (mut together, mut nothing) = (Vec::new(), Vec::new());
        for source in volume.get("projected").get("sources").items() {
            if source.is_empty() {
                nothing.push(format!("volume {name} (Projected) has no sources provided"));
            }
            let of = |kind: &str| source.get(kind);
            let named = |kind: &str, shown: &str| {
                let at = of(kind);
                files(&at, &format!("{shown} {}", quote(at.get("name").text())))
            };
            together.extend(named("configMap", "ConfigMap"));
            together.extend(named("secret", "Secret"));
            together.extend(files(&of("downwardAPI"), "DownwardAPI"));
            let token = of("serviceAccountToken").get("path").text();
            if !token.is_empty() {
                together.push((token.to_owned(), "ServiceAccountToken".to_owned()));
            }
        }
        say("Projected", together);
        all.extend(nothing);
    }
    all
}

fn overlaps(files: &[(String, String)]) -> Vec<String> {
    let shown = |(path, from): &(String, String)| match from.as_str() {
        "" => quote(path.trim_end_matches('/')),
        from => format!("{} ({from})", quote(path.trim_end_matches('/'))),
    };
    let mut all = Vec::new();
    for (n, file) in files.iter().enumerate() {
        let path = format!("{}/", file.0.trim_end_matches('/'));
        for other in &files[..n] {
            let before = format!("{}/", other.0.trim_end_matches('/'));
            if path != "/" && before != "/" && (path.starts_with(&before) || before.starts_with(&path)) {
                all.push(format!("{} with {}", shown(file), shown(other)));
            }
        }
    }
    all
}

/// For a pod alone: its name is its host's name too.
pub fn of_pod(pod: &Value) -> Vec<String> {
    let at = At::object(pod);
    let wrong = names::dns1123_label(at.get("metadata").get("name").text());
    let mut all = Vec::new();
    if !wrong.is_empty() {
        all.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
            wrong.join(" ")
        ));
    }
    all.extend(of(&at));
    all
}
