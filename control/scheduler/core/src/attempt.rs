//! One attempt to find a node for a pod.
//!
//! Owns: the search ([`Attempt::search`]), which ends when enough nodes fit, and the choice among them
//! ([`Attempt::choose`]). Between the two a shell may ask its extenders. Never: places the pod.

use crate::cluster::NodeId;
use crate::diagnosis::Diagnosis;
use crate::filters::{Prepared, Rejection};
use crate::pod::Pod;
use crate::profile::Profile;
use crate::queue::nominated::Nominated;
use crate::scores;
use crate::world::World;

/// What stays from one attempt to the next.
#[derive(Debug)]
pub struct Attempt {
    /// Where in the order of nodes the next search begins, so that all of them have their turn.
    start: usize,
    random: u64,
    /// Percent of the nodes that have to fit before a search ends, where a profile does not say; 0: as many as is wise.
    pub percentage: i32,
    totals: Vec<i64>,
    room: Vec<i64>,
}

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// They fit; empty where none does.
    pub nodes: Vec<NodeId>,
    pub diagnosis: Diagnosis,
}

impl Attempt {
    /// `seed` chooses among equals.
    pub fn new(seed: u64, percentage: i32) -> Self {
        Self { start: 0, random: seed | 1, percentage, totals: Vec::new(), room: Vec::new() }
    }

    /// Nodes that a pod may go to. `None`: there is no node at all.
    pub fn search(
        &mut self,
        world: &mut World,
        profile: &Profile,
        pod: &Pod,
        nominated: &Nominated,
    ) -> Option<Found> {
        world.cluster.settle();
        let all = world.cluster.order().len();
        if all == 0 {
            return None;
        }
        let mut diagnosis = Diagnosis { nodes: all, ..Diagnosis::default() };
        let prepared = match Prepared::new(world, profile, pod) {
            Ok(prepared) => prepared,
            Err(refusal) => {
                diagnosis.refusal = Some(refusal);
                return Some(Found { nodes: Vec::new(), diagnosis });
            }
        };
        // Room may have been made for it: then that node is likely the only one.
        let meant = pod.nominated.as_ref().and_then(|name| world.cluster.id(name));
        if let Some(id) = meant
            && prepared.only.as_ref().is_none_or(|only| only.contains(&*world.cluster.node(id).name))
            && check(world, &prepared, id, nominated).is_none()
        {
            return Some(Found { nodes: vec![id], diagnosis });
        }
        let candidates: Option<Vec<NodeId>> = prepared
            .only
            .as_ref()
            .map(|only| only.iter().filter_map(|name| world.cluster.id(name)).collect());
        let count = candidates.as_ref().map_or(all, Vec::len);
        diagnosis.left_out = all - count;
        let enough = profile.enough(count, self.percentage);
        let mut nodes = Vec::with_capacity(enough.min(count));
        for nth in 0..count {
            let id = match &candidates {
                Some(candidates) => candidates[nth],
                None => world.cluster.order()[(self.start + nth) % all],
            };
            match check(world, &prepared, id, nominated) {
                Some(rejection) => diagnosis.rejections.push((id, rejection)),
                None => nodes.push(id),
            }
            if nodes.len() >= enough {
                break;
            }
        }
        self.start = (self.start + nodes.len() + diagnosis.rejections.len()) % all;
        Some(Found { nodes, diagnosis })
    }

    /// The best of nodes that fit; `extra` adds to their scores. `None` where there is none.
    pub fn choose(
        &mut self,
        world: &mut World,
        profile: &Profile,
        pod: &Pod,
        nodes: &[NodeId],
        extra: &[i64],
    ) -> Option<NodeId> {
        if let [only] = nodes {
            return Some(*only);
        }
        let (mut totals, mut room) = (std::mem::take(&mut self.totals), std::mem::take(&mut self.room));
        scores::add(world, profile, pod, nodes, &mut totals, &mut room);
        totals.iter_mut().zip(extra).for_each(|(total, more)| *total += more);
        let best = self.best(&totals).map(|at| nodes[at]);
        (self.totals, self.room) = (totals, room);
        best
    }

    /// The place of the largest; any of equals, each with the same chance.
    fn best(&mut self, totals: &[i64]) -> Option<usize> {
        let most = totals.iter().max()?;
        let equals = totals.iter().filter(|total| *total == most).count();
        let nth = usize::try_from(self.draw() % equals as u64).unwrap_or_default();
        totals.iter().enumerate().filter(|(_, total)| *total == most).nth(nth).map(|(at, _)| at)
    }

    /// xorshift64: only for spreading.
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// A node, where pods for which room was made there and that are not less urgent count as being there; and without them,
/// since they may never come and this pod may need them gone (or there).
pub fn check(
    world: &mut World,
    prepared: &Prepared<'_>,
    id: NodeId,
    nominated: &Nominated,
) -> Option<Rejection> {
    if nominated.is_empty() {
        return prepared.check(world, id);
    }
    let guests: Vec<_> = nominated
        .on(&world.cluster.node(id).name)
        .filter(|guest| guest.priority() >= prepared.pod.priority() && guest.uid != prepared.pod.uid)
        .filter(|guest| world.cluster.pod(&guest.uid).is_none())
        .cloned()
        .collect();
    if !guests.is_empty() {
        let name = world.cluster.node(id).name.clone();
        for guest in &guests {
            let mut guest = Pod::clone(guest);
            guest.node = Some(name.clone());
            world.cluster.add_pod(guest.into());
        }
        let rejection = match Prepared::new(world, prepared.profile, prepared.pod) {
            Ok(again) => again.check(world, id),
            Err(_) => prepared.check(world, id),
        };
        for guest in &guests {
            world.cluster.remove_pod(&guest.uid);
        }
        if rejection.is_some() {
            return rejection;
        }
    }
    prepared.check(world, id)
}
