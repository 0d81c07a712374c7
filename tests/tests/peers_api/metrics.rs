//! /metrics beside kube-proxy's: names, types, labels and buckets, and each difference with its reason.

use std::collections::BTreeSet;

use lab::Signal;
use originals::{KubeProxy, Mode, READY_LIMIT, User};

use tests::metrics::read;

use super::testbed::*;
use super::world;

/// What kube-proxy exposes and we do not: how the names begin, and why.
const LACKING: [(&str, &str); 11] = [
    ("go_", "the Go runtime's"),
    ("aggregator_discovery_", "of a library that kube-proxy links; nothing in it moves them"),
    ("apiserver_", "of a library that kube-proxy links; nothing in it moves them"),
    ("cardinality_enforcement_", "of the library of its metrics"),
    ("disabled_metrics_total", "of the library of its metrics"),
    ("hidden_metrics_total", "of the library of its metrics"),
    ("registered_metrics_total", "of the library of its metrics"),
    ("kubernetes_feature_enabled", "there are no feature gates"),
    ("rest_client_", "of Go's API client; ours counts nothing yet"),
    (
        "kubeproxy_iptables_ct_state_invalid_dropped_packets_total",
        "read from nfacct, which our rules do not use",
    ),
    (
        "kubeproxy_iptables_localhost_nodeports_accepted_packets_total",
        "read from nfacct, which our rules do not use",
    ),
];

/// What kube-proxy has too, and shows only once it has a value.
const SHOWN_WITH_A_VALUE: [&str; 6] = [
    "kubeproxy_sync_partial_proxy_rules_duration_seconds",
    "kubeproxy_conntrack_reconciler_sync_duration_seconds",
    "kubeproxy_conntrack_reconciler_deleted_entries_total",
    "kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
    "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
    "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
];

#[test]
fn metrics_are_kube_proxys_with_a_reason_for_each_difference() {
    let testbed = Testbed::new("metrics");
    testbed.apply(&world(&["one"]));
    let kubeconfig = testbed.control_plane.kubeconfig(User::Proxy);
    let flags = ["--hostname-override=here", "--cluster-cidr=10.244.0.0/16"];
    let page = |done: &str| {
        let look = || {
            testbed.get(10256, "/livez").ok()?;
            testbed.get(10256, "/healthz").ok()?;
            Some(testbed.get(10249, "/metrics").ok()?.1).filter(|page| page.contains(done))
        };
        tests::wait::until_explained(done, DEADLINE, look, || format!("{:?}", testbed.get(10249, "/metrics")))
    };
    let mut unused: BTreeSet<&str> = LACKING.iter().map(|(name, _)| *name).collect();
    for mode in [Mode::Nftables, Mode::Iptables] {
        let original = KubeProxy::start(&testbed.node, mode, &kubeconfig, &flags).unwrap();
        original.wait_ready(READY_LIMIT).unwrap_or_else(|error| panic!("{error}"));
        let theirs = read(&page("kubeproxy_sync_proxy_rules_last_timestamp_seconds{"));
        original.stop(Signal::SIGTERM).unwrap();
        let proxy = testbed.start(&[&format!("--proxy-mode={mode}")]);
        proxy.until_ready();
        // Rules are counted aside: the first page may come before that is done.
        let counted = match mode {
            Mode::Iptables => "kubeproxy_sync_proxy_rules_iptables_total{",
            Mode::Nftables => "kubeproxy_proxy_livez_total{",
        };
        let text = page(counted);
        let ours = read(&text);
        assert_eq!(proxy.end(Signal::SIGTERM), Some(0));
        for (name, their) in &theirs {
            match LACKING.iter().find(|(lacking, _)| name.starts_with(lacking)) {
                Some((lacking, _)) => {
                    unused.remove(lacking);
                    assert!(!ours.contains_key(name), "{mode}: {name} is no difference");
                }
                None => {
                    let our = ours.get(name).unwrap_or_else(|| panic!("{mode}: {name} is not in\n{text}"));
                    assert_eq!(our.kind, their.kind, "{mode}: {name}");
                    assert_eq!(our.buckets, their.buckets, "{mode}: {name}");
                    // The build's labels are each builder's own.
                    if name != "kubernetes_build_info" && !their.labels.is_empty() && !our.labels.is_empty() {
                        assert_eq!(our.labels, their.labels, "{mode}: {name}");
                    }
                }
            }
        }
        let more = ours.keys().filter(|name| !theirs.contains_key(*name) && !name.starts_with("weft_"));
        let more: Vec<_> = more.filter(|name| !SHOWN_WITH_A_VALUE.contains(&name.as_str())).collect();
        assert!(more.is_empty(), "{mode}: {more:?}");
    }
    assert!(unused.is_empty(), "no difference any more: {unused:?}");
}
