//! Which plugins a profile has where.
//!
//! Facts: the original's `apis/config/v1/default_plugins.go` and `framework/runtime`: what a point enables or disables
//! itself comes before `multiPoint`; `*` disables all.

use control_scheduler_core::plugin::{ALL, Plugin, Plugins};
use control_scheduler_core::profile::Profile;

use super::args;
use super::reader::{ConfigError, Object};

/// Points where our plugins can be.
const FILTERS: [&str; 2] = ["preFilter", "filter"];
const SCORES: [&str; 2] = ["preScore", "score"];
/// Points that none of the default plugins' decisions hang on here: they follow the filter of the same name.
const OTHERS: [&str; 6] = ["reserve", "permit", "preBind", "postBind", "placementGenerate", "placementScore"];

/// Plugins of the original that decide nothing unless a feature gate is on, or about what is not served here.
const ABSENT: [&str; 5] = [
    "DynamicResources",
    "NodeDeclaredFeatures",
    "GangScheduling",
    "TopologyPlacementGenerator",
    "PodGroupPodsCount",
];

#[derive(Default)]
struct Set {
    enabled: Vec<(Plugin, Option<i64>)>,
    disabled: Plugins,
    all_disabled: bool,
}

pub fn percentage(object: &mut Object<'_>) -> Result<Option<i32>, ConfigError> {
    let found = object.within("percentageOfNodesToScore", 0, 100)?;
    Ok(found.and_then(|percentage| i32::try_from(percentage).ok()))
}

pub fn profile(mut object: Object<'_>) -> Result<Profile, ConfigError> {
    let mut profile = Profile::default();
    let name = object.take("schedulerName").and_then(|name| name.as_str());
    profile.name = name.unwrap_or(&profile.name).to_owned();
    profile.percentage = percentage(&mut object)?;
    if let Some(plugins) = object.object("plugins")? {
        points(plugins, &mut profile)?;
    }
    for config in object.objects("pluginConfig")? {
        args::read(config, &mut profile)?;
    }
    object.end()?;
    Ok(profile)
}

fn points(mut object: Object<'_>, profile: &mut Profile) -> Result<(), ConfigError> {
    let multi = set(&mut object, "multiPoint")?;
    let every: Plugins = ALL.into_iter().collect();
    let scores = profile.scores.clone();
    let filters = FILTERS.iter().map(|point| set(&mut object, point)).collect::<Result<Vec<_>, _>>()?;
    profile.filters = merge(profile.filters, &multi, &filters, every);
    let weighed = SCORES.iter().map(|point| set(&mut object, point)).collect::<Result<Vec<_>, _>>()?;
    let possible: Plugins = scores.iter().map(|(plugin, _)| *plugin).collect();
    let chosen = merge(possible, &multi, &weighed, possible);
    profile.scores = scores
        .into_iter()
        .filter(|(plugin, _)| chosen.has(*plugin))
        .map(|(plugin, weight)| (plugin, given_weight(plugin, &multi, &weighed).unwrap_or(weight)))
        .collect();
    for (point, plugins) in [
        ("preEnqueue", &mut profile.pre_enqueue),
        ("postFilter", &mut profile.post_filter),
        ("bind", &mut profile.bind),
    ] {
        let own = [set(&mut object, point)?];
        *plugins = merge(*plugins, &multi, &own, *plugins);
    }
    let sort = set(&mut object, "queueSort")?;
    if sort.all_disabled && sort.enabled.is_empty() {
        return Err(object.wrong("queueSort", "a queue needs an order: enable PrioritySort"));
    }
    for point in OTHERS {
        set(&mut object, point)?;
    }
    if profile.bind.is_empty() {
        return Err(object.wrong("bind", "nothing would bind pods: enable DefaultBinder"));
    }
    object.end()
}

fn merge(defaults: Plugins, multi: &Set, own: &[Set], possible: Plugins) -> Plugins {
    let mut found = defaults;
    let apply = |found: &mut Plugins, set: &Set| {
        for plugin in defaults.iter().filter(|plugin| set.all_disabled || set.disabled.has(*plugin)) {
            found.remove(plugin);
        }
        let mine = set.enabled.iter().filter(|(plugin, _)| possible.has(*plugin) && defaults.has(*plugin));
        mine.for_each(|(plugin, _)| found.add(*plugin));
    };
    apply(&mut found, multi);
    own.iter().for_each(|set| apply(&mut found, set));
    found
}

fn given_weight(plugin: Plugin, multi: &Set, own: &[Set]) -> Option<i64> {
    let find = |set: &Set| {
        let mine = set.enabled.iter().find(|(known, _)| *known == plugin);
        mine.and_then(|(_, weight)| *weight).filter(|weight| *weight > 0)
    };
    own.iter().find_map(find).or_else(|| find(multi))
}

fn set(object: &mut Object<'_>, point: &str) -> Result<Set, ConfigError> {
    let mut found = Set::default();
    let Some(mut set) = object.object(point)? else { return Ok(found) };
    for mut plugin in set.objects("enabled")? {
        let name = plugin.text("name")?;
        let weight = plugin.integer("weight")?;
        if !ABSENT.contains(&name.as_str()) {
            found.enabled.push((named(&plugin, &name)?, weight));
        }
        plugin.end()?;
    }
    for mut plugin in set.objects("disabled")? {
        let name = plugin.text("name")?;
        plugin.ignore(&["weight"]);
        match name.as_str() {
            "*" => found.all_disabled = true,
            name if ABSENT.contains(&name) => {}
            name => found.disabled.add(named(&plugin, name)?),
        }
        plugin.end()?;
    }
    set.end()?;
    Ok(found)
}

pub fn named(object: &Object<'_>, name: &str) -> Result<Plugin, ConfigError> {
    Plugin::named(name).ok_or_else(|| {
        let nearest = goflags::nearest(name, ALL.iter().map(|plugin| plugin.name()));
        let hint = nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        object.wrong("name", format!("no plugin {name:?}; out-of-tree plugins cannot be added{hint}"))
    })
}
