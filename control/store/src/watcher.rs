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

/// How many events are looked at in one go.
const BATCH: usize = 128;

/// Changes under a prefix in their order: none lost, none twice.
#[derive(Debug)]
pub struct Watcher {
    prefix: Box<str>,
    view: Arc<View>,
    kind: Arc<Kind>,
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
    /// Changes after `revision`; the place of the first is known already for a snapshot.
    pub(crate) fn new(
        prefix: &str,
        view: Arc<View>,
        origin: Origin,
        revision: i64,
    ) -> Result<Self, WatchEnd> {
        let Origin { kind, place } = origin;
        let ends = kind.ends();
        let place = match place {
            Some(place) => place,
            None => {
                kind.place_after(revision).map_err(|oldest| WatchEnd::Expired { seen: revision, oldest })?
            }
        };
        Ok(Self {
            prefix: prefix.into(),
            view,
            kind,
            ends,
            place,
            after: revision,
            seen: revision,
            bookmark: revision,
            ready: VecDeque::new(),
        })
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
            self.ends.borrow_and_update();
            let expired = |oldest| WatchEnd::Expired { seen: self.seen, oldest };
            let events = self.kind.since(self.place, BATCH).map_err(expired)?;
            if events.is_empty() {
                return Ok(None);
            }
            self.place += events.len() as u64;
            let (prefix, after) = (&*self.prefix, self.after);
            let mine = |event: &Arc<Event>| event.revision() > after && event.key().starts_with(prefix);
            self.ready.extend(events.into_iter().filter(mine));
        }
    }

    /// A revision up to which this watcher has been given everything, for a bookmark. Never goes back.
    pub fn progress(&mut self) -> i64 {
        // In this order: what happened up to the revision that the view has reached is in the ring by now.
        let reached = self.view.reached_by(&self.kind);
        let next = match self.ready.front() {
            Some(event) => Some(event.revision()),
            None => self.kind.since(self.place, 1).ok().and_then(|more| more.first().map(|e| e.revision())),
        };
        // One revision may have several events, of which some were given out.
        self.bookmark = self.bookmark.max(match next {
            Some(next) => self.seen.min(next - 1),
            None => self.seen.max(reached),
        });
        self.bookmark
    }

    /// What all its keys begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}
