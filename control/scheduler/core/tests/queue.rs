//! In which order pods are tried, how long they wait, and what calls them back.

mod support;

use std::sync::Arc;
use std::time::Duration;

use control_scheduler_core::plugin::{Plugin, Plugins};
use control_scheduler_core::pod::{Pod, Specs};
use control_scheduler_core::profile::Profile;
use control_scheduler_core::queue::{Queue, Waits};
use control_scheduler_core::state::Kind;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Told, at, node, on, pod, priority, state, with};

#[test]
fn the_most_urgent_is_first_then_the_longest_waiting() {
    let mut state = state();
    state.nodes(&[node("n1", "z1")]);
    let pods = [("low", 0), ("high", 9), ("later", 9), ("lowest", -1)];
    for (second, (name, urgency)) in (1..).zip(pods) {
        state.tell(Kind::Pod, &priority(urgency, pod(name, 1)), at(second));
    }
    let order: Vec<_> = (0..4).map(|_| state.binds(at(9)).pod.name.name.to_string()).collect();
    assert_eq!(order, ["high", "later", "low", "lowest"]);
}

#[test]
fn gated_pods_wait_for_their_gates() {
    let mut state = state();
    state.nodes(&[node("n1", "z1")]);
    state.pods(&[with(pod("a", 1), json!({"spec": {"schedulingGates": [{"name": "g"}]}}))]);
    assert_eq!(state.waits(at(1)), None);
    assert_eq!(state.queue.counts().gated, 1);
    state.tell(Kind::Pod, &pod("a", 1), at(2));
    state.binds(at(2));
}

#[test]
fn only_what_may_help_calls_a_pod_back() {
    let label = |object: Value| with(object, json!({"metadata": {"labels": {"disk": "ssd"}}}));
    let wants_label = with(pod("p", 1), json!({"spec": {"nodeSelector": {"disk": "ssd"}}}));
    let big = pod("p", 3000);
    let occupant = || on("n1", pod("there", 2000));
    let other = |cpu| on("n1", with(pod("other", cpu), json!({"metadata": {"labels": {"app": "b"}}})));
    let cpus = |cpu: &str| with(node("n1", "z1"), json!({"status": {"allocatable": {"cpu": cpu}}}));
    let tainted = with(node("n1", "z1"), json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}));
    for (name, start, wanted, (kind, change), helps) in [
        ("a label", node("n1", "z1"), &wants_label, (Kind::Node, label(node("n1", "z1"))), true),
        ("a taint gone", tainted.clone(), &pod("p", 1), (Kind::Node, node("n1", "z1")), true),
        ("more CPU", node("n1", "z1"), &big, (Kind::Node, cpus("8")), true),
        ("less CPU", node("n1", "z1"), &big, (Kind::Node, cpus("3")), false),
        ("another pod", node("n1", "z1"), &big, (Kind::Pod, other(1)), false),
        ("a larger node", node("n1", "z1"), &big, (Kind::Node, node("n2", "z1")), true),
        ("a node without the label", node("n1", "z1"), &wants_label, (Kind::Node, node("n2", "z1")), false),
    ] {
        let mut state = state();
        state.nodes(&[start]);
        state.pods(&[occupant(), wanted.clone()]);
        state.fails(at(1));
        state.tell(kind, &change, at(2));
        assert_eq!(state.queue.is_busy(), helps, "{name}");
    }
}

#[test]
fn a_pod_that_goes_leaves_its_place() {
    let mut state = state();
    state.nodes(&[node("n1", "z1")]);
    state.pods(&[on("n1", pod("there", 3000)), pod("p", 3000)]);
    state.fails(at(1));
    assert_eq!(state.waits(at(2)), Some(at(301)));
    state.delete(Kind::Pod, "there", at(5));
    assert_eq!(&*state.binds(at(5)).node, "n1");
}

#[test]
fn what_nothing_helps_is_tried_every_five_minutes() {
    let mut state = state();
    state.nodes(&[node("n1", "z1")]);
    state.pods(&[pod("p", 5000)]);
    state.fails(at(1));
    assert_eq!(state.waits(at(300)), Some(at(301)));
    assert_eq!(state.fails(at(301)).tried.attempts, 2);
}

fn alone(name: &str) -> Arc<Pod> {
    Arc::new(Pod::read(&pod(name, 1), &mut Specs::default()).expect("a pod"))
}

