//! What of a pod decides its life on a node.

use std::time::Duration;

use serde_json::Value;

use super::orders::{BadOrder, ContainerOrders, Orders};

/// A pod that was bound to a node.
#[derive(Debug)]
pub struct PodSpec<'a> {
    pub object: &'a Value,
    pub inits: Vec<ContainerSpec<'a>>,
    pub mains: Vec<ContainerSpec<'a>>,
    /// Types of conditions that must be true before it is ready.
    pub gates: Vec<&'a str>,
    pub host_network: bool,
    /// How long it may be active.
    pub deadline: Option<Duration>,
    /// Somebody deleted it: how long it may take to end.
    pub deleted: Option<Duration>,
}

/// When a container that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    fn of(policy: &Value) -> Option<Self> {
        match policy.as_str()? {
            "OnFailure" => Some(Self::OnFailure),
            "Never" => Some(Self::Never),
            _ => Some(Self::Always),
        }
    }

    pub fn again(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

#[derive(Debug)]
pub struct ContainerSpec<'a> {
    pub object: &'a Value,
    pub name: &'a str,
    pub image: &'a str,
    /// An init container that goes on beside the others.
    pub sidecar: bool,
    pub restart: Restart,
    pub orders: ContainerOrders,
    /// There is such an image.
    pub pulls: bool,
    /// An annotation makes no sense: it does not start.
    pub problem: Option<BadOrder>,
    /// After its start: when its startup probe has passed, when it is ready.
    pub started_after: Duration,
    pub ready_after: Duration,
}

impl<'a> PodSpec<'a> {
    pub fn of(pod: &'a Value) -> Self {
        let (spec, orders) = (&pod["spec"], Orders::of(pod));
        let restart = Restart::of(&spec["restartPolicy"]).unwrap_or(Restart::Always);
        let containers = |field: &str, init| {
            let list = spec[field].as_array().into_iter().flatten();
            list.map(|container| ContainerSpec::of(container, orders, restart, init)).collect()
        };
        let gates = spec["readinessGates"].as_array().into_iter().flatten();
        let grace = seconds(&pod["metadata"]["deletionGracePeriodSeconds"]).unwrap_or_default();
        Self {
            object: pod,
            inits: containers("initContainers", true),
            mains: containers("containers", false),
            gates: gates.filter_map(|gate| gate["conditionType"].as_str()).collect(),
            host_network: spec["hostNetwork"] == true,
            deadline: seconds(&spec["activeDeadlineSeconds"]),
            deleted: (!pod["metadata"]["deletionTimestamp"].is_null()).then_some(grace),
        }
    }

    pub fn containers(&self) -> impl Iterator<Item = &ContainerSpec<'a>> {
        self.inits.iter().chain(&self.mains)
    }

    /// Its phase is the last one: nothing of it will run.
    pub fn is_over(pod: &Value) -> bool {
        matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
    }

    pub fn text(&self, field: &str) -> &'a str {
        self.object["metadata"][field].as_str().unwrap_or_default()
    }
}

impl<'a> ContainerSpec<'a> {
    fn of(object: &'a Value, orders: Orders<'a>, pod: Restart, init: bool) -> Self {
        let name = object["name"].as_str().unwrap_or_default();
        let image = object["image"].as_str().unwrap_or_default();
        let own = Restart::of(&object["restartPolicy"]);
        let sidecar = init && own == Some(Restart::Always);
        let restart = match own {
            Some(own) => own,
            // An init container that succeeded is done.
            None if init && pod == Restart::Always => Restart::OnFailure,
            None => pod,
        };
        let (mut orders, problem) = match orders.container(name) {
            Ok(orders) => (orders, None),
            // What runs already goes on as it was.
            Err(problem) => (ContainerOrders::default(), Some(problem)),
        };
        if init && !sidecar {
            orders.run_for.get_or_insert(Duration::ZERO);
        }
        let started_after = passes(&object["startupProbe"], Duration::ZERO);
        Self {
            object,
            name,
            image,
            sidecar,
            restart,
            pulls: !orders.pull_fails && exists(image),
            problem,
            orders,
            started_after,
            ready_after: passes(&object["readinessProbe"], started_after),
        }
    }
}

