//! How long a Job waits after failures before it makes the next pod.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use control_core::edit::{list, text};
use serde_json::Value;

use crate::{object, pods};

/// After the first failure, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// How much longer, given all pods that failed and that succeeded.
pub fn remaining(failed: &[&Arc<Value>], succeeded: &[&Arc<Value>], now: SystemTime) -> Duration {
    let success = succeeded.iter().map(|pod| finished(pod)).max();
    let since: Vec<SystemTime> = failed
        .iter()
        .map(|pod| finished(pod))
        .filter(|failure| success.is_none_or(|success| *failure > success))
        .collect();
    let last = since.iter().max().copied();
    last.map_or(Duration::ZERO, |last| after(i64::try_from(since.len()).unwrap_or(i64::MAX), last, now))
}

/// How much longer after the last of some failures.
pub fn after(failures: i64, last: SystemTime, now: SystemTime) -> Duration {
    if failures <= 0 {
        return Duration::ZERO;
    }
    let doubled = PAUSES.0.saturating_mul(1 << (failures - 1).min(16)).min(PAUSES.1);
    (last + doubled).duration_since(now).unwrap_or_default()
}

/// When a pod ended, as far as it says so.
pub fn finished(pod: &Value) -> SystemTime {
    let of_ready = object::condition(pod, "Ready").filter(|ready| text(ready, &["status"]) == "False");
    let of_ready = of_ready.and_then(|ready| object::moment(ready, &["lastTransitionTime"]));
    let grace =
        u64::try_from(object::int(pod, &["metadata", "deletionGracePeriodSeconds"])).unwrap_or_default();
    let of_deletion = object::moment(pod, &["metadata", "deletionTimestamp"]);
    of_containers(pod)
        .or(of_ready)
        .or(of_deletion.and_then(|deleted| deleted.checked_sub(Duration::from_secs(grace))))
        .or(object::moment(pod, &["metadata", "creationTimestamp"]))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The end of the last container; `None` while one has not ended.
fn of_containers(pod: &Value) -> Option<SystemTime> {
    let init = list(pod, &["spec", "initContainers"]).iter();
    let sidecars: Vec<&str> = init
        .filter(|container| text(container, &["restartPolicy"]) == "Always")
        .map(|container| text(container, &["name"]))
        .collect();
    let of_sidecars = list(pod, &["status", "initContainerStatuses"])
        .iter()
        .filter(|status| sidecars.contains(&text(status, &["name"])));
    let all = list(pod, &["status", "containerStatuses"]).iter().chain(of_sidecars);
    let ends: Option<Vec<SystemTime>> =
        all.map(|status| object::moment(status, &["state", "terminated", "finishedAt"])).collect();
    ends?.into_iter().max()
}

/// The pods that run or may run are counted by restarts: `restartPolicy: OnFailure`.
pub fn has_restarted_too_often<'a>(job: &Value, pods: impl Iterator<Item = &'a Arc<Value>>) -> bool {
    if text(job, &["spec", "template", "spec", "restartPolicy"]) != "OnFailure" {
        return false;
    }
    let restarts = |pod: &Arc<Value>| {
        let all = ["containerStatuses", "initContainerStatuses"];
        let all = all.iter().flat_map(|field| list(pod, &["status", field]));
        all.map(|status| object::int(status, &["restartCount"])).sum::<i64>()
    };
    let sum: i64 = pods.filter(|pod| matches!(pods::phase(pod), "Running" | "Pending")).map(restarts).sum();
    match object::int(job, &["spec", "backoffLimit"]) {
        0 => sum > 0,
        limit => sum >= limit,
    }
}
