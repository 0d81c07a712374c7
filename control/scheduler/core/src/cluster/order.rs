//! The order in which nodes are asked: one of each zone in turn, so that the first ones that fit are in many zones.

use super::NodeId;

/// Zones in the order in which they were seen first, and their nodes likewise.
#[derive(Debug, Default)]
pub struct Order {
    zones: Vec<(String, Vec<NodeId>)>,
    list: Vec<NodeId>,
    stale: bool,
}

impl Order {
    pub fn add(&mut self, node: NodeId, zone: &str) {
        self.stale = true;
        match self.zones.iter_mut().find(|(known, _)| known == zone) {
            Some((_, nodes)) => nodes.push(node),
            None => self.zones.push((zone.to_owned(), vec![node])),
        }
    }

    pub fn remove(&mut self, node: NodeId, zone: &str) {
        self.stale = true;
        if let Some((_, nodes)) = self.zones.iter_mut().find(|(known, _)| known == zone) {
            nodes.retain(|known| *known != node);
        }
        self.zones.retain(|(_, nodes)| !nodes.is_empty());
    }

    /// Works the order out again if need be.
    pub fn settle(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        self.list.clear();
        let longest = self.zones.iter().map(|(_, nodes)| nodes.len()).max().unwrap_or_default();
        for round in 0..longest {
            self.list.extend(self.zones.iter().filter_map(|(_, nodes)| nodes.get(round)));
        }
    }

    /// As of the last [`Order::settle`].
    pub fn list(&self) -> &[NodeId] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_take_turns() {
        let mut order = Order::default();
        for (node, zone) in [(0, "a"), (1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "b")] {
            order.add(node, zone);
        }
        order.settle();
        assert_eq!(order.list(), [0, 2, 4, 1, 5, 3]);
        order.remove(4, "c");
        order.remove(0, "a");
        order.settle();
        assert_eq!(order.list(), [1, 2, 3, 5]);
    }
}
