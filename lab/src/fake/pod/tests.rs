//! Lives of pods, each line one thing that a node wrote: seconds since the pod was bound, phase, whether it is ready, and its
//! containers.

use proptest::prelude::*;

use super::*;

mod world;

use world::{World, host};

#[test]
fn a_pod_without_probes_runs_at_once_and_ends_when_it_is_deleted() {
    let mut world = World::simple(json!({}));
    world.live(3_600);
    assert_eq!(world.said(), ["0 Running ready c:running"]);
    let status = &world.pod["status"];
    for (field, want) in [
        ("hostIP", json!("198.18.0.1")),
        ("hostIPs", json!([{ "ip": "198.18.0.1" }])),
        ("podIP", json!("100.64.0.2")),
        ("podIPs", json!([{ "ip": "100.64.0.2" }])),
        ("startTime", json!("2026-01-01T00:00:00Z")),
        ("observedGeneration", json!(1)),
        ("qosClass", json!("BestEffort")),
    ] {
        assert_eq!(status[field], want, "{field}");
    }
    let kinds: Vec<&Value> =
        status["conditions"].as_array().expect("a list").iter().map(|have| &have["type"]).collect();
    assert_eq!(
        kinds,
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
    );
    world.delete(30).live(1);
    assert_eq!(world.said()[1..], ["3600 Failed - c:143", "3600 deleted"]);
    assert_eq!(world.host.take(), ["100.64.0.3".parse::<std::net::IpAddr>().expect("an address")]);
}

#[test]
fn probes_delay_readiness() {
    let mut world = World::new(
        json!({}),
        json!({ "containers": [
        { "name": "a", "readinessProbe": { "initialDelaySeconds": 5 } },
        { "name": "b", "startupProbe": { "initialDelaySeconds": 7 }, "readinessProbe": { "periodSeconds": 1, "successThreshold": 2 } },
    ] }),
    );
    world.live(2);
    assert_eq!(world.condition("Ready")["message"], "containers with unready status: [a b]");
    assert_eq!(world.condition("Ready")["reason"], "ContainersNotReady");
    world.live(100);
    // When a is ready, when b has started, when b is ready.
    assert_eq!(
        world.said(),
        [
            "0 Running - a:running b:running",
            "5 Running - a:running b:running",
            "7 Running - a:running b:running",
            "8 Running ready a:running b:running",
        ]
    );
    assert_eq!(world.condition("Ready")["lastTransitionTime"], "2026-01-01T00:00:08Z");
    assert_eq!(world.condition("Ready").get("reason"), None);
    assert_eq!(world.condition("PodScheduled")["lastTransitionTime"], "2026-01-01T00:00:00Z");
}

#[test]
fn readiness_gates_are_others_conditions() {
    let mut world = World::new(
        json!({}),
        json!({ "readinessGates": [{ "conditionType": "x/y" }], "containers": [{ "name": "c" }] }),
    );
    world.live(1);
    assert_eq!(world.said(), ["0 Running - c:running"]);
    assert_eq!(
        world.condition("Ready")["message"],
        "corresponding condition of pod readiness gate \"x/y\" does not exist."
    );
    assert_eq!(world.condition("ContainersReady")["status"], "True");
    for (status, ready) in [("False", false), ("True", true)] {
        let mut list = world.pod["status"]["conditions"].as_array().cloned().expect("a list");
        list.retain(|condition| condition["type"] != "x/y");
        list.push(json!({ "type": "x/y", "status": status }));
        world.pod["status"]["conditions"] = json!(list);
        world.live(1);
        assert_eq!(world.condition("Ready")["status"] == "True", ready, "{status}");
        assert_eq!(world.condition("x/y")["status"], status, "the condition of somebody else stays");
    }
}

