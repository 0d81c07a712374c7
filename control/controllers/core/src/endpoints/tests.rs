use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::packing::{key, pack};
use super::{EndpointSlices, Endpoints, Mirror, subsets};
use crate::kinds::{ENDPOINT_SLICES, ENDPOINTS, NODES, PODS, SERVICES};
use crate::trial::Trial;
use crate::{Controller, object};

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(EndpointSlices), Box::new(Endpoints), Box::new(Mirror)]
}

fn node(name: &str, zone: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}},
        "status": {"allocatable": {"cpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": "d", "name": "web", "labels": {"team": "a"}},
        "spec": {
            "selector": {"app": "web"}, "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    })
}

fn pod(nth: usize, ready: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "d", "name": format!("p{nth}"), "labels": {"app": "web"}},
        "spec": {
            "nodeName": format!("n{}", nth % 2),
            "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]}],
        },
        "status": {
            "phase": "Running", "podIP": ip(nth), "podIPs": [{"ip": ip(nth)}, {"ip": format!("fd00::{nth:x}")}],
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
        },
    })
}

fn ip(nth: usize) -> String {
    format!("10.1.{}.{}", nth / 200, nth % 200 + 1)
}

fn trial(seed: u64) -> Trial {
    let mut trial = Trial::new(make, seed);
    trial.create(NODES, node("n0", "z0"));
    trial.create(NODES, node("n1", "z1"));
    trial
}

fn slice_of(trial: &Trial) -> Value {
    let slices = trial.all(ENDPOINT_SLICES);
    assert_eq!(slices.len(), 1, "{slices:#?}");
    Value::clone(&slices[0])
}

fn field<'a>(slices: impl IntoIterator<Item = &'a Value>, path: &str) -> Vec<String> {
    let endpoints =
        slices.into_iter().flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
    let mut all: Vec<String> = endpoints
        .map(|endpoint| endpoint.pointer(path).unwrap_or(&Value::Null).to_string().replace('"', ""))
        .collect();
    all.sort();
    all
}