/// When a probe has passed that may begin after `begin`, counted from the container's start.
fn passes(probe: &Value, begin: Duration) -> Duration {
    if !probe.is_object() {
        return begin;
    }
    let times = probe["successThreshold"].as_u64().unwrap_or(1).max(1) - 1;
    let period = seconds(&probe["periodSeconds"]).unwrap_or(Duration::from_secs(10));
    let delay = seconds(&probe["initialDelaySeconds"]).unwrap_or_default();
    begin.max(delay).saturating_add(period.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX)))
}

/// Whether there is such an image. Registries named `invalid.` are those of Kubernetes' own tests; a tag can be set by
/// `kubectl set image`, where an annotation cannot.
fn exists(image: &str) -> bool {
    let (registry, rest) = image.split_once('/').unwrap_or(("", image));
    !registry.starts_with("invalid.") && !rest.ends_with(":missing")
}

fn seconds(value: &Value) -> Option<Duration> {
    // Beyond ten thousand years no clock goes.
    Some(Duration::from_secs(value.as_u64()?.min(1 << 38)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(spec: Value) -> Value {
        json!({ "metadata": { "name": "a" }, "spec": spec })
    }

    #[test]
    fn probes_pass_when_their_delays_and_successes_are_over() {
        let pod = of(json!({ "containers": [
            { "name": "plain" },
            { "name": "ready", "readinessProbe": { "initialDelaySeconds": 5, "periodSeconds": 2, "successThreshold": 3 } },
            { "name": "startup", "startupProbe": { "initialDelaySeconds": 7 }, "readinessProbe": { "initialDelaySeconds": 2 } },
        ] }));
        let pod = PodSpec::of(&pod);
        let times: Vec<_> =
            pod.mains.iter().map(|c| (c.started_after.as_secs(), c.ready_after.as_secs())).collect();
        assert_eq!(times, [(0, 0), (0, 9), (7, 7)]);
    }

    #[test]
    fn init_containers_end_at_once_and_sidecars_go_on() {
        let pod = of(json!({
            "initContainers": [{ "name": "i" }, { "name": "s", "restartPolicy": "Always" }],
            "containers": [{ "name": "c" }],
        }));
        let pod = PodSpec::of(&pod);
        let said: Vec<_> = pod.containers().map(|c| (c.sidecar, c.restart, c.orders.run_for)).collect();
        let zero = Some(Duration::ZERO);
        assert_eq!(
            said,
            [
                (false, Restart::OnFailure, zero),
                (true, Restart::Always, None),
                (false, Restart::Always, None)
            ]
        );
        let never = of(json!({ "restartPolicy": "Never", "initContainers": [{ "name": "i" }] }));
        assert_eq!(PodSpec::of(&never).inits[0].restart, Restart::Never);
    }

    #[test]
    fn some_images_are_nowhere() {
        for image in ["nginx", "nginx:1.27", "registry.k8s.io/pause:3.10", "a/missing", "localhost:5000/a"] {
            assert!(exists(image), "{image}");
        }
        for image in ["nginx:missing", "a/b:missing", "invalid.registry.k8s.io/invalid/alpine:3.1"] {
            assert!(!exists(image), "{image}");
        }
    }

    #[test]
    fn numbers_without_sense_do_no_harm() {
        let pod = of(json!({ "activeDeadlineSeconds": u64::MAX, "containers": [
            { "readinessProbe": { "initialDelaySeconds": u64::MAX, "periodSeconds": u64::MAX, "successThreshold": u64::MAX } },
        ] }));
        assert_eq!(PodSpec::of(&pod).mains.len(), 1);
    }
}
