//! Deletes what has no owner left.
//!
//! Owns: the followers of all kinds that a server has, and the requests about single objects. Never: decides what becomes of
//! an object; see `control_controllers_core::garbage`.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use apiclient::objects::{Api, Changed, News, Write, follow};
use apiclient::{Event, EventRecorder, Failure, Patch, Query, Reference};
use control_controllers_core::discovery::Resource;
use control_controllers_core::garbage::{
    Answer, Answers, Graph, Identity, Question, Task, Uid, Verdict, followed,
};
use control_controllers_core::{Queue, object};
use futures::{StreamExt, stream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::Writer;
use crate::discovery::{Discovered, discover, path};

/// Objects in work at once (the original's number), and dependents of an owner that goes without them.
const WORKERS: usize = 20;
const ORPHANS: usize = 16;

/// How often the server is asked which kinds it has.
const DISCOVERY: Duration = Duration::from_secs(30);

/// A kind that cannot be listed for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// When an object is looked at again whose owner's kind is not known.
const UNRESOLVED: Duration = Duration::from_secs(30);

struct Garbage {
    api: Arc<dyn Api>,
    writer: Writer,
    events: EventRecorder,
    state: Mutex<State>,
    news: Notify,
    began: Instant,
}

#[derive(Default)]
struct State {
    graph: Graph,
    queue: Queue<Uid>,
    /// Kinds whose first list has not come yet. Before that a dependent may be taken for one without an owner, which costs
    /// a question; but an owner may be taken for one without dependents.
    unlisted: HashSet<Arc<Resource>>,
    discovered: bool,
}

/// Runs until it is dropped. `api` and `writer` have the rights of the account
/// [`generic-garbage-collector`](control_controllers_core::garbage::ACCOUNT).
pub async fn run(api: Arc<dyn Api>, writer: Writer, events: EventRecorder) -> Infallible {
    let shared = Arc::new(Garbage {
        api,
        writer,
        events,
        state: Mutex::default(),
        news: Notify::new(),
        began: Instant::now(),
    });
    tokio::select! {
        never = shared.follow_all() => never,
        never = shared.work_on() => never,
    }
}

impl Garbage {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, state: &mut State, uids: Vec<Uid>) {
        if !uids.is_empty() {
            uids.into_iter().for_each(|uid| state.queue.add(uid));
            self.news.notify_one();
        }
    }

    async fn follow_all(self: &Arc<Self>) -> Infallible {
        let mut tasks = JoinSet::new();
        let mut followers: HashMap<Arc<Resource>, AbortHandle> = HashMap::new();
        loop {
            match discover(&*self.api).await {
                Ok(discovered) => self.follow_these(&discovered, &mut followers, &mut tasks),
                Err(failure) => {
                    tracing::debug!(%failure, "cannot discover kinds; tried again in {DISCOVERY:?}")
                }
            }
            tokio::time::sleep(DISCOVERY).await;
        }
    }

    fn follow_these(
        self: &Arc<Self>,
        discovered: &Discovered,
        followers: &mut HashMap<Arc<Resource>, AbortHandle>,
        tasks: &mut JoinSet<Infallible>,
    ) {
        let wanted: HashSet<Arc<Resource>> = followed(&discovered.resources).cloned().map(Arc::new).collect();
        let mut state = self.state();
        // Where a group does not answer, its kinds are still there.
        if discovered.missing.is_empty() {
            state.graph.discovered(&discovered.resources);
            let vanished: Vec<_> = followers.keys().filter(|kind| !wanted.contains(*kind)).cloned().collect();
            for kind in vanished {
                followers.remove(&kind).inspect(AbortHandle::abort);
                state.unlisted.remove(&kind);
                let look = state.graph.forget(&kind);
                self.look(&mut state, look);
            }
        } else if !state.discovered {
            state.graph.discovered(&discovered.resources);
        }
        for kind in wanted {
            if followers.contains_key(&kind) {
                continue;
            }
            state.unlisted.insert(Arc::clone(&kind));
            let (shared, query) = (Arc::clone(self), Query::new("objects of a kind", path(&kind)));
            let (api, of) = (Arc::clone(&self.api), Arc::clone(&kind));
            let following = async move { follow(api, query, move |news| shared.hear(&of, news)).await };
            followers.insert(kind, tasks.spawn(following));
        }
        state.discovered = true;
        drop(state);
        self.news.notify_one();
    }

    fn hear(&self, kind: &Arc<Resource>, news: News) {
        let mut state = self.state();
        let look = match news {
            News::All(listed) => {
                state.unlisted.remove(kind);
                self.news.notify_one();
                state.graph.listed(kind, &listed.objects)
            }
            News::Changed(Changed::Put(object)) => state.graph.put(kind, &object),
            News::Changed(Changed::Gone(object)) => state.graph.gone(&object),
            News::Changed(Changed::Until(_)) => return,
            News::Trouble(problem) => {
                tracing::debug!(kind = kind.group_resource(), problem, "cannot follow a kind");
                return;
            }
        };
        self.look(&mut state, look);
    }

    async fn work_on(self: &Arc<Self>) -> Infallible {
        let mut workers = JoinSet::new();
        loop {
            let mut next = None;
            while workers.len() < WORKERS {
                let now = self.began.elapsed();
                let mut state = self.state();
                if !state.discovered || !state.unlisted.is_empty() && now < PATIENCE {
                    next = Some(PATIENCE.max(now));
                    break;
                }
                let Some(uid) = state.queue.take(now) else {
                    next = state.queue.next(now);
                    break;
                };
                drop(state);
                let shared = Arc::clone(self);
                workers.spawn(async move { shared.work(uid).await });
            }
            let pause = next.map(|next| next.saturating_sub(self.began.elapsed()));
            tokio::select! {
                Some(ended) = workers.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!("the garbage collector has a defect: it panicked over an object");
                    }
                }
                () = self.news.notified() => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some_and(|pause| !pause.is_zero()) => {}
            }
        }
    }

    async fn work(&self, uid: Uid) {
        let done = self.decide(&uid).await;
        let now = self.began.elapsed();
        let mut state = self.state();
        match done {
            Ok(again) => {
                state.queue.done(&uid);
                if let Some(wait) = again {
                    state.queue.add_at(uid, now + wait);
                }
            }
            Err(failure) => {
                tracing::debug!(uid = &*uid, %failure, "garbage is looked at again");
                state.queue.failed(&uid, now);
            }
        }
        drop(state);
        self.news.notify_one();
    }

    /// Decides, and does it. Returns when to look again.
    async fn decide(&self, uid: &Uid) -> Result<Option<Duration>, Failure> {
        let mut answers = Answers::new();
        loop {
            let verdict = self.state().graph.decide(uid, &answers);
            match verdict {
                Verdict::Nothing => return Ok(None),
                Verdict::Unresolved => return Ok(Some(UNRESOLVED)),
                Verdict::Ask(Question(owner)) => {
                    let answer = self.ask(&owner).await?;
                    answers.insert(owner.answer_key(), answer);
                }
                Verdict::Look(others) => {
                    let mut state = self.state();
                    self.look(&mut state, others);
                    return Ok(None);
                }
                Verdict::Do(tasks) => {
                    self.complain(uid);
                    for task in &tasks {
                        self.perform(task).await?;
                    }
                    return Ok(None);
                }
                Verdict::Orphan { dependents, then } => {
                    let released =
                        dependents.into_iter().map(|task| async move { self.perform(&task).await });
                    let mut released = stream::iter(released).buffer_unordered(ORPHANS);
                    while let Some(done) = released.next().await {
                        done?;
                    }
                    self.perform(&then).await?;
                    return Ok(None);
                }
            }
        }
    }

    async fn ask(&self, owner: &Identity) -> Result<Answer, Failure> {
        match self.api.read(&place(owner)).await {
            Ok(found) if object::uid(&found) == &*owner.uid => Ok(Answer::of(&found)),
            Ok(_) => Ok(Answer::Absent),
            Err(Failure::Refused(status)) if status.is_not_found() => Ok(Answer::Absent),
            Err(failure) => Err(failure),
        }
    }

    /// What is gone already needs nothing.
    async fn perform(&self, task: &Task) -> Result<(), Failure> {
        let (about, write) = match task {
            Task::Delete { object, options } => {
                (object, Write::Delete { path: place(object), options: options.clone() })
            }
            Task::Patch { object, patch } => {
                (object, Write::Patch { path: place(object), patch: Patch::Merge(patch.clone()) })
            }
        };
        match self.writer.once(&write).await {
            Ok(written) => {
                let mut state = self.state();
                let look = state.graph.wrote(&about.kind, &written);
                self.look(&mut state, look);
                Ok(())
            }
            Err(Failure::Refused(status)) if status.is_not_found() => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    fn complain(&self, uid: &Uid) {
        let state = self.state();
        let Some((about, complaints)) = state.graph.complaints(uid) else { return };
        for note in complaints {
            self.events.emit(Event {
                regarding: Reference {
                    api_version: about.kind.api_version().into(),
                    kind: about.kind.kind.clone().into(),
                    namespace: about.name.namespace.to_string(),
                    name: about.name.name.to_string(),
                    uid: about.uid.to_string(),
                },
                reason: "OwnerRefInvalidNamespace".into(),
                action: "OwnerRefInvalidNamespace".into(),
                note,
                warning: true,
            });
        }
    }
}

fn place(object: &Identity) -> String {
    path(&object.kind).object_path(&object.name.namespace, &object.name.name, "")
}