#[test]
fn init_containers_come_one_after_the_other_and_sidecars_stay_until_the_end() {
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [
            { "name": "i1" }, { "name": "s", "restartPolicy": "Always", "startupProbe": { "initialDelaySeconds": 3 } }, { "name": "i2" },
        ],
        "containers": [{ "name": "c" }],
    });
    let orders = json!({
        "i1.weft.dev/run-for": "2s", "i2.weft.dev/run-for": "1s", "c.weft.dev/run-for": "10s", "s.weft.dev/stop-delay": "4s",
    });
    let mut world = World::new(orders, spec);
    world.live(1);
    assert_eq!(world.condition("Initialized")["message"], "containers with incomplete status: [i1 s i2]");
    world.live(100);
    assert_eq!(
        world.said(),
        [
            "0 Pending - i1:running s:ContainerCreating i2:ContainerCreating c:PodInitializing",
            "2 Pending - i1:0 s:running i2:ContainerCreating c:PodInitializing",
            "5 Pending - i1:0 s:running i2:running c:PodInitializing",
            "6 Running ready i1:0 s:running i2:0 c:running",
            "16 Running - i1:0 s:running i2:0 c:0",
            "20 Succeeded - i1:0 s:143 i2:0 c:0",
        ]
    );
    assert_eq!(world.condition("Initialized")["reason"], "PodCompleted");
    assert_eq!(world.condition("Ready")["reason"], "PodCompleted");
    assert_eq!(world.condition("PodReadyToStartContainers")["status"], "False");
}

#[test]
fn an_init_container_that_fails_for_good_fails_the_pod() {
    let spec = json!({ "restartPolicy": "Never", "initContainers": [{ "name": "i" }], "containers": [{ "name": "c" }] });
    let mut world = World::new(json!({ "i.weft.dev/exit-code": "3" }), spec);
    world.live(100);
    assert_eq!(world.said(), ["0 Failed - i:3 c:137"]);
    assert_eq!(world.condition("Initialized")["status"], "False");
}

#[test]
fn pods_of_jobs_succeed_or_fail_as_they_are_told() {
    let spec = |policy: &str| json!({ "restartPolicy": policy, "containers": [{ "name": "c" }] });
    for (code, policy, want) in [
        ("0", "Never", vec!["0 Running ready c:running", "5 Succeeded - c:0"]),
        ("7", "Never", vec!["0 Running ready c:running", "5 Failed - c:7"]),
        (
            "7/0",
            "OnFailure",
            vec!["0 Running ready c:running", "5 Running ready c:running(1)", "10 Succeeded - c:0(1)"],
        ),
    ] {
        let mut world =
            World::new(json!({ "weft.dev/run-for": "5s", "weft.dev/exit-code": code }), spec(policy));
        world.live(100);
        assert_eq!(world.said(), want, "{code} {policy}");
    }
}

#[test]
fn a_container_that_ends_is_started_again_after_pauses_that_grow() {
    let mut world = World::simple(json!({ "weft.dev/run-for": "1s", "weft.dev/exit-code": "1" }));
    world.live(60);
    assert_eq!(
        world.said(),
        [
            "0 Running ready c:running",
            "1 Running ready c:running(1)",
            "2 Running - c:CrashLoopBackOff(1)",
            "12 Running ready c:running(2)",
            "13 Running - c:CrashLoopBackOff(2)",
            "33 Running ready c:running(3)",
            "34 Running - c:CrashLoopBackOff(3)",
        ]
    );
    let status = &world.pod["status"]["containerStatuses"][0];
    assert_eq!(
        status["state"]["waiting"]["message"],
        "back-off 40s restarting failed container=c pod=a_n(u)"
    );
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(status["lastState"]["terminated"]["finishedAt"], "2026-01-01T00:00:34Z");
}

#[test]
fn a_pod_that_is_active_for_too_long_fails() {
    let mut world = World::new(
        json!({ "weft.dev/stop-delay": "3s" }),
        json!({ "activeDeadlineSeconds": 20, "containers": [{ "name": "c" }] }),
    );
    world.live(100);
    assert_eq!(world.said(), ["0 Running ready c:running", "23 Failed - c:143"]);
    assert_eq!(world.pod["status"]["reason"], "DeadlineExceeded");
}

