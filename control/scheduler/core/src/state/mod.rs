//! All that a scheduler knows and decides, between what it is told and what it asks to be done.
//!
//! Owns: [`State`]: objects go in as they come ([`feed`]), [`State::step`] gives the next thing to do, and its outcome comes
//! back ([`State::bound`], [`State::not_bound`]). A pod for which a node was found counts as being there from that moment.
//! Never: performs I/O, reads the clock.

mod feed;
mod kinds;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use apiclient_core::names::{Name, ObjectName};

use crate::attempt::{Attempt, Found};
use crate::cluster::NodeId;
use crate::diagnosis::Diagnosis;
use crate::plugin::{Plugin, Plugins};
use crate::pod::{Pod, Specs};
use crate::preemption::{self, Candidate, Outcome};
use crate::profile::Profile;
use crate::queue::change::Change;
use crate::queue::nominated::Nominated;
use crate::queue::{Moment, Queue, Tried, Waits};
use crate::volumes::{self, Plan};
use crate::world::World;

pub use kinds::{ALL, Kind};

/// What a pod is told where there is no node.
pub const NO_NODES: &str = "no nodes available to schedule pods";

/// What the original says first of every attempt to make room, for pods without resource claims.
const NO_CLAIMS: &str = "no new claims to deallocate";

/// What it says instead where no node was asked: resource claims were not looked at then, and nobody goes on from there.
const NOT_LOOKED_AT: &str = "not found";

#[derive(Debug)]
pub struct State {
    pub world: World,
    pub queue: Queue,
    nominated: Nominated,
    specs: Specs,
    profiles: Vec<Profile>,
    attempt: Attempt,
    /// Programs are asked before a choice is made.
    asks: bool,
    /// Pods that are to be bound, and what is to be bound for them.
    assumed: HashMap<Name, Plan>,
    /// UIDs of known pods.
    pods: HashMap<ObjectName, Name>,
    /// Victims that are on their way.
    doomed: HashSet<Name>,
    seed: u64,
}

/// The next thing to do.
#[derive(Debug)]
pub enum Step {
    /// Nothing until something happens, or until that moment.
    Wait(Option<Moment>),
    /// Bind it; then say how it went.
    Bind(Bind),
    /// It fits nowhere: say so, and make room where that is planned.
    Failed(Box<Failed>),
    /// Ask the programs that have a say, and go on with [`State::answered`].
    Ask(Box<Ask>),
}

#[derive(Clone, Debug)]
pub struct Bind {
    pub pod: Arc<Pod>,
    pub node: Name,
    pub plan: Plan,
    pub tried: Tried,
    /// Nodes that were looked at, and those that fitted.
    pub evaluated: usize,
    pub feasible: usize,
    pub profile: usize,
}

#[derive(Clone, Debug)]
pub struct Failed {
    pub pod: Arc<Pod>,
    pub tried: Tried,
    pub profile: usize,
    pub message: String,
    /// Who refused it.
    pub plugins: Plugins,
    pub room: Option<Room>,
    /// The node that the pod has to name from now on: empty for none, `None` for as before.
    pub nominated: Option<Name>,
    /// Pods that do not get the room any more that was made for them.
    pub displaced: Vec<Arc<Pod>>,
}

impl Failed {
    /// Something went wrong with it that nobody has refused.
    pub fn error(pod: Arc<Pod>, tried: Tried, profile: usize, message: String) -> Self {
        Self {
            pod,
            tried,
            profile,
            message,
            plugins: Plugins::NONE,
            room: None,
            nominated: None,
            displaced: Vec::new(),
        }
    }
}

/// Whom to delete for it.
#[derive(Clone, Debug)]
pub struct Room {
    pub node: Name,
    pub victims: Vec<Arc<Pod>>,
}

/// What extenders are asked.
#[derive(Debug)]
pub struct Ask {
    pub pod: Arc<Pod>,
    pub tried: Tried,
    pub profile: usize,
    pub found: Found,
    pub names: Vec<Name>,
}

/// What they say.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Those that remain, as places in [`Ask::names`], with what to add to their scores.
    pub nodes: Vec<(usize, i64)>,
    /// Places, texts, and whether preemption cannot help.
    pub refused: Vec<(usize, String, bool)>,
}

