//! Empties namespaces that are going, and lets them go.
//!
//! Owns: which namespaces are going, and the requests about their content, kind by kind. Never: decides what comes next; see
//! `control_controllers_core::namespaces`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use apiclient::objects::{Api, Changed, News, Write, follow};
use apiclient::{Failure, Query};
use apiclient_core::names::ObjectName;
use control_controllers_core::discovery::Resource;
use control_controllers_core::kinds::NAMESPACES;
use control_controllers_core::namespaces::{End, Pass, Step, finalize, kinds, options, step};
use control_controllers_core::{Act, Queue, object};
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::discovery::{discover, path};
use crate::writer::resource;
use crate::{Outcome, Writer};

/// Namespaces in work at once (the original's number), and kinds of one of them.
const WORKERS: usize = 10;
const KINDS: usize = 8;

/// The pause between the first two passes; it doubles, up to what the content needs.
const FIRST: Duration = Duration::from_millis(250);

struct Namespaces {
    api: Arc<dyn Api>,
    writer: Writer,
    going: Mutex<Going>,
    news: Notify,
    began: Instant,
}

#[derive(Default)]
struct Going {
    queue: Queue<ObjectName>,
    /// Passes over a namespace so far.
    passes: HashMap<ObjectName, u32>,
}

/// Runs until it is dropped. `api` and `writer` have the rights of the account
/// [`namespace-controller`](control_controllers_core::namespaces::NAME).
pub async fn run(api: Arc<dyn Api>, writer: Writer) -> Infallible {
    let shared = Arc::new(Namespaces {
        api: Arc::clone(&api),
        writer,
        going: Mutex::default(),
        news: Notify::new(),
        began: Instant::now(),
    });
    let hears = Arc::clone(&shared);
    let following =
        follow(api, Query::new(NAMESPACES.name, resource(NAMESPACES)), move |news| hears.hear(news));
    tokio::select! {
        never = following => never,
        never = shared.work_on() => never,
    }
}