#[test]
fn a_service_has_its_pods_in_a_slice_and_in_endpoints() {
    let mut trial = trial(1);
    trial.create(SERVICES, service());
    trial.settle(Duration::ZERO);
    let empty = slice_of(&trial);
    assert!(
        empty["endpoints"] == json!([]) && empty["ports"] == json!([]),
        "an empty slice says that there is nothing"
    );
    trial.create(PODS, pod(0, true));
    trial.create(PODS, pod(1, false));
    trial.settle(Duration::from_secs(1));
    let slice = slice_of(&trial);
    assert_eq!(object::name(&slice), object::name(&empty), "the empty slice is used");
    assert_eq!(
        slice["metadata"]["labels"],
        json!({
            "team": "a", "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        })
    );
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    let uid = object::uid(&trial.get(PODS, "d", "p0").expect("it is there")).to_owned();
    assert_eq!(
        slice["endpoints"][0],
        json!({
            "addresses": ["10.1.0.1"], "nodeName": "n0", "zone": "z0",
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": "d", "name": "p0", "uid": uid},
        })
    );
    assert_eq!(field([&slice], "/conditions/ready"), ["false", "true"]);
    let endpoints = trial.get(ENDPOINTS, "d", "web").expect("it is there");
    let subset = &endpoints["subsets"][0];
    assert_eq!(subset["addresses"][0]["ip"], "10.1.0.1");
    assert_eq!(subset["notReadyAddresses"][0]["ip"], "10.1.0.2");
    assert_eq!(object::label(&endpoints, "endpoints.kubernetes.io/managed-by"), Some("endpoint-controller"));
    // A pod that goes is served as long as it answers, and is not ready.
    trial.change(PODS, "d", "p0", |pod| {
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        pod["metadata"]["finalizers"] = json!(["a/b"]);
        pod["spec"]["containers"][0]["image"] = "stays".into();
    });
    trial.settle(Duration::ZERO);
    let slice = slice_of(&trial);
    let going = &slice["endpoints"][0]["conditions"];
    assert_eq!(*going, json!({"ready": false, "serving": true, "terminating": true}));
    let endpoints = trial.get(ENDPOINTS, "d", "web").expect("it is there");
    assert_eq!(endpoints["subsets"][0]["addresses"], Value::Null);
    // The Service goes, and its Endpoints with it.
    trial.delete(SERVICES, "d", "web");
    trial.settle(Duration::ZERO);
    assert!(trial.all(ENDPOINTS).is_empty());
}

#[test]
fn each_family_has_slices_of_its_own() {
    let mut trial = trial(1);
    let mut both = service();
    both["spec"]["ipFamilies"] = json!(["IPv4", "IPv6"]);
    both["spec"]["publishNotReadyAddresses"] = true.into();
    trial.create(SERVICES, both);
    trial.create(PODS, pod(3, false));
    trial.settle(Duration::from_secs(1));
    let slices: BTreeMap<String, Value> = trial
        .all(ENDPOINT_SLICES)
        .iter()
        .map(|slice| (slice["addressType"].as_str().expect("it is there").to_owned(), Value::clone(slice)))
        .collect();
    assert_eq!(field([&slices["IPv4"]], "/addresses/0"), ["10.1.0.4"]);
    assert_eq!(field([&slices["IPv6"]], "/addresses/0"), ["fd00::3"]);
    assert_eq!(field([&slices["IPv6"]], "/conditions/ready"), ["true"], "published though it is not ready");
    trial.change(SERVICES, "d", "web", |service| service["spec"]["ipFamilies"] = json!(["IPv6"]));
    trial.settle(Duration::ZERO);
    assert_eq!(slice_of(&trial)["addressType"], "IPv6");
    let endpoints = trial.get(ENDPOINTS, "d", "web").expect("it is there");
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "fd00::3");
}

#[test]
fn pods_of_other_ports_have_slices_of_their_own_and_unknown_nodes_are_waited_for() {
    let mut trial = trial(1);
    trial.create(SERVICES, service());
    trial.create(PODS, pod(0, true));
    let mut other = pod(1, true);
    other["spec"]["containers"][0]["ports"][0]["containerPort"] = 9090.into();
    trial.create(PODS, other);
    let mut lost = pod(2, true);
    lost["spec"]["nodeName"] = "n9".into();
    trial.create(PODS, lost);
    trial.settle(Duration::from_secs(2));
    let slices = trial.all(ENDPOINT_SLICES);
    assert_eq!(slices.len(), 2);
    assert_eq!(field(slices.iter().map(|slice| &**slice), "/targetRef/name"), ["p0", "p1"]);
    trial.create(NODES, node("n9", "z0"));
    trial.settle(Duration::from_secs(5));
    let slices = trial.all(ENDPOINT_SLICES);
    assert_eq!(field(slices.iter().map(|slice| &**slice), "/targetRef/name"), ["p0", "p1", "p2"]);
}

#[test]
fn hints_follow_the_place_where_traffic_is_to_stay_close() {
    let mut trial = trial(1);
    let mut close = service();
    close["spec"]["trafficDistribution"] = "PreferSameNode".into();
    trial.create(SERVICES, close);
    trial.create(PODS, pod(0, true));
    trial.create(PODS, pod(1, true));
    trial.settle(Duration::from_secs(1));
    let slice = slice_of(&trial);
    assert_eq!(field([&slice], "/hints/forZones/0/name"), ["z0", "z1"]);
    assert_eq!(field([&slice], "/hints/forNodes/0/name"), ["n0", "n1"]);
    trial.change(SERVICES, "d", "web", |service| {
        service["spec"]["trafficDistribution"] = "PreferClose".into()
    });
    trial.settle(Duration::ZERO);
    let slice = slice_of(&trial);
    assert_eq!(field([&slice], "/hints/forNodes"), ["null", "null"]);
    trial.change(SERVICES, "d", "web", |service| service["spec"]["trafficDistribution"] = Value::Null);
    trial.settle(Duration::ZERO);
    assert_eq!(field([&slice_of(&trial)], "/hints"), ["null", "null"]);
}

#[test]
fn hints_by_cpu_give_each_zone_its_share_or_say_why_not() {
    let mut trial = trial(1);
    let mut hinted = service();
    hinted["metadata"]["annotations"] = json!({"service.kubernetes.io/topology-mode": "Auto"});
    trial.create(SERVICES, hinted);
    trial.create(PODS, pod(0, true));
    trial.settle(Duration::from_secs(1));
    assert_eq!(field([&slice_of(&trial)], "/hints"), ["null"]);
    let told = "TopologyAwareHintsDisabled Insufficient number of endpoints (1 endpoints, 2 zones), addressType: IPv4";
    assert!(trial.told.contains(&told.to_owned()), "{:?}", trial.told);
    // Three of four pods are in one zone, which has but half of the CPUs.
    for nth in [2, 4, 1] {
        trial.create(PODS, pod(nth, true));
    }
    trial.settle(Duration::from_secs(1));
    assert_eq!(field([&slice_of(&trial)], "/hints/forZones/0/name"), ["z0", "z0", "z1", "z1"]);
    let told = "TopologyAwareHintsEnabled Topology Aware Hints has been enabled, addressType: IPv4";
    assert!(trial.told.contains(&told.to_owned()), "{:?}", trial.told);
    trial.change(NODES, "", "n1", |node| node["status"]["conditions"][0]["status"] = "False".into());
    trial.settle(Duration::from_secs(1));
    assert_eq!(field([&slice_of(&trial)], "/hints"), ["null", "null", "null", "null"], "one zone is left");
}

#[test]
fn endpoints_that_somebody_writes_are_mirrored() {
    let mut trial = trial(1);
    let mut plain = service();
    plain["spec"]["selector"] = Value::Null;
    trial.create(SERVICES, plain);
    let written = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"namespace": "d", "name": "web", "annotations": {"a": "b", "endpoints.kubernetes.io/last-change-trigger-time": "x"}},
        "subsets": [{
            "addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}], "notReadyAddresses": [{"ip": "192.0.2.2"}],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        }],
    });
    trial.create(ENDPOINTS, written);
    trial.settle(Duration::from_secs(1));
    let slices = trial.all(ENDPOINT_SLICES);
    assert_eq!(slices.len(), 2, "one for each family");
    let all = || slices.iter().map(|slice| &**slice);
    assert_eq!(field(all(), "/addresses/0"), ["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    assert_eq!(field(all(), "/conditions/ready"), ["false", "true", "true"]);
    for slice in &slices {
        assert_eq!(slice["metadata"]["annotations"], json!({"a": "b"}));
        assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Endpoints");
    }
    trial.change(ENDPOINTS, "d", "web", |endpoints| {
        endpoints["subsets"][0]["addresses"] = json!([{"ip": "192.0.2.9"}]);
        endpoints["subsets"][0]["notReadyAddresses"] = Value::Null;
    });
    trial.settle(Duration::ZERO);
    assert_eq!(field([&slice_of(&trial)], "/addresses/0"), ["192.0.2.9"]);
    assert!(trial.get(ENDPOINTS, "d", "web").is_some(), "it is theirs");
    trial.change(ENDPOINTS, "d", "web", |endpoints| {
        endpoints["metadata"]["labels"] = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
    });
    trial.settle(Duration::ZERO);
    assert!(trial.all(ENDPOINT_SLICES).is_empty());
}

#[test]
fn endpoints_of_a_leader_and_those_before_their_service_stay() {
    let mut trial = trial(1);
    let named = |name: &str| json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"namespace": "d", "name": name}});
    trial.create(ENDPOINTS, named("early"));
    let mut leftover = named("leftover");
    leftover["metadata"]["labels"] = json!({"endpoints.kubernetes.io/managed-by": "endpoint-controller"});
    trial.create(ENDPOINTS, leftover);
    let mut leader = named("leader");
    leader["metadata"]["annotations"] = json!({"control-plane.alpha.kubernetes.io/leader": "{}"});
    leader["metadata"]["labels"] = json!({"endpoints.kubernetes.io/managed-by": "endpoint-controller"});
    trial.create(ENDPOINTS, leader);
    trial.settle(Duration::from_secs(1));
    let names: Vec<String> =
        trial.all(ENDPOINTS).iter().map(|found| object::name(found).to_owned()).collect();
    assert_eq!(names, ["early", "leader"], "our own without a Service is gone");
}

