//! Which part of the cluster's networks is a node's.
//!
//! Owns: the ranges of all nodes, of one family or two. Facts: kube-controller-manager 1.36, `pkg/controller/nodeipam/ipam`
//! (`RangeAllocator`).

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::cidrs::Cidr;
use control_core::edit::list;
use serde_json::{Value, json};

use crate::kinds::NODES;
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, Stage, World, Write, object};

/// Most ranges that are looked through for a free one: as many as the original allows in one network.
const MOST: u64 = 1 << 16;

/// A network, and how long the prefixes of nodes are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    cidr: Cidr,
    prefix: u8,
}

/// Why a network cannot be divided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot be divided into ranges of /{prefix} for nodes: {why}")]
pub struct BadNetwork {
    text: String,
    prefix: u8,
    why: &'static str,
}

impl Network {
    /// `prefix`: of a node (`--node-cidr-mask-size`).
    ///
    /// # Errors
    /// The text is no network, or the prefix does not fit into it.
    pub fn new(text: &str, prefix: u8) -> Result<Self, BadNetwork> {
        let bad = |why| BadNetwork { text: text.to_owned(), prefix, why };
        let cidr = Cidr::parse(text.trim())
            .ok_or_else(|| bad("it is no network; want one such as 10.244.0.0/16"))?;
        let bits = if cidr.address.is_ipv4() { 32 } else { 128 };
        if prefix < cidr.prefix || prefix > bits {
            return Err(bad("a node's prefix must be as long as the network's, or longer"));
        }
        if prefix - cidr.prefix > 16 {
            return Err(bad("a node's prefix may be 16 bits longer than the network's at most"));
        }
        Ok(Self { cidr, prefix })
    }

    /// How many nodes it is enough for.
    fn size(self) -> u64 {
        1_u64.checked_shl(u32::from(self.prefix - self.cidr.prefix)).unwrap_or(MOST).min(MOST)
    }

    fn shift(self) -> u32 {
        let bits = if self.cidr.address.is_ipv4() { 32 } else { 128 };
        u32::from(bits - self.prefix)
    }

    fn nth(self, nth: u64) -> String {
        let offset = u128::from(nth).checked_shl(self.shift()).unwrap_or_default();
        let address = match self.cidr.first() {
            IpAddr::V4(first) => {
                let sum = u128::from(first.to_bits()) + offset;
                IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(sum).unwrap_or(u32::MAX)))
            }
            IpAddr::V6(first) => IpAddr::V6(Ipv6Addr::from_bits(first.to_bits().wrapping_add(offset))),
        };
        format!("{address}/{}", self.prefix)
    }

    /// The ranges of this network that another range covers, or is a part of.
    fn taken(self, text: &str) -> std::ops::RangeInclusive<u64> {
        #[allow(clippy::reversed_empty_ranges)]
        const NONE: std::ops::RangeInclusive<u64> = 1..=0;
        let Some(range) =
            Cidr::parse(text).filter(|range| range.address.is_ipv4() == self.cidr.address.is_ipv4())
        else {
            return NONE;
        };
        if range.contains(self.cidr.first()) && range.prefix <= self.cidr.prefix {
            return 0..=self.size() - 1;
        }
        if !self.cidr.contains(range.first()) {
            return NONE;
        }
        let bits = |address| match address {
            IpAddr::V4(address) => u128::from(Ipv4Addr::to_bits(address)),
            IpAddr::V6(address) => address.to_bits(),
        };
        let offset = bits(range.first()) - bits(self.cidr.first());
        let first = u64::try_from(offset >> self.shift()).unwrap_or(u64::MAX);
        let count = 1_u64.checked_shl(u32::from(self.prefix.saturating_sub(range.prefix))).unwrap_or(MOST);
        first..=first.saturating_add(count - 1)
    }
}

/// Gives each node its ranges. All nodes are decided about at once, so that no two get one range: there is one key.
#[derive(Debug)]
pub struct NodeIpam {
    networks: Vec<Network>,
    /// Ranges that no node may have: those of Services.
    reserved: Vec<String>,
}

impl NodeIpam {
    pub fn new(networks: Vec<Network>, reserved: Vec<String>) -> Self {
        Self { networks, reserved }
    }

    /// Free ranges of a network, in order.
    fn free(&self, world: &World, nth: usize) -> impl Iterator<Item = String> + use<> {
        let network = self.networks[nth];
        let of_nodes = world.all(NODES).flat_map(|node| list(node, &["spec", "podCIDRs"]));
        let of_nodes = of_nodes.filter_map(Value::as_str).chain(self.reserved.iter().map(String::as_str));
        let taken: BTreeSet<u64> = of_nodes.flat_map(|range| network.taken(range)).collect();
        (0..network.size()).filter(move |nth| !taken.contains(nth)).map(move |nth| network.nth(nth))
    }
}

fn needs_ranges(node: &Value) -> bool {
    list(node, &["spec", "podCIDRs"]).is_empty() && !object::is_deleting(node)
}

impl Controller for NodeIpam {
    fn name(&self) -> &'static str {
        "node-ipam-controller"
    }

    fn account(&self) -> &'static str {
        "node-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[NODES]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        // What a node leaves may be what another waits for.
        let matters = change.new.as_ref().is_none_or(|node| needs_ranges(node));
        keys.extend(matters.then(ObjectName::default));
    }

    fn decide(&self, world: &World, _: &ObjectName, _: &Context) -> Decision {
        let waiting: Vec<&Arc<Value>> = world.all(NODES).filter(|node| needs_ranges(node)).collect();
        if waiting.is_empty() {
            return Decision::nothing();
        }
        let mut free: Vec<_> = (0..self.networks.len()).map(|nth| self.free(world, nth)).collect();
        let (mut acts, mut decision) = (Vec::new(), Decision::nothing());
        let status =
            |node: &Value, reason: &str| format!("Node {} status is now: {reason}", object::name(node));
        for node in waiting {
            let ranges: Option<Vec<String>> = free.iter_mut().map(Iterator::next).collect();
            let Some(ranges) = ranges else {
                let text = status(node, "CIDRNotAvailable");
                decision.stages.push(Stage::Tell(Note::normal(NODES, node, "CIDRNotAvailable", text)));
                continue;
            };
            let patch = json!({
                "metadata": {"uid": object::uid(node)}, "spec": {"podCIDR": ranges.first(), "podCIDRs": ranges},
            });
            let failed =
                Note::normal(NODES, node, "CIDRAssignmentFailed", status(node, "CIDRAssignmentFailed"));
            let act = Act::new(NODES, Write::Strategic { name: object::key(node), part: "", patch });
            acts.push(act.telling_refusals(failed));
        }
        decision.all(acts)
    }
}
