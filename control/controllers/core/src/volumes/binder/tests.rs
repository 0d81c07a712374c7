use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::trial::Trial;
use crate::volumes::{
    BOUND_BY_CONTROLLER, PROVISIONED_BY, PROVISIONER, SELECTED_NODE, amount, is_for, wanted,
};

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(Binder)]
}

fn trial() -> Trial {
    Trial::new(make, 7)
}

/// A claim; `more` is merged into it.
fn claim(name: &str, size: &str, more: &Value) -> Value {
    let mut claim = json!({
        "metadata": {"namespace": "d", "name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": "",
        },
        "status": {"phase": "Pending"},
    });
    merge(&mut claim, more);
    claim
}

fn volume(name: &str, size: &str, more: &Value) -> Value {
    let mut volume = json!({
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}, "csi": {"driver": "x"},
            "persistentVolumeReclaimPolicy": "Retain",
        },
        "status": {"phase": "Pending"},
    });
    merge(&mut volume, more);
    volume
}

fn merge(into: &mut Value, more: &Value) {
    for (field, value) in more.as_object().into_iter().flatten() {
        match into.get_mut(field).filter(|known| known.is_object() && value.is_object()) {
            Some(known) => merge(known, value),
            None => into[field] = value.clone(),
        }
    }
}

fn settle(trial: &mut Trial) {
    trial.step_without_kubelets(Duration::from_secs(60));
}

fn get(trial: &Trial, name: &str) -> Arc<Value> {
    trial.get(CLAIMS, "d", name).expect("the claim is there")
}

fn get_volume(trial: &Trial, name: &str) -> Arc<Value> {
    trial.get(VOLUMES, "", name).expect("the volume is there")
}

#[test]
fn a_claim_gets_the_smallest_volume_that_is_enough() {
    let class = |name: &str| json!({"spec": {"storageClassName": name}});
    // What the claim wants more than a gigabyte, once; and the volume that it gets of those that are there.
    let cases = [
        (json!({}), "v2"),
        (json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}}), "v4"),
        (json!({"spec": {"resources": {"requests": {"storage": "300Gi"}}}}), ""),
        (json!({"spec": {"accessModes": ["ReadWriteMany"]}}), "v1-many"),
        (json!({"spec": {"volumeMode": "Block"}}), "v1-block"),
        (class("fast"), "v1-fast"),
        (json!({"spec": {"selector": {"matchLabels": {"disk": "old"}}}}), "v9-old"),
        (json!({"spec": {"volumeAttributesClassName": "gold"}}), "v1-gold"),
        (json!({"spec": {"volumeName": "v4"}}), "v4"),
        (json!({"metadata": {"name": "named"}}), "v100-for-named"),
    ];
    for (more, got) in cases {
        let mut trial = trial();
        for (name, size, more) in [
            ("v2", "2Gi", json!({})),
            ("v4", "4Gi", json!({})),
            ("v1-many", "1Gi", json!({"spec": {"accessModes": ["ReadWriteMany", "ReadWriteOnce"]}})),
            ("v1-block", "1Gi", json!({"spec": {"volumeMode": "Block"}})),
            ("v1-fast", "1Gi", class("fast")),
            ("v1-gold", "1Gi", json!({"spec": {"volumeAttributesClassName": "gold"}})),
            ("v9-old", "9Gi", json!({"metadata": {"labels": {"disk": "old"}}})),
            ("v100-for-named", "100Gi", json!({"spec": {"claimRef": {"namespace": "d", "name": "named"}}})),
        ] {
            trial.create(VOLUMES, volume(name, size, &more));
        }
        // Volumes are told of before claims, so that all of them can be chosen.
        settle(&mut trial);
        let name = more["metadata"]["name"].as_str().unwrap_or("c");
        trial.create(CLAIMS, claim(name, "1Gi", &more));
        settle(&mut trial);
        let claim = get(&trial, name);
        assert_eq!(volume_name(&claim), got, "{more}");
        assert_eq!(phase(&claim), if got.is_empty() { "Pending" } else { "Bound" }, "{more}");
    }
}