#[test]
fn a_container_that_does_not_stop_is_killed_when_its_grace_is_over() {
    let mut world = World::simple(json!({ "weft.dev/stop-delay": "60s" }));
    world.live(10).delete(5).live(100);
    assert_eq!(world.said(), ["0 Running ready c:running", "15 Failed - c:137", "15 deleted"]);
}

#[test]
fn images_that_are_not_there_and_orders_without_sense_are_seen() {
    let mut world = World::new(
        json!({}),
        json!({ "containers": [{ "name": "a", "image": "a:missing" }, { "name": "b" }] }),
    );
    world.live(1);
    assert_eq!(world.said(), ["0 Pending - a:ImagePullBackOff b:running"]);
    world.pod["spec"]["containers"][0]["image"] = json!("a:1");
    world.live(1);
    assert_eq!(world.said()[1..], ["1 Running ready a:running b:running"]);
    let mut world = World::simple(json!({ "weft.dev/run-for": "5" }));
    world.live(1);
    assert_eq!(world.said(), ["0 Pending - c:CreateContainerConfigError"]);
    let message = world.pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
        .as_str()
        .expect("a message");
    assert!(message.contains("weft.dev/run-for: \"5\" is not a duration"), "{message}");
}

#[test]
fn readiness_and_start_are_as_annotations_tell_at_any_time() {
    let mut world = World::simple(json!({ "weft.dev/start-delay": "2s", "weft.dev/ready": "false" }));
    world.live(10);
    world.pod["metadata"]["annotations"] = json!({});
    world.live(10);
    world.pod["metadata"]["annotations"] = json!({ "weft.dev/ready": "false" });
    world.live(10);
    assert_eq!(
        world.said(),
        [
            "0 Pending - c:ContainerCreating",
            "2 Running - c:running",
            "10 Running ready c:running",
            "20 Running - c:running",
        ]
    );
}

#[test]
fn a_pod_that_was_deleted_before_it_ran_goes_as_well() {
    let mut world = World::simple(json!({ "weft.dev/pull": "fail" }));
    world.live(1).delete(30).live(1);
    assert_eq!(world.said(), ["0 Pending - c:ImagePullBackOff", "1 Failed - c:137", "1 deleted"]);
    let mut world = World::simple(json!({}));
    world.pod["status"]["phase"] = json!("Succeeded");
    world.live(1);
    assert!(world.said.is_empty(), "nobody deleted it");
    world.delete(30).live(1);
    assert_eq!(world.said(), ["1 deleted"]);
}

#[test]
fn a_pod_of_the_hosts_network_has_the_nodes_addresses() {
    let mut world = World::new(json!({}), json!({ "hostNetwork": true, "containers": [{ "name": "c" }] }));
    world.live(1);
    assert_eq!(world.pod["status"]["podIP"], "198.18.0.1");
}

#[test]
fn without_an_address_left_a_pod_waits() {
    let mut world = World::simple(json!({}));
    world.host.learn(&json!({ "spec": { "podCIDRs": ["10.0.0.0/30"] } }));
    let taken = world.host.take();
    assert_eq!(taken.len(), 1);
    world.live(7);
    assert_eq!(world.said(), ["0 Pending - c:ContainerCreating"]);
    assert_eq!(world.condition("PodReadyToStartContainers")["status"], "False");
    world.host.mark(&taken, false);
    world.live(4);
    assert_eq!(world.said()[1..], ["7 Running ready c:running"]);
}

