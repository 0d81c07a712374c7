use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::discovery::{Group, Resource};

const MINUTE: Duration = Duration::from_secs(60);

fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

/// An autoscaler of CPU, half of what is requested.
fn autoscaler(least: i64, most: i64) -> Value {
    json!({
        "metadata": {"namespace": "d", "name": "web", "uid": "h"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": least, "maxReplicas": most,
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50},
            }}],
        },
        "status": {"currentReplicas": 0, "desiredReplicas": 0},
    })
}

/// A pod that has been ready for an hour, and requests 100m.
fn pod(name: &str, now: SystemTime) -> Value {
    let long_ago = time::seconds(now - 60 * MINUTE);
    json!({
        "metadata": {"namespace": "d", "name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}}}]},
        "status": {
            "phase": "Running", "startTime": long_ago,
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": long_ago}],
        },
    })
}

fn metrics(uses: &[(&str, i64)], now: SystemTime) -> Value {
    let items = uses.iter().map(|(name, cpu)| {
        json!({
            "metadata": {"namespace": "d", "name": name}, "timestamp": time::seconds(now), "window": "10s",
            "containers": [{"name": "c", "usage": {"cpu": format!("{cpu}m"), "memory": "50Mi"}}],
        })
    });
    json!({"items": items.collect::<Vec<_>>()})
}

struct Bed {
    autoscaler: Value,
    target: Target,
    pods: Vec<Arc<Value>>,
    answers: Vec<Answer>,
    memory: Memory,
    others: BTreeMap<ObjectName, String>,
    now: SystemTime,
}

impl Bed {
    fn new(autoscaler: Value, current: i64) -> Self {
        let target = Target { wanted: current, present: current, selector: "app=web".to_owned() };
        Self {
            autoscaler,
            target,
            pods: Vec::new(),
            answers: Vec::new(),
            memory: Memory::default(),
            others: BTreeMap::new(),
            now: start(),
        }
    }

    /// So many pods that use so much.
    fn uses(mut self, uses: &[i64]) -> Self {
        let names: Vec<String> = (0..uses.len()).map(|nth| format!("p{nth}")).collect();
        self.pods = names.iter().map(|name| Arc::new(pod(name, self.now))).collect();
        let pairs: Vec<(&str, i64)> = names.iter().map(String::as_str).zip(uses.iter().copied()).collect();
        self.answers = vec![Ok(Arc::new(metrics(&pairs, self.now)))];
        self
    }

    fn change(&mut self, nth: usize, change: impl FnOnce(&mut Value)) {
        let mut pod = Value::clone(&self.pods[nth]);
        change(&mut pod);
        self.pods[nth] = Arc::new(pod);
    }

    fn plan(&mut self) -> Plan {
        let settings = Settings::default();
        let autoscaler = Arc::new(self.autoscaler.clone());
        let scene = Scene {
            autoscaler: &autoscaler,
            target: &self.target,
            pods: &self.pods,
            answers: &self.answers,
            selectors: &self.others,
            settings: &settings,
            now: self.now,
        };
        scene.decide(&mut self.memory)
    }

    fn wanted(&mut self) -> i64 {
        let plan = self.plan();
        plan.rescale.map_or(self.target.wanted, |rescale| rescale.to)
    }

    /// One look; a new count is there at the next one.
    fn pass(&mut self, time: Duration) -> i64 {
        let mut plan = self.plan();
        if let Some(rescale) = plan.rescale.clone() {
            plan.rescaled(&mut self.memory);
            (self.target.wanted, self.target.present) = (rescale.to, rescale.to);
        }
        self.autoscaler["status"] = plan.shown().clone();
        self.now += time;
        self.target.wanted
    }
}

#[test]
fn the_count_follows_from_what_pods_use() {
    for (current, uses, wanted) in [
        (2, &[50, 50][..], 2),
        (2, &[100, 100], 4),
        (2, &[52, 57], 2), // Within a tenth of the target.
        (2, &[60, 60], 3),
        (3, &[50, 20, 5], 2),
        (1, &[400], 4), // Never more than double, or four.
        (4, &[400, 400, 400, 400], 8),
        (4, &[0, 0, 0, 0], 1),
    ] {
        let mut bed = Bed::new(autoscaler(1, 10), current).uses(uses);
        bed.memory.begin(1, bed.now);
        assert_eq!(bed.wanted(), wanted, "{current} {uses:?}");
    }
}

#[test]
fn pods_of_which_nothing_is_known_stand_against_a_change() {
    // Two use twice their target; of the third nothing is known: 200% of two, and nothing of the third, is four thirds.
    let mut bed = Bed::new(autoscaler(1, 10), 3).uses(&[100, 100, 0]);
    bed.answers = vec![Ok(Arc::new(metrics(&[("p0", 100), ("p1", 100)], bed.now)))];
    assert_eq!(bed.wanted(), 4);
    // Two are idle; the third may be as busy as it can be.
    let mut bed = Bed::new(autoscaler(1, 10), 3).uses(&[0, 0, 0]);
    bed.answers = vec![Ok(Arc::new(metrics(&[("p0", 5), ("p1", 5)], bed.now)))];
    bed.memory.begin(1, bed.now);
    assert_eq!(bed.wanted(), 3);
    // A pod that starts counts as idle where more are wanted, and not at all otherwise.
    let mut bed = Bed::new(autoscaler(1, 10), 2).uses(&[100, 100]);
    bed.change(1, |pod| pod["status"]["phase"] = "Pending".into());
    assert_eq!(bed.wanted(), 2);
    // One that fails, or is going, does not count.
    let mut bed = Bed::new(autoscaler(1, 10), 2).uses(&[100, 100]);
    bed.change(1, |pod| pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into());
    assert_eq!(bed.wanted(), 2);
    bed.change(1, |pod| *pod = json!({"metadata": {"name": "p1"}, "status": {"phase": "Failed"}}));
    assert_eq!(bed.wanted(), 2);
}

#[test]
fn what_a_pod_uses_to_start_does_not_count() {
    let started = |ago: u64, ready: &str, since: u64| {
        let mut bed = Bed::new(autoscaler(1, 10), 2).uses(&[50, 400]);
        let now = bed.now;
        bed.change(1, |pod| {
            pod["status"]["startTime"] = time::seconds(now - Duration::from_secs(ago)).into();
            pod["status"]["conditions"][0] = json!({
                "type": "Ready", "status": ready,
                "lastTransitionTime": time::seconds(now - Duration::from_secs(since)),
            });
        });
        bed.wanted()
    };
    assert_eq!(started(60, "False", 60), 2, "it starts");
    assert_eq!(started(60, "True", 5), 2, "no whole window since it is ready");
    assert_eq!(started(60, "True", 30), 4, "it is at work");
    assert_eq!(started(600, "False", 590), 2, "it was never ready");
    assert_eq!(started(600, "False", 100), 4, "it was ready for a while");
}

#[test]
fn fewer_pods_are_there_when_nobody_wanted_more_for_a_while() {
    let mut bed = Bed::new(autoscaler(1, 10), 8);
    let mut counts = Vec::new();
    for _ in 0..24 {
        let uses = vec![10; usize::try_from(bed.target.wanted).expect("small")];
        let (pods, answers) = {
            let fresh = Bed { now: bed.now, ..Bed::new(autoscaler(1, 10), 1) }.uses(&uses);
            (fresh.pods, fresh.answers)
        };
        (bed.pods, bed.answers) = (pods, answers);
        counts.push(bed.pass(Duration::from_secs(15)));
    }
    assert_eq!(&counts[..20], &[8; 20], "five minutes");
    assert_eq!(counts[23], 2);
}

#[test]
fn behavior_says_how_fast_it_goes() {
    let with = |behavior: Value, current: i64, cpu: i64| {
        let mut own = autoscaler(1, 100);
        own["spec"]["behavior"] = behavior;
        Bed::new(own, current).uses(&vec![cpu; usize::try_from(current).expect("small")])
    };
    let policies = |policies: Value| json!({"scaleUp": {"policies": policies, "selectPolicy": "Max"}});
    let pods = json!({"type": "Pods", "value": 1, "periodSeconds": 60});
    let mut bed = with(policies(json!([pods])), 4, 200);
    let plan = bed.plan();
    assert_eq!(plan.rescale.as_ref().map(|rescale| rescale.to), Some(5));
    assert_eq!(
        plan.condition("ScalingLimited"),
        Some((
            "True",
            "ScaleUpLimit",
            "the desired replica count is increasing faster than the maximum scale rate"
        ))
    );
    bed.pass(Duration::from_secs(15));
    assert_eq!(bed.pass(Duration::from_secs(50)), 5, "one a minute");
    assert_eq!(bed.pass(Duration::from_secs(15)), 6);
    let percent = json!({"type": "Percent", "value": 10, "periodSeconds": 60});
    assert_eq!(with(policies(json!([percent])), 4, 200).wanted(), 5, "rounded up");
    let mut least = policies(json!([pods, {"type": "Pods", "value": 3, "periodSeconds": 60}]));
    assert_eq!(with(least.clone(), 4, 200).wanted(), 7);
    least["scaleUp"]["selectPolicy"] = "Min".into();
    assert_eq!(with(least.clone(), 4, 200).wanted(), 5);
    least["scaleUp"]["selectPolicy"] = "Disabled".into();
    assert_eq!(with(least, 4, 200).wanted(), 4);
    // With no window, fewer at once: half of them in a minute.
    let down = json!({"scaleDown": {"stabilizationWindowSeconds": 0, "policies": [
        {"type": "Percent", "value": 50, "periodSeconds": 60},
    ]}});
    let mut bed = with(down, 8, 1);
    bed.memory.begin(8, bed.now - MINUTE);
    assert_eq!(bed.wanted(), 4);
    // A window for more: the least of what was wanted lately.
    let up = json!({"scaleUp": {"stabilizationWindowSeconds": 60}});
    let mut bed = with(up, 4, 100);
    let plan = bed.plan();
    assert_eq!(plan.rescale, None);
    assert_eq!(plan.condition("AbleToScale").map(|(_, reason, _)| reason), Some("ScaleUpStabilized"));
    bed.now += 2 * MINUTE;
    bed.answers = vec![Ok(Arc::new(metrics(&[("p0", 100), ("p1", 100), ("p2", 100), ("p3", 100)], bed.now)))];
    assert_eq!(bed.wanted(), 8);
    // A tolerance of its own.
    let loose = json!({"scaleUp": {"tolerance": "0.5"}});
    assert_eq!(with(loose, 4, 74).wanted(), 4);
}

#[test]
fn limits_and_zero_go_before_metrics() {
    let mut above = Bed::new(autoscaler(2, 5), 9);
    let plan = above.plan();
    let rescale = plan.rescale.expect("it is above");
    assert_eq!(
        (rescale.to, rescale.reason.as_str()),
        (5, "Current number of replicas above Spec.MaxReplicas")
    );
    let plan = Bed::new(autoscaler(2, 5), 1).plan();
    let rescale = plan.rescale.expect("it is below");
    assert_eq!(
        (rescale.to, rescale.reason.as_str()),
        (2, "Current number of replicas below Spec.MinReplicas")
    );
    let plan = Bed::new(autoscaler(1, 5), 0).plan();
    assert_eq!(plan.rescale, None);
    let disabled = "scaling is disabled since the replica count of the target is zero";
    assert_eq!(plan.condition("ScalingActive"), Some(("False", "ScalingDisabled", disabled)));
    let mut many = Bed::new(autoscaler(1, 3), 2).uses(&[200, 200]);
    let plan = many.plan();
    let message = "the desired replica count is more than the maximum replica count";
    assert_eq!(plan.condition("ScalingLimited"), Some(("True", "TooManyReplicas", message)));
}

#[test]
fn what_happens_is_told_in_the_originals_words() {
    let mut bed = Bed::new(autoscaler(1, 10), 2).uses(&[100, 100]);
    let mut plan = bed.plan();
    plan.rescaled(&mut bed.memory);
    let told: Vec<String> = plan.notes.iter().map(|note| format!("{} {}", note.reason, note.text)).collect();
    let name = "cpu resource utilization (percentage of request)";
    assert_eq!(told, [format!("SuccessfulRescale New size: 4; reason: {name} above target")]);
    let status = plan.shown();
    assert_eq!(
        (&status["currentReplicas"], &status["desiredReplicas"], &status["lastScaleTime"]),
        (&json!(2), &json!(4), &json!(time::seconds(start())))
    );
    assert_eq!(
        status["currentMetrics"],
        json!([{"type": "Resource", "resource": {
            "name": "cpu", "current": {"averageUtilization": 100, "averageValue": "100m"},
        }}])
    );
    let found = format!("the HPA was able to successfully calculate a replica count from {name}");
    assert_eq!(plan.condition("ScalingActive"), Some(("True", "ValidMetricFound", found.as_str())));
    let able = "the HPA controller was able to update the target scale to 4";
    assert_eq!(plan.condition("AbleToScale"), Some(("True", "SucceededRescale", able)));
}

#[test]
fn a_metric_that_is_missing_is_told_and_stands_against_fewer_pods() {
    let mut bed = Bed::new(autoscaler(1, 10), 2).uses(&[100, 100]);
    bed.answers =
        vec![Err("the server could not find the requested resource (get pods.metrics.k8s.io)".to_owned())];
    let plan = bed.plan();
    let told: Vec<String> = plan.notes.iter().map(|note| format!("{} {}", note.reason, note.text)).collect();
    let why = "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from \
               resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)";
    assert_eq!(
        told,
        [
            format!("FailedGetResourceMetric {why}"),
            format!(
                "FailedComputeMetricsReplicas invalid metrics (1 invalid out of 1), first error is: failed to get cpu \
                 resource metric value: {why}"
            ),
        ]
    );
    let message = format!("the HPA was unable to compute the replica count: {why}");
    assert_eq!(plan.condition("ScalingActive"), Some(("False", "FailedGetResourceMetric", message.as_str())));
    assert_eq!(plan.shown()["currentMetrics"], json!([{"type": ""}]));
    // Another metric that wants more is enough; one that wants fewer is not.
    let two = |cpu: i64| {
        let mut own = autoscaler(1, 10);
        let external = json!({"type": "External", "external": {
            "metric": {"name": "queue"}, "target": {"type": "Value", "value": "10"},
        }});
        own["spec"]["metrics"].as_array_mut().expect("a list").push(external);
        let mut bed = Bed::new(own, 2).uses(&[cpu, cpu]);
        bed.answers.push(Err("gone".to_owned()));
        bed.memory.begin(1, bed.now);
        bed
    };
    assert_eq!(two(100).wanted(), 4);
    let plan = two(1).plan();
    assert_eq!(plan.rescale, None);
    assert_eq!(
        plan.condition("ScalingActive").map(|(is, reason, _)| (is, reason)),
        Some(("False", "FailedGetExternalMetric"))
    );
}

#[test]
fn requests_must_be_there_for_a_percentage() {
    let mut bed = Bed::new(autoscaler(1, 10), 1).uses(&[100]);
    bed.change(0, |pod| pod["spec"]["containers"][0]["resources"] = json!({}));
    let plan = bed.plan();
    assert!(
        plan.notes[0].text.ends_with("missing request for cpu in container c of Pod p0"),
        "{:?}",
        plan.notes
    );
    bed.change(0, |pod| pod["spec"]["resources"] = json!({"requests": {"cpu": "50m"}}));
    assert_eq!(bed.wanted(), 4, "the pod as a whole requests it");
    let mut bed = Bed::new(autoscaler(1, 10), 1).uses(&[100]);
    bed.autoscaler["spec"]["metrics"] = json!([{"type": "ContainerResource", "containerResource": {
        "name": "cpu", "container": "other", "target": {"type": "Utilization", "averageUtilization": 50},
    }}]);
    let plan = bed.plan();
    assert!(plan.notes[0].text.contains("did not receive metrics"), "{:?}", plan.notes);
    bed.autoscaler["spec"]["metrics"][0]["containerResource"]["container"] = "c".into();
    let plan = bed.plan();
    assert_eq!(plan.rescale.map(|rescale| rescale.to), Some(2));
}

#[test]
fn other_metrics_are_of_pods_of_an_object_or_of_none() {
    let with = |metric: Value, answer: Value| {
        let mut own = autoscaler(1, 100);
        own["spec"]["metrics"] = json!([metric]);
        let mut bed = Bed::new(own, 2).uses(&[1, 1]);
        bed.answers = vec![Ok(Arc::new(answer))];
        bed.memory.begin(1, bed.now);
        let mut plan = bed.plan();
        plan.rescaled(&mut bed.memory);
        let told = plan.notes.first().map(|note| note.text.clone()).unwrap_or_default();
        (told, plan.shown()["currentMetrics"][0].clone())
    };
    let of_pod = |name: &str, value: &str| json!({"describedObject": {"name": name}, "value": value, "timestamp": "2026-01-01T00:00:00Z"});
    let (told, status) = with(
        json!({"type": "Pods", "pods": {"metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "10"}}}),
        json!({"items": [of_pod("p0", "15"), of_pod("p1", "15")]}),
    );
    assert_eq!(told, "New size: 3; reason: pods metric hits above target");
    assert_eq!(status["pods"], json!({"metric": {"name": "hits"}, "current": {"averageValue": "15"}}));
    let object = json!({"kind": "Ingress", "apiVersion": "networking.k8s.io/v1", "name": "i"});
    let (told, status) = with(
        json!({"type": "Object", "object": {
            "describedObject": object, "metric": {"name": "hits"}, "target": {"type": "Value", "value": "10"},
        }}),
        json!({"items": [{"value": "20"}]}),
    );
    assert_eq!(told, "New size: 4; reason: Ingress metric hits above target");
    assert_eq!(status["object"]["current"], json!({"value": "20"}));
    let (told, status) = with(
        json!({"type": "External", "external": {
            "metric": {"name": "queue", "selector": {"matchLabels": {"a": "b"}}},
            "target": {"type": "AverageValue", "averageValue": "10"},
        }}),
        json!({"items": [{"value": "15"}, {"value": "20"}]}),
    );
    let selector =
        "&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},}";
    assert_eq!(told, format!("New size: 4; reason: external metric queue({selector}) above target"));
    assert_eq!(status["external"]["current"], json!({"averageValue": "17500m"}));
}

#[test]
fn an_autoscaler_that_shares_its_pods_does_nothing() {
    let mut bed = Bed::new(autoscaler(1, 10), 2).uses(&[100, 100]);
    bed.others.insert(ObjectName::new("d", "web"), "app=web".to_owned());
    bed.others.insert(ObjectName::new("other", "too"), "app=web".to_owned());
    bed.others.insert(ObjectName::new("d", "else"), "app=else".to_owned());
    assert_eq!(bed.wanted(), 4);
    bed.others.insert(ObjectName::new("d", "too"), "app in (web)".to_owned());
    let plan = bed.plan();
    assert_eq!(plan.rescale, None);
    let message = "pods by selector app=web are controlled by multiple HPAs: [d/too d/web]";
    assert_eq!(plan.condition("ScalingActive"), Some(("False", "AmbiguousSelector", message)));
    bed.target.selector = String::new();
    assert_eq!(bed.plan().notes[0].reason, "SelectorRequired");
}

#[test]
fn the_apis_of_metrics_are_asked_by_their_paths() {
    let groups = [Group { name: "custom.metrics.k8s.io".to_owned(), versions: vec!["v1beta2".to_owned()] }];
    let ingresses = Resource {
        group: "networking.k8s.io".to_owned(),
        version: "v1".to_owned(),
        plural: "ingresses".to_owned(),
        kind: "Ingress".to_owned(),
        namespaced: true,
        verbs: ["get".to_owned()].into(),
    };
    let mut own = autoscaler(1, 10);
    let described = |api_version: &str, kind: &str| {
        json!({"type": "Object", "object": {
            "describedObject": {"apiVersion": api_version, "kind": kind, "name": "i"}, "metric": {"name": "hits"},
        }})
    };
    own["spec"]["metrics"] = json!([
        {"type": "Resource", "resource": {"name": "cpu"}},
        {"type": "Pods", "pods": {"metric": {"name": "hits", "selector": {"matchLabels": {"a": "b"}}}}},
        described("networking.k8s.io/v1", "Ingress"),
        described("v1", "Namespace"),
        described("x/v1", "Thing"),
        {"type": "External", "external": {"metric": {"name": "queue"}}},
    ]);
    let target = Target { wanted: 2, present: 2, selector: "app=web".to_owned() };
    let resources = [ingresses];
    let asked = questions(&own, &target, Served { groups: &groups, resources: &resources });
    let shown: Vec<String> = asked
        .iter()
        .map(|ask| match ask {
            Ok(ask) => format!("{} {:?}", ask.path.join("/"), ask.query),
            Err(why) => why.clone(),
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"apis/metrics.k8s.io/v1beta1/namespaces/d/pods [("labelSelector", "app=web")]"#,
            r#"apis/custom.metrics.k8s.io/v1beta2/namespaces/d/pods/*/hits [("labelSelector", "app=web"), ("metricLabelSelector", "a=b")]"#,
            "apis/custom.metrics.k8s.io/v1beta2/namespaces/d/ingresses.networking.k8s.io/i/hits []",
            "apis/custom.metrics.k8s.io/v1beta2/namespaces/d/metrics/hits []",
            r#"unable to map kind Thing.x to resource: no matches for kind "Thing" in group "x""#,
            "apis/external.metrics.k8s.io/v1beta1/namespaces/d/queue []",
        ]
    );
    let none = questions(&own, &target, Served { groups: &[], resources: &[] });
    assert_eq!(none[1], Err("no custom metrics API (custom.metrics.k8s.io) registered".to_owned()));
    let zero = Target { wanted: 0, ..target };
    assert!(questions(&own, &zero, Served { groups: &[], resources: &[] }).is_empty());
}

proptest! {
    /// A load that does not change is met by a count that does not change, within the limits.
    #[test]
    fn a_constant_load_has_a_constant_count(
        load in 1_i64..3000,
        begin in 1_i64..20,
        least in 1_i64..4,
        more in 0_i64..20,
        behavior in any::<bool>(),
    ) {
        let most = least + more;
        let mut own = autoscaler(least, most);
        if behavior {
            own["spec"]["behavior"] = json!({"scaleDown": {"stabilizationWindowSeconds": 30}});
        }
        let mut bed = Bed::new(own, begin);
        let mut counts = Vec::new();
        for _ in 0..120 {
            let count = bed.target.wanted;
            let uses = vec![load / count; usize::try_from(count).expect("small")];
            let fresh = Bed { now: bed.now, ..Bed::new(autoscaler(1, 1), 1) }.uses(&uses);
            (bed.pods, bed.answers) = (fresh.pods, fresh.answers);
            counts.push(bed.pass(Duration::from_secs(15)));
        }
        let last = *counts.last().expect("there are some");
        prop_assert!(counts[80..].iter().all(|count| *count == last), "{counts:?}");
        prop_assert!((least..=most).contains(&last));
        // Enough, but for the tolerance.
        let each = load / last;
        prop_assert!(last == most || each <= 56, "{last} pods, {each}m each");
    }
}
