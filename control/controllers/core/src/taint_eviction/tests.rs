use super::*;
use crate::trial::Trial;

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(TaintEviction::default())]
}

fn pod(name: &str, tolerations: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "d", "name": name},
        "spec": {"nodeName": "n", "tolerations": tolerations}, "status": {"phase": "Running"},
    })
}

fn taint(trial: &mut Trial, taints: Value) {
    trial.change(NODES, "", "n", |node| node["spec"] = json!({"taints": taints}));
}

fn names(trial: &Trial) -> Vec<String> {
    trial.all(PODS).iter().map(|pod| object::name(pod).to_owned()).collect()
}

fn cluster() -> Trial {
    let mut trial = Trial::new(make, 1);
    trial.create(NODES, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}));
    trial.create(PODS, pod("none", json!([])));
    trial.create(
        PODS,
        pod(
            "some",
            json!([
                {"key": "gone", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ]),
        ),
    );
    trial.create(PODS, pod("all", json!([{"operator": "Exists"}])));
    trial.pass(Duration::from_secs(1));
    trial
}

#[test]
fn pods_leave_when_their_toleration_ends() {
    let mut trial = cluster();
    taint(&mut trial, json!([{"key": "gone", "effect": "NoSchedule"}]));
    trial.pass(Duration::from_secs(1000));
    assert_eq!(names(&trial), ["all", "none", "some"], "this effect is none of its business");
    taint(&mut trial, json!([{"key": "gone", "effect": "NoExecute"}]));
    trial.pass(Duration::from_secs(290));
    assert_eq!(names(&trial), ["all", "some"]);
    assert!(trial.told.contains(&"TaintManagerEviction Marking for deletion Pod d/none".to_owned()));
    trial.pass(Duration::from_secs(20));
    assert_eq!(names(&trial), ["all"]);
}

#[test]
fn a_taint_that_goes_in_time_calls_the_eviction_off() {
    let mut trial = cluster();
    taint(&mut trial, json!([{"key": "gone", "effect": "NoExecute"}]));
    trial.pass(Duration::from_secs(200));
    taint(&mut trial, json!([]));
    trial.pass(Duration::from_secs(200));
    assert_eq!(names(&trial), ["all", "some"]);
    assert!(trial.told.contains(&"TaintManagerEviction Cancelling deletion of Pod d/some".to_owned()));
    taint(&mut trial, json!([{"key": "gone", "effect": "NoExecute"}]));
    trial.pass(Duration::from_secs(290));
    assert_eq!(names(&trial), ["all", "some"], "its time begins again");
}

#[test]
fn a_toleration_fits_by_key_value_effect_and_operator() {
    let node = json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoExecute"}]}});
    let cases = [
        (json!([]), Tolerated::Not),
        (json!([{"key": "k", "value": "v"}]), Tolerated::ForEver),
        (json!([{"key": "k", "value": "w"}]), Tolerated::Not),
        (json!([{"key": "k", "operator": "Exists", "effect": "NoExecute"}]), Tolerated::ForEver),
        (json!([{"key": "k", "operator": "Exists", "effect": "NoSchedule"}]), Tolerated::Not),
        (json!([{"operator": "Exists", "tolerationSeconds": 5}]), Tolerated::For(Duration::from_secs(5))),
        (json!([{"operator": "Exists", "tolerationSeconds": 0}]), Tolerated::Not),
        (json!([{"operator": "Exists", "tolerationSeconds": -1}]), Tolerated::Not),
        (json!([{"operator": "Sometimes"}]), Tolerated::Not),
    ];
    for (tolerations, wanted) in cases {
        assert_eq!(tolerated(&pod("p", tolerations.clone()), &node), wanted, "{tolerations}");
    }
    assert_eq!(tolerated(&pod("p", json!([])), &json!({})), Tolerated::ForEver);
}
