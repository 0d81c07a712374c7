//! The settings of plugins: `pluginConfig`.

use control_scheduler_core::plugin::Plugin;
use control_scheduler_core::pod::selector::NodeRules;
use control_scheduler_core::pod::spread;
use control_scheduler_core::profile::{DefaultSpread, Profile, Strategy};

use super::plugins::named;
use super::reader::{ConfigError, Object};

pub fn read(mut config: Object<'_>, profile: &mut Profile) -> Result<(), ConfigError> {
    let name = config.text("name")?;
    let args = config.object("args")?;
    if let Some(mut args) = args {
        args.ignore(&["apiVersion", "kind"]);
        match named(&config, &name)? {
            Plugin::NodeResourcesFit => fit(&mut args, profile)?,
            Plugin::NodeResourcesBalancedAllocation => {
                let resources = resources(&mut args)?;
                if !resources.is_empty() {
                    profile.balanced = resources.into_iter().map(|(name, _)| name).collect();
                }
            }
            Plugin::NodeAffinity => {
                if let Some(affinity) = args.take("addedAffinity") {
                    let read = NodeRules::affinity(affinity);
                    profile.added = read.map_err(|error| args.wrong("addedAffinity", error.to_string()))?;
                }
            }
            Plugin::InterPodAffinity => {
                let weight = args.within("hardPodAffinityWeight", 0, 100)?;
                profile.near_weight = weight.unwrap_or(profile.near_weight);
                let ignores = args.switch("ignorePreferredTermsOfExistingPods")?;
                profile.ignore_likes_of_others = ignores.unwrap_or_default();
            }
            Plugin::PodTopologySpread => topology(&mut args, profile)?,
            Plugin::DefaultPreemption => {
                let unsigned = |number: i64| usize::try_from(number).ok();
                let percentage = args.within("minCandidateNodesPercentage", 0, 100)?.and_then(unsigned);
                let least = args.within("minCandidateNodesAbsolute", 0, i64::MAX)?.and_then(unsigned);
                let candidates = &mut profile.preemption;
                candidates.percentage = percentage.unwrap_or(candidates.percentage);
                candidates.least = least.unwrap_or(candidates.least);
            }
            Plugin::VolumeBinding => {
                let seconds = args.within("bindTimeoutSeconds", 0, i64::MAX)?;
                let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
                profile.volume_timeout = seconds.unwrap_or(profile.volume_timeout);
                // Needs the gate StorageCapacityScoring.
                args.ignore(&["shape"]);
            }
            _ => {}
        }
        args.end()?;
    }
    config.end()
}

fn resources(args: &mut Object<'_>) -> Result<Vec<(String, i64)>, ConfigError> {
    let mut found = Vec::new();
    for mut resource in args.objects("resources")? {
        let name = resource.text("name")?;
        let weight = resource.within("weight", 0, 100)?.unwrap_or_default();
        resource.end()?;
        // Absent and zero are the same, and mean one.
        found.push((name, weight.max(1)));
    }
    Ok(found)
}

fn fit(args: &mut Object<'_>, profile: &mut Profile) -> Result<(), ConfigError> {
    profile.fit.ignored = args.texts("ignoredResources")?.into_iter().collect();
    profile.fit.ignored_groups = args.texts("ignoredResourceGroups")?.into_iter().collect();
    let Some(mut strategy) = args.object("scoringStrategy")? else { return Ok(()) };
    let resources = resources(&mut strategy)?;
    if !resources.is_empty() {
        profile.fit.resources = resources;
    }
    let curve = strategy.object("requestedToCapacityRatio")?;
    let mut points = Vec::new();
    if let Some(mut curve) = curve {
        for mut point in curve.objects("shape")? {
            let utilization = point.within("utilization", 0, 100)?.unwrap_or_default();
            let score = point.within("score", 0, 10)?.unwrap_or_default();
            if points.last().is_some_and(|(before, _)| *before >= utilization) {
                return Err(point.wrong("utilization", "want values that increase"));
            }
            point.end()?;
            points.push((utilization, score));
        }
        curve.end()?;
    }
    profile.fit.strategy = match strategy.text("type")?.as_str() {
        "" | "LeastAllocated" => Strategy::LeastAllocated,
        "MostAllocated" => Strategy::MostAllocated,
        "RequestedToCapacityRatio" if points.is_empty() => {
            return Err(strategy.wrong("requestedToCapacityRatio.shape", "want at least one point"));
        }
        "RequestedToCapacityRatio" => Strategy::RequestedToCapacityRatio(points),
        other => {
            let known = "LeastAllocated, MostAllocated or RequestedToCapacityRatio";
            return Err(strategy.wrong("type", format!("want {known}, not {other:?}")));
        }
    };
    strategy.end()
}

fn topology(args: &mut Object<'_>, profile: &mut Profile) -> Result<(), ConfigError> {
    let given =
        args.take("defaultConstraints").filter(|list| list.as_array().is_none_or(|list| !list.is_empty()));
    let kind = args.text("defaultingType")?;
    match (kind.as_str(), given) {
        ("" | "System", None) => {}
        ("System", Some(_)) => {
            return Err(args.wrong("defaultConstraints", "cannot be given with defaultingType System"));
        }
        ("" | "List", given) => {
            let constraints = given.map(|list| spread::read(list, &Default::default()));
            let constraints = constraints.transpose();
            let constraints =
                constraints.map_err(|error| args.wrong("defaultConstraints", error.to_string()))?;
            let constraints = constraints.unwrap_or_default();
            if constraints.iter().any(|constraint| constraint.selector.is_some()) {
                return Err(
                    args.wrong("defaultConstraints", "labelSelector cannot be given: it is each pod's")
                );
            }
            profile.spread = DefaultSpread { of_system: false, constraints };
        }
        (other, _) => {
            return Err(args.wrong("defaultingType", format!("want System or List, not {other:?}")));
        }
    }
    Ok(())
}
