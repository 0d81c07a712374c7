use std::time::Duration;

use control_core::edit::text;
use proptest::prelude::*;

use super::*;
use crate::trial::Trial;

fn make() -> Vec<Box<dyn Controller>> {
    let networks = [("10.244.0.0/22", 24), ("fd00:244::/62", 64)];
    let networks = networks.map(|(network, prefix)| Network::new(network, prefix).expect("a network"));
    vec![Box::new(NodeIpam::new(networks.to_vec(), vec!["10.244.1.0/25".to_owned()]))]
}

fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}})
}

fn ranges(trial: &Trial) -> Vec<(String, Value)> {
    trial
        .all(NODES)
        .iter()
        .map(|node| (text(node, &["spec", "podCIDR"]).to_owned(), node["spec"]["podCIDRs"].clone()))
        .collect()
}

#[test]
fn each_node_has_a_range_of_each_network_and_gives_it_back() {
    let mut trial = Trial::new(make, 1);
    let mut own = node("a");
    own["spec"] = json!({"podCIDR": "10.244.2.0/24", "podCIDRs": ["10.244.2.0/24"]});
    trial.create(NODES, own);
    for name in ["b", "c", "d"] {
        trial.create(NODES, node(name));
    }
    trial.settle(Duration::from_secs(1));
    let found = ranges(&trial);
    assert_eq!(found[0].0, "10.244.2.0/24", "it stays as it was given");
    assert_eq!(found[1], ("10.244.0.0/24".to_owned(), json!(["10.244.0.0/24", "fd00:244::/64"])));
    assert_eq!(found[2], ("10.244.3.0/24".to_owned(), json!(["10.244.3.0/24", "fd00:244:0:1::/64"])));
    assert_eq!(found[3].0, "", "there is no more: one is a Service's, in part");
    assert!(trial.told.contains(&"CIDRNotAvailable Node d status is now: CIDRNotAvailable".to_owned()));
    trial.delete(NODES, "", "b");
    trial.settle(Duration::from_secs(1));
    assert_eq!(ranges(&trial)[2].0, "10.244.0.0/24");
}

#[test]
fn a_network_that_cannot_be_divided_is_refused() {
    let cases = [
        ("10.244.0.0", 24),
        ("10.244.0.0/16", 12),
        ("10.244.0.0/16", 33),
        ("10.0.0.0/8", 28),
        ("fd00::/40", 64),
    ];
    for (network, prefix) in cases {
        let problem = Network::new(network, prefix).expect_err(network).to_string();
        assert!(problem.contains(network), "{problem}");
    }
    assert!(Network::new("10.244.0.0/16", 24).is_ok() && Network::new("fd00::/48", 64).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any order of news, lost answers, refusals, crashes: no two nodes have one range.
    #[test]
    fn no_two_nodes_have_one_range(
        seed in 1..u64::MAX, crashes in 0..8_u64, lost in 0..300_u64, refusals in 0..200_u64, gone in 0..3_usize,
    ) {
        let make: fn() -> Vec<Box<dyn Controller>> = || {
            vec![Box::new(NodeIpam::new(vec![Network::new("10.0.0.0/20", 24).expect("a network")], Vec::new()))]
        };
        let mut trial = Trial::new(make, seed);
        (trial.crashes, trial.lost, trial.refusals) = (crashes, lost, refusals);
        for nth in 0..10 {
            trial.create(NODES, node(&format!("n{nth}")));
        }
        trial.settle(Duration::from_millis(50));
        for nth in 0..gone {
            trial.delete(NODES, "", &format!("n{nth}"));
            trial.create(NODES, node(&format!("m{nth}")));
        }
        (trial.crashes, trial.refusals) = (0, 0);
        trial.settle(Duration::from_secs(7200));
        let found: BTreeSet<String> = ranges(&trial).into_iter().map(|(first, _)| first).collect();
        prop_assert_eq!(found.len(), 10);
        prop_assert!(!found.contains(""));
    }
}
