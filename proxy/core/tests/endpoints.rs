//! The choice of endpoints, against kube-proxy's rules written down a second time, plainly.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use proptest::sample::subsequence;
use proxy_core::endpoints::{Candidate, Place, choose};
use proxy_core::names::Name;
use proxy_core::objects::Hints;
use proxy_core::table::{Endpoint, Scope};

#[derive(Clone, Debug)]
struct Pod {
    local: bool,
    ready: bool,
    serving: bool,
    terminating: bool,
    hints: Option<Hints>,
}

fn pod() -> impl Strategy<Value = Pod> {
    let names = |of: [&'static str; 2]| {
        subsequence(of.to_vec(), 0..=2)
            .prop_map(|names| names.into_iter().map(Name::from).collect::<Box<[_]>>())
    };
    let hints = (names(["a", "b"]), names(["here", "there"]), 0..4)
        .prop_map(|(zones, nodes, some)| (some > 0).then_some(Hints { zones, nodes }));
    (any::<(bool, bool, bool, bool)>(), hints).prop_map(|((local, ready, serving, terminating), hints)| Pod {
        local,
        ready,
        serving,
        terminating,
        hints,
    })
}

/// After kube-proxy's `CategorizeEndpoints`: indices of the cluster's and of this node's.
fn categorize(pods: &[Pod], zone: Option<&str>) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let pick = |test: &dyn Fn(&Pod) -> bool| -> BTreeSet<usize> {
        (0..pods.len()).filter(|index| test(&pods[*index])).collect()
    };
    let zones = |pod: &Pod| pod.hints.as_ref().map(|hints| hints.zones.to_vec()).unwrap_or_default();
    let nodes = |pod: &Pod| pod.hints.as_ref().map(|hints| hints.nodes.to_vec()).unwrap_or_default();
    let for_node = |pod: &Pod| nodes(pod).iter().any(|node| &**node == "here");
    let for_zone = |pod: &Pod| zones(pod).iter().any(|name| Some(&**name) == zone);
    let ready = pick(&|pod| pod.ready);
    let serving = pick(&|pod| pod.serving && pod.terminating);
    let all_nodes = ready.iter().all(|index| !nodes(&pods[*index]).is_empty());
    let all_zones = ready.iter().all(|index| !zones(&pods[*index]).is_empty());
    let same_node = pick(&|pod| pod.ready && for_node(pod));
    let same_zone = pick(&|pod| pod.ready && for_zone(pod));
    let cluster = if ready.is_empty() {
        serving
    } else if all_nodes && !same_node.is_empty() {
        same_node
    } else if all_zones && !same_zone.is_empty() {
        same_zone
    } else {
        ready
    };
    let local_ready = pick(&|pod| pod.local && pod.ready);
    let local_serving = pick(&|pod| pod.local && pod.serving && pod.terminating);
    (cluster, if local_ready.is_empty() { local_serving } else { local_ready })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn endpoints_are_chosen_as_kube_proxy_chooses_them(
        pods in proptest::collection::vec(pod(), 0..6), zone in proptest::option::of(Just("a"))
    ) {
        let candidates: Vec<Candidate> = pods.iter().enumerate().map(|(index, pod)| Candidate {
            endpoint: Endpoint {
                ip: IpAddr::V4(Ipv4Addr::from_bits(index as u32)), port: 80, is_local: pod.local,
            },
            ready: pod.ready, serving: pod.serving, terminating: pod.terminating, hints: pod.hints.as_ref(),
        }).collect();
        let place = Place { node: "here", zone };
        let chosen = |scope| -> BTreeSet<usize> {
            let judged = choose(&candidates, scope, place).enumerate();
            judged.filter(|(_, why)| why.is_none()).map(|(index, _)| index).collect()
        };
        prop_assert_eq!((chosen(Scope::Cluster), chosen(Scope::Local)), categorize(&pods, zone));
    }
}
