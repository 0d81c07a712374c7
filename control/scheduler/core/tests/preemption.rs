//! Who has to go for a more urgent pod.

mod support;

use control_scheduler_core::state::{Failed, Kind, State};
use serde_json::{Value, json};
use support::{Told, at, node, on, pod, priority, state, with};

fn victims(failed: &Failed) -> (String, Vec<String>) {
    let room = failed.room.as_ref().unwrap_or_else(|| panic!("no room: {}", failed.message));
    let mut names: Vec<_> = room.victims.iter().map(|pod| pod.name.name.to_string()).collect();
    names.sort();
    (room.node.to_string(), names)
}

fn with_urgent(nodes: &[Value], pods: &[Value], urgent: &Value) -> (State, Failed) {
    let mut state = state();
    state.nodes(nodes);
    state.pods(pods);
    state.tell(Kind::Pod, urgent, at(0));
    let failed = state.fails(at(1));
    (state, failed)
}

fn started(second: u32, pod: Value) -> Value {
    with(pod, json!({"status": {"startTime": format!("2026-01-01T00:00:{second:02}Z")}}))
}

#[test]
fn as_few_and_as_unimportant_as_possible_go() {
    let urgent = priority(10, pod("urgent", 2000));
    let nodes = [node("n1", "z1"), node("n2", "z1")];
    for (name, pods, want) in [
        (
            "one is enough",
            vec![
                on("n1", priority(1, pod("a", 2000))),
                on("n1", pod("b", 2000)),
                on("n2", priority(5, pod("c", 4000))),
            ],
            ("n1", vec!["b"]),
        ),
        (
            "the youngest of equals",
            vec![
                on("n1", started(5, pod("a", 2000))),
                on("n1", started(9, pod("b", 2000))),
                on("n2", priority(10, pod("c", 4000))),
            ],
            ("n1", vec!["b"]),
        ),
        (
            "the less urgent node",
            vec![on("n1", priority(5, pod("a", 4000))), on("n2", priority(4, pod("b", 4000)))],
            ("n2", vec!["b"]),
        ),
        (
            "fewer of the same urgency",
            vec![on("n1", pod("a", 3000)), on("n1", pod("b", 1000)), on("n2", pod("c", 4000))],
            ("n1", vec!["a"]),
        ),
    ] {
        let (_, failed) = with_urgent(&nodes, &pods, &urgent);
        let (node, names) = victims(&failed);
        assert_eq!(
            (node.as_str(), names),
            (want.0, want.1.into_iter().map(str::to_owned).collect()),
            "{name}"
        );
    }
}

#[test]
fn a_budget_protects_its_pods_where_others_can_go() {
    let mut state = state();
    state.nodes(&[node("n1", "z1"), node("n2", "z1")]);
    let other = with(pod("b", 4000), json!({"metadata": {"labels": {"app": "b"}}}));
    state.pods(&[on("n1", pod("a", 4000)), on("n2", priority(5, other))]);
    let budget = json!({"metadata": {"name": "x", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}}, "status": {"disruptionsAllowed": 0}});
    state.tell(Kind::Budget, &budget, at(0));
    state.tell(Kind::Pod, &priority(10, pod("urgent", 1000)), at(0));
    assert_eq!(victims(&state.fails(at(1))), ("n2".to_owned(), vec!["b".to_owned()]));
}

#[test]
fn who_may_not_preempt_is_told() {
    let urgent = priority(10, pod("urgent", 2000));
    let never = with(urgent, json!({"spec": {"preemptionPolicy": "Never"}}));
    let (_, failed) = with_urgent(&[node("n1", "z1")], &[on("n1", pod("a", 4000))], &never);
    assert!(failed.room.is_none());
    assert!(failed.message.ends_with("preemption: not eligible due to preemptionPolicy=Never."));
}

#[test]
fn room_is_kept_for_whom_it_was_made() {
    let nodes = [node("n1", "z1")];
    let (mut state, failed) =
        with_urgent(&nodes, &[on("n1", pod("a", 4000))], &priority(10, pod("urgent", 4000)));
    assert_eq!(failed.nominated.as_deref(), Some("n1"));
    // Somebody less urgent comes before the victim is gone and the urgent one is tried again.
    state.delete(Kind::Pod, "a", at(1));
    state.tell(Kind::Pod, &priority(20, pod("more", 100)), at(1));
    state.tell(Kind::Pod, &pod("less", 100), at(1));
    assert_eq!(&*state.binds(at(1)).pod.name.name, "more");
    let message = state.fails(at(1)).message;
    assert!(message.contains("1 Insufficient cpu"), "{message}");
}

#[test]
fn nobody_is_preempted_twice_for_one_pod() {
    let nodes = [node("n1", "z1"), node("n2", "z1")];
    let pods = [on("n1", pod("a", 4000)), on("n2", pod("b", 4000))];
    let (mut state, failed) = with_urgent(&nodes, &pods, &priority(10, pod("urgent", 2000)));
    let (node, _) = victims(&failed);
    let nominated = with(priority(10, pod("urgent", 2000)), json!({"status": {"nominatedNodeName": node}}));
    state.tell(Kind::Pod, &nominated, at(2));
    // The flush tries it again; its victim is still going.
    let again = state.fails(at(400));
    assert!(again.room.is_none(), "{again:?}");
    assert!(again.message.contains("not eligible due to a terminating pod on the nominated node"));
}

#[test]
fn the_cluster_is_as_before_after_a_try() {
    let spread = json!({"spec": {"topologySpreadConstraints": [{"maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "a"}}}]}});
    let urgent = with(priority(10, pod("urgent", 3500)), spread);
    let pods = [on("n1", pod("a", 3000)), on("n1", pod("b", 500)), on("n2", pod("c", 3000))];
    let (mut state, failed) = with_urgent(&[node("n1", "z1"), node("n2", "z1")], &pods, &urgent);
    assert!(failed.room.is_some(), "{}", failed.message);
    let sums = |state: &State, name: &str| {
        let id = state.world.cluster.id(name).expect("a node");
        let info = state.world.cluster.node(id);
        (info.requested.cpu, info.pods.len())
    };
    assert_eq!((sums(&state, "n1"), sums(&state, "n2")), ((3500, 2), (3000, 1)));
    state.tell(Kind::Pod, &pod("d", 400), at(2));
    state.tell(Kind::Pod, &priority(10, pod("urgent", 3500)), at(2));
}
