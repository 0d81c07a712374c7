//! What an object uses of a quota.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use apiclient_core::quantity::Quantity;
use apiclient_core::time;
use serde_json::Value;

use super::super::pod::{self, Resources, quantity, resources, total};
use super::super::{AdmissionRequest, Operation};
use crate::edit::{list, text};

/// Resources that are counted each in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort<'a> {
    Pods,
    Services,
    Claims,
    /// By number only.
    Other {
        group: &'a str,
        resource: &'a str,
    },
}

const POD: [&str; 11] = [
    "count/pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
const SERVICE: [&str; 4] = ["count/services", "services", "services.nodeports", "services.loadbalancers"];
const CLAIM: [&str; 3] = ["count/persistentvolumeclaims", "persistentvolumeclaims", "requests.storage"];
/// Counted by these names before there was `count/`.
const OLD_NAMES: [&str; 4] = ["configmaps", "resourcequotas", "replicationcontrollers", "secrets"];
const BY_CLASS: &str = ".storageclass.storage.k8s.io/";

/// `requests.` of something that no node has by itself: `requests.nvidia.com/gpu`.
fn is_extended(name: &str) -> bool {
    let Some(resource) = name.strip_prefix("requests.") else { return false };
    let domain = resource.split_once('/').map(|(domain, _)| domain);
    domain.is_some_and(|domain| {
        !domain.ends_with("kubernetes.io") || domain == "deviceclass.resource.kubernetes.io"
    })
}

impl<'a> Sort<'a> {
    pub fn of(group: &'a str, resource: &'a str) -> Self {
        match (group, resource) {
            ("", "pods") => Self::Pods,
            ("", "services") => Self::Services,
            ("", "persistentvolumeclaims") => Self::Claims,
            _ => Self::Other { group, resource },
        }
    }

    /// Requests that may change what is used.
    pub fn handles(self, request: &AdmissionRequest<'_>) -> bool {
        let (create, update) =
            (request.operation == Operation::Create, request.operation == Operation::Update);
        match (self, request.subresource) {
            (Self::Pods, "") if update => {
                let old = request.old.unwrap_or(&Value::Null);
                has_deadline(request.object) != has_deadline(old)
            }
            (Self::Pods, "") => create,
            (Self::Pods, "resize") => update,
            (Self::Services | Self::Claims, "") => create || update,
            (Self::Claims, "status") => {
                let of = |claim: &Value| claim["status"]["allocatedResources"]["storage"].clone();
                update && request.old.is_some_and(|old| of(old) != of(request.object))
            }
            (Self::Other { .. }, "") => create,
            _ => false,
        }
    }

    /// A quota's resource of this name is used by objects of this sort.
    pub fn counts(self, name: &str) -> bool {
        match self {
            Self::Pods => {
                POD.contains(&name)
                    || name.starts_with("hugepages-")
                    || name.starts_with("requests.hugepages-")
                    || is_extended(name)
            }
            Self::Services => SERVICE.contains(&name),
            Self::Claims => {
                let of_class = name.split_once(BY_CLASS).map(|(_, rest)| rest);
                CLAIM.contains(&name)
                    || of_class
                        .is_some_and(|rest| matches!(rest, "persistentvolumeclaims" | "requests.storage"))
            }
            Self::Other { group, resource } => {
                let old = group.is_empty() && OLD_NAMES.contains(&resource) && name == resource;
                old || name == format!("count/{}", super::qualified(group, resource))
            }
        }
    }

    /// What containers must say, for a quota to be kept, and do not.
    pub fn unsaid(self, object: &Value, restricted: &BTreeSet<String>) -> Option<String> {
        const NEEDED: [&str; 6] =
            ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
        let of_pod = |what: &str| !resources(&object["spec"]["resources"][what]).is_empty();
        if self != Self::Pods || of_pod("requests") || of_pod("limits") {
            return None;
        }
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for kind in ["containers", "initContainers"] {
            for container in list(object, &["spec", kind]) {
                let of = |what: &str| resources(&container["resources"][what]);
                let said = compute(&of("requests"), &of("limits"));
                let needed = NEEDED.into_iter().filter(|name| restricted.contains(*name));
                for name in needed.filter(|name| !said.contains_key(*name)) {
                    missing.entry(name).or_default().insert(text(container, &["name"]));
                }
            }
        }
        let all = missing.iter().map(|(name, containers)| {
            format!("{name} for: {}", containers.iter().copied().collect::<Vec<_>>().join(","))
        });
        let all = all.collect::<Vec<_>>();
        (!all.is_empty()).then(|| format!("must specify {}", all.join("; ")))
    }

    pub fn usage(self, object: &Value, now: SystemTime) -> Resources {
        let one = Quantity::from(1);
        match self {
            Self::Pods => {
                let mut all = Resources::from([("count/pods".to_owned(), one)]);
                if is_running(object, now) {
                    let (mut requests, mut limits) = (total(object, "requests"), total(object, "limits"));
                    let overhead = resources(&object["spec"]["overhead"]);
                    pod::add(&mut requests, &overhead);
                    let limited =
                        overhead.into_iter().filter(|(name, _)| limits.contains_key(name)).collect();
                    pod::add(&mut limits, &limited);
                    all.extend(compute(&requests, &limits));
                    all.insert("pods".to_owned(), one);
                }
                all
            }
            Self::Services => service(&object["spec"]),
            Self::Claims => claim(object),
            Self::Other { group, resource } => {
                let mut all =
                    Resources::from([(format!("count/{}", super::qualified(group, resource)), one)]);
                if group.is_empty() && OLD_NAMES.contains(&resource) {
                    all.insert(resource.to_owned(), one);
                }
                all
            }
        }
    }
}

/// `spec.activeDeadlineSeconds`: what quotas call terminating.
pub(super) fn has_deadline(pod: &Value) -> bool {
    pod["spec"]["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0)
}

/// It has not ended, and its deletion is not overdue.
fn is_running(pod: &Value, now: SystemTime) -> bool {
    let deleted = text(pod, &["metadata", "deletionTimestamp"]);
    let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_u64();
    let overdue =
        time::parse(deleted).zip(grace).is_some_and(|(at, grace)| now > at + Duration::from_secs(grace));
    !matches!(text(pod, &["status", "phase"]), "Failed" | "Succeeded") && !overdue
}

fn compute(requests: &Resources, limits: &Resources) -> Resources {
    let mut all = Resources::new();
    for (name, amount) in requests {
        let plain = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if plain || name.starts_with("hugepages-") {
            all.insert(name.clone(), *amount);
        }
        if plain || name.starts_with("hugepages-") || is_extended(&format!("requests.{name}")) {
            all.insert(format!("requests.{name}"), *amount);
        }
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(amount) = limits.get(name) {
            all.insert(format!("limits.{name}"), *amount);
        }
    }
    all
}

fn service(spec: &Value) -> Resources {
    let count = |number: usize| Quantity::from(i64::try_from(number).unwrap_or(i64::MAX));
    let ports = list(spec, &["ports"]);
    let (node_ports, balancers) = match text(spec, &["type"]) {
        "NodePort" => (ports.len(), 0),
        "LoadBalancer" if spec["allocateLoadBalancerNodePorts"] == false => {
            (ports.iter().filter(|port| port["nodePort"].as_i64().is_some_and(|port| port != 0)).count(), 1)
        }
        "LoadBalancer" => (ports.len(), 1),
        _ => (0, 0),
    };
    let all = [
        ("count/services", 1),
        ("services", 1),
        ("services.nodeports", node_ports),
        ("services.loadbalancers", balancers),
    ];
    all.into_iter().map(|(name, number)| (name.to_owned(), count(number))).collect()
}

fn claim(claim: &Value) -> Resources {
    let one = Quantity::from(1);
    let old = text(claim, &["metadata", "annotations", "volume.beta.kubernetes.io/storage-class"]);
    let class = if old.is_empty() { text(claim, &["spec", "storageClassName"]) } else { old };
    let wanted = quantity(&claim["spec"]["resources"]["requests"]["storage"]);
    let given = quantity(&claim["status"]["allocatedResources"]["storage"]);
    let size = wanted.map(|wanted| given.filter(|given| *given > wanted).unwrap_or(wanted));
    let mut all = Resources::new();
    let mut put = |name: &str, amount: Quantity| {
        all.insert(name.to_owned(), amount);
        if !class.is_empty() && !name.starts_with("count/") {
            all.insert(format!("{class}{BY_CLASS}{name}"), amount);
        }
    };
    put("count/persistentvolumeclaims", one);
    put("persistentvolumeclaims", one);
    if let Some(size) = size {
        put("requests.storage", size);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn used(sort: Sort<'_>, object: Value) -> Vec<String> {
        let usage = sort.usage(&object, SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        usage.into_iter().map(|(name, amount)| format!("{name}={amount}")).collect()
    }

    #[test]
    fn a_pod_uses_what_it_asks_for_while_it_runs() {
        let resources = json!({"requests": {"cpu": "1", "hugepages-2Mi": "4Mi", "acme.org/gpu": "1"}, "limits": {"memory": "1Gi"}});
        let pod = json!({"spec": {"containers": [{"resources": resources}], "overhead": {"cpu": "100m", "memory": "1Mi"}}});
        let wanted = [
            "count/pods=1",
            "cpu=1100m",
            "hugepages-2Mi=4Mi",
            "limits.memory=1025Mi",
            "memory=1Mi",
            "pods=1",
            "requests.acme.org/gpu=1",
            "requests.cpu=1100m",
            "requests.hugepages-2Mi=4Mi",
            "requests.memory=1Mi",
        ];
        assert_eq!(used(Sort::Pods, pod.clone()), wanted);
        let mut ended = pod.clone();
        ended["status"] = json!({"phase": "Succeeded"});
        assert_eq!(used(Sort::Pods, ended), ["count/pods=1"]);
        let mut overdue = pod;
        overdue["metadata"] =
            json!({"deletionTimestamp": "1970-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30});
        assert_eq!(used(Sort::Pods, overdue), ["count/pods=1"]);
    }

    #[test]
    fn claims_are_counted_by_class_too() {
        let claim =
            json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}});
        let wanted = [
            "count/persistentvolumeclaims=1",
            "fast.storageclass.storage.k8s.io/persistentvolumeclaims=1",
            "fast.storageclass.storage.k8s.io/requests.storage=1Gi",
            "persistentvolumeclaims=1",
            "requests.storage=1Gi",
        ];
        assert_eq!(used(Sort::Claims, claim), wanted);
        assert!(Sort::Claims.counts("fast.storageclass.storage.k8s.io/requests.storage"));
    }

    #[test]
    fn other_kinds_are_counted_by_number() {
        let deployments = Sort::of("apps", "deployments");
        assert_eq!(used(deployments, json!({})), ["count/deployments.apps=1"]);
        assert!(deployments.counts("count/deployments.apps") && !deployments.counts("deployments"));
        assert_eq!(used(Sort::of("", "secrets"), json!({})), ["count/secrets=1", "secrets=1"]);
    }
}