#[test]
fn both_sides_of_a_binding_name_each_other_and_say_who_made_it() {
    let mut trial = trial();
    trial.create(VOLUMES, volume("v", "2Gi", &json!({})));
    trial.create(CLAIMS, claim("c", "1Gi", &json!({})));
    settle(&mut trial);
    let (claim, volume) = (get(&trial, "c"), get_volume(&trial, "v"));
    assert_eq!((phase(&claim), phase(&volume)), ("Bound", "Bound"));
    assert_eq!(volume["spec"]["claimRef"]["uid"], claim["metadata"]["uid"]);
    for annotation in [BIND_COMPLETED, BOUND_BY_CONTROLLER] {
        assert_eq!(object::annotation(&claim, annotation), Some("yes"));
    }
    assert_eq!(object::annotation(&volume, BOUND_BY_CONTROLLER), Some("yes"));
    let status = json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}});
    assert_eq!(claim["status"], status);
}

#[test]
fn who_names_the_other_side_is_not_marked_as_bound_by_a_controller() {
    let mut trial = trial();
    trial
        .create(VOLUMES, volume("v", "1Gi", &json!({"spec": {"claimRef": {"namespace": "d", "name": "c"}}})));
    trial.create(CLAIMS, claim("c", "1Gi", &json!({"spec": {"volumeName": "v"}})));
    settle(&mut trial);
    assert_eq!(phase(&get(&trial, "c")), "Bound");
    assert_eq!(object::annotation(&get(&trial, "c"), BOUND_BY_CONTROLLER), None);
    assert_eq!(object::annotation(&get_volume(&trial, "v"), BOUND_BY_CONTROLLER), None);
}

#[test]
fn a_volume_that_is_asked_for_by_name_must_be_enough_and_free() {
    let mut trial = trial();
    trial.create(VOLUMES, volume("small", "1Gi", &json!({})));
    trial.create(
        VOLUMES,
        volume("taken", "9Gi", &json!({"spec": {"claimRef": {"namespace": "e", "name": "x"}}})),
    );
    trial.create(CLAIMS, claim("a", "2Gi", &json!({"spec": {"volumeName": "small"}})));
    trial.create(CLAIMS, claim("b", "2Gi", &json!({"spec": {"volumeName": "taken"}})));
    trial.create(CLAIMS, claim("c", "2Gi", &json!({"spec": {"volumeName": "absent"}})));
    settle(&mut trial);
    for name in ["a", "b", "c"] {
        assert_eq!(phase(&get(&trial, name)), "Pending");
    }
    let told = |text: &str| assert!(trial.told.iter().any(|told| told == text), "{text}: {:?}", trial.told);
    told("VolumeMismatch Cannot bind to requested volume \"small\": requested PV is too small");
    told("FailedBinding volume \"taken\" already bound to a different claim.");
}

