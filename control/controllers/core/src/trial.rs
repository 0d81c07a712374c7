//! Controllers against a server that is a map: any order of news, lost answers, refusals, crashes anywhere.
//!
//! For tests of convergence: [`Trial::settle`] runs until nothing is left to do, and the caller looks at what is there.

mod kubelets;
mod server;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apiclient_core::names::ObjectName;
use control_core::edit;
use serde_json::Value;

use self::server::{News, Server};
use crate::volumes::protection::holds;
use crate::{Act, Context, Controller, Ended, Engine, Kind, Refused, Stage, Write, kinds, object};

/// More steps than any case needs: what has not settled by then never does.
const ENOUGH: usize = 200_000;

/// Creates the controllers of a process anew after each crash.
type Make = fn() -> Vec<Box<dyn Controller>>;

pub struct Trial {
    server: Server,
    engine: Engine,
    make: Make,
    chance: Chance,
    /// In steps of the trial: one is 10 ms.
    clock: Duration,
    /// Of a thousand steps: in how many the process is killed; answers that are lost; refusals.
    pub crashes: u64,
    pub lost: u64,
    pub refusals: u64,
    /// Answers reviews of access.
    pub allows: fn(&Value) -> bool,
    /// Kubelets do nothing.
    idle: bool,
    /// All that was told.
    pub told: Vec<String>,
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

impl Trial {
    pub fn new(make: Make, seed: u64) -> Self {
        Self {
            server: Server::default(),
            engine: Engine::new(make()),
            make,
            chance: Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            clock: Duration::ZERO,
            crashes: 0,
            lost: 0,
            refusals: 0,
            allows: |_| true,
            idle: false,
            told: Vec::new(),
        }
    }

    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_767_225_600) + self.clock
    }

    /// Somebody else's object.
    pub fn create(&mut self, kind: Kind, object: Value) -> Arc<Value> {
        let now = self.now();
        self.server.create(kind, object, now).expect("a new name")
    }

    /// Somebody else's change, of any part.
    pub fn change(&mut self, kind: Kind, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let known = self.get(kind, namespace, name).expect("it is there");
        let mut new = Value::clone(&known);
        change(&mut new);
        if new["spec"] != known["spec"] {
            edit::set_generation(&mut new, edit::generation(&known) + 1);
        }
        self.server.put(kind, new);
    }

    /// Somebody else's deletion.
    pub fn delete(&mut self, kind: Kind, namespace: &str, name: &str) {
        let now = self.now();
        self.server.delete(kind, &ObjectName::new(namespace, name), "", now).expect("it is there");
    }

    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.server.objects.get(&(kind, ObjectName::new(namespace, name))).cloned()
    }

    pub fn all(&self, kind: Kind) -> Vec<Arc<Value>> {
        let objects = self.server.objects.iter().filter(|((of, _), _)| *of == kind);
        objects.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// The same, and so much time goes by.
    pub fn pass(&mut self, time: Duration) {
        let end = self.clock + time;
        self.settle(time);
        self.clock = self.clock.max(end);
    }

    /// Runs until nothing is left to do for controllers, kubelets and time (as far as `until` from now).
    pub fn settle(&mut self, until: Duration) {
        let end = self.clock + until;
        for _ in 0..ENOUGH {
            if !self.step(end) {
                self.clock = self.clock.max(end);
                return;
            }
        }
        panic!("it does not settle: {} objects, told {:?}", self.server.objects.len(), self.told.last());
    }

    /// As [`Trial::settle`], while kubelets do nothing.
    pub fn step_without_kubelets(&mut self, until: Duration) {
        self.idle = true;
        self.settle(until);
        self.idle = false;
    }

    /// One step of anything; `false`: there is none.
    pub fn step(&mut self, end: Duration) -> bool {
        self.clock += Duration::from_millis(10);
        if self.crashes > self.chance.below(1000) {
            self.engine = Engine::new((self.make)());
        }
        let unlisted: Vec<Kind> =
            self.engine.kinds().into_iter().filter(|kind| !self.engine.world().knows(&[*kind])).collect();
        if !unlisted.is_empty() {
            let kind = unlisted[usize::try_from(self.chance.below(unlisted.len() as u64)).expect("small")];
            self.server.news.remove(&kind);
            self.engine.listed(kind, self.server.version, self.all(kind));
            return true;
        }
        let waiting: Vec<Kind> =
            self.server.news.iter().filter(|(_, news)| !news.is_empty()).map(|(kind, _)| *kind).collect();
        let pick = self.chance.below(3);
        if pick < 2 && !waiting.is_empty() {
            let kind = waiting[usize::try_from(self.chance.below(waiting.len() as u64)).expect("small")];
            match self.server.news.get_mut(&kind).and_then(VecDeque::pop_front) {
                Some(News::Put(object)) => self.engine.put(kind, object),
                Some(News::Gone(object)) => self.engine.gone(kind, &object),
                None => {}
            }
            return true;
        }
        if self.work() || !waiting.is_empty() || !self.idle && self.kubelets() {
            return true;
        }
        // Nothing but time can change anything now.
        match self.engine.next(self.clock) {
            Some(next) if next <= end => {
                self.clock = self.clock.max(next);
                true
            }
            _ => false,
        }
    }

    /// One key, with all its writes.
    fn work(&mut self) -> bool {
        let Some(work) = self.engine.take(self.clock) else { return false };
        let context = Context { now: self.now(), seed: self.chance.below(u64::MAX) };
        let decision = self.engine.decide(&work, &context);
        let mut ended = Ended::Done(decision.again);
        'stages: for stage in decision.stages {
            let acts = match stage {
                Stage::All(acts) | Stage::Growing(acts) => acts,
                Stage::Tell(note) => {
                    self.told.push(format!("{} {}", note.reason, note.text));
                    continue;
                }
            };
            for act in acts {
                // The process may be killed between two writes.
                if self.crashes > self.chance.below(1000) {
                    self.engine = Engine::new((self.make)());
                    return true;
                }
                if let Err(code) = self.perform(&act) {
                    ended = Ended::Failed;
                    let refused = Refused { act: &act, code, reason: "", message: "refused" };
                    if matches!(code, 403 | 500) || matches!(act.write, Write::Create { .. }) {
                        for act in self.engine.refused(&work, &context, &refused) {
                            let _ = self.perform(&act);
                        }
                    }
                    break 'stages;
                }
            }
        }
        self.engine.end(&work, ended, self.clock);
        true
    }

    fn perform(&mut self, act: &Act) -> Result<(), u16> {
        let now = self.now();
        if self.refusals > self.chance.below(1000) {
            return Err(500);
        }
        if let Some((kind, owner)) = &act.alive {
            let found = self.server.objects.get(&(*kind, object::key(owner)));
            if found
                .is_none_or(|found| object::uid(found) != object::uid(owner) || object::is_deleting(found))
            {
                return Err(404);
            }
        }
        if act.allowed.as_ref().is_some_and(|review| !(self.allows)(review)) {
            return Err(403);
        }
        if let Some((kind, name, uid)) = &act.absent
            && let Some(found) = self.server.objects.get(&(*kind, name.clone()))
            && (uid.is_empty() || uid == object::uid(found))
        {
            return Err(409);
        }
        if let Some(claim) = &act.unused
            && self.all(kinds::PODS).iter().any(|pod| holds(pod, claim))
        {
            return Err(409);
        }
        // An answer that is lost: the shell asks the same again until it knows.
        let mut unsure = false;
        for again in [self.lost > self.chance.below(1000), false] {
            let mut done = match &act.write {
                Write::Create { object } => self.server.create(act.kind, object.clone(), now),
                Write::Update { part, object } => self.server.update(act.kind, part, object),
                Write::Merge { name, part, patch } | Write::Strategic { name, part, patch } => {
                    self.server.patch(act.kind, name, part, patch)
                }
                Write::Delete { name, options } => {
                    let uid = edit::text(options, &["preconditions", "uid"]);
                    match self.server.delete(act.kind, name, uid, now) {
                        Err(404 | 409) => Ok(Arc::new(Value::Null)),
                        done => done,
                    }
                }
                Write::Post { .. } => panic!("this server has no {act:?}"),
            };
            if again {
                unsure = true;
                continue;
            }
            if let (Write::Create { object }, Err(409), true) = (&act.write, &done, unsure) {
                let found =
                    self.server.objects.get(&(act.kind, object::key(object))).cloned().ok_or(404_u16)?;
                if object::controller_uid(&found) == object::controller_uid(object) {
                    done = Ok(found);
                }
            }
            let written = done?;
            match &act.write {
                Write::Delete { name, options } => {
                    let uid = edit::text(options, &["preconditions", "uid"]);
                    self.engine.deleted(act.kind, name, uid, now);
                }
                _ => self.engine.wrote(act.kind, written),
            }
            break;
        }
        self.told.extend(act.done.iter().map(|note| format!("{} {}", note.reason, note.text)));
        Ok(())
    }
}
