//! The scheduler's decisions beside kube-scheduler's, on random clusters: the same nodes come into question, the best are the
//! same, and what a pod is told is the same to the letter.
//!
//! kube-scheduler runs on a real API server. Before each pod the objects are read and told to the core, which has to refuse
//! in the same words, or to count the chosen node among the best.
//! Needs the originals in WEFT_PEERS (or peers/bin).

use std::collections::BTreeSet;
use std::time::Duration;

use control_scheduler_core::profile::Profile;
use control_scheduler_core::queue::Waits;
use control_scheduler_core::state::{Kind, State, Step};
use serde_json::{Value, json};
use tests::scheduler::random::{Random, random_node, random_pod};
use tests::scheduler::{Cluster, pod, text};

/// Clusters, and pods in each. The variable is for longer runs.
const CLUSTERS: u64 = 12;
const PODS: u64 = 25;

/// What ours may choose, or says.
fn ours(cluster: &Cluster, wanted: &Value) -> Result<BTreeSet<String>, String> {
    let objects = |path: &str| cluster.list(path);
    let lists = [
        (Kind::Namespace, objects("/api/v1/namespaces")),
        (Kind::Node, objects("/api/v1/nodes")),
        (Kind::Pod, objects("/api/v1/namespaces/default/pods")),
    ];
    let mut best = BTreeSet::new();
    // Chance chooses among equals: many seeds find all of them.
    for seed in 0..64 {
        let mut state = State::new(vec![Profile::default()], Waits::default(), 0, false, seed * 7919 + 1);
        for (kind, list) in &lists {
            for object in list.iter().filter(|object| text(object, "name") != text(wanted, "name")) {
                state.put(*kind, object, Duration::ZERO).unwrap_or_else(|error| panic!("{error}: {object}"));
            }
        }
        state.put(Kind::Pod, wanted, Duration::ZERO).unwrap_or_else(|error| panic!("{error}: {wanted}"));
        match state.step(Duration::ZERO) {
            Step::Bind(bind) => _ = best.insert(bind.node.to_string()),
            Step::Failed(failed) => return Err(failed.message),
            other => panic!("{other:?}"),
        }
    }
    Ok(best)
}

#[test]
fn random_clusters_are_judged_as_the_original_judges_them() {
    let count = std::env::var("WEFT_SCHEDULER_CLUSTERS").ok().and_then(|text| text.parse().ok());
    let first = std::env::var("WEFT_SCHEDULER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let cluster = Cluster::new();
    let theirs = cluster.theirs(&[]);
    let (mut bound, mut refused) = (0, 0);
    for seed in first..first + count.unwrap_or(CLUSTERS) {
        println!("seed {seed}");
        let mut random = Random::new(seed + 1);
        let nodes = 2 + random.below(7);
        for nth in 0..nodes {
            cluster.node(&random_node(&mut random, nth));
        }
        // When this one is refused on all nodes, the scheduler knows them all.
        let mut herald = pod("herald", 1, 1);
        herald["spec"]["nodeSelector"] = json!({"no": "such"});
        cluster.pod(&herald);
        tests::wait::until("the scheduler to know the nodes", || {
            let told = tests::scheduler::verdict(&cluster.get_pod("herald"))?.err()?;
            if told.starts_with(&format!("0/{nodes} nodes")) {
                return Some(());
            }
            cluster.delete_pod("herald");
            cluster.pod(&herald);
            std::thread::sleep(Duration::from_millis(50));
            None
        });
        cluster.delete_pod("herald");
        for nth in 0..PODS {
            let wanted = random_pod(&mut random, &format!("p{nth}"));
            // Whom the scheduler does not see, so that ours is asked about the same moment.
            let made = cluster.pod(&wanted);
            let verdict = cluster.verdict(text(&made, "name"), &theirs);
            let ours = ours(&cluster, &made);
            match (&verdict, &ours) {
                (Ok(node), Ok(best)) => {
                    bound += 1;
                    assert!(best.contains(node), "seed {seed}: {node} is not among {best:?}: {made}");
                }
                (Err(told), Err(say)) => {
                    refused += 1;
                    assert_eq!(say, told, "seed {seed}: {made}");
                    cluster.delete_pod(text(&made, "name"));
                }
                _ => panic!("seed {seed}: theirs {verdict:?}, ours {ours:?}: {made}"),
            }
        }
        for object in cluster.list("/api/v1/namespaces/default/pods") {
            cluster.delete_pod(text(&object, "name"));
        }
        for object in cluster.list("/api/v1/nodes") {
            let path = format!("/api/v1/nodes/{}", text(&object, "name"));
            cluster.api.must("DELETE", &path, None).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    println!("{bound} pods bound, {refused} refused, all as the original");
    assert!(bound > 0 && refused > 0, "{bound} bound, {refused} refused: not a comparison");
}