#[test]
fn errors_wait_longer_each_time() {
    let (mut queue, profile) = (Queue::new(Waits::default()), Profile::default());
    queue.set(alone("p"), &profile, at(0));
    let mut now = at(0);
    for wait in [1, 2, 4, 8, 10, 10] {
        assert!(queue.pop(now).is_some());
        queue.failed("uid-p", Plugins::NONE, &profile, now);
        assert!(queue.pop(now + at(wait) - Duration::from_millis(1)).is_none(), "{wait} s");
        now += at(wait);
    }
}

#[test]
fn a_change_while_a_pod_is_tried_is_not_lost() {
    use control_scheduler_core::node::Node;
    use control_scheduler_core::queue::change::Change;
    let profile = Profile::default();
    let fit: Plugins = [Plugin::NodeResourcesFit].into_iter().collect();
    for (during, busy) in [(true, true), (false, false)] {
        let mut queue = Queue::new(Waits::default());
        queue.set(alone("p"), &profile, at(0));
        queue.pop(at(0)).expect("the pod");
        let new = Arc::new(Node::read(&node("n2", "z1")).expect("a node"));
        if during {
            queue.happened(Change::NodeAdded(new), |_| Some(&profile), at(0));
        }
        queue.failed("uid-p", fit, &profile, at(0));
        assert_eq!(queue.is_busy(), busy);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Set(u8, bool),
    Remove(u8),
    Pop,
    Fail(bool),
    Place,
    Node,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..5_u8, any::<bool>()).prop_map(|(pod, gated)| Act::Set(pod, gated)),
        (0..5_u8).prop_map(Act::Remove),
        Just(Act::Pop),
        any::<bool>().prop_map(Act::Fail),
        Just(Act::Place),
        Just(Act::Node),
    ]
}

proptest! {
    /// Whatever happens in whatever order, every pod that waits without a gate is tried again within the longest wait.
    #[test]
    fn no_pod_is_forgotten(acts in proptest::collection::vec((act(), 0..20_u64), 0..60)) {
        use control_scheduler_core::node::Node;
        use control_scheduler_core::queue::change::Change;
        let profile = Profile::default();
        let mut queue = Queue::new(Waits::default());
        let (mut now, mut trying, mut gone) = (at(0), Vec::<String>::new(), Vec::<String>::new());
        let node = Arc::new(Node::read(&node("n", "z")).expect("a node"));
        let fit: Plugins = [Plugin::NodeResourcesFit].into_iter().collect();
        for (act, wait) in acts {
            now += at(wait);
            match act {
                Act::Set(nth, gated) => {
                    let gates = if gated { json!([{"name": "g"}]) } else { json!([]) };
                    let pod = with(pod(&format!("p{nth}"), 1), json!({"spec": {"schedulingGates": gates}}));
                    let pod = Pod::read(&pod, &mut Specs::default()).expect("a pod");
                    queue.set(Arc::new(pod), &profile, now);
                }
                Act::Remove(nth) => {
                    let uid = format!("uid-p{nth}");
                    queue.remove(&uid);
                    trying.retain(|other| *other != uid);
                }
                Act::Pop => trying.extend(queue.pop(now).map(|(pod, _)| pod.uid.to_string())),
                Act::Fail(error) => {
                    if let Some(uid) = trying.pop() {
                        queue.failed(&uid, if error { Plugins::NONE } else { fit }, &profile, now);
                    }
                }
                Act::Place => {
                    if let Some(uid) = trying.pop() {
                        queue.placed(&uid);
                        gone.push(uid);
                    }
                }
                Act::Node => queue.happened(Change::NodeAdded(node.clone()), |_| Some(&profile), now),
            }
            let counts = queue.counts();
            let held = counts.active + counts.backoff + counts.unschedulable + counts.gated;
            prop_assert!(held <= queue.len());
        }
        for uid in trying.drain(..) {
            queue.failed(&uid, fit, &profile, now);
        }
        now += at(301);
        let ungated = queue.pods().filter(|pod| pod.gates.is_empty()).count();
        let placed = queue.pods().filter(|pod| gone.iter().any(|uid| **uid == *pod.uid)).count();
        let mut tried = 0;
        while queue.pop(now).is_some() {
            tried += 1;
        }
        prop_assert!(tried + placed >= ungated, "{} of {} tried, {} placed", tried, ungated, placed);
    }
}
