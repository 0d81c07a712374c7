//! All controllers over one world: what happens to an object reaches the queues of those whom it concerns.
//!
//! Owns: when a controller may begin, whose turn it is, what an end of work means. Begin at [`Engine::take`].
//! Never: waits or writes; the shell does, and tells what came of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::names::ObjectName;
use serde_json::Value;

use crate::{Act, Change, Context, Controller, Decision, Kind, Queue, Refused, World};

/// Controllers, what they know, and what they have to do.
pub struct Engine {
    world: World,
    controllers: Vec<Running>,
    /// Whose turn is next.
    turn: usize,
}

struct Running {
    controller: Box<dyn Controller>,
    queue: Queue<ObjectName>,
    /// All that it follows is known.
    ready: bool,
}

/// A key of a controller that is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    controller: usize,
    pub key: ObjectName,
}

/// How work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything is written. Looked at again after a while, where the decision says so.
    Done(Option<Duration>),
    /// Something was not; it is tried again after a pause.
    Failed,
}

impl Engine {
    pub fn new(controllers: Vec<Box<dyn Controller>>) -> Self {
        let kinds: BTreeSet<Kind> =
            controllers.iter().flat_map(|controller| controller.follows().iter().copied()).collect();
        let running = |controller| Running { controller, queue: Queue::default(), ready: false };
        Self {
            world: World::following(kinds),
            controllers: controllers.into_iter().map(running).collect(),
            turn: 0,
        }
    }

    /// The kinds that have to be followed.
    pub fn kinds(&self) -> BTreeSet<Kind> {
        self.controllers.iter().flat_map(|running| running.controller.follows().iter().copied()).collect()
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// Every controller knows all that it follows.
    pub fn is_ready(&self) -> bool {
        self.controllers.iter().all(|running| running.ready)
    }

    /// Nothing is to be done now.
    pub fn is_idle(&self) -> bool {
        self.controllers.iter().all(|running| running.queue.is_idle())
    }

    /// News: all objects of a kind.
    pub fn listed(&mut self, kind: Kind, version: u64, objects: Vec<Arc<Value>>) {
        let changes = self.world.replace(kind, version, objects);
        self.hear(changes);
        for running in self.controllers.iter_mut().filter(|running| !running.ready) {
            running.ready = self.world.knows(running.controller.follows());
        }
    }

    /// News: an object is new or has changed.
    pub fn put(&mut self, kind: Kind, object: Arc<Value>) {
        let change = self.world.put(kind, object);
        self.hear(change);
    }

    /// News: an object is gone.
    pub fn gone(&mut self, kind: Kind, object: &Value) {
        let change = self.world.gone(kind, object);
        self.hear(change);
    }

    /// News: nothing happened up to this version.
    pub fn until(&mut self, kind: Kind, version: u64) {
        self.world.until(kind, version);
    }

    /// An own write, as the server answered it.
    pub fn wrote(&mut self, kind: Kind, object: Arc<Value>) {
        let change = self.world.wrote(kind, object);
        self.hear(change);
    }

    /// An own deletion that the server has acknowledged.
    pub fn deleted(&mut self, kind: Kind, key: &ObjectName, uid: &str, now: SystemTime) {
        let change = self.world.deleted(kind, key, uid, now);
        self.hear(change);
    }

    /// The next key to be looked at, of one controller after the other.
    pub fn take(&mut self, now: Duration) -> Option<Work> {
        let all = self.controllers.len();
        for step in 0..all {
            let controller = (self.turn + step) % all;
            let running = &mut self.controllers[controller];
            if !running.ready {
                continue;
            }
            if let Some(key) = running.queue.take(now) {
                self.turn = controller + 1;
                return Some(Work { controller, key });
            }
        }
        None
    }

    /// When [`Engine::take`] gives something; `None`: not before something happens.
    pub fn next(&self, now: Duration) -> Option<Duration> {
        let ready = self.controllers.iter().filter(|running| running.ready);
        ready.filter_map(|running| running.queue.next(now)).min()
    }

    /// The controller whose work it is.
    pub fn controller(&self, work: &Work) -> &dyn Controller {
        &*self.controllers[work.controller].controller
    }

    pub fn decide(&self, work: &Work, context: &Context) -> Decision {
        self.controller(work).decide(&self.world, &work.key, context)
    }

    pub fn refused(&self, work: &Work, context: &Context, refused: &Refused<'_>) -> Vec<Act> {
        self.controller(work).refused(&self.world, &work.key, context, refused)
    }

    /// Work has ended. Returns the pause before it is tried again.
    pub fn end(&mut self, work: &Work, ended: Ended, now: Duration) -> Option<Duration> {
        let queue = &mut self.controllers[work.controller].queue;
        match ended {
            Ended::Done(again) => {
                queue.done(&work.key);
                if let Some(wait) = again {
                    queue.add_at(work.key.clone(), now + wait);
                }
                None
            }
            Ended::Failed => Some(queue.failed(&work.key, now)),
        }
    }

    /// How many keys wait, by controller.
    pub fn depths(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.controllers.iter().map(|running| (running.controller.name(), running.queue.depth()))
    }

    fn hear(&mut self, changes: impl IntoIterator<Item = Change>) {
        let mut keys = Vec::new();
        for change in changes {
            for running in &mut self.controllers {
                if running.controller.follows().contains(&change.kind) {
                    running.controller.concerns(&self.world, &change, &mut keys);
                    keys.drain(..).for_each(|key| running.queue.add(key));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::{PODS, REPLICA_SETS};
    use crate::replica_set::ReplicaSets;

    #[test]
    fn a_controller_waits_until_all_that_it_follows_is_known() {
        let mut engine = Engine::new(vec![Box::new(ReplicaSets::sets())]);
        let set = json!({"metadata": {"namespace": "d", "name": "a", "resourceVersion": "3"}});
        engine.listed(REPLICA_SETS, 3, vec![Arc::new(set)]);
        let now = Duration::ZERO;
        assert_eq!((engine.take(now), engine.next(now), engine.is_ready()), (None, None, false));
        engine.listed(PODS, 3, Vec::new());
        let work = engine.take(now).expect("it is ready");
        assert_eq!(work.key, ObjectName::new("d", "a"));
        assert!(engine.is_ready() && engine.take(now).is_none());
        assert_eq!(engine.end(&work, Ended::Failed, now), Some(Duration::from_millis(5)));
        assert_eq!(engine.next(now), Some(Duration::from_millis(5)));
    }
}
