use control_scheduler_core::plugin::Plugin;
use control_scheduler_core::profile::Strategy;
use serde_json::json;

use super::*;

fn read(mut fields: Value) -> Result<Config, ConfigError> {
    fields["apiVersion"] = json!(API_VERSION);
    fields["kind"] = json!(KIND);
    Config::read(&fields)
}

fn profile(fields: Value) -> Profile {
    let config = read(json!({"profiles": [fields]})).unwrap_or_else(|error| panic!("{error}"));
    config.profiles.into_iter().next().expect("a profile")
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(read(json!({})), Ok(Config::default()));
}

#[test]
fn plugins_are_switched_on_and_off() {
    let off = |point: &str, name: &str| profile(json!({"plugins": {point: {"disabled": [{"name": name}]}}}));
    let default = Profile::default();
    let without = off("filter", "TaintToleration");
    assert!(!without.filters.has(Plugin::TaintToleration) && without.scores == default.scores);
    let nowhere = off("multiPoint", "TaintToleration");
    assert!(!nowhere.filters.has(Plugin::TaintToleration));
    assert!(nowhere.scores.iter().all(|(plugin, _)| *plugin != Plugin::TaintToleration));
    assert_eq!(off("score", "*").scores, []);
    assert!(off("postFilter", "DefaultPreemption").post_filter.is_empty());
    let weighed = profile(json!({"plugins": {"score": {"disabled": [{"name": "*"}],
        "enabled": [{"name": "ImageLocality", "weight": 5}]}}}));
    assert_eq!(weighed.scores, [(Plugin::ImageLocality, 5)]);
}

#[test]
fn settings_of_plugins_are_read() {
    let found = profile(json!({"schedulerName": "x", "pluginConfig": [
        {"name": "NodeResourcesFit", "args": {"ignoredResources": ["a/b"], "scoringStrategy": {
            "type": "RequestedToCapacityRatio", "resources": [{"name": "cpu", "weight": 3}],
            "requestedToCapacityRatio": {"shape": [{"utilization": 0}, {"utilization": 100, "score": 10}]}}}},
        {"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": 5}},
        {"name": "PodTopologySpread", "args": {"defaultingType": "List", "defaultConstraints": [
            {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}]}},
        {"name": "NodeAffinity", "args": {"addedAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}]}));
    assert_eq!(found.fit.strategy, Strategy::RequestedToCapacityRatio(vec![(0, 0), (100, 10)]));
    assert_eq!((found.name.as_str(), found.fit.resources), ("x", vec![("cpu".to_owned(), 3)]));
    assert_eq!((found.near_weight, found.spread.constraints.len(), found.spread.of_system), (5, 1, false));
    assert_eq!(found.added.required, Some(Vec::new()));
}

#[test]
fn what_cannot_be_meant_is_named() {
    for (fields, field) in [
        (json!({"profils": []}), "profils"),
        (json!({"percentageOfNodesToScore": 101}), "percentageOfNodesToScore"),
        (json!({"podInitialBackoffSeconds": 5, "podMaxBackoffSeconds": 1}), "podMaxBackoffSeconds"),
        (json!({"profiles": [{}, {}]}), "profiles[1].schedulerName"),
        (
            json!({"profiles": [{"plugins": {"filter": {"enabled": [{"name": "Mine"}]}}}]}),
            "profiles[0].plugins.filter.enabled[0].name",
        ),
        (
            json!({"profiles": [{"pluginConfig": [{"name": "NodeResourcesFit",
                "args": {"scoringStrategy": {"type": "Best"}}}]}]}),
            "profiles[0].pluginConfig[0].args.scoringStrategy.type",
        ),
        (json!({"extenders": [{"urlPrefix": "x"}]}), "extenders[0].urlPrefix"),
        (json!({"leaderElection": {"resourceLock": "endpoints"}}), "leaderElection.resourceLock"),
    ] {
        let error = read(fields.clone()).expect_err("an error");
        assert_eq!(error.field, field, "{fields}: {error}");
    }
}
