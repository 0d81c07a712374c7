//! A table kept up with changes is the table made afresh, and the deltas say truly what changed.

mod common;

use std::sync::Arc;

use common::{change, options};
use proptest::prelude::*;
use proxy_core::cluster::{Change, Cluster, Touched};
use proxy_core::names::ObjectName;
use proxy_core::objects::Kind;
use proxy_core::table::{Action, ServiceTable, Source, TableDelta};
use serde_json::json;

/// What was before, with the delta applied.
fn follow(before: &ServiceTable, delta: &TableDelta) -> Result<ServiceTable, TestCaseError> {
    let mut followed = before.clone();
    for change in &delta.ports {
        prop_assert_ne!(&change.old, &change.new, "a change changes something");
        prop_assert_eq!(followed.ports.get(&change.key), change.old.as_ref());
        match &change.new {
            Some(new) => _ = followed.ports.insert(change.key.clone(), new.clone()),
            None => _ = followed.ports.remove(&change.key),
        }
    }
    Ok(followed)
}

fn same(kept: &ServiceTable, fresh: &ServiceTable) -> Result<(), TestCaseError> {
    prop_assert_eq!(&kept.ports, &fresh.ports);
    prop_assert_eq!(&kept.node, &fresh.node);
    prop_assert_eq!(&kept.health, &fresh.health);
    prop_assert_eq!(&kept.reports, &fresh.reports);
    prop_assert_eq!(&kept.overlaps, &fresh.overlaps);
    prop_assert_eq!(kept.cluster_ips(), fresh.cluster_ips());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_table_kept_up_is_the_table_made_afresh(
        steps in proptest::collection::vec((proptest::collection::vec(change(), 1..4), options()), 1..16)
    ) {
        let mut cluster = Cluster::default();
        let mut kept = ServiceTable::default();
        for (changes, options) in steps {
            let mut touched = Touched::default();
            for change in changes {
                touched.merge(cluster.apply(change));
            }
            let before = kept.clone();
            let delta = kept.rebuild(&cluster, &options, &touched);
            let fresh = ServiceTable::build(&cluster, &options);
            same(&kept, &fresh)?;
            let followed = follow(&before, &delta)?;
            prop_assert_eq!(&followed.ports, &kept.ports);
            prop_assert_eq!(delta.node_before.clone().unwrap_or(kept.node.clone()), before.node.clone());
            let mut cluster_ips = before.cluster_ips();
            prop_assert!(delta.cluster_ips.gone.iter().all(|ip| cluster_ips.remove(ip)));
            prop_assert!(delta.cluster_ips.new.iter().all(|ip| cluster_ips.insert(*ip)));
            prop_assert_eq!(cluster_ips, kept.cluster_ips());
            prop_assert!(delta.ports.is_sorted_by(|one, other| one.key < other.key));
            for key in delta.health {
                prop_assert_ne!(kept.health.get(&key), before.health.get(&key));
            }
            // Nothing touched, nothing done.
            prop_assert!(kept.rebuild(&cluster, &options, &Touched::default()).is_empty());
        }
    }

    #[test]
    fn a_table_keeps_its_promises(
        changes in proptest::collection::vec(change(), 1..24), options in options()
    ) {
        let mut cluster = Cluster::default();
        changes.into_iter().for_each(|change| _ = cluster.apply(change));
        let table = ServiceTable::build(&cluster, &options);
        let mut places = std::collections::BTreeSet::new();
        for port in table.ports.values() {
            prop_assert!(port.cluster.is_sorted_by(|one, other| one < other));
            prop_assert!(port.local.iter().all(|endpoint| endpoint.is_local));
            let all = port.cluster.iter().chain(port.local.iter()).chain(port.serving.iter());
            for endpoint in all {
                prop_assert!(!table.is_cluster_ip(endpoint.ip));
            }
            let mut used = Vec::new();
            for frontend in &port.frontends {
                prop_assert!(places.insert((port.family, frontend.address, port.protocol(), frontend.port)), "unique");
                prop_assert_eq!(frontend.branches.last().map(|branch| branch.source), Some(Source::Any));
                prop_assert_eq!(frontend.branches.iter().filter(|branch| branch.source == Source::Any).count(), 1);
                for scope in frontend.branches.iter().filter_map(|branch| branch.action.scope()) {
                    prop_assert!(!port.group(scope).is_empty());
                    used.push(scope);
                }
                let rejects = frontend.branches.iter().any(|branch| branch.action == Action::Reject);
                prop_assert_eq!(rejects, !port.any_endpoints);
            }
            for scope in [proxy_core::table::Scope::Cluster, proxy_core::table::Scope::Local] {
                prop_assert_eq!(port.group(scope).is_empty(), !used.contains(&scope));
            }
        }
    }
}

#[test]
fn a_change_touches_what_it_is_about() {
    let (mut cluster, options) = common::large(2_000);
    let mut table = ServiceTable::build(&cluster, &options);
    let before: Vec<_> = table.ports.values().cloned().collect();
    let touched = cluster.apply(common::put_endpoint(7, "10.9.9.9"));
    assert_eq!(touched.services.len(), 1);
    let delta = table.rebuild(&cluster, &options, &touched);
    assert_eq!(delta.ports.len(), 1);
    let kept = table.ports.values().zip(&before).filter(|(now, before)| Arc::ptr_eq(now, before)).count();
    assert_eq!(kept, before.len() - 1);
}