#[test]
fn resources_and_mounts_are_those_of_the_spec() {
    let resources = json!({ "limits": {}, "requests": { "cpu": "100m" } });
    let mounts =
        json!([{ "name": "t", "mountPath": "/t", "readOnly": true }, { "name": "d", "mountPath": "/d" }]);
    let mut world = World::new(
        json!({}),
        json!({ "containers": [{ "name": "c", "resources": resources, "volumeMounts": mounts }] }),
    );
    world.live(1);
    let status = &world.pod["status"]["containerStatuses"][0];
    assert_eq!(status["allocatedResources"], json!({ "cpu": "100m" }));
    assert_eq!(status["resources"], json!({ "requests": { "cpu": "100m" } }));
    assert_eq!(status["volumeMounts"][0]["recursiveReadOnly"], "Disabled");
    // A resize in place is done at once.
    world.pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("200m");
    world.pod["metadata"]["generation"] = json!(2);
    world.live(1);
    assert_eq!(world.pod["status"]["containerStatuses"][0]["allocatedResources"]["cpu"], "200m");
    assert_eq!(
        (&world.pod["status"]["observedGeneration"], &world.condition("Ready")["observedGeneration"]),
        (&json!(2), &json!(2))
    );
}

fn word() -> impl Strategy<Value = Value> {
    let time = prop_oneof![Just("0s"), Just("200ms"), Just("1s"), Just("7s"), Just("x")];
    let codes = prop_oneof![Just("0"), Just("1"), Just("2/0"), Just("-")];
    let image = prop_oneof![8 => Just("i"), 1 => Just("i:missing")];
    (time.clone(), codes, time, image, any::<bool>()).prop_map(|(run, code, delay, image, ready)| {
        json!({ "run-for": run, "exit-code": code, "start-delay": delay, "image": image, "ready": ready.to_string() })
    })
}

fn container(name: String, words: &Value, annotations: &mut Value, runs: bool) -> Value {
    for key in ["run-for", "exit-code", "start-delay", "ready"] {
        if runs || key != "run-for" {
            annotations[format!("{name}.weft.dev/{key}")] = words[key].clone();
        }
    }
    json!({ "name": name, "image": words["image"] })
}

proptest! {
    /// Whatever a pod is told: it settles, its status is written once and not again, and it goes when it is deleted, also
    /// where the node forgets everything on the way.
    #[test]
    fn every_pod_settles_and_goes_when_it_is_deleted(
        inits in prop::collection::vec((word(), any::<bool>()), 0..3),
        mains in prop::collection::vec((word(), any::<bool>()), 1..3),
        policy in prop_oneof![Just("Always"), Just("OnFailure"), Just("Never")],
        deadline in prop::option::of(1..100_u64),
        lived in 0..200_u64,
        forgets in any::<bool>(),
    ) {
        let mut annotations = json!({});
        let mut spec = json!({ "restartPolicy": policy, "initContainers": [], "containers": [] });
        for (nth, (words, sidecar)) in inits.iter().enumerate() {
            let mut made = container(format!("i{nth}"), words, &mut annotations, !sidecar);
            if *sidecar {
                made["restartPolicy"] = json!("Always");
            }
            spec["initContainers"].as_array_mut().expect("a list").push(made);
        }
        for (nth, (words, runs)) in mains.iter().enumerate() {
            let made = container(format!("c{nth}"), words, &mut annotations, *runs);
            spec["containers"].as_array_mut().expect("a list").push(made);
        }
        if let Some(deadline) = deadline {
            spec["activeDeadlineSeconds"] = json!(deadline);
        }
        let mut world = World::new(annotations, spec);
        world.live(lived);
        let before = world.pod.clone();
        let phase = before["status"]["phase"].as_str().map(str::to_owned);
        if forgets {
            // Another process goes on with what the status says.
            world.runtime = None;
            world.host = host();
            let decision = decide(&world.pod, &mut world.host, &mut world.runtime, world.now);
            if let Some(Act::Status(patch)) = &decision.act {
                prop_assert!(patch["status"].get("podIP").is_none(), "another address: {patch}");
            }
        }
        world.live(60);
        if matches!(phase.as_deref(), Some("Succeeded" | "Failed")) {
            prop_assert_eq!(&world.pod, &before, "the last phase is the last");
        }
        world.delete(30).live(60);
        prop_assert!(world.gone, "{:?}", world.said);
        let last = world.pod["status"]["phase"].as_str();
        prop_assert!(matches!(last, Some("Succeeded" | "Failed")), "{last:?}");
    }
}
