//! The counts that are kept up are those that a walk over all pods would find, after any changes in any order.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control_scheduler_core::cluster::Cluster;
use control_scheduler_core::cluster::index::{GroupKey, Kind, MatcherKey};
use control_scheduler_core::node::Node;
use control_scheduler_core::pod::affinity::PodTerm;
use control_scheduler_core::pod::{Pod, Specs};
use proptest::prelude::*;
use serde_json::json;
use support::{node, on, pod, with};

const ZONE: &str = "topology.kubernetes.io/zone";

#[derive(Clone, Debug)]
enum Act {
    Node(u8, u8),
    NoNode(u8),
    Pod { name: u8, node: u8, app: u8, namespace: u8, shuns: bool, deleting: bool },
    NoPod(u8),
    Namespace(u8, bool),
    Ask(u8),
    Settle,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0..4_u8, 0..3_u8).prop_map(|(node, zone)| Act::Node(node, zone)),
        1 => (0..4_u8).prop_map(Act::NoNode),
        4 => (0..6_u8, 0..4_u8, 0..3_u8, 0..2_u8, any::<bool>(), any::<bool>()).prop_map(
            |(name, node, app, namespace, shuns, deleting)| Act::Pod { name, node, app, namespace, shuns, deleting }
        ),
        2 => (0..6_u8).prop_map(Act::NoPod),
        1 => (0..2_u8, any::<bool>()).prop_map(|(name, red)| Act::Namespace(name, red)),
        2 => (0..3_u8).prop_map(Act::Ask),
        1 => Just(Act::Settle),
    ]
}

/// Pods of an app, in namespace 0 and in red ones.
fn term(app: u8) -> PodTerm {
    PodTerm {
        namespaces: BTreeSet::from(["ns0".to_owned()]),
        namespace_selector: Some("colour=red".parse().expect("a selector")),
        selector: Some(format!("app=a{app}").parse().expect("a selector")),
    }
}

fn made(name: u8, at: u8, app: u8, namespace: u8, shuns: bool, deleting: bool) -> Pod {
    let mut object = on(&format!("n{at}"), pod(&format!("p{name}"), 100));
    object = with(
        object,
        json!({"metadata": {"namespace": format!("ns{namespace}"), "labels": {"app": format!("a{app}")}}}),
    );
    if deleting {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    if shuns {
        object = with(
            object,
            json!({"spec": {"affinity": {"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": ZONE,
                "labelSelector": {"matchLabels": {"app": "a1"}}}]}}}}),
        );
    }
    Pod::read(&object, &mut Specs::default()).expect("a pod")
}

proptest! {
    #[test]
    fn counts_are_those_of_a_walk(acts in proptest::collection::vec(act(), 0..80)) {
        let mut cluster = Cluster::default();
        let (mut nodes, mut pods) = (BTreeMap::<u8, u8>::new(), BTreeMap::<u8, Arc<Pod>>::new());
        let mut red = BTreeSet::new();
        for act in acts {
            match act {
                Act::Node(name, zone) => {
                    nodes.insert(name, zone);
                    let object = node(&format!("n{name}"), &format!("z{zone}"));
                    cluster.set_node(Node::read(&object).expect("a node"));
                }
                Act::NoNode(name) => {
                    nodes.remove(&name);
                    cluster.remove_node(&format!("n{name}"));
                }
                Act::Pod { name, node, app, namespace, shuns, deleting } => {
                    let pod = Arc::new(made(name, node, app, namespace, shuns, deleting));
                    pods.insert(name, pod.clone());
                    cluster.add_pod(pod);
                }
                Act::NoPod(name) => {
                    pods.remove(&name);
                    cluster.remove_pod(&format!("uid-p{name}"));
                }
                Act::Namespace(name, is_red) => {
                    let name = format!("ns{name}");
                    let labels = if is_red { [("colour".to_owned(), "red".to_owned())].into() } else { Default::default() };
                    cluster.set_namespace(&name, Some(labels));
                    if is_red { red.insert(name) } else { red.remove(&name) };
                }
                Act::Ask(app) => {
                    let key = cluster.key(ZONE);
                    cluster.matcher(&MatcherKey { terms: vec![term(app)], staying: app == 2 }, Some(key));
                }
                Act::Settle => cluster.settle(),
            }
        }
        cluster.settle();
        let key = cluster.key(ZONE);
        let zone_of = |pod: &Pod| {
            let at = pod.node.as_deref()?.strip_prefix('n')?.parse::<u8>().ok()?;
            nodes.get(&at).copied()
        };
        for app in 0..3 {
            let matcher = cluster.matcher(&MatcherKey { terms: vec![term(app)], staying: app == 2 }, Some(key));
            let matches = |pod: &Pod| {
                pod.spec.labels["app"] == format!("a{app}")
                    && (pod.spec.namespace == "ns0" || red.contains(&pod.spec.namespace))
                    && !(app == 2 && pod.deleting)
            };
            for (name, zone) in &nodes {
                let id = cluster.id(&format!("n{name}")).expect("it is there");
                let same = |pod: &&Arc<Pod>| matches(pod) && zone_of(pod) == Some(*zone);
                let want = pods.values().filter(same).count() as i64;
                let domain = cluster.domain(key, id);
                prop_assert_eq!(cluster.index().in_domain(matcher, key, domain), want, "app {} zone {}", app, zone);
                let here = |pod: &&Arc<Pod>| matches(pod) && pod.node.as_deref() == Some(&*format!("n{name}"));
                prop_assert_eq!(cluster.index().on_node(matcher, id) as usize, pods.values().filter(here).count());
            }
        }
        // Rules of placed pods about one that comes.
        let group = GroupKey { namespace: "ns0".to_owned(), labels: [("app".to_owned(), "a1".to_owned())].into(), deleting: false };
        let comes = Pod { spec: Arc::new(control_scheduler_core::pod::Spec {
            namespace: group.namespace.clone(), labels: group.labels.clone(), ..Default::default() }), ..made(9, 0, 1, 0, false, false) };
        let group = cluster.group(&comes);
        for (name, zone) in &nodes {
            let id = cluster.id(&format!("n{name}")).expect("it is there");
            let domain = cluster.domain(key, id);
            let have: i64 = cluster.index().rules_about(group, Kind::Anti).map(|rule| cluster.index().owners(rule, domain)).sum();
            let shuns = |pod: &&Arc<Pod>| !pod.spec.affinity.anti_required.is_empty() && pod.spec.namespace == "ns0" && zone_of(pod) == Some(*zone);
            prop_assert_eq!(have, pods.values().filter(shuns).count() as i64);
        }
        // Sums of a node.
        for name in nodes.keys() {
            let info = cluster.node(cluster.id(&format!("n{name}")).expect("it is there"));
            let here: Vec<_> = pods.values().filter(|pod| pod.node.as_deref() == Some(&*format!("n{name}"))).collect();
            prop_assert_eq!(info.pods.len(), here.len());
            prop_assert_eq!(info.requested.cpu, 100 * here.len() as i64);
        }
    }
}