impl Namespaces {
    fn going(&self) -> MutexGuard<'_, Going> {
        self.going.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, news: News) {
        match news {
            News::All(listed) => listed.objects.iter().for_each(|namespace| self.add(namespace)),
            News::Changed(Changed::Put(namespace)) => self.add(&namespace),
            News::Changed(Changed::Gone(namespace)) => {
                _ = self.going().passes.remove(&object::key(&namespace))
            }
            News::Changed(Changed::Until(_)) => {}
            News::Trouble(problem) => tracing::warn!(problem, "cannot follow namespaces"),
        }
    }

    fn add(&self, namespace: &Value) {
        // Our own writes of conditions come back as news: they are no reason for a pass.
        if step(namespace) != Step::Nothing && !self.going().passes.contains_key(&object::key(namespace)) {
            self.going().queue.add(object::key(namespace));
            self.news.notify_one();
        }
    }

    async fn work_on(self: &Arc<Self>) -> Infallible {
        let mut workers = JoinSet::new();
        loop {
            let mut next = None;
            while workers.len() < WORKERS {
                let now = self.began.elapsed();
                let mut going = self.going();
                let Some(key) = going.queue.take(now) else {
                    next = going.queue.next(now);
                    break;
                };
                drop(going);
                let shared = Arc::clone(self);
                workers.spawn(async move { shared.work(key).await });
            }
            let pause = next.map(|next| next.saturating_sub(self.began.elapsed()));
            tokio::select! {
                Some(ended) = workers.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!("the deletion of a namespace has a defect: it panicked");
                    }
                }
                () = self.news.notified() => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    /// One pass, and when the next one is.
    async fn work(&self, key: ObjectName) {
        self.going().passes.entry(key.clone()).or_default();
        let ended = self.pass(&key).await;
        let now = self.began.elapsed();
        let mut going = self.going();
        match ended {
            Ok(End::Empty) => {
                going.passes.remove(&key);
                going.queue.done(&key);
            }
            Ok(End::Again(wait)) => {
                let passes = going.passes.entry(key.clone()).or_default();
                let pause = FIRST.saturating_mul(1 << (*passes).min(16)).min(wait);
                *passes += 1;
                going.queue.done(&key);
                going.queue.add_at(key.clone(), now + pause);
            }
            Ok(End::Failed) | Err(_) => _ = going.queue.failed(&key, now),
        }
        if let Err(problem) = ended {
            tracing::debug!(namespace = %key, problem, "the end of a namespace is tried again");
        }
        drop(going);
        self.news.notify_one();
    }

    async fn pass(&self, key: &ObjectName) -> Result<End, String> {
        let mut namespace = match self.api.read(&resource(NAMESPACES).object_path("", &key.name, "")).await {
            Ok(namespace) => namespace,
            Err(Failure::Refused(status)) if status.is_not_found() => return Ok(End::Empty),
            Err(failure) => return Err(failure.to_string()),
        };
        if let Step::Mark(act) = step(&namespace) {
            namespace = self.perform(&act).await?;
        }
        if step(&namespace) != Step::Empty {
            return Ok(End::Empty);
        }
        let pass = self.empty(&namespace).await.map_err(|failure| failure.to_string())?;
        if let Some(act) = pass.conditions(&namespace, SystemTime::now()) {
            namespace = self.perform(&act).await?;
        }
        let end = pass.end(&namespace, SystemTime::now());
        if end == End::Empty {
            self.perform(&finalize(&namespace)).await?;
        }
        Ok(end)
    }

    async fn perform(&self, act: &Act) -> Result<Arc<Value>, String> {
        match self.writer.perform(act).await {
            Outcome::Written(namespace) => Ok(namespace),
            Outcome::Deleted => Ok(Arc::default()),
            Outcome::Refused(status) => Err(status.message),
            Outcome::NotLeading => Err("this process does not lead".to_owned()),
        }
    }

    /// Deletes all content: pods, and what else there is once they are gone.
    async fn empty(&self, namespace: &Value) -> Result<Pass, Failure> {
        let discovered = discover(&*self.api).await?;
        let mut pass = Pass::default();
        if !discovered.missing.is_empty() {
            pass.undiscovered(discovered.missing.len(), &discovered.missing.join(", "));
        }
        let (pods, others) = kinds(&discovered.resources);
        for kinds in [pods, others] {
            // Owned, so that the future of a pass can go to any thread.
            let kinds: Vec<Resource> = kinds.into_iter().cloned().collect();
            let emptied = kinds.into_iter().map(|kind| async move {
                let left = self.empty_of(&kind, object::name(namespace)).await;
                (kind, left)
            });
            let mut emptied = stream::iter(emptied).buffer_unordered(KINDS);
            while let Some((kind, left)) = emptied.next().await {
                match left {
                    Ok(left) => pass.left(&kind, namespace, &left, SystemTime::now()),
                    Err(failure) => pass.failed(failure.to_string()),
                }
            }
            if !pass.is_empty() {
                break;
            }
        }
        Ok(pass)
    }

    /// Deletes the objects of a kind. Returns what is left.
    async fn empty_of(&self, kind: &Resource, namespace: &str) -> Result<Vec<Arc<Value>>, Failure> {
        let found = self.list(kind, namespace).await?;
        // What is going already is not told so again, and again.
        let staying = || found.iter().filter(|object| !object::is_deleting(object));
        if staying().next().is_none() {
            return Ok(found);
        }
        if kind.can("deletecollection") {
            let write = Write::Delete { path: path(kind).path(namespace), options: options() };
            match self.writer.once(&write).await {
                Err(Failure::Refused(status)) if matches!(status.code, 404 | 405) => {}
                written => _ = written?,
            }
        } else {
            for object in staying() {
                let path = path(kind).object_path(namespace, object::name(object), "");
                match self.writer.once(&Write::Delete { path, options: options() }).await {
                    Err(Failure::Refused(status)) if matches!(status.code, 404 | 405) => {}
                    written => _ = written?,
                }
            }
        }
        self.list(kind, namespace).await
    }

    async fn list(&self, kind: &Resource, namespace: &str) -> Result<Vec<Arc<Value>>, Failure> {
        if !kind.can("list") {
            return Ok(Vec::new());
        }
        let query =
            Query { namespace: namespace.to_owned(), ..Query::new("objects of a namespace", path(kind)) };
        match self.api.list(&query, false).await {
            Ok(listed) => Ok(listed.objects),
            Err(Failure::Refused(status)) if matches!(status.code, 404 | 405) => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }
}