impl State {
    /// `asks`: there are extenders. `seed` chooses among equals.
    pub fn new(profiles: Vec<Profile>, waits: Waits, percentage: i32, asks: bool, seed: u64) -> Self {
        Self {
            world: World::default(),
            queue: Queue::new(waits),
            nominated: Nominated::default(),
            specs: Specs::default(),
            profiles,
            attempt: Attempt::new(seed, percentage),
            asks,
            assumed: HashMap::new(),
            pods: HashMap::new(),
            doomed: HashSet::new(),
            seed,
        }
    }

    pub fn profile(&self, at: usize) -> &Profile {
        &self.profiles[at]
    }

    /// The profile that a pod names, if it is one of ours.
    fn profile_of(&self, pod: &Pod) -> Option<usize> {
        self.profiles.iter().position(|profile| profile.name == pod.spec.scheduler)
    }

    /// Takes the next pod and finds a node for it.
    pub fn step(&mut self, now: Moment) -> Step {
        loop {
            let Some((pod, tried)) = self.queue.pop(now) else { return Step::Wait(self.queue.next()) };
            let Some(profile) = self.profile_of(&pod) else {
                self.queue.remove(&pod.uid);
                continue;
            };
            let settings = &self.profiles[profile];
            let Some(found) = self.attempt.search(&mut self.world, settings, &pod, &self.nominated) else {
                self.queue.no_nodes(&pod.uid, settings, now);
                let nominated = pod.nominated.as_ref().map(|_| Name::from(""));
                let failed = Failed::error(pod, tried, profile, NO_NODES.to_owned());
                return Step::Failed(Box::new(Failed { nominated, ..failed }));
            };
            if self.asks && !found.nodes.is_empty() {
                let names = found.nodes.iter().map(|id| self.world.cluster.node(*id).name.clone()).collect();
                return Step::Ask(Box::new(Ask { pod, tried, profile, found, names }));
            }
            return self.conclude(pod, tried, profile, found, &[], now);
        }
    }

    /// Goes on where extenders were asked. Where none of them could answer, see [`State::confused`].
    pub fn answered(&mut self, ask: Ask, answers: Answers, now: Moment) -> Step {
        let Ask { pod, tried, profile, mut found, names } = ask;
        if self.queue.get(&pod.uid).is_none() {
            // It went meanwhile.
            return self.step(now);
        }
        let asked = std::mem::take(&mut found.nodes);
        found.diagnosis.by_extender = answers.nodes.len() < asked.len();
        let mut extra = Vec::new();
        for (at, score) in answers.nodes {
            // A node may be gone meanwhile.
            if names.get(at).and_then(|name| self.world.cluster.id(name)) == asked.get(at).copied() {
                found.nodes.push(asked[at]);
                extra.push(score);
            }
        }
        let refused = answers.refused.into_iter();
        let refused = refused.filter_map(|(at, text, hopeless)| Some((*asked.get(at)?, text, hopeless)));
        found.diagnosis.extenders = refused.collect();
        self.conclude(pod, tried, profile, found, &extra, now)
    }

    /// Something went wrong with a pod that is no judgement about it: it is tried again after a while.
    pub fn confused(&mut self, uid: &str, now: Moment) {
        if let Some(profile) = self.queue.get(uid).and_then(|pod| self.profile_of(pod)) {
            self.queue.failed(uid, Plugins::NONE, &self.profiles[profile], now);
        }
    }

    fn conclude(
        &mut self,
        pod: Arc<Pod>,
        tried: Tried,
        profile: usize,
        found: Found,
        extra: &[i64],
        now: Moment,
    ) -> Step {
        let Found { nodes, diagnosis } = found;
        let settings = &self.profiles[profile];
        match self.attempt.choose(&mut self.world, settings, &pod, &nodes, extra) {
            Some(id) => {
                let evaluated = nodes.len() + diagnosis.rejections.len();
                let (node, plan) = self.assume(&pod, id, now);
                Step::Bind(Bind { pod, node, plan, tried, evaluated, feasible: nodes.len(), profile })
            }
            None => Step::Failed(Box::new(self.refuse(pod, tried, profile, diagnosis, now))),
        }
    }

