//! One kind's life: list, watch, and what comes between.
//!
//! The version in hand decides what is next: none, a list; some, a watch from there. A list becomes an
//! [`Update::Replace`], so that what was deleted while nobody listened goes. Facts: streaming lists are KEP-3157.

use std::borrow::Cow;
use std::future::Future;
use std::time::{Duration, Instant};

use apiclient_core::names::ObjectName;
use apiclient_core::selector::{FieldSelector, LabelSelector};
use apiclient_core::wire::{Status, WatchEvent};
use serde::Deserialize;

use crate::client::{LONGEST, Lines, PAGE, STALL, read_json};
use crate::{Ask, Client, Failure, Pace, Resource};

/// A watch ends after this many seconds, and up to twice as many; then the next begins.
const WATCH: u32 = 300;

/// A watch without a word for this long is not believed any more. Servers send a bookmark each minute.
const SILENCE: Duration = Duration::from_secs(150);

/// How often something that a server may lack is asked for, once it lacked it for [`PATIENCE`].
const SELDOM: Duration = Duration::from_secs(30);

/// A server that just started refuses what it allows later: its roles are not read yet.
const PATIENCE: Duration = Duration::from_secs(20);

/// A watch that ends sooner than this, and brought nothing, counts as a failure.
const TOO_SHORT: Duration = Duration::from_secs(1);

/// Makes of an object's text what is kept of it.
pub trait Decoder: Send + 'static {
    type Object: Send + 'static;

    fn decode(&self, json: &[u8], origin: Origin) -> Decoded<Self::Object>;

    fn name(object: &Self::Object) -> ObjectName;
}

/// Where an object's text is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    List,
    Watch,
}

/// A usable object or none, and what was left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded<T> {
    pub object: Option<T>,
    /// One for each part that is left out, or for the whole object; each names it.
    pub problems: Vec<String>,
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Update<T> {
    /// All objects there are. The first is always one of these.
    Replace(Vec<T>),
    /// One that is new or has changed.
    Put(T),
    Delete(ObjectName),
    /// Something is wrong with the server or an object, in words. Comes once until something else is wrong.
    Trouble(String),
}

/// The reader is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Whoever reads. May make a reflector wait, and the server with it.
pub trait Sink<T>: Send + Sync + 'static {
    /// `at` is when it was read.
    fn send(&self, update: Update<T>, at: Instant) -> impl Future<Output = Result<(), Closed>> + Send;

    /// Returns when the reader is gone.
    fn closed(&self) -> impl Future<Output = ()> + Send;
}

impl<T: Send + 'static> Sink<T> for tokio::sync::mpsc::Sender<Update<T>> {
    async fn send(&self, update: Update<T>, _: Instant) -> Result<(), Closed> {
        self.send(update).await.map_err(|_| Closed)
    }

    async fn closed(&self) {
        self.closed().await;
    }
}

/// Which objects are followed.
#[derive(Clone, Debug)]
pub struct Query {
    /// The kind's name, for messages.
    pub kind: &'static str,
    pub resource: Resource,
    /// Empty: of all namespaces.
    pub namespace: String,
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    /// A server may lack this kind, or not let us have it; then there is none.
    pub optional: bool,
    /// How to get the right to list and watch it, for messages.
    pub forbidden: Cow<'static, str>,
}

impl Query {
    /// All objects of a kind, in all namespaces.
    pub fn new(kind: &'static str, resource: Resource) -> Self {
        Self {
            kind,
            resource,
            namespace: String::new(),
            labels: LabelSelector::default(),
            fields: FieldSelector::default(),
            optional: false,
            forbidden: Cow::Borrowed("bind a ClusterRole that allows it to them"),
        }
    }

    pub(crate) fn path(&self, ask: Ask<'_>) -> String {
        self.resource.list_path(&self.namespace, ask, &self.labels, &self.fields)
    }
}

pub struct Reflector<D, S> {
    query: Query,
    client: Client,
    decoder: D,
    sink: S,
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
}

