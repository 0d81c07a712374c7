use super::*;
use crate::trial::Trial;

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(AttachDetach::default())]
}

const NAME: &str = "kubernetes.io/csi/example.com^h-v";

fn node(trial: &mut Trial, name: &str) {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    trial.create(
        NODES,
        json!({"metadata": {"name": name, "annotations": {MANAGED: "true"}}, "status": {"conditions": ready}}),
    );
}

fn volume(trial: &mut Trial, modes: Value) {
    let claim = trial.create(
        CLAIMS,
        json!({
            "metadata": {"namespace": "d", "name": "c"}, "spec": {"volumeName": "v"}, "status": {"phase": "Bound"},
        }),
    );
    let reference = json!({"namespace": "d", "name": "c", "uid": object::uid(&claim)});
    let spec = json!({
        "claimRef": reference, "accessModes": modes, "csi": {"driver": "example.com", "volumeHandle": "h-v"},
    });
    trial.create(VOLUMES, json!({"metadata": {"name": "v"}, "spec": spec}));
}

fn pod(trial: &mut Trial, name: &str, node: &str) {
    trial.create(
        PODS,
        json!({
            "metadata": {"namespace": "d", "name": name},
            "spec": {"nodeName": node, "volumes": [{"name": "x", "persistentVolumeClaim": {"claimName": "c"}}]},
            "status": {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]},
        }),
    );
}

fn end(trial: &mut Trial, name: &str) {
    trial.change(PODS, "d", name, |pod| pod["status"]["phase"] = "Succeeded".into());
}

fn settle(trial: &mut Trial) {
    trial.step_without_kubelets(Duration::from_secs(5));
}

/// What the driver's attacher does.
fn attach(trial: &mut Trial) {
    for attachment in trial.all(ATTACHMENTS) {
        let name = object::name(&attachment).to_owned();
        trial.change(ATTACHMENTS, "", &name, |attachment| attachment["status"] = json!({"attached": true}));
    }
    settle(trial);
}

fn nodes(trial: &Trial) -> Vec<String> {
    trial.all(ATTACHMENTS).iter().map(|attachment| node_of(attachment).to_owned()).collect()
}

fn says_attached(trial: &Trial, node: &str) -> Vec<String> {
    reported(&trial.get(NODES, "", node).expect("a node"))
}

#[test]
fn a_volume_is_attached_for_a_pod_reported_and_detached_after_it() {
    let mut trial = Trial::new(make, 1);
    (trial.lost, trial.refusals) = (50, 50);
    node(&mut trial, "n1");
    volume(&mut trial, json!(["ReadWriteOnce"]));
    pod(&mut trial, "p", "n1");
    settle(&mut trial);
    let attachments = trial.all(ATTACHMENTS);
    assert_eq!(attachments.len(), 1);
    // SHA-256 of "h-vexample.comn1", by sha256sum.
    let name = "csi-bc4749e421be7630509d622470e7704482619ba2cf489fe22a378f43d8917b86";
    assert_eq!(object::name(&attachments[0]), name);
    let spec = json!({"attacher": "example.com", "nodeName": "n1", "source": {"persistentVolumeName": "v"}});
    assert_eq!(attachments[0]["spec"], spec);
    assert_eq!(says_attached(&trial, "n1"), [""; 0], "it is ordered, and not there yet");
    attach(&mut trial);
    assert_eq!(says_attached(&trial, "n1"), [NAME]);
    let told = "SuccessfulAttachVolume AttachVolume.Attach succeeded for volume \"v\" ";
    assert_eq!(trial.told.iter().filter(|said| *said == told).count(), 1, "{:?}", trial.told);
    // Its kubelet has it mounted still.
    trial.change(NODES, "", "n1", |node| node["status"]["volumesInUse"] = json!([NAME]));
    end(&mut trial, "p");
    settle(&mut trial);
    assert_eq!(nodes(&trial), ["n1"]);
    trial.change(NODES, "", "n1", |node| node["status"]["volumesInUse"] = json!([]));
    settle(&mut trial);
    assert_eq!(nodes(&trial), [""; 0]);
    assert_eq!(says_attached(&trial, "n1"), [""; 0]);
}

