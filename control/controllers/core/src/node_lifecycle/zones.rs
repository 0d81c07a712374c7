//! How fast the nodes of a zone may lose their pods.
//!
//! One after the other; where many are down, slower or not at all; and where all are, it is more likely that we are cut off.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::Limits;
use crate::kinds::NODES;
use crate::{World, object};

/// Nodes are counted at most this often.
const COUNTED: Duration = Duration::from_secs(1);

const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

#[derive(Debug, Default)]
pub struct Zones {
    counted: Option<SystemTime>,
    all_down: bool,
    zones: HashMap<String, Zone>,
}

#[derive(Debug, Default)]
struct Zone {
    ready: usize,
    down: usize,
    /// When a node of it lost its pods last.
    evicted: Option<SystemTime>,
}

impl Zone {
    /// Nodes a second.
    #[allow(clippy::cast_precision_loss)]
    fn rate(&self, limits: &Limits) -> f64 {
        let size = self.ready + self.down;
        let many = self.down > 2 && self.down as f64 / size as f64 >= limits.unhealthy;
        match (self.ready, many) {
            (0, _) | (_, false) => limits.rate,
            (_, true) if size > limits.large => limits.secondary_rate,
            (_, true) => 0.0,
        }
    }
}

/// Region and zone.
fn zone(node: &Value) -> String {
    let label = |old: &str, new: &str| {
        object::label(node, old).or_else(|| object::label(node, new)).unwrap_or_default().to_owned()
    };
    let region = label("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region");
    let zone = label("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone");
    format!("{region}\0{zone}")
}

impl Zones {
    /// Counts nodes. Says whether all were down, and are not any more.
    pub fn look(&mut self, world: &World, now: SystemTime) -> bool {
        if self.counted.is_some_and(|counted| now.duration_since(counted).is_ok_and(|age| age < COUNTED)) {
            return false;
        }
        self.counted = Some(now);
        self.zones.values_mut().for_each(|zone| (zone.ready, zone.down) = (0, 0));
        for node in world.all(NODES).filter(|node| object::label(node, EXCLUDED).is_none()) {
            let zone = self.zones.entry(zone(node)).or_default();
            if object::condition_is(node, "Ready", "True") { zone.ready += 1 } else { zone.down += 1 }
        }
        self.zones.retain(|_, zone| zone.ready + zone.down > 0);
        let was = self.all_down;
        self.all_down = self.zones.values().all(|zone| zone.ready == 0);
        was && !self.all_down
    }

    pub fn all_down(&self) -> bool {
        self.all_down
    }

    /// The node's turn to lose its pods: `None` says that it is now; otherwise when to ask again.
    pub fn evict(&mut self, node: &Value, limits: &Limits, now: SystemTime) -> Option<Duration> {
        if self.all_down {
            return Some(super::PERIOD);
        }
        let zone = self.zones.entry(zone(node)).or_default();
        let rate = zone.rate(limits);
        if rate <= 0.0 {
            return Some(super::PERIOD);
        }
        let pause = Duration::from_secs_f64(1.0 / rate);
        let since = zone.evicted.and_then(|evicted| now.duration_since(evicted).ok());
        if let Some(left) = since.and_then(|since| pause.checked_sub(since)).filter(|left| !left.is_zero()) {
            return Some(left);
        }
        zone.evicted = Some(now);
        None
    }
}
