//! A watch: a stream of what happens to the objects of a collection.
//!
//! Owns: where it begins, which events a selector lets through and as what, bookmarks, and its end. Frames are made by
//! `encoding::frame`, once for all watchers. Begin at [`run`].

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use apiclient_core::wire::Status;
use bytes::Bytes;
use control_core::refusal;
use control_store::{Change, Event, Freshness, Stored, Watcher};
use futures::StreamExt;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rand::Rng;
use tokio::time::{Instant, Sleep, sleep_until};

use super::list;
use crate::call::Call;
use crate::encoding::frame::{self, Tells};
use crate::encoding::object::Selection;
use crate::negotiation::{Encoding, Media, Shape};
use crate::registry::Served;
use crate::reply::{BoxError, Response};
use crate::request::info::exact_name;
use crate::request::options::{IncludeObject, ListOptions};
use crate::storage;
use crate::storage::versions::{self, WatchPlan};
use crate::websocket::{self, Messages};

/// How often a quiet watch says how far it is.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// The last bookmark comes this long before the end.
const BEFORE_END: Duration = Duration::from_secs(2);

/// # Errors
/// Parameters that make no sense, or a start that does not come within three seconds.
pub async fn run(call: &Call) -> Result<Response, Status> {
    let mut options = ListOptions::decode(&call.query, true)?;
    let include = IncludeObject::decode(&call.query)?;
    name_selected(call, &mut options)?;
    let selection = list::selection(&call.served, &options)?;
    let prefix = list::watched(&call.served, &call.resource.namespace, &selection);
    let store = call.server.store();
    let plan = versions::watch(&options)?;
    let (initial, mut end_of_initial, begun) = match plan {
        WatchPlan::Initial { freshness, bookmark } => {
            let snapshot = store.list(&prefix, freshness).await;
            let snapshot = snapshot.map_err(|error| storage::read_failed(&error))?;
            let admitted = snapshot.iter().filter(|stored| selection.admits(&call.served, stored));
            let objects: VecDeque<Stored> = admitted.cloned().collect();
            (objects, bookmark.then(|| snapshot.revision()), store.follow(&snapshot))
        }
        WatchPlan::After(version) => (VecDeque::new(), None, store.resume(&prefix, version).await),
        WatchPlan::FromNow => {
            let snapshot = store.list(&prefix, Freshness::Latest).await;
            let snapshot = snapshot.map_err(|error| storage::read_failed(&error))?;
            (VecDeque::new(), None, store.follow(&snapshot))
        }
    };
    let (watcher, refused) = match begun {
        Ok(watcher) => (Some(watcher), None),
        // The head of the answer is as of any watch; its only event says what is wrong.
        Err(end) => {
            end_of_initial = None;
            (None, Some(storage::watch_ended(end)))
        }
    };
    let lasts = match u64::try_from(options.timeout_seconds) {
        Ok(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => call.server.parts.times.watch.mul_f64(1.0 + rand::rng().random::<f64>()),
    };
    let now = Instant::now();
    let stream = Stream {
        served: Arc::clone(&call.served),
        selection,
        media: call.media,
        include,
        headed: call.media.shape == Shape::Table,
        bookmarks: options.bookmarks,
        initial,
        end_of_initial,
        watcher,
        refused,
        end: Box::pin(sleep_until(now + lasts)),
        shut_down: Box::pin(call.server.health.shutting_down()),
        next_bookmark: Box::pin(sleep_until(now + next_bookmark(lasts))),
        over: false,
        watching: call.server.metrics.requests.watching(&call.resource),
    };
    let frames = futures::stream::unfold(stream, async |mut stream| {
        let bytes = stream.next().await?;
        stream.watching.sent(bytes.len());
        Some((Ok::<_, BoxError>(Frame::data(bytes)), stream))
    });
    let body = StreamBody::new(frames.fuse()).boxed_unsync();
    if websocket::is_asked_for(&call.headers) {
        return Ok(websocket::serve(call, body, messages(call.media.encoding)));
    }
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_static(frame::content_type(call.media.encoding));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}

/// Events as messages of a WebSocket, which have no need of a length in front.
fn messages(encoding: Encoding) -> Messages {
    match encoding {
        Encoding::Protobuf => Messages::Binary { without: size_of::<u32>() },
        Encoding::Json | Encoding::Yaml => Messages::Text,
    }
}

/// The old paths name one object.
fn name_selected(call: &Call, options: &mut ListOptions) -> Result<(), Status> {
    let name = call.resource.name.as_str();
    if name.is_empty() {
        return Ok(());
    }
    if options.fields.requirements().is_empty() {
        options.fields = std::mem::take(&mut options.fields).equal("metadata.name", name);
    } else if exact_name(&options.fields) != Some(name) {
        return Err(refusal::bad_request("fieldSelector metadata.name doesn't match requested name"));
    }
    Ok(())
}

/// A minute, or a little before the end of what does not last as long.
fn next_bookmark(left: Duration) -> Duration {
    if left > BOOKMARKS + BEFORE_END { BOOKMARKS } else { left.saturating_sub(BEFORE_END) }
}

/// A watch on its way: nothing in it grows.
struct Stream {
    served: Arc<Served>,
    selection: Selection,
    media: Media,
    include: IncludeObject,
    /// The next table says what its columns are.
    headed: bool,
    bookmarks: bool,
    /// Objects that are still to be told of.
    initial: VecDeque<Stored>,
    /// Their version, where a bookmark is to say that they were all.
    end_of_initial: Option<i64>,
    watcher: Option<Watcher>,
    refused: Option<Status>,
    // Made once, and not for each event: a thousand watchers hear of one at the same time.
    end: Pin<Box<Sleep>>,
    shut_down: Pin<Box<dyn Future<Output = ()> + Send>>,
    next_bookmark: Pin<Box<Sleep>>,
    over: bool,
    watching: crate::metrics::Watching,
}

enum Woken {
    Event(Arc<Event>),
    Bookmark,
    Ended(Box<Status>),
    Over,
}

impl Stream {
    /// The next frame; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        if let Some(refused) = self.refused.take() {
            return Some(self.fail(&refused));
        }
        if let Some(stored) = self.initial.pop_front() {
            return Some(self.tell(Tells::Added, &stored));
        }
        if let Some(version) = self.end_of_initial.take() {
            return Some(self.bookmark(version, true));
        }
        loop {
            match self.wait().await {
                Woken::Event(event) => {
                    if let Some(frame) = self.admit(&event) {
                        return Some(frame);
                    }
                }
                Woken::Bookmark => {
                    let now = Instant::now();
                    let left = self.end.deadline().saturating_duration_since(now);
                    let after = if left > BEFORE_END { next_bookmark(left) } else { left };
                    // At least a second, so that the last one is the last.
                    self.next_bookmark.as_mut().reset(now + after.max(Duration::from_secs(1)));
                    let version = self.watcher.as_mut().map(Watcher::progress);
                    if let Some(version) = version.filter(|_| self.bookmarks) {
                        return Some(self.bookmark(version, false));
                    }
                }
                Woken::Ended(refused) => return Some(self.fail(&refused)),
                Woken::Over => return None,
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let Some(watcher) = &mut self.watcher else { return Woken::Over };
        // What is there already goes first, and costs no timer.
        match watcher.try_next() {
            Ok(Some(event)) => return Woken::Event(event),
            Err(end) => return Woken::Ended(Box::new(storage::watch_ended(end))),
            Ok(None) => {}
        }
        tokio::select! {
            event = watcher.next() => match event {
                Ok(event) => Woken::Event(event),
                Err(end) => Woken::Ended(Box::new(storage::watch_ended(end))),
            },
            () = &mut self.next_bookmark => Woken::Bookmark,
            () = &mut self.end => Woken::Over,
            () = &mut self.shut_down => Woken::Over,
        }
    }

    /// The frame of an event, as far as the selector lets it through: what enters the selection is added, what leaves it
    /// is deleted.
    fn admit(&mut self, event: &Event) -> Option<Bytes> {
        let admits = |stored: &Stored| self.selection.admits(&self.served, stored);
        let before = event.previous.as_ref();
        let was = before.is_some_and(admits);
        match event.change {
            Change::Deleted => (before.is_none() || was).then(|| self.tell(Tells::Deleted, &event.object)),
            Change::Added | Change::Modified => match (was, admits(&event.object)) {
                (false, false) => None,
                (false, true) => Some(self.tell(Tells::Added, &event.object)),
                (true, true) => Some(self.tell(Tells::Modified, &event.object)),
                (true, false) => {
                    // As it was when it was last selected, at the version at which it is no more.
                    let gone = before.map(|before| before.at_revision(event.revision()));
                    gone.map(|gone| self.tell(Tells::Deleted, &gone))
                }
            },
        }
    }

    fn tell(&mut self, tells: Tells, stored: &Stored) -> Bytes {
        let headed = std::mem::take(&mut self.headed);
        match frame::of(&self.served, tells, stored, self.media, self.include, headed) {
            Ok(frame) => frame,
            Err(refused) => self.fail(&refused),
        }
    }

    fn bookmark(&mut self, version: i64, initial_end: bool) -> Bytes {
        let headed = std::mem::take(&mut self.headed);
        frame::bookmark(&self.served, version, initial_end, self.media, self.include, headed)
    }

    fn fail(&mut self, refused: &Status) -> Bytes {
        self.over = true;
        frame::error(refused, self.media.encoding)
    }
}
