//! How long decisions take: `cargo run --release -p control-scheduler-core --example timing [NODES PODS]`.
//!
//! The workloads are those of upstream's scheduler_perf by kind: plain, spread, anti-affinity and affinity, preemption.

use std::time::{Duration, Instant};

use control_scheduler_core::profile::Profile;
use control_scheduler_core::queue::Waits;
use control_scheduler_core::state::{Kind, State, Step};
use serde_json::{Value, json};

fn node(nth: usize) -> Value {
    let name = format!("node-{nth}");
    json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name,
            "topology.kubernetes.io/zone": format!("zone-{}", nth % 3)}},
        "status": {"allocatable": {"cpu": "4", "memory": "32Gi", "pods": "110"}}})
}

fn pod(name: &str, priority: i32, cpu: &str, more: Value) -> Value {
    let mut spec = json!({"schedulerName": "default-scheduler", "priority": priority, "containers": [
        {"name": "c", "image": "pause", "resources": {"requests": {"cpu": cpu, "memory": "100Mi"}}}]});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({"metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"color": "green"}},
        "spec": spec, "status": {"phase": "Pending"}})
}

fn rule(key: &str) -> Value {
    json!([{"topologyKey": key, "labelSelector": {"matchLabels": {"color": "green"}}}])
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse::<usize>().ok());
    let (nodes, pods) = (numbers.next().unwrap_or(5000), numbers.next().unwrap_or(10_000));
    let (host, zone) = ("kubernetes.io/hostname", "topology.kubernetes.io/zone");
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let wish = json!([{"weight": 10, "podAffinityTerm": rule(host)[0]}]);
    let spread = |mode: &str| {
        json!({"topologySpreadConstraints": [{"maxSkew": 5, "topologyKey": zone, "whenUnsatisfiable": mode,
            "labelSelector": {"matchLabels": {"color": "green"}}}]})
    };
    for (name, more, most) in [
        ("plain", json!({}), pods),
        ("TopologySpreading", spread("DoNotSchedule"), pods),
        ("PreferredTopologySpreading", spread("ScheduleAnyway"), pods),
        (
            "PodAntiAffinity",
            json!({"affinity": {"podAntiAffinity": {required: rule(host)}}}),
            pods.min(nodes),
        ),
        ("PodAffinity", json!({"affinity": {"podAffinity": {required: rule(zone)}}}), pods),
        ("PreferredPodAffinity", json!({"affinity": {"podAffinity": {preferred: wish}}}), pods),
    ] {
        let mut state = State::new(vec![Profile::default()], Waits::default(), 0, false, 1);
        (0..nodes).for_each(|nth| put(&mut state, Kind::Node, &node(nth)));
        let objects: Vec<_> = (0..most).map(|nth| pod(&format!("p{nth}"), 0, "100m", more.clone())).collect();
        let began = Instant::now();
        objects.iter().for_each(|object| put(&mut state, Kind::Pod, object));
        let read = began.elapsed();
        let began = Instant::now();
        let mut bound = 0;
        loop {
            match state.step(Duration::ZERO) {
                Step::Bind(_) => bound += 1,
                Step::Wait(_) => break,
                other => panic!("{name}: {other:?}"),
            }
        }
        report(name, bound, began.elapsed(), read);
    }
    preemption(nodes.min(500));
}

fn preemption(nodes: usize) {
    let mut state = State::new(vec![Profile::default()], Waits::default(), 0, false, 1);
    (0..nodes).for_each(|nth| put(&mut state, Kind::Node, &node(nth)));
    for nth in 0..nodes * 4 {
        let mut there = pod(&format!("low{nth}"), 0, "900m", json!({}));
        there["spec"]["nodeName"] = json!(format!("node-{}", nth % nodes));
        put(&mut state, Kind::Pod, &there);
    }
    (0..nodes).for_each(|nth| put(&mut state, Kind::Pod, &pod(&format!("high{nth}"), 10, "3", json!({}))));
    let (began, mut rooms) = (Instant::now(), 0);
    while let Step::Failed(failed) = state.step(Duration::ZERO) {
        rooms += usize::from(failed.room.is_some());
    }
    report("Preemption", rooms, began.elapsed(), Duration::ZERO);
}

fn put(state: &mut State, kind: Kind, object: &Value) {
    state.put(kind, object, Duration::ZERO).unwrap_or_else(|error| panic!("{error}: {object}"));
}

fn report(name: &str, count: usize, took: Duration, read: Duration) {
    let each = took.as_secs_f64() / count.max(1) as f64;
    let reading = read.as_secs_f64() / count.max(1) as f64;
    println!(
        "{name:28} {count:6} decisions, {:8.1} us each, {:8.0} a second; reading {:5.1} us each",
        each * 1e6,
        1.0 / each,
        reading * 1e6
    );
}
