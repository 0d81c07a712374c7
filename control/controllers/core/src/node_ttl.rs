//! How long a kubelet may use a Secret or a ConfigMap that it has read: the longer, the more nodes there are.
//!
//! Facts: kube-controller-manager 1.36, `pkg/controller/ttl`.

use apiclient_core::names::ObjectName;
use serde_json::json;

use crate::kinds::NODES;
use crate::{Act, Change, Context, Controller, Decision, Kind, World, Write, object};

const TTL: &str = "node.alpha.kubernetes.io/ttl";

/// From and to how many nodes, and the seconds. They overlap, so that a node more or less changes nothing.
const STEPS: [(usize, usize, u32); 5] =
    [(0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, usize::MAX, 300)];

/// Keys are nodes.
#[derive(Debug)]
pub struct NodeTtl;

/// What a node should have, given what it has.
fn wanted(nodes: usize, has: Option<u32>) -> u32 {
    let fits = |(least, most, _): &&(usize, usize, u32)| (*least..=*most).contains(&nodes);
    let kept = STEPS.iter().filter(fits).find(|(.., seconds)| Some(*seconds) == has);
    kept.or_else(|| STEPS.iter().find(fits)).map_or(0, |(.., seconds)| *seconds)
}

impl Controller for NodeTtl {
    fn name(&self) -> &'static str {
        "ttl-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[NODES]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        // Nodes report often enough: each gets a new number with its next report.
        keys.extend(change.new.as_ref().map(|node| object::key(node)));
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        let Some(node) = world.get(NODES, key) else { return Decision::nothing() };
        let has = object::annotation(node, TTL).and_then(|seconds| seconds.parse().ok());
        let wanted = wanted(world.all(NODES).count(), has);
        if has == Some(wanted) {
            return Decision::nothing();
        }
        let patch = json!({"metadata": {"uid": object::uid(node), "annotations": {TTL: wanted.to_string()}}});
        Decision::nothing().then(Act::new(NODES, Write::Strategic { name: key.clone(), part: "", patch }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trial::Trial;

    #[test]
    fn the_more_nodes_the_longer_and_a_node_more_or_less_changes_nothing() {
        let cases = [
            (1, None, 0),
            (100, None, 0),
            (101, Some(0), 15),
            (95, Some(15), 15),
            (89, Some(15), 0),
            (95, Some(0), 0),
            (5000, Some(7), 300),
            (1900, Some(60), 60),
            (1700, Some(300), 60),
        ];
        for (nodes, has, seconds) in cases {
            assert_eq!(wanted(nodes, has), seconds, "{nodes} nodes, {has:?}");
        }
    }

    #[test]
    fn a_node_is_annotated() {
        let mut trial = Trial::new(|| vec![Box::new(NodeTtl)], 1);
        trial.create(NODES, json!({"metadata": {"name": "n", "annotations": {TTL: "many"}}}));
        trial.settle(Duration::ZERO);
        let node = trial.get(NODES, "", "n").expect("it is there");
        assert_eq!(object::annotation(&node, TTL), Some("0"));
    }
}
