//! One kind's life: list, watch, and what comes between.
//!
//! The version in hand decides what is next: none, a list; some, a watch from there. A list becomes a
//! `Change::Replace`, so that what was deleted while nobody listened goes.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use proxy_core::cluster::Change;
use proxy_core::objects::Object;

use super::super::object::{Decoded, Head};
use super::super::{Arrival, Closed, Event, Outbox, Trouble};
use super::access::Door;
use super::failure::Failure;
use super::items::Splitter;
use super::pace::Pace;
use super::resource::{Ask, Resource};
use super::wire::{Line, ListMetadata, Page, Status};

/// Objects in one page of a list (client-go's number).
const PAGE: usize = 500;

/// A watch ends after this many seconds, and up to twice as many; then the next begins.
const WATCH: u32 = 300;

/// A watch without a word for this long is not believed any more. Servers send a bookmark each minute.
const SILENCE: Duration = Duration::from_secs(150);

/// A streaming list that pauses for this long is given up for a plain one.
const STALL: Duration = Duration::from_secs(15);

/// How often something that a server may lack is asked for, once it lacked it for [`PATIENCE`].
const SELDOM: Duration = Duration::from_secs(30);

/// A server that just started refuses what it allows later: its roles are not read yet.
const PATIENCE: Duration = Duration::from_secs(20);

/// A watch that ends sooner than this, and brought nothing, counts as a failure.
const TOO_SHORT: Duration = Duration::from_secs(1);

/// Longest line of a watch, and largest object of a list. etcd's largest object is far smaller.
const LINE: usize = 32 << 20;

pub struct Reflector {
    resource: Resource,
    door: Arc<Door>,
    outbox: Outbox,
    /// Up to where the objects are known.
    version: Option<String>,
    /// The connection broke: the server may be another one now.
    doubt: bool,
    /// The server has streaming lists, as far as we know.
    streams: bool,
    listed: bool,
    pace: Pace,
    /// What was said last about a failure, and since when it lasts.
    failing: Option<(String, Instant)>,
    random: RandomState,
    draws: u64,
}

/// How a watch ended, where nothing failed.
enum End {
    /// As servers end watches.
    Done,
    /// The server has forgotten the version, or never knew it.
    Expired,
}

impl Reflector {
    pub fn new(resource: Resource, door: Arc<Door>, outbox: Outbox) -> Self {
        Self {
            resource,
            door,
            outbox,
            version: None,
            doubt: false,
            streams: true,
            listed: false,
            pace: Pace::default(),
            failing: None,
            random: RandomState::new(),
            draws: 0,
        }
    }

    /// Until the reader is gone.
    pub async fn run(mut self) {
        loop {
            let failure = match self.round().await {
                Ok(()) => continue,
                Err(Failure::Closed) => return,
                Err(failure) => failure,
            };
            if self.handle(failure).await.is_err() {
                return;
            }
        }
    }

    async fn round(&mut self) -> Result<(), Failure> {
        if self.doubt && self.version.is_some() {
            self.check_version().await?;
        }
        let Some(version) = self.version.clone() else { return self.list().await };
        let (began, seconds) = (Instant::now(), self.watch_seconds());
        let body = self.door.get(&self.resource.url(Ask::Watch { since: &version, seconds })).await;
        let body = match body {
            Err(Failure::Refused(status)) if status.is_expired() || status.is_from_the_future() => {
                return self.forget(&status);
            }
            body => body?,
        };
        self.works();
        match self.watch(body).await? {
            End::Done if began.elapsed() < TOO_SHORT && self.version.as_ref() == Some(&version) => {
                Err(Failure::Away("it ends each watch at once".to_owned()))
            }
            End::Done => Ok(()),
            End::Expired => {
                self.version = None;
                Ok(())
            }
        }
    }

    /// After a broken connection the server may hold another state than the one we know. A watch from a version
    /// that is not reached yet would stay silent until it is.
    async fn check_version(&mut self) -> Result<(), Failure> {
        let page = self.page(Ask::Page { limit: 1, from: "" }, |_| {}).await?;
        let ours = self.version.as_deref().and_then(number);
        if number(&page.resource_version) < ours {
            tracing::info!(
                kind = self.resource.kind.as_str(),
                "the server's state is older than ours: listing again"
            );
            self.version = None;
        }
        self.doubt = false;
        Ok(())
    }

    fn forget(&mut self, status: &Status) -> Result<(), Failure> {
        tracing::debug!(kind = self.resource.kind.as_str(), reason = %status.message, "listing again");
        self.version = None;
        Ok(())
    }

    async fn list(&mut self) -> Result<(), Failure> {
        self.doubt = false;
        if self.streams {
            match self.list_by_stream().await {
                // Older servers do not know what is asked for; newer ones need etcd 3.5 for it, and say 500 without.
                Err(Failure::Refused(status)) if matches!(status.code, 400 | 422 | 500 | 501) => {
                    tracing::debug!(reason = %status.message, "the server has no streaming lists");
                    self.streams = false;
                }
                Err(Failure::Garbled(problem)) => {
                    tracing::debug!(%problem, "the streaming list did not end: asking for a plain one");
                    self.streams = false;
                }
                done => return done,
            }
        }
        self.list_by_pages().await
    }