#[test]
fn an_attachment_that_somebody_else_ordered_stays() {
    let mut trial = Trial::new(make, 1);
    node(&mut trial, "n1");
    volume(&mut trial, json!(["ReadWriteOnce"]));
    let order = |name: &str, volume: &str| {
        let source = json!({"persistentVolumeName": volume});
        json!({"metadata": {"name": name}, "spec": {"attacher": "example.com", "nodeName": "n1", "source": source}})
    };
    trial.create(ATTACHMENTS, order("of-a-test", "unknown"));
    trial.create(ATTACHMENTS, order("of-a-person", "v"));
    trial.create(ATTACHMENTS, order(&format!("csi-{:064x}", 7), "gone"));
    settle(&mut trial);
    let left: Vec<_> = trial.all(ATTACHMENTS).iter().map(|left| object::name(left).to_owned()).collect();
    assert_eq!(left, ["of-a-person", "of-a-test"]);
}

#[test]
fn a_volume_of_one_node_comes_to_another_only_when_it_is_detached() {
    for (modes, both) in [(json!(["ReadWriteOnce"]), false), (json!(["ReadWriteMany"]), true)] {
        let mut trial = Trial::new(make, 2);
        node(&mut trial, "n1");
        node(&mut trial, "n2");
        volume(&mut trial, modes);
        pod(&mut trial, "p", "n1");
        settle(&mut trial);
        attach(&mut trial);
        pod(&mut trial, "q", "n2");
        settle(&mut trial);
        let told =
            "FailedAttachVolume Multi-Attach error for volume \"v\" Volume is already used by pod(s) p";
        assert_eq!(trial.told.iter().any(|said| said == told), !both, "{:?}", trial.told);
        assert_eq!(nodes(&trial).len(), if both { 2 } else { 1 });
        end(&mut trial, "p");
        settle(&mut trial);
        assert_eq!(nodes(&trial), ["n2"]);
    }
}

#[test]
fn a_node_that_is_not_ready_keeps_a_mounted_volume_for_six_minutes_and_one_out_of_service_does_not() {
    let unready = |trial: &mut Trial| {
        trial.change(NODES, "", "n1", |node| {
            node["status"]["conditions"][0]["status"] = "Unknown".into();
            node["status"]["volumesInUse"] = json!([NAME]);
        });
    };
    let begun = || {
        let mut trial = Trial::new(make, 3);
        node(&mut trial, "n1");
        volume(&mut trial, json!(["ReadWriteOnce"]));
        pod(&mut trial, "p", "n1");
        settle(&mut trial);
        attach(&mut trial);
        unready(&mut trial);
        end(&mut trial, "p");
        settle(&mut trial);
        assert_eq!(nodes(&trial), ["n1"]);
        trial
    };
    let mut trial = begun();
    trial.step_without_kubelets(PATIENCE - Duration::from_secs(20));
    assert_eq!(nodes(&trial), ["n1"]);
    trial.step_without_kubelets(Duration::from_secs(40));
    assert_eq!(nodes(&trial), [""; 0]);
    let mut trial = begun();
    trial.change(NODES, "", "n1", |node| {
        node["spec"]["taints"] = json!([{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]);
    });
    settle(&mut trial);
    assert_eq!(nodes(&trial), [""; 0]);
}

#[test]
fn nothing_is_attached_where_the_driver_or_the_node_does_without() {
    let mut trial = Trial::new(make, 4);
    node(&mut trial, "n1");
    let driver = json!({"metadata": {"name": "example.com"}, "spec": {"attachRequired": false}});
    trial.create(CSI_DRIVERS, driver);
    volume(&mut trial, json!(["ReadWriteOnce"]));
    pod(&mut trial, "p", "n1");
    settle(&mut trial);
    assert_eq!(nodes(&trial), [""; 0]);
    let mut trial = Trial::new(make, 5);
    trial.create(NODES, json!({"metadata": {"name": "n1"}}));
    volume(&mut trial, json!(["ReadWriteOnce"]));
    pod(&mut trial, "p", "n1");
    settle(&mut trial);
    assert_eq!(nodes(&trial), [""; 0]);
}

#[test]
fn a_driver_that_fails_is_heard() {
    let mut trial = Trial::new(make, 6);
    node(&mut trial, "n1");
    volume(&mut trial, json!(["ReadWriteOnce"]));
    pod(&mut trial, "p", "n1");
    settle(&mut trial);
    let name = object::name(&trial.all(ATTACHMENTS)[0]).to_owned();
    trial.change(ATTACHMENTS, "", &name, |attachment| {
        attachment["status"] = json!({"attached": false, "attachError": {"message": "no such disk"}});
    });
    settle(&mut trial);
    let told = "FailedAttachVolume AttachVolume.Attach failed for volume \"v\" : no such disk";
    assert!(trial.told.iter().any(|said| said == told), "{:?}", trial.told);
}
