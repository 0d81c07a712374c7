//! Stories of a cluster, told to ours and to kube-controller-manager and kube-scheduler: they end the same.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use tests::apiserver::difference::Allowed;
use tests::controllers::story;

/// # Panics
/// Something differs that is not meant to: with all of it.
fn check(stories: &[&str]) {
    let report = story::tell(stories, &Allowed::read_of("controllers"));
    if let Some(path) = std::env::var_os("WEFT_COMPARE_REPORT") {
        std::fs::write(path, &report).expect("a report");
    }
    assert!(report.is_empty(), "differ:\n{report}");
}

#[test]
fn deployments_end_as_with_the_originals() {
    check(&["roll-out", "roll-back", "pause", "bad-image", "recreate", "scale-while-rolling", "adoption"]);
}

#[test]
fn daemon_sets_and_stateful_sets_end_as_with_the_originals() {
    check(&["daemon-set", "daemon-set-surge", "stateful-set", "stateful-set-claims"]);
}

#[test]
fn jobs_and_cron_jobs_end_as_with_the_originals() {
    check(&["jobs", "job-indexes", "job-policies", "cron-job"]);
}

#[test]
fn what_every_cluster_has_ends_as_with_the_originals() {
    check(&["replication-controller", "quota", "ending", "cascades", "account", "aggregation"]);
}

#[test]
fn services_end_as_with_the_originals() {
    check(&["endpoints", "mirror"]);
}

/// These concern nodes, so that nothing else may happen beside them.
#[test]
fn a_drained_node_ends_as_with_the_originals() {
    check(&["drain"]);
}

#[test]
fn a_lost_node_ends_as_with_the_originals() {
    check(&["lost-node"]);
}

#[test]
fn claims_and_volumes_end_as_with_the_originals() {
    check(&["claims"]);
}

#[test]
fn autoscalers_end_as_with_the_originals() {
    check(&["autoscalers"]);
}