#[test]
fn more_than_a_thousand_addresses_are_cut_ready_ones_last() {
    let addresses = |range: std::ops::Range<usize>| -> Value {
        range.map(|nth| json!({"ip": ip(nth)})).collect::<Vec<_>>().into()
    };
    let mut all = vec![
        json!({"addresses": addresses(0..700), "notReadyAddresses": addresses(700..1000), "ports": [{"port": 1}]}),
        json!({"addresses": addresses(1000..1200), "notReadyAddresses": addresses(1200..1300), "ports": [{"port": 2}]}),
    ];
    assert!(subsets::truncate(&mut all));
    assert_eq!(subsets::count(&all), (900, 100));
    assert_eq!(subsets::count(&all[..1]), (700, 75));
    let mut ready =
        vec![json!({"addresses": addresses(0..1500), "notReadyAddresses": addresses(1500..1600)})];
    assert!(subsets::truncate(&mut ready));
    assert_eq!(subsets::count(&ready), (1000, 0));
    assert!(!subsets::truncate(&mut ready));
}

#[test]
fn subsets_have_one_form() {
    let address = |ip: &str| json!({"ip": ip});
    let scattered = [
        json!({"addresses": [address("10.0.0.2")], "ports": [{"name": "b", "port": 2}]}),
        json!({"addresses": [address("10.0.0.1")], "ports": [{"name": "a", "port": 1}]}),
        json!({"addresses": [address("10.0.0.2")], "ports": [{"name": "a", "port": 1}]}),
        json!({"notReadyAddresses": [address("10.0.0.1")], "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}),
    ];
    let packed = subsets::repack(&scattered);
    assert_eq!(
        packed,
        [
            json!({"addresses": [address("10.0.0.1")], "ports": [{"name": "a", "port": 1}]}),
            json!({"addresses": [address("10.0.0.2")], "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}),
            json!({"notReadyAddresses": [address("10.0.0.1")], "ports": [{"name": "b", "port": 2}]}),
        ]
    );
    assert_eq!(subsets::repack(&packed), packed);
}

fn endpoint(nth: u8) -> Value {
    json!({"addresses": [format!("10.0.0.{nth}")], "conditions": {"ready": true}})
}

proptest! {
    /// Each endpoint is in exactly one slice, none is too full, and no slice is written without need.
    #[test]
    fn packing_loses_nothing_and_writes_little(
        slices in prop::collection::vec(prop::collection::btree_set(0..60_u8, 0..6), 0..6),
        wanted in prop::collection::btree_set(0..60_u8, 0..40),
    ) {
        let most = 5;
        let mut seen = BTreeSet::new();
        let existing: Vec<_> = slices.iter().enumerate().map(|(nth, of)| {
            let own: Vec<Value> = of.iter().filter(|nth| seen.insert(**nth)).take(most).map(|nth| endpoint(*nth)).collect();
            std::sync::Arc::new(json!({"metadata": {"name": format!("s{nth}")}, "endpoints": own, "ports": [{"port": 1}]}))
        }).collect();
        let map: BTreeMap<_, _> = wanted.iter().map(|nth| endpoint(*nth)).map(|endpoint| (key(&endpoint), endpoint)).collect();
        let drafts = pack(&existing, map.clone(), &[json!({"port": 1})], |_| false, most);
        let mut found = Vec::new();
        for draft in drafts.create.iter().chain(&drafts.update) {
            prop_assert!(draft.endpoints.len() <= most && !draft.endpoints.is_empty());
            found.extend(draft.endpoints.iter().map(key));
        }
        for slice in &drafts.unchanged {
            found.extend(slice["endpoints"].as_array().expect("a list").iter().map(key));
        }
        found.sort();
        prop_assert_eq!(found, map.keys().cloned().collect::<Vec<_>>());
        for draft in &drafts.update {
            let before = &draft.of.as_ref().expect("an update is of a slice")["endpoints"];
            prop_assert_ne!(before, &Value::from(draft.endpoints.clone()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Any order of news, lost answers, refusals, crashes: in the end the slices hold the pods, each once.
    #[test]
    fn slices_hold_each_pod_once(
        seed in 1..u64::MAX, pods in prop::collection::btree_set(0..260_usize, 0..220), gone in 0..8_usize,
        crashes in 0..4_u64, lost in 0..200_u64, refusals in 0..100_u64,
    ) {
        let mut trial = trial(seed);
        (trial.crashes, trial.lost, trial.refusals) = (crashes, lost, refusals);
        trial.create(SERVICES, service());
        for nth in &pods {
            trial.create(PODS, pod(*nth, nth % 3 > 0));
        }
        trial.settle(Duration::from_millis(200));
        for nth in pods.iter().take(gone) {
            trial.change(PODS, "d", &format!("p{nth}"), |pod| pod["status"]["phase"] = "Failed".into());
        }
        (trial.crashes, trial.refusals) = (0, 0);
        trial.settle(Duration::from_secs(7200));
        let slices = trial.all(ENDPOINT_SLICES);
        let mut wanted: Vec<String> = pods.iter().skip(gone).map(|nth| ip(*nth)).collect();
        wanted.sort();
        prop_assert_eq!(field(slices.iter().map(|slice| &**slice), "/addresses/0"), wanted.clone());
        let endpoints = trial.get(ENDPOINTS, "d", "web").expect("it is there");
        let (ready, unready) = subsets::count(endpoints["subsets"].as_array().map_or(&[], Vec::as_slice));
        prop_assert_eq!(ready + unready, wanted.len());
    }
}
