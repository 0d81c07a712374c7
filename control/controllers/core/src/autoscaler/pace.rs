//! How fast a target may grow and shrink.
//!
//! Owns: what was recommended and done lately ([`Memory`]), and what `behavior` allows because of it. A process that has just
//! begun remembers nothing, as the original.

use std::time::{Duration, SystemTime};

use control_core::edit::{list, text};
use serde_json::Value;

use super::plan::{Plan, Rescale};
use super::{Scene, limits};
use crate::object;

/// Of one autoscaler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    recommendations: Vec<(SystemTime, i64)>,
    /// By how many pods it grew, and shrank.
    grown: Vec<(SystemTime, i64)>,
    shrunk: Vec<(SystemTime, i64)>,
}

impl Memory {
    /// What a target has when it is first seen counts as recommended.
    pub(super) fn begin(&mut self, current: i64, now: SystemTime) {
        if self.recommendations.is_empty() {
            self.recommendations.push((now, current));
        }
    }

    fn recommend(&mut self, wanted: i64, now: SystemTime, window: Duration) {
        self.recommendations.retain(|(at, _)| age(*at, now) <= window);
        self.recommendations.push((now, wanted));
    }

    pub(super) fn rescaled(&mut self, autoscaler: &Value, rescale: &Rescale, now: SystemTime) {
        let grows = rescale.to > rescale.from;
        let (events, direction) =
            if grows { (&mut self.grown, "scaleUp") } else { (&mut self.shrunk, "scaleDown") };
        let rules = Rules::of(autoscaler, direction, Duration::ZERO);
        let longest = rules.policies.iter().map(|policy| policy.period).max().unwrap_or_default();
        events.retain(|(at, _)| age(*at, now) <= longest);
        events.push((now, (rescale.to - rescale.from).abs()));
    }
}

fn age(at: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(at).unwrap_or_default()
}

/// What may be done in one direction.
#[derive(Debug)]
struct Rules {
    window: Duration,
    select: Select,
    policies: Vec<Policy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Select {
    /// The policy that allows most.
    Max,
    Min,
    Disabled,
}

#[derive(Clone, Copy, Debug)]
struct Policy {
    percent: bool,
    value: i64,
    period: Duration,
}

impl Rules {
    /// Those of an autoscaler; `window` where it has none of its own.
    fn of(autoscaler: &Value, direction: &str, window: Duration) -> Self {
        let given = &autoscaler["spec"]["behavior"][direction];
        let own = given["stabilizationWindowSeconds"].as_u64().map(Duration::from_secs);
        let select = match text(given, &["selectPolicy"]) {
            "Min" => Select::Min,
            "Disabled" => Select::Disabled,
            _ => Select::Max,
        };
        let policies = list(given, &["policies"]).iter().map(|policy| Policy {
            percent: text(policy, &["type"]) == "Percent",
            value: object::int(policy, &["value"]),
            period: Duration::from_secs(policy["periodSeconds"].as_u64().unwrap_or_default()),
        });
        let mut policies: Vec<Policy> = policies.collect();
        if policies.is_empty() {
            // The API's defaults.
            let period = Duration::from_secs(15);
            policies.push(Policy { percent: true, value: 100, period });
            if direction == "scaleUp" {
                policies.push(Policy { percent: false, value: 4, period });
            }
        }
        Self { window: own.unwrap_or(window), select, policies }
    }