    /// All objects as the first events of a watch, which goes on as the watch.
    async fn list_by_stream(&mut self) -> Result<(), Failure> {
        let seconds = self.watch_seconds();
        let mut body = self.door.get(&self.resource.url(Ask::Stream { seconds })).await?;
        let (mut objects, mut troubles, mut line) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let more = tokio::time::timeout(STALL, next_line(&mut body, &mut line)).await;
            let more = more.map_err(|_| Failure::Garbled(format!("no word for {STALL:?}")))??;
            if !more {
                return Err(Failure::Away("the connection ended in the middle of a list".to_owned()));
            }
            let event: Line<'_> = read(&line)?;
            match event.what.as_ref() {
                "ADDED" | "MODIFIED" => {
                    self.collect(event.object.get().as_bytes(), &mut objects, &mut troubles)
                }
                "BOOKMARK" => {
                    let head = Head::read(event.object.get()).unwrap_or_default();
                    if head.ends_the_list() {
                        self.finish(objects, troubles, head.metadata.resource_version.unwrap_or_default())
                            .await?;
                        break;
                    }
                }
                // One that was deleted while the list was on its way would come back as nothing else.
                "DELETED" => {
                    let name = Head::read(event.object.get()).and_then(|head| head.name());
                    objects.retain(|object: &Object| Some(object.name()) != name);
                }
                "ERROR" => return Err(Failure::Refused(Box::new(read(event.object.get().as_bytes())?))),
                _ => {}
            }
        }
        self.works();
        if let End::Expired = self.watch(body).await? {
            self.version = None;
        }
        Ok(())
    }

    async fn list_by_pages(&mut self) -> Result<(), Failure> {
        let (mut objects, mut troubles) = (Vec::new(), Vec::new());
        let (mut from, mut limit) = (String::new(), PAGE);
        let version = loop {
            let ask = match self.listed {
                // What was never known cannot have been newer. As kube-proxy's client begins.
                false if from.is_empty() && limit > 0 => Ask::Known,
                _ => Ask::Page { limit, from: &from },
            };
            let page = self.page(ask, |item| self.collect(item, &mut objects, &mut troubles)).await;
            let page = match page {
                Err(Failure::Refused(status)) if status.is_expired() && !from.is_empty() => {
                    // The list took longer than the server remembers: take it in one piece.
                    (from, limit) = (String::new(), 0);
                    objects.clear();
                    troubles.clear();
                    continue;
                }
                page => page?,
            };
            if page.next.is_empty() {
                break page.resource_version;
            }
            from = page.next;
        };
        self.finish(objects, troubles, version).await?;
        self.works();
        Ok(())
    }

    fn collect(&self, json: &[u8], objects: &mut Vec<Object>, troubles: &mut Vec<Trouble>) {
        let found = Decoded::from(self.resource.kind.decode(json));
        objects.extend(found.object);
        troubles.extend(found.problems.into_iter().map(|problem| self.trouble(problem)));
    }

    async fn finish(
        &mut self,
        objects: Vec<Object>,
        troubles: Vec<Trouble>,
        version: String,
    ) -> Result<(), Failure> {
        let kind = self.resource.kind;
        tracing::debug!(kind = kind.as_str(), objects = objects.len(), version, "listed");
        for trouble in troubles {
            self.outbox.trouble(trouble).await?;
        }
        self.outbox.send(Event::Change(Change::Replace(kind, objects))).await?;
        self.outbox.send(Event::Listed(kind)).await?;
        self.listed = true;
        self.version = Some(version).filter(|version| !version.is_empty());
        Ok(())
    }

    async fn watch(&mut self, mut body: impl AsyncBufRead + Unpin) -> Result<End, Failure> {
        let mut line = Vec::new();
        loop {
            let more = tokio::time::timeout(SILENCE, next_line(&mut body, &mut line)).await;
            // A half-open connection is silent; the version says where to go on.
            if !more.unwrap_or(Ok(false))? {
                return Ok(End::Done);
            }
            let event: Line<'_> = read(&line)?;
            let json = event.object.get();
            match event.what.as_ref() {
                "ADDED" | "MODIFIED" => self.put(json).await?,
                "DELETED" => self.delete(json).await?,
                "BOOKMARK" => self.note_version(&Head::read(json).unwrap_or_default()),
                "ERROR" => {
                    let status: Status = read(json.as_bytes())?;
                    if status.is_expired() || status.is_from_the_future() {
                        return Ok(End::Expired);
                    }
                    return Err(Failure::Refused(Box::new(status)));
                }
                other => tracing::debug!(what = other, "an event of a kind that is not known"),
            }
        }
    }

    async fn put(&mut self, json: &str) -> Result<(), Failure> {
        let at = Instant::now();
        let head = Head::read(json).unwrap_or_default();
        let found = Decoded::from(self.resource.kind.decode(json.as_bytes()));
        for problem in found.problems {
            self.outbox.trouble(self.trouble(problem)).await?;
        }
        let change = match (found.object, head.name()) {
            (Some(object), _) => Some(Change::Put(object)),
            // What cannot be used is not there: as it would be for one that starts now.
            (None, Some(name)) => Some(Change::Delete(self.resource.kind, name)),
            (None, None) => None,
        };
        if let Some(change) = change {
            self.send(change, at, head.triggered()).await?;
        }
        self.note_version(&head);
        Ok(())
    }

    async fn delete(&mut self, json: &str) -> Result<(), Failure> {
        let at = Instant::now();
        let head = Head::read(json).unwrap_or_default();
        if let Some(name) = head.name() {
            self.send(Change::Delete(self.resource.kind, name), at, None).await?;
        }
        self.note_version(&head);
        Ok(())
    }

    async fn send(&self, change: Change, at: Instant, triggered: Option<SystemTime>) -> Result<(), Closed> {
        self.outbox.arrival(Arrival { event: Event::Change(change), at, triggered }).await
    }

    fn note_version(&mut self, head: &Head) {
        if let Some(version) = head.metadata.resource_version.as_ref().filter(|version| !version.is_empty()) {
            self.version = Some(version.clone());
        }
    }

    /// One answer with a list; `take` gets each item as it comes.
    async fn page(&self, ask: Ask<'_>, mut take: impl FnMut(&[u8])) -> Result<ListMetadata, Failure> {
        let mut body = self.door.get(&self.resource.url(ask)).await?;
        let mut splitter = Splitter::default();
        let mut part = vec![0; 64 << 10];
        loop {
            let read = tokio::time::timeout(STALL, body.read(&mut part)).await;
            match read {
                Err(_) => return Err(Failure::Away(format!("the answer stopped for {STALL:?}"))),
                Ok(Err(error)) => return Err(Failure::Away(error.to_string())),
                Ok(Ok(0)) => break,
                Ok(Ok(size)) => splitter.feed(&part[..size], &mut take),
            }
            if splitter.held() > LINE {
                return Err(Failure::Garbled(format!("an object of more than {LINE} bytes")));
            }
        }
        let rest = splitter.rest().ok_or_else(|| Failure::Garbled("the list has no end".to_owned()))?;
        Ok(read::<Page>(rest)?.metadata)
    }

    /// Something worked: the next failure is a new one.
    fn works(&mut self) {
        self.pace.reset();
        if let Some((_, since)) = self.failing.take() {
            let (kind, after) = (self.resource.kind.as_str(), since.elapsed());
            tracing::info!(kind, ?after, server = self.door.server(), "the API server answers again");
        }
    }

    /// Reports a failure once, and waits.
    async fn handle(&mut self, failure: Failure) -> Result<(), Closed> {
        let problem = failure.explain(&self.resource, &self.door.server());
        let known = self.failing.as_ref().is_some_and(|(said, _)| *said == problem);
        if !known {
            let since = self.failing.take().map_or_else(Instant::now, |(_, since)| since);
            self.failing = Some((problem.clone(), since));
            self.outbox.trouble(self.trouble(problem)).await?;
        }
        self.doubt = true;
        // The next server may be a newer one.
        self.streams |= matches!(failure, Failure::Away(_));
        if failure.code() == 401 {
            self.door.reopen().await;
        }
        let lacking = self.resource.optional && matches!(failure.code(), 403 | 404);
        if lacking && !self.listed {
            self.outbox.send(Event::Change(Change::Replace(self.resource.kind, Vec::new()))).await?;
            self.outbox.send(Event::Listed(self.resource.kind)).await?;
            self.listed = true;
        }
        let random = self.draw();
        let mut wait = self.pace.wait(random, failure.wish());
        let since = self.failing.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
        if lacking && since > PATIENCE {
            wait = SELDOM;
        }
        tracing::debug!(kind = self.resource.kind.as_str(), %failure, ?wait, "trying again");
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.outbox.0.closed() => Err(Closed),
        }
    }

    fn trouble(&self, problem: String) -> Trouble {
        Trouble { place: self.resource.kind.as_str().to_owned(), problem }
    }

    fn watch_seconds(&mut self) -> u32 {
        let more = self.draw() % u64::from(WATCH);
        WATCH + u32::try_from(more).unwrap_or_default()
    }

    /// No secret: only for spreading.
    fn draw(&mut self) -> u64 {
        self.draws += 1;
        self.random.hash_one(self.draws)
    }
}

fn number(version: &str) -> Option<u128> {
    version.parse().ok()
}

fn read<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(json).map_err(|error| Failure::Garbled(error.to_string()))
}

/// The next line that holds something; false at the end. What stands in an unfinished last line is not used.
async fn next_line(body: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> Result<bool, Failure> {
    loop {
        line.clear();
        let mut limited = body.take(LINE as u64);
        let size = limited.read_until(b'\n', line).await.map_err(|error| Failure::Away(error.to_string()))?;
        if size == LINE {
            return Err(Failure::Garbled(format!("a line of more than {LINE} bytes")));
        }
        if line.last() != Some(&b'\n') {
            return Ok(false);
        }
        if line.len() > 1 {
            return Ok(true);
        }
    }
}
