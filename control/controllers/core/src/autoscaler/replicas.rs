//! From what pods measure to how many there should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use control_core::edit::{at, list, text};
use serde_json::Value;

use super::samples::{Sample, Samples, milli};
use super::{Scene, Settings};
use crate::{object, pods};

/// By how much a metric may be off its target without a change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    down: f64,
    up: f64,
}

impl Tolerance {
    /// The autoscaler's own, or that of the flag.
    pub fn of(autoscaler: &Value, settings: &Settings) -> Self {
        let own = |direction: &str| {
            let given = at(autoscaler, &["spec", "behavior", direction, "tolerance"]);
            milli(given).map_or(settings.tolerance, |thousandths| thousandths as f64 / 1000.0)
        };
        Self { down: own("scaleDown"), up: own("scaleUp") }
    }

    fn holds(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

/// What pods are to measure.
#[derive(Clone, Debug)]
pub enum Aim {
    /// So many hundredths of what each requests.
    Utilization { percent: i64, requests: BTreeMap<String, i64> },
    /// So many thousandths on average.
    Average(i64),
}

/// What they measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// To the aim.
    ratio: f64,
    pub percent: Option<i64>,
    pub average: i64,
}

impl Aim {
    fn measure(&self, samples: &Samples) -> Result<Measure, String> {
        match self {
            Self::Average(aim) => {
                let all: i64 = samples.values().map(|sample| sample.value).sum();
                let average = all / i64::try_from(samples.len().max(1)).unwrap_or(1);
                Ok(Measure { ratio: average as f64 / *aim as f64, percent: None, average })
            }
            Self::Utilization { percent, requests } => {
                let known =
                    samples.iter().filter_map(|(pod, sample)| Some((sample.value, *requests.get(pod)?)));
                let (mut used, mut requested, mut count) = (0_i64, 0_i64, 0_i64);
                for (value, request) in known {
                    (used, requested, count) = (used + value, requested + request, count + 1);
                }
                if requested == 0 {
                    return Err("no metrics returned matched known pods".to_owned());
                }
                let now = used.saturating_mul(100) / requested;
                Ok(Measure { ratio: now as f64 / *percent as f64, percent: Some(now), average: used / count })
            }
        }
    }

    /// What a pod of which nothing is known measures at most, for all that one should think.
    fn busy(&self, pod: &str) -> i64 {
        match self {
            Self::Average(aim) => *aim,
            Self::Utilization { percent, requests } => {
                requests.get(pod).copied().unwrap_or_default() * (*percent).max(100) / 100
            }
        }
    }
}

/// How many pods the samples call for, and what was measured. `resource` is empty for what is no resource.
///
/// # Errors
/// Nothing can be said, in the original's words.
pub fn of_pods(
    scene: &Scene<'_>,
    mut samples: Samples,
    resource: &str,
    aim: impl FnOnce(&[Arc<Value>]) -> Result<Aim, String>,
) -> Result<(i64, Measure), String> {
    if scene.pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".to_owned());
    }
    let groups = Groups::of(scene, &samples, resource);
    samples.retain(|pod, _| !groups.ignored.contains(pod.as_str()) && !groups.unready.contains(pod.as_str()));
    if samples.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".to_owned());
    }
    let aim = aim(scene.pods)?;
    let measure = aim.measure(&samples)?;
    let current = scene.target.wanted;
    let tolerance = Tolerance::of(scene.autoscaler, scene.settings);
    let ratio = measure.ratio;
    let with_unready = !groups.unready.is_empty() && ratio > 1.0;
    if !with_unready && groups.missing.is_empty() {
        let wanted = if tolerance.holds(ratio) { current } else { times(ratio, groups.ready) };
        return Ok((wanted, measure));
    }
    // What is not known counts against a change: a pod without a value is as busy as it may be, or idle.
    let mut assume = |pod: &str, value| {
        samples.insert(pod.to_owned(), Sample { value, at: None, window: std::time::Duration::ZERO });
    };
    for pod in &groups.missing {
        if ratio < 1.0 {
            assume(pod, aim.busy(pod));
        } else if ratio > 1.0 {
            assume(pod, 0);
        }
    }
    if with_unready {
        groups.unready.iter().for_each(|pod| assume(pod, 0));
    }
    let assumed = aim.measure(&samples)?.ratio;
    if tolerance.holds(assumed) || (ratio < 1.0 && assumed > 1.0) || (ratio > 1.0 && assumed < 1.0) {
        return Ok((current, measure));
    }
    let wanted = times(assumed, samples.len());
    let turns = (assumed < 1.0 && wanted > current) || (assumed > 1.0 && wanted < current);
    Ok((if turns { current } else { wanted }, measure))
}