#[test]
fn a_claim_without_a_volume_says_what_it_waits_for() {
    let class = |name: &str, provisioner: &str, mode: &str| json!({"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode});
    let of = |class: &str| json!({"spec": {"storageClassName": class}});
    let external = "ExternalProvisioning Waiting for a volume to be created either by the external provisioner \
        'example.com/disk' or manually by the system administrator. If volume creation is delayed, please verify that the \
        provisioner is running and correctly registered.";
    let cases = [
        (
            json!({}),
            "FailedBinding no persistent volumes available for this claim and no storage class is set",
        ),
        (of("late"), "WaitForFirstConsumer waiting for first consumer to be created before binding"),
        (of("now"), external),
        (of("absent"), "ProvisioningFailed storageclass.storage.k8s.io \"absent\" not found"),
        (of("manual"), "ProvisioningFailed no volume plugin matched name: kubernetes.io/no-provisioner"),
    ];
    for (more, said) in cases {
        let mut trial = trial();
        trial.create(STORAGE_CLASSES, class("late", "example.com/disk", "WaitForFirstConsumer"));
        trial.create(STORAGE_CLASSES, class("now", "example.com/disk", "Immediate"));
        trial.create(STORAGE_CLASSES, class("manual", "kubernetes.io/no-provisioner", "Immediate"));
        settle(&mut trial);
        trial.create(CLAIMS, claim("c", "1Gi", &more));
        settle(&mut trial);
        assert!(
            trial.told.iter().all(|told| told == said) && !trial.told.is_empty(),
            "{said}: {:?}",
            trial.told
        );
    }
}

#[test]
fn a_claim_that_waits_for_a_pod_is_left_to_the_scheduler() {
    let mut trial = trial();
    let class = json!({
        "metadata": {"name": "late"}, "provisioner": "kubernetes.io/aws-ebs",
        "volumeBindingMode": "WaitForFirstConsumer",
    });
    trial.create(STORAGE_CLASSES, class);
    let late = json!({"spec": {"storageClassName": "late"}});
    trial.create(VOLUMES, volume("v", "1Gi", &late));
    trial.create(CLAIMS, claim("c", "1Gi", &late));
    settle(&mut trial);
    assert_eq!(phase(&get(&trial, "c")), "Pending", "though a volume would fit");
    let pod = json!({
        "metadata": {"namespace": "d", "name": "p"},
        "spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
    });
    trial.create(PODS, pod);
    settle(&mut trial);
    assert_eq!(
        trial.told.last().map(String::as_str),
        Some("WaitForPodScheduled waiting for pod p to be scheduled")
    );
    // The scheduler wants a volume made: it is the driver's work that took the plugin's place.
    trial.change(CLAIMS, "d", "c", |claim| super::super::annotate(claim, SELECTED_NODE, "n"));
    settle(&mut trial);
    let asked = get(&trial, "c");
    for name in PROVISIONER {
        assert_eq!(object::annotation(&asked, name), Some("ebs.csi.aws.com"));
    }
    // Or it has found one.
    trial.change(VOLUMES, "", "v", |volume| {
        volume["spec"]["claimRef"] = json!({"namespace": "d", "name": "c", "uid": object::uid(&asked)});
    });
    settle(&mut trial);
    assert_eq!(volume_name(&get(&trial, "c")), "v");
    assert_eq!(phase(&get_volume(&trial, "v")), "Bound");
}

#[test]
fn a_claim_without_a_word_about_its_class_gets_the_default_one_once_there_is_one() {
    let mut trial = trial();
    let mut silent = claim("c", "1Gi", &json!({}));
    control_core::edit::remove(&mut silent["spec"], "storageClassName");
    trial.create(CLAIMS, silent);
    trial.create(CLAIMS, claim("none", "1Gi", &json!({})));
    settle(&mut trial);
    let default = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    let class = json!({
        "metadata": {"name": "standard", "annotations": default}, "provisioner": "example.com/disk",
        "volumeBindingMode": "Immediate",
    });
    trial.create(STORAGE_CLASSES, class);
    settle(&mut trial);
    assert_eq!(class_of(&get(&trial, "c")), "standard");
    assert_eq!(class_of(&get(&trial, "none")), "", "it has asked for none");
}

#[test]
fn a_claim_that_loses_its_volume_is_lost() {
    let mut trial = trial();
    for name in ["a", "b", "c"] {
        trial.create(
            VOLUMES,
            volume(name, "1Gi", &json!({"spec": {"claimRef": {"namespace": "d", "name": name}}})),
        );
        trial.create(CLAIMS, claim(name, "1Gi", &json!({})));
    }
    settle(&mut trial);
    trial.delete(VOLUMES, "", "a");
    trial.change(VOLUMES, "", "b", |volume| volume["spec"]["claimRef"]["uid"] = "another".into());
    trial.change(CLAIMS, "d", "c", |claim| control_core::edit::remove(&mut claim["spec"], "volumeName"));
    settle(&mut trial);
    for name in ["a", "b", "c"] {
        assert_eq!(get(&trial, name)["status"], json!({"phase": "Lost"}), "{name}");
    }
    for said in [
        "ClaimLost Bound claim has lost its PersistentVolume. Data on the volume is lost!",
        "ClaimMisbound Two claims are bound to the same volume, this one is bound incorrectly",
        "ClaimLost Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
    ] {
        assert_eq!(trial.told.iter().filter(|told| *told == said).count(), 1, "{said}: {:?}", trial.told);
    }
}

#[test]
fn a_volume_without_its_claim_is_released_and_its_policy_decides() {
    let policy = |policy: &str| json!({"spec": {"persistentVolumeReclaimPolicy": policy}});
    let mut by_hand = policy("Delete");
    by_hand["spec"]["csi"] = Value::Null;
    by_hand["spec"]["hostPath"] = json!({"path": "/data"});
    let mut of_driver = policy("Delete");
    of_driver["metadata"] = json!({"annotations": {PROVISIONED_BY: "example.com/disk"}});
    let cases = [
        (policy("Retain"), "Released", ""),
        (policy("Delete"), "Released", ""),
        (of_driver, "Released", ""),
        (
            by_hand,
            "Failed",
            "VolumeFailedDelete the folder /data is a node's, and the controller deletes nothing there",
        ),
        (policy("Recycle"), "Failed", "VolumeFailedRecycle No recycler plugin found for the volume!"),
    ];
    for (more, ends, said) in cases {
        let mut trial = trial();
        trial.create(VOLUMES, volume("v", "1Gi", &more));
        trial.create(CLAIMS, claim("c", "1Gi", &json!({})));
        settle(&mut trial);
        assert_eq!(phase(&get_volume(&trial, "v")), "Bound", "{more}");
        trial.told.clear();
        trial.delete(CLAIMS, "d", "c");
        settle(&mut trial);
        // Another claim of its name is another claim.
        trial.create(CLAIMS, claim("c", "1Gi", &json!({})));
        settle(&mut trial);
        assert_eq!(phase(&get_volume(&trial, "v")), ends, "{more}");
        assert_eq!(
            trial.told.first().map_or("", String::as_str),
            if said.is_empty() { NO_VOLUME } else { said }
        );
        assert_eq!(phase(&get(&trial, "c")), "Pending");
    }
}

const NO_VOLUME: &str =
    "FailedBinding no persistent volumes available for this claim and no storage class is set";

#[test]
fn a_volume_whose_claim_has_another_is_given_back() {
    let mut trial = trial();
    let reserved = json!({"spec": {"claimRef": {"namespace": "d", "name": "c"}}});
    trial.create(VOLUMES, volume("v", "1Gi", &reserved));
    trial.create(CLAIMS, claim("c", "1Gi", &json!({})));
    settle(&mut trial);
    let uid = object::uid(&get(&trial, "c")).to_owned();
    let taken = json!({"spec": {"claimRef": {"namespace": "d", "name": "c", "uid": uid}}});
    let mut ours = taken.clone();
    ours["metadata"] = json!({"annotations": {BOUND_BY_CONTROLLER: "yes"}});
    trial.create(VOLUMES, volume("by-us", "1Gi", &ours));
    trial.create(VOLUMES, volume("by-hand", "1Gi", &taken));
    let mut made = taken.clone();
    made["metadata"] = json!({"annotations": {PROVISIONED_BY: "example.com/disk"}});
    made["spec"]["persistentVolumeReclaimPolicy"] = "Delete".into();
    trial.create(VOLUMES, volume("made-for-it", "1Gi", &made));
    settle(&mut trial);
    let by_us = get_volume(&trial, "by-us");
    assert_eq!((phase(&by_us), claim_key(&by_us)), ("Available", None));
    let by_hand = get_volume(&trial, "by-hand");
    assert_eq!((phase(&by_hand), &by_hand["spec"]["claimRef"]["uid"]), ("Available", &Value::Null));
    assert!(claim_key(&by_hand).is_some(), "it stays reserved");
    assert_eq!(phase(&get_volume(&trial, "made-for-it")), "Released");
}

#[test]
fn sides_of_different_modes_are_told_of() {
    let mut trial = trial();
    let claim = trial.create(CLAIMS, claim("c", "1Gi", &json!({})));
    let reserved = json!({
        "spec": {
            "volumeMode": "Block",
            "claimRef": {"namespace": "d", "name": "c", "uid": object::uid(&claim)},
        },
    });
    trial.create(VOLUMES, volume("v", "1Gi", &reserved));
    settle(&mut trial);
    for said in [
        "VolumeMismatch Cannot bind PersistentVolume to requested PersistentVolumeClaim \"c\" due to incompatible \
         volumeMode.",
        "VolumeMismatch Cannot bind PersistentVolume \"v\" to requested PersistentVolumeClaim due to incompatible \
         volumeMode.",
    ] {
        assert!(trial.told.iter().any(|told| told == said), "{said}: {:?}", trial.told);
    }
}

/// The claim as one of another class: a volume that is reserved for it need not be of its own.
fn of_class(claim: &Value, class: &str) -> Value {
    let mut claim = claim.clone();
    claim["spec"]["storageClassName"] = class.into();
    claim
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Claims and volumes come and go, in any order of news, with crashes, lost answers and refusals.
    #[test]
    fn each_claim_gets_a_volume_of_its_own_and_no_more(
        volumes in prop::collection::vec((1..4_u8, 0..2_usize, any::<bool>(), 0..12_usize), 1..7),
        claims in prop::collection::vec((1..4_u8, 0..2_usize, any::<bool>()), 1..7),
        ends in prop::collection::vec((any::<bool>(), 0..7_usize), 0..4),
        seed in any::<u64>(),
    ) {
        let mut trial = Trial::new(make, seed);
        (trial.crashes, trial.lost, trial.refusals) = (20, 20, 20);
        let classes = ["", "fast"];
        let modes = |many: bool| if many { json!(["ReadWriteOnce", "ReadWriteMany"]) } else { json!(["ReadWriteOnce"]) };
        for (nth, (size, class, many, reserved)) in volumes.iter().enumerate() {
            let mut more = json!({"spec": {"storageClassName": classes[*class], "accessModes": modes(*many)}});
            if *reserved < 6 {
                more["spec"]["claimRef"] = json!({"namespace": "d", "name": format!("c{reserved}")});
            }
            trial.create(VOLUMES, volume(&format!("v{nth}"), &format!("{size}Gi"), &more));
        }
        for (nth, (size, class, many)) in claims.iter().enumerate() {
            let more = json!({"spec": {"storageClassName": classes[*class], "accessModes": modes(*many)}});
            trial.create(CLAIMS, claim(&format!("c{nth}"), &format!("{size}Gi"), &more));
        }
        for (of_claim, nth) in ends {
            settle(&mut trial);
            let (kind, namespace, name) =
                if of_claim { (CLAIMS, "d", format!("c{nth}")) } else { (VOLUMES, "", format!("v{nth}")) };
            if trial.get(kind, namespace, &name).is_some() {
                trial.delete(kind, namespace, &name);
            }
        }
        (trial.crashes, trial.lost, trial.refusals) = (0, 0, 0);
        trial.step_without_kubelets(Duration::from_secs(4000));

        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        for claim in trial.all(CLAIMS) {
            let (name, volume) = (object::name(&claim).to_owned(), volume_name(&claim).to_owned());
            match phase(&claim) {
                "Bound" => {
                    let bound = get_volume(&trial, &volume);
                    prop_assert_eq!(&bound["spec"]["claimRef"]["uid"], &claim["metadata"]["uid"]);
                    prop_assert!(amount(&bound, &["spec", "capacity", "storage"]) >= wanted(&claim));
                    prop_assert!(owners.insert(volume, name).is_none(), "one volume, two claims");
                }
                "Lost" => prop_assert!(trial.get(VOLUMES, "", &volume).is_none()),
                "Pending" => {
                    let fits = |volume: &&Arc<Value>| {
                        (is_for(volume, &claim) || matching::is_free(volume) && class_of(volume) == class_of(&claim))
                            && matching::objection(volume, &of_class(&claim, class_of(volume))).is_none()
                    };
                    let volumes = trial.all(VOLUMES);
                    prop_assert_eq!(volumes.iter().find(fits), None, "{} could have it", name);
                }
                other => prop_assert!(false, "{name} is {other:?}"),
            }
        }
        for volume in trial.all(VOLUMES) {
            let wanted = match claim_key(&volume).filter(|_| volume["spec"]["claimRef"]["uid"].is_string()) {
                None => "Available",
                Some(_) if owners.contains_key(object::name(&volume)) => "Bound",
                Some(_) => "Released",
            };
            prop_assert_eq!(phase(&volume), wanted, "{}", volume);
        }
    }
}
