//! One watch of a client: a place in a ring, and nothing of its own that could grow.
//!
//! Owns: what a watcher has seen. Begin at [`Watcher::next_batch`].
//! Never: keeps events for itself; a watcher that is too slow loses its place and is told so.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use crate::error::WatchEnd;
use crate::event::Event;
use crate::snapshot::Origin;
use crate::view::View;
use crate::view::kind::Kind;
use crate::view::scope::Part;

/// How many events are looked at in one go.
const BATCH: usize = 128;

/// Changes under a prefix in their order: none lost, none twice.
#[derive(Debug)]
pub struct Watcher {
    view: Arc<View>,
    kind: Arc<Kind>,
    /// None: all of the kind.
    part: Option<Part>,
    /// The place behind the last event of the part.
    ends: watch::Receiver<u64>,
    /// The number of the next event to look at.
    place: u64,
    /// Events up to this revision are not for this watcher.
    after: i64,
    /// The revision of the last event that was given out.
    seen: i64,
    /// The last answer of [`Watcher::progress`].
    bookmark: i64,
    /// Events looked at and not given out yet: at most one batch.
    ready: VecDeque<Arc<Event>>,
}

impl Watcher {
    /// Changes of a part after `revision`; the place of the first is known already for a snapshot.
    pub(crate) fn new(
        view: Arc<View>,
        origin: Origin,
        part: Option<Part>,
        revision: i64,
    ) -> Result<Self, WatchEnd> {
        let Origin { kind, place } = origin;
        let expired = |oldest| WatchEnd::Expired { seen: revision, oldest };
        let place = match place {
            Some(place) => place,
            None => kind.place_after(revision).map_err(expired)?,
        };
        let ends = kind.subscribe(part.as_ref(), place).map_err(expired)?;
        let (after, seen, bookmark) = (revision, revision, revision);
        Ok(Self { view, kind, part, ends, place, after, seen, bookmark, ready: VecDeque::new() })
    }

    /// The next event; waits until there is one. Can be dropped at any time and loses nothing by it.
    ///
    /// # Errors
    /// See [`WatchEnd`]; the watch is over then.
    pub async fn next(&mut self) -> Result<Arc<Event>, WatchEnd> {
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            self.ends.changed().await.map_err(|_| WatchEnd::Closed)?;
        }
    }

    /// The next event if there is one already: for whoever writes all that there is before he flushes.
    ///
    /// # Errors
    /// See [`WatchEnd`]; the watch is over then.
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, WatchEnd> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.seen = self.seen.max(event.revision());
                return Ok(Some(event));
            }
            if *self.ends.borrow_and_update() <= self.place {
                return Ok(None);
            }
            let expired = |oldest| WatchEnd::Expired { seen: self.seen, oldest };
            let events = self.kind.since(self.part.as_ref(), self.place, BATCH).map_err(expired)?;
            let Some((last, _)) = events.last() else { return Ok(None) };
            self.place = last + 1;
            let events = events.into_iter().map(|(_, event)| event);
            self.ready.extend(events.filter(|event| event.revision() > self.after));
        }
    }

    /// A revision up to which this watcher has been given everything, for a bookmark. Never goes back.
    pub fn progress(&mut self) -> i64 {
        // In this order: what happened up to the revision that the view has reached is in the ring by now.
        let reached = self.view.reached_by(&self.kind);
        let next = match self.ready.front() {
            Some(event) => Some(event.revision()),
            None => match self.kind.since(self.part.as_ref(), self.place, 1) {
                Ok(events) => events.first().map(|(_, event)| event.revision()),
                // It will be told so; until then it has seen no more.
                Err(_) => return self.bookmark.max(self.seen),
            },
        };
        // One revision may have several events, of which some were given out.
        self.bookmark = self.bookmark.max(match next {
            Some(next) => self.seen.min(next - 1),
            None => self.seen.max(reached),
        });
        self.bookmark
    }
}