/// How many pods one value calls for that is not of pods: `ratio` is that to its aim.
///
/// # Errors
/// There are no pods, in the original's words.
pub fn of_ratio(scene: &Scene<'_>, ratio: f64) -> Result<i64, String> {
    let current = scene.target.wanted;
    if current == 0 {
        return Ok(times(ratio, 1));
    }
    if Tolerance::of(scene.autoscaler, scene.settings).holds(ratio) {
        return Ok(current);
    }
    if scene.pods.is_empty() {
        return Err(
            "unable to calculate ready pods: no pods returned by selector while calculating replica count"
                .to_owned(),
        );
    }
    let ready = |pod: &&Arc<Value>| pods::phase(pod) == "Running" && pods::is_ready(pod);
    Ok(times(ratio, scene.pods.iter().filter(ready).count()))
}

/// How many pods a value calls for of which each pod is to have `share`; and the share of each pod that is there.
pub fn of_share(scene: &Scene<'_>, value: i64, share: i64) -> (i64, i64) {
    let present = scene.target.present;
    let ratio = value as f64 / (share as f64 * present as f64);
    let held = Tolerance::of(scene.autoscaler, scene.settings).holds(ratio);
    let wanted = if held { present } else { times(value as f64 / share as f64, 1) };
    (wanted, (value as f64 / present.max(1) as f64).ceil() as i64)
}

/// Rounded up, and at most what a count can be.
fn times(ratio: f64, count: usize) -> i64 {
    ((ratio * count as f64).ceil() as i64).min(i64::from(i32::MAX))
}

/// Which pods count, and how.
#[derive(Debug, Default)]
struct Groups<'a> {
    ready: usize,
    /// Not yet at work: what they measure says nothing.
    unready: BTreeSet<&'a str>,
    /// At work, and without a value.
    missing: BTreeSet<&'a str>,
    /// Going or failed.
    ignored: BTreeSet<&'a str>,
}

impl<'a> Groups<'a> {
    fn of(scene: &Scene<'a>, samples: &Samples, resource: &str) -> Self {
        let mut groups = Self::default();
        for pod in scene.pods {
            let name = object::name(pod);
            match (pods::phase(pod), samples.get(name)) {
                _ if object::is_deleting(pod) => _ = groups.ignored.insert(name),
                ("Failed", _) => _ = groups.ignored.insert(name),
                ("Pending", _) => _ = groups.unready.insert(name),
                (_, None) => _ = groups.missing.insert(name),
                (_, Some(sample)) if resource == "cpu" && starts(pod, sample, scene.settings, scene.now) => {
                    _ = groups.unready.insert(name);
                }
                _ => groups.ready += 1,
            }
        }
        groups
    }
}

/// A pod uses CPU to start: that is not what it needs later.
fn starts(pod: &Value, sample: &Sample, settings: &Settings, now: SystemTime) -> bool {
    let (Some(ready), Some(started)) =
        (object::condition(pod, "Ready"), object::moment(pod, &["status", "startTime"]))
    else {
        return true;
    };
    let unready = text(ready, &["status"]) == "False";
    let since = object::moment(ready, &["lastTransitionTime"]).unwrap_or(SystemTime::UNIX_EPOCH);
    if started + settings.cpu_initialization_period > now {
        // Not even one window was measured since it became ready.
        let early = sample.at.is_none_or(|at| at < since + sample.window);
        return unready || early;
    }
    // It has never been ready.
    unready && started + settings.initial_readiness_delay > since
}

/// What each pod requests of a resource, in thousandths: the pod as a whole, its containers, or one of them.
///
/// # Errors
/// A request is missing, in the original's words.
pub fn requests(
    pods: &[Arc<Value>],
    container: &str,
    resource: &str,
) -> Result<BTreeMap<String, i64>, String> {
    pods.iter().map(|pod| Ok((object::name(pod).to_owned(), request(pod, container, resource)?))).collect()
}

fn request(pod: &Value, container: &str, resource: &str) -> Result<i64, String> {
    let name = object::name(pod);
    let whole = at(pod, &["spec", "resources", "requests"]);
    let of_pod = ["cpu", "memory"].iter().any(|one| !whole[one].is_null());
    if of_pod && container.is_empty() {
        let found = milli(&whole[resource]);
        if let Some(found) = found {
            return Ok(found);
        }
    }
    let all = list(pod, &["spec", "containers"]).iter();
    let sidecars = list(pod, &["spec", "initContainers"]).iter();
    let sidecars = sidecars.filter(|one| text(one, &["restartPolicy"]) == "Always");
    let mut sum = 0;
    let mut found = container.is_empty();
    for one in all.chain(sidecars) {
        let own = text(one, &["name"]);
        if !container.is_empty() && own != container {
            continue;
        }
        found = true;
        match milli(at(one, &["resources", "requests", resource])) {
            Some(amount) => sum += amount,
            // A pod that states what it needs as a whole may leave it open for its containers.
            None if of_pod && container.is_empty() => {}
            None => return Err(format!("missing request for {resource} in container {own} of Pod {name}")),
        }
    }
    match (found, of_pod && container.is_empty() && sum == 0) {
        (false, _) => Err(format!("container {container} not found in Pod {name}")),
        (_, true) => Err(format!("missing pod-level request for {resource} in Pod {name}")),
        _ => Ok(sum),
    }
}