#[test]
fn a_change_costs_what_it_is_about_however_much_there_is_besides() {
    const COUNT: usize = 5_000;
    const PORTS: usize = 1_000;
    let (mut cluster, options) = common::large(COUNT);
    let mut wide = |name: &str| {
        let ports: Vec<_> =
            (1..=PORTS).map(|port| json!({"name": format!("p{port}"), "port": port})).collect();
        let objects = [
            json!({
                "kind": "Service", "metadata": {"namespace": "wide", "name": name},
                "spec": {"clusterIP": "10.97.0.1", "externalIPs": ["198.51.100.1"], "ports": ports},
            }),
            json!({
                "kind": "EndpointSlice", "addressType": "IPv4", "ports": ports, "endpoints": [{"addresses": ["10.2.0.1"]}],
                "metadata": {"namespace": "wide", "name": name, "labels": {"kubernetes.io/service-name": name}},
            }),
        ];
        objects.into_iter().map(|object| cluster.apply(Change::Put(common::decoded(object)))).for_each(drop);
    };
    wide("one");
    let mut table = ServiceTable::build(&cluster, &options);
    assert_eq!(table.ports.len(), COUNT + PORTS);
    let mut step = |change| {
        let touched = cluster.apply(change);
        let delta = table.rebuild(&cluster, &options, &touched);
        (delta.looked, delta.ports.len())
    };
    assert_eq!(step(common::put_endpoint(7, "10.9.9.9")), (1, 1));
    assert_eq!(step(common::put_endpoint(7, "10.9.9.9")), (0, 0));
    let name = |namespace: &str, name: &str| ObjectName::new(namespace, name);
    assert_eq!(step(Change::Delete(Kind::Service, name("default", "service-8"))), (0, 1));
    assert_eq!(step(Change::Delete(Kind::EndpointSlice, name("default", "service-9-abcde"))), (1, 1));
    assert_eq!(step(Change::Delete(Kind::EndpointSlice, name("wide", "one"))), (PORTS, PORTS));
    // A service that wants what one of another's ports has: that one's service, and itself.
    let rival = json!({
        "kind": "Service", "metadata": {"namespace": "default", "name": "rival"},
        "spec": {"clusterIP": "10.97.0.2", "externalIPs": ["198.51.100.1"], "ports": [{"port": 80}]},
    });
    let (looked, changed) = step(Change::Put(common::decoded(rival)));
    assert!(looked == PORTS + 1 && changed <= 2, "{looked} {changed}");
    // A node elsewhere, and what of this one no service depends on.
    for (name, address) in [("there", "192.168.0.2"), ("here", "192.168.0.1")] {
        let node = json!({
            "kind": "Node", "metadata": {"name": name, "labels": {"x": "y"}},
            "status": {"addresses": [{"type": "Hostname", "address": address}]},
        });
        assert_eq!(step(Change::Put(common::decoded(node))), (0, 0), "{name}");
    }
}

#[test]
fn the_same_object_again_touches_nothing() {
    let (mut cluster, _) = common::large(10);
    assert!(!cluster.apply(common::put_endpoint(7, "10.9.9.9")).is_empty());
    assert!(cluster.apply(common::put_endpoint(7, "10.9.9.9")).is_empty());
}

#[test]
fn an_overlap_is_reported_once_and_again_when_it_returns() {
    let (mut cluster, options) = common::large(10);
    let mut table = ServiceTable::build(&cluster, &options);
    let mut step = |object| {
        let touched = cluster.apply(Change::Put(common::decoded(object)));
        let delta = table.rebuild(&cluster, &options, &touched);
        let reports: Vec<String> = delta.reports.iter().map(ToString::to_string).collect();
        (reports, table.node.v4.service_cidrs.len())
    };
    let range =
        |net: &str| json!({"kind": "ServiceCIDR", "metadata": {"name": "k"}, "spec": {"cidrs": [net]}});
    let node = |name: &str, address: &str| {
        json!({
            "kind": "Node", "metadata": {"name": name},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        })
    };
    assert_eq!(step(range("10.96.0.0/12")), (vec![], 1));
    let (reports, used) = step(node("there", "10.100.0.2"));
    assert_eq!(used, 0);
    let text = "the range 10.96.0.0/12 of ClusterIPs overlaps with address 10.100.0.2 of node there";
    assert!(
        reports.len() == 1 && reports[0].starts_with(text) && reports[0].contains("ServiceCIDR"),
        "{reports:?}"
    );
    // Whatever else overlaps with it then is no news.
    assert_eq!(step(node("elsewhere", "10.100.0.3")), (vec![], 0));
    assert_eq!(step(node("there", "192.168.0.2")), (vec![], 0));
    assert_eq!(step(node("elsewhere", "192.168.0.3")), (vec![], 1));
    assert_eq!(step(node("there", "10.100.0.2")).0.len(), 1);
}
