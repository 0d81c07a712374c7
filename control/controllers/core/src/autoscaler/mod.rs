//! HorizontalPodAutoscalers: how many pods a target needs, by what its pods and others measure.
//!
//! Owns: what is to be asked of the metrics APIs ([`questions`]), what the answers say ([`samples`]), how many pods they call
//! for ([`replicas`]), how fast the number may change ([`pace`]), and the status that says so ([`plan`]). Begin at
//! [`Scene::decide`]. Never: asks anybody. Facts: kube-controller-manager 1.36, `pkg/controller/podautoscaler`.

mod metric;
mod pace;
mod plan;
mod questions;
mod replicas;
mod samples;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::names::ObjectName;
use apiclient_core::selector::LabelSelector;
use control_core::edit::{at, list, text};
use serde_json::Value;

use crate::kinds::AUTOSCALERS;
use crate::{Note, object};

pub use pace::Memory;
pub use plan::{Plan, Rescale};
pub use questions::{Ask, Served, custom_version, questions};

/// As `--controllers` names it.
pub const NAME: &str = "horizontal-pod-autoscaler-controller";
pub const ACCOUNT: &str = "horizontal-pod-autoscaler";

/// Flags of the same names, without `horizontal-pod-autoscaler-`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub sync_period: Duration,
    /// How far from its target a metric may be without a change.
    pub tolerance: f64,
    pub downscale_stabilization: Duration,
    /// How long after its start a pod's use of CPU counts only while it is ready.
    pub cpu_initialization_period: Duration,
    /// A pod that became unready so soon after its start was never ready.
    pub initial_readiness_delay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sync_period: Duration::from_secs(15),
            tolerance: 0.1,
            downscale_stabilization: Duration::from_secs(300),
            cpu_initialization_period: Duration::from_secs(300),
            initial_readiness_delay: Duration::from_secs(30),
        }
    }
}

/// What an API answered, or why it did not, in words.
pub type Answer = Result<Arc<Value>, String>;

/// What a target's Scale says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Pods that it is to have.
    pub wanted: i64,
    /// Pods that it has.
    pub present: i64,
    /// As a text, as Scales have it.
    pub selector: String,
}

/// All that is known when an autoscaler is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    pub autoscaler: &'a Arc<Value>,
    pub target: &'a Target,
    /// Those of the target's selector.
    pub pods: &'a [Arc<Value>],
    /// To [`questions`], in their order.
    pub answers: &'a [Answer],
    /// The selectors of all autoscalers, by their names.
    pub selectors: &'a BTreeMap<ObjectName, String>,
    pub settings: &'a Settings,
    pub now: SystemTime,
}

impl Target {
    /// Reads an `autoscaling/v1` Scale.
    pub fn of(scale: &Value) -> Self {
        Self {
            wanted: object::int(scale, &["spec", "replicas"]),
            present: object::int(scale, &["status", "replicas"]),
            selector: text(scale, &["status", "selector"]).to_owned(),
        }
    }
}

/// Group, version (both may be empty) and kind of the target.
///
/// # Errors
/// Its `apiVersion` is none, in the original's words.
pub fn kind_of_target(autoscaler: &Value) -> Result<(&str, &str), String> {
    let api_version = text(autoscaler, &["spec", "scaleTargetRef", "apiVersion"]);
    let kind = text(autoscaler, &["spec", "scaleTargetRef", "kind"]);
    match api_version.matches('/').count() {
        0 => Ok(("", kind)),
        1 => Ok((api_version.split_once('/').map_or("", |(group, _)| group), kind)),
        _ => Err(format!("unexpected GroupVersion string: {api_version}")),
    }
}

/// The least and the most pods.
fn limits(autoscaler: &Value) -> (i64, i64) {
    let least = at(autoscaler, &["spec", "minReplicas"]).as_i64().unwrap_or(1);
    (least, object::int(autoscaler, &["spec", "maxReplicas"]))
}

/// Metrics decide: the target is neither switched off nor outside of the limits.
fn measures(autoscaler: &Value, target: &Target) -> bool {
    let (least, most) = limits(autoscaler);
    target.wanted != 0 && target.wanted <= most && target.wanted >= least
}

/// The original's words where there is no Scale to go by; the status that says so is in the plan.
pub fn without_target(autoscaler: &Arc<Value>, why: &str, now: SystemTime) -> Plan {
    let mut plan = Plan::new(autoscaler, now);
    plan.notes.push(Note::warning(AUTOSCALERS, autoscaler, "FailedGetScale", why));
    let message = format!("the HPA controller was unable to get the target's current scale: {why}");
    plan.set("AbleToScale", false, "FailedGetScale", &message);
    plan
}