    /// How far it may go: `grows` up, else down.
    fn limit(&self, current: i64, memory: &Memory, grows: bool, now: SystemTime) -> i64 {
        if self.select == Select::Disabled {
            return current;
        }
        let within = |events: &[(SystemTime, i64)], period: Duration| -> i64 {
            events.iter().filter(|(at, _)| age(*at, now) < period).map(|(_, change)| change).sum()
        };
        let ends = self.policies.iter().map(|policy| {
            let begin =
                current - within(&memory.grown, policy.period) + within(&memory.shrunk, policy.period);
            let part = begin as f64 * policy.value as f64 / 100.0;
            match (grows, policy.percent) {
                (true, false) => begin + policy.value,
                // Rounded up, so that one pod can become two.
                (true, true) => (begin as f64 + part).ceil() as i64,
                (false, false) => begin - policy.value,
                (false, true) => (begin as f64 - part) as i64,
            }
        });
        // The most change is the largest number upwards, and the smallest downwards.
        let end = if grows == (self.select == Select::Max) { ends.max() } else { ends.min() };
        let end = end.unwrap_or(current);
        if grows { end.max(current) } else { end.min(current) }
    }
}

/// The count that a recommendation comes to, once windows and rates have been heard.
pub(super) fn paced(scene: &Scene<'_>, memory: &mut Memory, asked: i64, plan: &mut Plan) -> i64 {
    let limited = match scene.autoscaler["spec"]["behavior"].is_object() {
        true => by_behavior(scene, memory, asked, plan),
        false => by_default(scene, memory, asked, plan),
    };
    let Limited { stable, wanted, reason, message } = limited;
    plan.set("ScalingLimited", wanted != stable, reason, message);
    wanted
}

struct Limited {
    stable: i64,
    wanted: i64,
    reason: &'static str,
    message: &'static str,
}

const FREE: (&str, &str) = ("DesiredWithinRange", "the desired count is within the acceptable range");
const LOWER: &str =
    "recent recommendations were lower than current one, applying the lowest recent recommendation";
const HIGHER: &str =
    "recent recommendations were higher than current one, applying the highest recent recommendation";

fn stabilized(plan: &mut Plan, is: bool, reason: &str, message: &str) {
    let (reason, message) =
        if is { (reason, message) } else { ("ReadyForNewScale", "recommended size matches current size") };
    plan.set("AbleToScale", true, reason, message);
}

fn by_default(scene: &Scene<'_>, memory: &mut Memory, asked: i64, plan: &mut Plan) -> Limited {
    let window = scene.settings.downscale_stabilization;
    let recent = memory.recommendations.iter().filter(|(at, _)| age(*at, scene.now) <= window);
    let stable = recent.map(|(_, wanted)| *wanted).fold(asked, i64::max);
    memory.recommend(asked, scene.now, window);
    stabilized(plan, stable != asked, "ScaleDownStabilized", HIGHER);
    let (least, most) = limits(scene.autoscaler);
    // What a metric says wrongly for once may not make thousands of pods.
    let fast = (2 * scene.target.wanted).max(4);
    let (wanted, (reason, message)) = if stable < least {
        (least, ("TooFewReplicas", "the desired replica count is less than the minimum replica count"))
    } else if stable <= most.min(fast) {
        (stable, FREE)
    } else if most > fast {
        (fast, ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"))
    } else {
        (most, ("TooManyReplicas", "the desired replica count is more than the maximum replica count"))
    };
    Limited { stable, wanted, reason, message }
}

fn by_behavior(scene: &Scene<'_>, memory: &mut Memory, asked: i64, plan: &mut Plan) -> Limited {
    let (current, now) = (scene.target.wanted, scene.now);
    let up = Rules::of(scene.autoscaler, "scaleUp", Duration::ZERO);
    let down = Rules::of(scene.autoscaler, "scaleDown", scene.settings.downscale_stabilization);
    let recent = |window: Duration| {
        memory.recommendations.iter().filter(move |(at, _)| age(*at, now) < window).map(|(_, wanted)| *wanted)
    };
    // It grows to what was wanted all the time at least, and shrinks to what was wanted at most.
    let (floor, roof) = (recent(up.window).fold(asked, i64::min), recent(down.window).fold(asked, i64::max));
    let stable = current.max(floor).min(roof);
    memory.recommend(asked, now, up.window.max(down.window));
    let (reason, message) =
        if asked >= current { ("ScaleUpStabilized", LOWER) } else { ("ScaleDownStabilized", HIGHER) };
    stabilized(plan, stable != asked, reason, message);
    let (least, most) = limits(scene.autoscaler);
    let (wanted, (reason, message)) = if stable > current {
        let fast = up.limit(current, memory, true, now);
        if stable <= most.min(fast) {
            (stable, FREE)
        } else if most > fast {
            (
                fast,
                (
                    "ScaleUpLimit",
                    "the desired replica count is increasing faster than the maximum scale rate",
                ),
            )
        } else {
            (most, ("TooManyReplicas", "the desired replica count is more than the maximum replica count"))
        }
    } else if stable < current {
        let fast = down.limit(current, memory, false, now);
        if stable >= least.max(fast) {
            (stable, FREE)
        } else if least < fast {
            (
                fast,
                (
                    "ScaleDownLimit",
                    "the desired replica count is decreasing faster than the maximum scale rate",
                ),
            )
        } else {
            (least, ("TooFewReplicas", "the desired replica count is less than the minimum replica count"))
        }
    } else {
        (stable, FREE)
    };
    Limited { stable, wanted, reason, message }
}