/// How a watch ended, where nothing failed.
enum End {
    /// As servers end watches.
    Done,
    /// The server has forgotten the version, or never knew it.
    Expired,
}

/// Why a round ended.
enum Stop {
    Failure(Failure),
    Closed,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failure(failure)
    }
}

impl From<Closed> for Stop {
    fn from(Closed: Closed) -> Self {
        Stop::Closed
    }
}

/// The little that a reflector needs of an object, whatever else is wrong with it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Head {
    metadata: HeadMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HeadMeta {
    namespace: Option<String>,
    name: Option<String>,
    resource_version: Option<String>,
    annotations: Option<HeadAnnotations>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HeadAnnotations {
    /// Any JSON: one odd annotation must not cost the head.
    #[serde(rename = "k8s.io/initial-events-end")]
    listed: Option<serde_json::Value>,
}

impl Head {
    fn read(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    fn name(&self) -> Option<ObjectName> {
        let name = self.metadata.name.as_deref().filter(|name| !name.is_empty())?;
        Some(ObjectName::new(self.metadata.namespace.as_deref().unwrap_or_default(), name))
    }

    /// This bookmark says that all objects there are have been sent (a streaming list).
    fn ends_the_list(&self) -> bool {
        let annotation = self.metadata.annotations.as_ref().and_then(|found| found.listed.as_ref());
        annotation.and_then(serde_json::Value::as_str) == Some("true")
    }
}

/// What a list brought so far.
struct Listing<T> {
    objects: Vec<T>,
    problems: Vec<String>,
}

impl<T> Listing<T> {
    fn new() -> Self {
        Self { objects: Vec::new(), problems: Vec::new() }
    }

    fn add(&mut self, found: Decoded<T>) {
        self.objects.extend(found.object);
        self.problems.extend(found.problems);
    }
}

impl<D: Decoder, S: Sink<D::Object>> Reflector<D, S> {
    pub fn new(client: Client, query: Query, decoder: D, sink: S) -> Self {
        Self {
            query,
            client,
            decoder,
            sink,
            version: None,
            doubt: false,
            streams: true,
            listed: false,
            pace: Pace::default(),
            failing: None,
        }
    }

    /// Until the reader is gone.
    pub async fn run(mut self) {
        loop {
            let failure = match self.round().await {
                Ok(()) => continue,
                Err(Stop::Closed) => return,
                Err(Stop::Failure(failure)) => failure,
            };
            if self.handle(failure).await.is_err() {
                return;
            }
        }
    }

    async fn round(&mut self) -> Result<(), Stop> {
        if self.doubt && self.version.is_some() {
            self.check_version().await?;
        }
        let Some(version) = self.version.clone() else { return self.list().await };
        let (began, seconds) = (Instant::now(), self.watch_seconds());
        let answer = self.client.open(&self.query.path(Ask::Watch { since: &version, seconds })).await;
        let answer = match answer {
            Err(Failure::Refused(status)) if status.is_expired() || status.is_from_the_future() => {
                tracing::debug!(kind = self.query.kind, reason = %status.message, "listing again");
                self.version = None;
                return Ok(());
            }
            answer => answer?,
        };
        self.works();
        match self.watch(answer.lines()).await? {
            End::Done if began.elapsed() < TOO_SHORT && self.version.as_ref() == Some(&version) => {
                Err(Failure::Away("it ends each watch at once".to_owned()).into())
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
        let page = self.client.page(&self.query.path(Ask::Page { limit: 1, from: "" }), |_| {}).await?;
        let ours = self.version.as_deref().and_then(number);
        if number(&page.resource_version) < ours {
            tracing::info!(kind = self.query.kind, "the server's state is older than ours: listing again");
            self.version = None;
        }
        self.doubt = false;
        Ok(())
    }

    async fn list(&mut self) -> Result<(), Stop> {
        self.doubt = false;
        if self.streams {
            match self.list_by_stream().await {
                // Older servers do not know what is asked for; newer ones need etcd 3.5 for it, and say 500 without.
                Err(Stop::Failure(Failure::Refused(status)))
                    if matches!(status.code, 400 | 422 | 500 | 501) =>
                {
                    tracing::debug!(reason = %status.message, "the server has no streaming lists");
                    self.streams = false;
                }
                Err(Stop::Failure(Failure::Garbled(problem))) => {
                    tracing::debug!(%problem, "the streaming list did not end: asking for a plain one");
                    self.streams = false;
                }
                done => return done,
            }
        }
        self.list_by_pages().await
    }

    /// All objects as the first events of a watch, which goes on as the watch.
    async fn list_by_stream(&mut self) -> Result<(), Stop> {
        let seconds = self.watch_seconds();
        let mut lines = self.client.open(&self.query.path(Ask::Stream { seconds })).await?.lines();
        let mut listing = Listing::new();
        let read = self.read_stream(&mut lines, &mut listing);
        let endless = |_| Failure::Garbled(format!("the list did not end within {LONGEST:?}"));
        let version = tokio::time::timeout(LONGEST, read).await.map_err(endless)??;
        self.finish(listing, version).await?;
        self.works();
        if let End::Expired = self.watch(lines).await? {
            self.version = None;
        }
        Ok(())
    }

    /// The version at the end of the list.
    async fn read_stream(
        &self,
        lines: &mut Lines,
        listing: &mut Listing<D::Object>,
    ) -> Result<String, Failure> {
        loop {
            let line = tokio::time::timeout(STALL, lines.next()).await;
            let line = line.map_err(|_| Failure::Garbled(format!("no word for {STALL:?}")))??;
            let Some(line) = line else {
                return Err(Failure::Away("the connection ended in the middle of a list".to_owned()));
            };
            let event: WatchEvent<'_> = read_json(&line)?;
            let json = event.object.get();
            match event.what.as_ref() {
                "ADDED" | "MODIFIED" => listing.add(self.decoder.decode(json.as_bytes(), Origin::List)),
                "BOOKMARK" => {
                    let head = Head::read(json);
                    if head.ends_the_list() {
                        return Ok(head.metadata.resource_version.unwrap_or_default());
                    }
                }
                // One that was deleted while the list was on its way would come back as nothing else.
                "DELETED" => {
                    let name = Head::read(json).name();
                    listing.objects.retain(|object| Some(D::name(object)) != name);
                }
                "ERROR" => return Err(Failure::Refused(Box::new(read_json(json.as_bytes())?))),
                _ => {}
            }
        }
    }

    async fn list_by_pages(&mut self) -> Result<(), Stop> {
        let mut listing = Listing::new();
        let (mut from, mut limit) = (String::new(), PAGE);
        let began = Instant::now();
        let version = loop {
            let ask = match self.listed {
                // What was never known cannot have been newer. As client-go begins.
                false if from.is_empty() && limit > 0 => Ask::Known,
                _ => Ask::Page { limit, from: &from },
            };
            let decode = |item: &[u8]| listing.add(self.decoder.decode(item, Origin::List));
            let page = match self.client.page(&self.query.path(ask), decode).await {
                Err(Failure::Refused(status)) if status.is_expired() && !from.is_empty() => {
                    // The list took longer than the server remembers: take it in one piece.
                    (from, limit) = (String::new(), 0);
                    listing = Listing::new();
                    continue;
                }
                page => page?,
            };
            if page.next.is_empty() {
                break page.resource_version;
            }
            if page.next == from || began.elapsed() > LONGEST {
                return Err(Failure::Garbled("the list has always another page".to_owned()).into());
            }
            from = page.next;
        };
        self.finish(listing, version).await?;
        self.works();
        Ok(())
    }

    async fn finish(&mut self, listing: Listing<D::Object>, version: String) -> Result<(), Closed> {
        let at = Instant::now();
        tracing::debug!(kind = self.query.kind, objects = listing.objects.len(), version, "listed");
        for problem in listing.problems {
            self.sink.send(Update::Trouble(problem), at).await?;
        }
        self.sink.send(Update::Replace(listing.objects), at).await?;
        self.listed = true;
        self.version = Some(version).filter(|version| !version.is_empty());
        Ok(())
    }

    async fn watch(&mut self, mut lines: Lines) -> Result<End, Stop> {
        loop {
            let line = tokio::time::timeout(SILENCE, lines.next()).await;
            // A half-open connection is silent; the version says where to go on.
            let Some(line) = line.unwrap_or(Ok(None))? else { return Ok(End::Done) };
            let event: WatchEvent<'_> = read_json(&line)?;
            let json = event.object.get();
            match event.what.as_ref() {
                "ADDED" | "MODIFIED" => self.put(json).await?,
                "DELETED" => self.delete(json).await?,
                "BOOKMARK" => self.note_version(Head::read(json)),
                "ERROR" => {
                    let status: Status = read_json(json.as_bytes())?;
                    if status.is_expired() || status.is_from_the_future() {
                        return Ok(End::Expired);
                    }
                    return Err(Failure::Refused(Box::new(status)).into());
                }
                other => tracing::debug!(what = other, "an event of a kind that is not known"),
            }
        }
    }

    async fn put(&mut self, json: &str) -> Result<(), Closed> {
        let at = Instant::now();
        let head = Head::read(json);
        let found = self.decoder.decode(json.as_bytes(), Origin::Watch);
        for problem in found.problems {
            self.sink.send(Update::Trouble(problem), at).await?;
        }
        match (found.object, head.name()) {
            (Some(object), _) => self.sink.send(Update::Put(object), at).await?,
            // What cannot be used is not there: as it would be for one that starts now.
            (None, Some(name)) => self.sink.send(Update::Delete(name), at).await?,
            (None, None) => {}
        }
        self.note_version(head);
        Ok(())
    }

    async fn delete(&mut self, json: &str) -> Result<(), Closed> {
        let at = Instant::now();
        let head = Head::read(json);
        if let Some(name) = head.name() {
            self.sink.send(Update::Delete(name), at).await?;
        }
        self.note_version(head);
        Ok(())
    }

    fn note_version(&mut self, head: Head) {
        if let Some(version) = head.metadata.resource_version.filter(|version| !version.is_empty()) {
            self.version = Some(version);
        }
    }

    /// Something worked: the next failure is a new one.
    fn works(&mut self) {
        self.pace.reset();
        if let Some((_, since)) = self.failing.take() {
            let after = since.elapsed();
            tracing::info!(
                kind = self.query.kind,
                ?after,
                server = self.client.server(),
                "the API server answers again"
            );
        }
    }

    /// Reports a failure once, and waits.
    async fn handle(&mut self, failure: Failure) -> Result<(), Closed> {
        let problem = failure.explain(&self.query.resource, &self.client.server(), &self.query.forbidden);
        let at = Instant::now();
        let known = self.failing.as_ref().is_some_and(|(said, _)| *said == problem);
        if !known {
            let since = self.failing.take().map_or(at, |(_, since)| since);
            self.failing = Some((problem.clone(), since));
            self.sink.send(Update::Trouble(problem), at).await?;
        }
        self.doubt = true;
        // The next server may be a newer one.
        self.streams |= matches!(failure, Failure::Away(_));
        let lacking = self.query.optional && matches!(failure.code(), 403 | 404);
        if lacking && !self.listed {
            self.sink.send(Update::Replace(Vec::new()), at).await?;
            self.listed = true;
        }
        let mut wait = self.pace.wait(failure.wish());
        let since = self.failing.as_ref().map_or(Duration::ZERO, |(_, since)| since.elapsed());
        if lacking && since > PATIENCE {
            wait = SELDOM;
        }
        tracing::debug!(kind = self.query.kind, %failure, ?wait, "trying again");
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.sink.closed() => Err(Closed),
        }
    }

    fn watch_seconds(&mut self) -> u32 {
        let more = self.pace.draw() % u64::from(WATCH);
        WATCH + u32::try_from(more).unwrap_or_default()
    }
}

fn number(version: &str) -> Option<u128> {
    version.parse().ok()
}