impl Scene<'_> {
    /// What is to become of the target and the autoscaler's status. Recommendations are added to `memory`.
    pub fn decide(&self, memory: &mut Memory) -> Plan {
        let (autoscaler, current) = (self.autoscaler, self.target.wanted);
        let (least, most) = limits(autoscaler);
        let mut plan = Plan::new(autoscaler, self.now);
        let got = "the HPA controller was able to get the target's current scale";
        plan.set("AbleToScale", true, "SucceededGetScale", got);
        memory.begin(current, self.now);
        let (mut wanted, mut reason, mut statuses) = (current, String::new(), Vec::new());
        if current == 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            plan.set("ScalingActive", false, "ScalingDisabled", message);
            plan.forget("ScaledToZero");
        } else if current > most {
            (wanted, reason) = (most, "Current number of replicas above Spec.MaxReplicas".to_owned());
        } else if current < least {
            (wanted, reason) = (least, "Current number of replicas below Spec.MinReplicas".to_owned());
        } else {
            let measured = self.measure(&mut plan);
            statuses = measured.statuses;
            let Some((asked, metric)) = measured.proposal else {
                plan.notes.push(Note::warning(
                    AUTOSCALERS,
                    autoscaler,
                    "FailedComputeMetricsReplicas",
                    measured.problem,
                ));
                let before = object::int(autoscaler, &["status", "desiredReplicas"]);
                plan.counts(current, before, statuses);
                return plan;
            };
            // A metric that asks for none leaves the target without a wish, as in the original.
            let (asked, metric) = if asked > 0 { (asked, metric) } else { (0, String::new()) };
            if asked > current {
                reason = format!("{metric} above target");
            }
            if asked < current {
                reason = "All metrics below target".to_owned();
            }
            wanted = pace::paced(self, memory, asked, &mut plan);
        }
        plan.counts(current, wanted, statuses);
        if wanted != current {
            plan.rescale = Some(Rescale { from: current, to: wanted, reason });
        }
        plan
    }

    /// What all metrics together call for.
    fn measure(&self, plan: &mut Plan) -> Measured {
        let metrics = list(self.autoscaler, &["spec", "metrics"]);
        if let Err(problem) = self.check_selector(plan) {
            return Measured { problem, ..Measured::default() };
        }
        let mut measured = Measured::default();
        let (mut failed, mut first): (usize, Option<metric::Failed>) = (0, None);
        let (mut most, mut name) = (0, String::new());
        for (nth, spec) in metrics.iter().enumerate() {
            let missing = Err("it was not asked for".to_owned());
            let answer = self.answers.get(nth).unwrap_or(&missing);
            match metric::propose(self, spec, answer) {
                Ok(proposal) => {
                    measured.statuses.push(proposal.status);
                    if most == 0 || proposal.replicas > most {
                        (most, name) = (proposal.replicas, proposal.name);
                    }
                }
                Err(problem) => {
                    // The place of a metric that has no value.
                    measured.statuses.push(serde_json::json!({"type": ""}));
                    let note =
                        Note::warning(AUTOSCALERS, self.autoscaler, problem.reason, problem.told.clone());
                    plan.notes.push(note);
                    failed += 1;
                    first.get_or_insert(problem);
                }
            }
        }
        let all_failed = failed >= metrics.len();
        if let Some(first) = first {
            measured.problem = format!(
                "invalid metrics ({failed} invalid out of {}), first error is: {}",
                metrics.len(),
                first.whole
            );
            // With one metric missing nobody knows whether fewer pods would do.
            if all_failed || most < self.target.wanted {
                let message = format!("the HPA was unable to compute the replica count: {}", first.told);
                plan.set("ScalingActive", false, first.reason, &message);
                return measured;
            }
        } else if all_failed {
            measured.problem = "invalid metrics (0 invalid out of 0)".to_owned();
            return measured;
        }
        let message = format!("the HPA was able to successfully calculate a replica count from {name}");
        plan.set("ScalingActive", true, "ValidMetricFound", &message);
        measured.proposal = Some((most, name));
        measured
    }

    /// The target has a selector, and its pods are this autoscaler's alone.
    fn check_selector(&self, plan: &mut Plan) -> Result<(), String> {
        let given = &self.target.selector;
        let mut refuse = |event: &'static str, reason: &str, message: &str, condition: &str| {
            plan.notes.push(Note::warning(AUTOSCALERS, self.autoscaler, event, message));
            plan.set("ScalingActive", false, reason, condition);
            Err(message.to_owned())
        };
        if given.is_empty() {
            let condition = "the HPA target's scale is missing a selector";
            return refuse("SelectorRequired", "InvalidSelector", "selector is required", condition);
        }
        if let Err(error) = given.parse::<LabelSelector>() {
            let message =
                format!("couldn't convert selector into a corresponding internal selector object: {error}");
            return refuse("InvalidSelector", "InvalidSelector", &message, &message);
        }
        let own = object::key(self.autoscaler);
        let others =
            self.selectors.iter().filter(|(name, _)| name.namespace == own.namespace && **name != own);
        let selecting = others.filter(|(_, text)| {
            let other: Option<LabelSelector> = text.parse().ok().filter(|_| !text.is_empty());
            other.is_some_and(|other| {
                self.pods.iter().any(|pod| other.matches(&object::texts(object::labels(pod))))
            })
        });
        let mut names: Vec<&ObjectName> = selecting.map(|(name, _)| name).collect();
        if names.is_empty() {
            return Ok(());
        }
        names.push(&own);
        names.sort();
        let names: Vec<String> =
            names.iter().map(|name| format!("{}/{}", name.namespace, name.name)).collect();
        let message =
            format!("pods by selector {given} are controlled by multiple HPAs: [{}]", names.join(" "));
        refuse("AmbiguousSelector", "AmbiguousSelector", &message, &message)
    }
}

/// What metrics say.
#[derive(Default)]
struct Measured {
    /// So many pods, by this metric; `None` where nothing can be said.
    proposal: Option<(i64, String)>,
    statuses: Vec<Value>,
    /// Why not, or what is wrong besides.
    problem: String,
}
