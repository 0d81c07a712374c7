//! The loop: news come in, work goes out.
//!
//! Owns: followers of every kind, the workers, and the clock. Never: decides.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Instant, SystemTime};

use apiclient::objects::{Api, Changed, News, follow};
use apiclient::{EventRecorder, Query};
use control_controllers_core::{
    Act, Context, Controller, Ended, Engine, Kind, Refused, Stage, Work, Write, autoscaler, garbage,
    namespaces,
};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::writer::resource;
use crate::{Limit, Outcome, Teller, Writer};

/// Keys that are in work at once.
const WORKERS: usize = 64;

/// How the controllers reach the server.
pub struct Access {
    /// For lists and watches.
    pub api: Arc<dyn Api>,
    /// For writes of a controller, by its account.
    pub of: Box<dyn Fn(&'static str) -> Arc<dyn Api> + Send + Sync>,
    /// For its Events.
    pub events: Box<dyn Fn(&'static str) -> EventRecorder + Send + Sync>,
    /// Whether this process leads, asked before each write.
    pub leads: Arc<dyn Fn() -> bool + Send + Sync>,
}

struct Shared {
    engine: RwLock<Engine>,
    /// By the controller's name.
    hands: HashMap<&'static str, Hands>,
    /// Something has happened.
    news: Notify,
    began: Instant,
    seeds: RandomState,
}

/// What a controller works with.
struct Hands {
    writer: Writer,
    teller: Mutex<Teller>,
}

/// What runs besides the controllers of the one loop: it needs kinds that only the server knows, or asks for what is no object.
pub const OTHERS: [&str; 3] = [autoscaler::NAME, garbage::NAME, namespaces::NAME];

/// Runs controllers, and those of [`OTHERS`] that are named, until it is dropped.
pub async fn run(
    controllers: Vec<Box<dyn Controller>>,
    others: &[&str],
    scaling: autoscaler::Settings,
    access: Access,
) -> Infallible {
    let limit = Arc::new(Limit::default());
    let writer = |account| Writer::new((access.of)(account), Arc::clone(&limit), Arc::clone(&access.leads));
    let mut tasks = JoinSet::new();
    if others.contains(&namespaces::NAME) {
        tasks.spawn(crate::namespaces::run((access.of)(namespaces::NAME), writer(namespaces::NAME)));
    }
    if others.contains(&autoscaler::NAME) {
        let account = autoscaler::ACCOUNT;
        let (api, events) = ((access.of)(account), (access.events)(account));
        tasks.spawn(crate::autoscaler::run(api, writer(account), events, scaling));
    }
    if others.contains(&garbage::NAME) {
        let (api, events) = ((access.of)(garbage::ACCOUNT), (access.events)(garbage::ACCOUNT));
        tasks.spawn(crate::garbage::run(api, writer(garbage::ACCOUNT), events));
    }
    let hands = controllers.iter().map(|controller| {
        let account = controller.account();
        let teller = Mutex::new(Teller::new((access.events)(account)));
        (controller.name(), Hands { writer: writer(account), teller })
    });
    let hands = hands.collect();
    let engine = Engine::new(controllers);
    let kinds = engine.kinds();
    let shared = Arc::new(Shared {
        engine: RwLock::new(engine),
        hands,
        news: Notify::new(),
        began: Instant::now(),
        seeds: RandomState::new(),
    });
    for kind in kinds {
        let (shared, api) = (Arc::clone(&shared), Arc::clone(&access.api));
        tasks.spawn(async move {
            follow(api, Query::new(kind.name, resource(kind)), |news| shared.hear(kind, news)).await
        });
    }
    // They end with this function.
    let _tasks = tasks;
    work_on(&shared).await
}

/// Gives out work, as much at once as is good, and looks after its end.
async fn work_on(shared: &Arc<Shared>) -> Infallible {
    let mut workers = JoinSet::new();
    let mut active = HashMap::new();
    loop {
        let mut next = None;
        while workers.len() < WORKERS {
            let now = shared.began.elapsed();
            let mut engine = shared.write();
            let Some(work) = engine.take(now) else {
                next = engine.next(now);
                break;
            };
            drop(engine);
            let task = workers.spawn(Arc::clone(shared).work(work.clone()));
            active.insert(task.id(), work);
        }
        let pause = next.map(|next| next.saturating_sub(shared.began.elapsed()));
        tokio::select! {
            Some(ended) = workers.join_next_with_id() => {
                let id = match &ended {
                    Ok((id, ())) => *id,
                    Err(error) => error.id(),
                };
                let work = active.remove(&id);
                // A decision that panics concerns one key, and is a defect: say so, and go on with the others.
                if let (Err(error), Some(work)) = (ended, work)
                    && error.is_panic()
                {
                    let controller = shared.read().controller(&work).name();
                    tracing::error!(controller, key = %work.key, "this controller has a defect: its work on a key panicked");
                    shared.write().end(&work, Ended::Failed, shared.began.elapsed());
                }
            }
            () = shared.news.notified() => {}
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Engine> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Engine> {
        self.engine.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, kind: Kind, news: News) {
        match news {
            News::All(listed) => {
                let version = listed.version.parse().unwrap_or_default();
                self.write().listed(kind, version, listed.objects);
            }
            News::Changed(Changed::Put(object)) => self.write().put(kind, object),
            News::Changed(Changed::Gone(object)) => self.write().gone(kind, &object),
            News::Changed(Changed::Until(version)) => {
                self.write().until(kind, version.parse().unwrap_or_default());
                return;
            }
            News::Trouble(problem) => {
                tracing::warn!(kind = kind.plural, problem, "cannot follow a kind");
                return;
            }
        }
        self.news.notify_one();
    }

    /// All that is to be done about a key.
    async fn work(self: Arc<Self>, work: Work) {
        let context = Context { now: SystemTime::now(), seed: self.seeds.hash_one(Instant::now()) };
        let (name, decision) = {
            let engine = self.read();
            (engine.controller(&work).name(), engine.decide(&work, &context))
        };
        let mut ended = Ended::Done(decision.again);
        for stage in decision.stages {
            let done = match stage {
                Stage::All(acts) => self.all(name, &work, &context, &acts).await,
                Stage::Growing(acts) => self.growing(name, &work, &context, &acts).await,
                Stage::Tell(note) => {
                    self.tell(name, &note, "");
                    true
                }
            };
            if !done {
                ended = Ended::Failed;
                break;
            }
        }
        self.write().end(&work, ended, self.began.elapsed());
        self.news.notify_one();
    }

    /// One, then two, then four acts, as long as none is refused.
    async fn growing(&self, name: &str, work: &Work, context: &Context, acts: &[Act]) -> bool {
        let (mut rest, mut size) = (acts, 1);
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(size.min(rest.len()));
            if !self.all(name, work, context, batch).await {
                return false;
            }
            (rest, size) = (others, size * 2);
        }
        true
    }

    /// Acts that do not wait for each other; whether all of them were done. The first refusal is the controller's to answer.
    async fn all(&self, name: &str, work: &Work, context: &Context, acts: &[Act]) -> bool {
        let mut going: FuturesUnordered<_> = acts.iter().map(|act| self.act(name, act)).collect();
        let mut refused = None;
        while let Some(end) = going.next().await {
            refused = refused.or(end.err());
        }
        let Some((act, status)) = refused else { return true };
        if let Some(status) = status {
            let refused =
                Refused { act, code: status.code, reason: &status.reason, message: &status.message };
            let answer = self.read().refused(work, context, &refused);
            for act in &answer {
                let _ = self.act(name, act).await;
            }
        }
        false
    }

    async fn act<'a>(
        &self,
        name: &str,
        act: &'a Act,
    ) -> Result<(), (&'a Act, Option<Box<apiclient_core::wire::Status>>)> {
        let Some(hands) = self.hands.get(name) else { return Err((act, None)) };
        match hands.writer.perform(act).await {
            Outcome::Written(object) => {
                // A subresource that is an object of another kind tells nothing about this one.
                if !matches!(act.write, Write::Post { .. }) {
                    self.write().wrote(act.kind, object);
                }
            }
            Outcome::Deleted => {
                let uid = match &act.write {
                    Write::Delete { options, .. } => {
                        control_core::edit::text(options, &["preconditions", "uid"]).to_owned()
                    }
                    _ => String::new(),
                };
                self.write().deleted(act.kind, &act.target(), &uid, SystemTime::now());
            }
            Outcome::Refused(status) => {
                // Somebody was quicker: the news bring it, and the key is decided again.
                if !status.is_conflict() {
                    tracing::debug!(controller = name, key = %act.target(), kind = act.kind.name, problem = status.message, "a write was refused");
                }
                let going = status.details.as_ref().is_some_and(|details| {
                    details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
                });
                if let Some(note) = act.refused.as_ref().filter(|_| !going) {
                    self.tell(name, note, &status.message);
                }
                return Err((act, Some(status)));
            }
            Outcome::NotLeading => return Err((act, None)),
        }
        if let Some(note) = &act.done {
            self.tell(name, note, "");
        }
        Ok(())
    }

    fn tell(&self, name: &str, note: &control_controllers_core::Note, more: &str) {
        if let Some(hands) = self.hands.get(name) {
            hands.teller.lock().unwrap_or_else(PoisonError::into_inner).tell(note, more, Instant::now());
        }
    }
}