    /// From now on the pod counts as being there.
    fn assume(&mut self, pod: &Arc<Pod>, id: NodeId, now: Moment) -> (Name, Plan) {
        let plan = match pod.spec.volumes.is_empty() {
            true => Plan::default(),
            false => volumes::plan(&self.world, pod, id),
        };
        let node = self.world.cluster.node(id).name.clone();
        self.world.storage.assume(&plan, &node);
        self.nominated.remove(&pod.uid);
        self.queue.placed(&pod.uid);
        let there = Arc::new(Pod { node: Some(node.clone()), ..Pod::clone(pod) });
        self.world.cluster.add_pod(there.clone());
        self.assumed.insert(pod.uid.clone(), plan.clone());
        self.happened(Change::PodPlaced(there), now);
        (node, plan)
    }

    fn refuse(
        &mut self,
        pod: Arc<Pod>,
        tried: Tried,
        profile: usize,
        mut diagnosis: Diagnosis,
        now: Moment,
    ) -> Failed {
        let (mut room, mut nominated, mut displaced) = (None, None, Vec::new());
        if diagnosis.refusal.as_ref().is_some_and(|refusal| refusal.plugin != Plugin::DynamicResources) {
            diagnosis.preemption = NOT_LOOKED_AT.to_owned();
        } else if self.profiles[profile].post_filter.has(Plugin::DefaultPreemption) {
            match self.preempt(&pod, profile, &diagnosis) {
                Outcome::Room(candidate) => {
                    let node = self.world.cluster.node(candidate.node).name.clone();
                    displaced = self.displace(&pod, &node);
                    let target = Arc::new(Pod { nominated: Some(node.clone()), ..Pod::clone(&pod) });
                    self.nominated.set(&target, &node);
                    self.doomed.extend(candidate.victims.iter().map(|victim| victim.uid.clone()));
                    nominated = Some(node.clone());
                    room = Some(Room { node, victims: candidate.victims });
                }
                Outcome::Nothing { message, forget } => {
                    diagnosis.preemption = format!("{NO_CLAIMS}, {message}");
                    if forget {
                        self.nominated.remove(&pod.uid);
                        nominated = pod.nominated.as_ref().map(|_| Name::from(""));
                    }
                }
            }
        }
        let (message, plugins) = (diagnosis.message(&pod), diagnosis.plugins());
        self.queue.failed(&pod.uid, plugins, &self.profiles[profile], now);
        Failed { pod, tried, profile, message, plugins, room, nominated, displaced }
    }

    fn preempt(&mut self, pod: &Pod, profile: usize, diagnosis: &Diagnosis) -> Outcome {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let found = preemption::candidates(
            &mut self.world,
            &self.profiles[profile],
            pod,
            diagnosis,
            &self.nominated,
            &self.doomed,
            self.seed >> 33,
        );
        let none = || Outcome::Nothing { message: String::new(), forget: false };
        match found {
            Ok(candidates) => {
                let best: Option<Candidate> = preemption::best(candidates);
                best.map_or_else(none, Outcome::Room)
            }
            Err(outcome) => outcome,
        }
    }

    /// Less urgent pods for which room was made there look elsewhere.
    fn displace(&mut self, pod: &Pod, node: &Name) -> Vec<Arc<Pod>> {
        let less = self.nominated.on(node).filter(|other| other.priority() < pod.priority());
        let less: Vec<Arc<Pod>> = less.cloned().collect();
        less.iter().for_each(|other| self.nominated.remove(&other.uid));
        less
    }

    /// The server has bound it. The pod itself comes with its node before long.
    pub fn bound(&mut self, uid: &str) {
        if let Some(plan) = self.assumed.get_mut(uid) {
            // It is written.
            *plan = Plan::default();
        }
    }

    /// It is not bound after all: its place is free again, and it is tried again after a while.
    pub fn not_bound(&mut self, uid: &str, now: Moment) {
        let Some(plan) = self.assumed.remove(uid) else { return };
        self.world.storage.forget(&plan);
        if let Some(pod) = self.world.cluster.remove_pod(uid) {
            self.happened(Change::PodGone(pod), now);
        }
        self.confused(uid, now);
    }

    /// A victim is not deleted after all.
    pub fn spared(&mut self, uid: &str) {
        self.doomed.remove(uid);
    }

    /// Pods that are assumed to be on their nodes.
    pub fn assumed(&self) -> usize {
        self.assumed.len()
    }

    fn happened(&mut self, change: Change, now: Moment) {
        let profiles = &self.profiles;
        let of = |pod: &Pod| profiles.iter().find(|profile| profile.name == pod.spec.scheduler);
        self.queue.happened(change, of, now);
    }
}
