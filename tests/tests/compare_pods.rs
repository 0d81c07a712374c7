//! Real pods when something is lost: a kubelet, the control plane, a node. The original kubelet takes part, and it takes as
//! long as the next leader waits for the last one, or as a node is given to report: 50 seconds.
//!
//! Needs what `peers_pods` needs.

use std::time::Instant;

use tests::pods::{Cluster, Pod, nodes};

#[test]
fn pods_of_a_lost_node_move_and_the_service_follows_them() {
    let cluster = Cluster::up("lost");
    let (pods, service) = cluster.deploy_web();
    let lost: Vec<Pod> = pods.iter().filter(|pod| pod.node == "n1").cloned().collect();
    assert!(!lost.is_empty(), "{pods:?}");
    let there = cluster.machine("n2");
    cluster.wait_answers(there, service, &pods);

    cluster.set_cable("n1", "down");
    let cut = Instant::now();
    cluster.until("the node to be lost", || (!cluster.is_ready("n1")).then_some(()));
    let noticed = cut.elapsed();
    cluster.until("its pods to be told to go", || {
        let pods = cluster.pods("web");
        pods.iter().filter(|pod| pod.node == "n1").all(|pod| pod.going).then_some(())
    });
    let evicted = cut.elapsed();
    let moved = cluster.until("others in their place", || {
        let pods: Vec<Pod> = cluster.pods("web").into_iter().filter(|pod| pod.ready && !pod.going).collect();
        (pods.len() == 3 && nodes(&pods).into_iter().eq(["n2"])).then_some(pods)
    });
    cluster.wait_answers(there, service, &moved);
    let followed = cut.elapsed();
    // Nobody but its kubelet knows whether they have ended.
    let still = cluster.pods("web");
    assert!(lost.iter().all(|pod| still.iter().any(|other| other.name == pod.name)), "{still:?}");

    cluster.set_cable("n1", "up");
    let back = Instant::now();
    cluster.until("the node to be back", || cluster.is_ready("n1").then_some(()));
    let ready = back.elapsed();
    cluster.until("its old pods to be gone", || (cluster.pods("web") == moved).then_some(()));
    let here = cluster.machine("n1");
    cluster.until("nothing of them on the node", || here.in_use().is_empty().then_some(()));
    let gone = back.elapsed();
    cluster.wait_answers(here, service, &moved);

    cluster.must(&["rollout", "restart", "deployment/web"]);
    cluster.must(&["rollout", "status", "deployment/web", "--timeout=100s"]);
    let (renewed, _) = cluster.deploy_web();
    assert_eq!(nodes(&renewed).into_iter().collect::<Vec<_>>(), ["n1", "n2"]);
    for machine in cluster.machines() {
        cluster.wait_answers(machine, service, &renewed);
    }
    cluster.delete_web(service);
    telemetry::note!(
        "a node was cut off: lost after {noticed:.1?}, its pods evicted after {evicted:.1?}, others served in their place \
         after {followed:.1?}; it came back: ready after {ready:.1?}, its old pods gone after {gone:.1?}"
    );
}

#[test]
fn pods_outlive_their_kubelet_and_the_control_plane() {
    let cluster = Cluster::up("killed");
    let (pods, service) = cluster.deploy_web();
    for machine in cluster.machines() {
        cluster.wait_answers(machine, service, &pods);
    }
    cluster.restart_kubelet("n1");
    cluster.kill_control();
    for machine in cluster.machines() {
        let answers = (0..100).filter_map(|_| machine.ask(service)).count();
        assert_eq!(answers, 100, "on {}, without a control plane", machine.name());
    }
    cluster.start_control();
    // A kubelet that is there writes its lease again; one that is not, is ready for 50 seconds all the same.
    cluster.must(&["delete", "leases", "--namespace=kube-node-lease", "--all"]);
    cluster.until("kubelets to renew their leases", || {
        let leases = cluster.get(&["leases", "--namespace=kube-node-lease"]);
        (leases["items"].as_array().map(Vec::len) == Some(2)).then_some(())
    });
    cluster.until("the same pods, ready", || (cluster.pods("web") == pods).then_some(()));
    cluster.must(&["scale", "deployment/web", "--replicas=2"]);
    let fewer = cluster.until("one pod less", || {
        let pods = cluster.pods("web");
        (pods.len() == 2).then_some(pods)
    });
    assert!(fewer.iter().all(|pod| pods.contains(pod)), "{fewer:?} of {pods:?}");
    for machine in cluster.machines() {
        cluster.wait_answers(machine, service, &fewer);
    }
    cluster.delete_web(service);
}
