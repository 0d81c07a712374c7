//! The last changes of one kind, in their order, for all its watchers.
//!
//! Owns: how far back a watch can begin. Begin at [`Ring::push`].
//! Never: waits or wakes anybody.
//!
//! Each event has a number, one more than the event before it, never used twice; a watcher's place in the ring is the number of the event
//! that it reads next. Where the ring begins again after a break, it leaves a number out, so that every place from
//! before is seen to be lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::Event;

/// How large a ring may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// Events younger than this stay, unless they are too many. Upstream's is 75 s: longer than bookmarks are apart.
    pub age: Duration,
    /// So many stay, however old.
    pub least: usize,
    /// More never stay, however young.
    pub most: usize,
    /// Bytes that replaced and deleted versions may take, which live only for the ring.
    pub bytes: usize,
}

impl Default for RingLimits {
    fn default() -> Self {
        Self { age: Duration::from_secs(90), least: 100, most: 100_000, bytes: 32 << 20 }
    }
}

/// The number of the first event: below it is room for what happened before.
const BEGIN: u64 = 1 << 32;

#[derive(Debug)]
pub(crate) struct Ring {
    events: VecDeque<(Instant, Arc<Event>)>,
    /// Number of the first event.
    first: u64,
    /// Every change after this revision is in the ring.
    floor: i64,
    /// Bytes of the versions before.
    bytes: usize,
    limits: RingLimits,
}

impl Ring {
    /// An empty one: nothing has changed since `floor`.
    pub(crate) fn new(floor: i64, limits: RingLimits) -> Self {
        Self { events: VecDeque::new(), first: BEGIN, floor, bytes: 0, limits }
    }

    pub(crate) fn push(&mut self, event: Arc<Event>, now: Instant) {
        self.bytes += weight(&event);
        self.events.push_back((now, event));
        self.trim(now);
    }

    /// Puts what happened between `floor` and the ring's own beginning before its first event.
    pub(crate) fn prepend(&mut self, floor: i64, events: Vec<Arc<Event>>, now: Instant) {
        self.floor = floor;
        for event in events.into_iter().rev() {
            self.first -= 1;
            self.bytes += weight(&event);
            self.events.push_front((now, event));
        }
        self.trim(now);
    }

    /// Forgets what is too old or too much.
    pub(crate) fn trim(&mut self, now: Instant) {
        let limits = self.limits;
        while let Some((at, _)) = self.events.front() {
            let old = now.saturating_duration_since(*at) > limits.age && self.events.len() > limits.least;
            // The last one stays, however large: a watcher that waits must be able to read it.
            let much = self.events.len() > limits.most || self.bytes > limits.bytes;
            if !(old || much && self.events.len() > 1) {
                return;
            }
            if let Some((_, event)) = self.events.pop_front() {
                self.bytes -= weight(&event);
                self.first += 1;
                self.floor = event.revision();
            }
        }
        if self.events.capacity() > 4 * self.events.len().max(64) {
            self.events.shrink_to(2 * self.events.len());
        }
    }

    /// Forgets everything; whoever reads here has lost his place.
    pub(crate) fn restart(&mut self, floor: i64) {
        self.first = self.end() + 1;
        self.floor = floor;
        self.bytes = 0;
        self.events = VecDeque::new();
    }

    /// The place behind the last event.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// How many events there are, and how many bytes of versions before.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.events.len(), self.bytes)
    }

    /// The oldest revision after which the ring knows every change.
    pub(crate) fn floor(&self) -> i64 {
        self.floor
    }

    /// The place of the first event after a revision; None where changes after it are forgotten.
    pub(crate) fn place_after(&self, revision: i64) -> Option<u64> {
        (revision >= self.floor).then(|| {
            let known = self.events.partition_point(|(_, event)| event.revision() <= revision);
            self.first + known as u64
        })
    }

    /// One event, unless it is lost.
    pub(crate) fn get(&self, number: u64) -> Option<&Arc<Event>> {
        let skipped = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.events.get(skipped).map(|(_, event)| event)
    }

    /// Events from a place on; None where it is lost.
    pub(crate) fn since(&self, place: u64) -> Option<impl DoubleEndedIterator<Item = &Arc<Event>>> {
        let skipped = usize::try_from(place.checked_sub(self.first)?).ok()?;
        (skipped <= self.events.len()).then(|| self.events.range(skipped..).map(|(_, event)| event))
    }
}

fn weight(event: &Event) -> usize {
    event.previous.as_ref().map_or(0, |previous| previous.bytes().len())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::Change;
    use crate::stored::Stored;
    use crate::stored::forms::FormCache;

    fn ring(limits: RingLimits, revisions: &[i64], start: Instant) -> Ring {
        let cache = FormCache::new(0);
        let mut ring = Ring::new(10, limits);
        for (second, revision) in revisions.iter().enumerate() {
            let object = |revision| Stored::new("a/b", revision, Bytes::from(vec![0; 100]), &cache);
            let event = Event {
                change: Change::Modified,
                object: object(*revision),
                previous: Some(object(revision - 1)),
            };
            ring.push(Arc::new(event), start + Duration::from_secs(second as u64));
        }
        ring
    }

    fn revisions(ring: &Ring, place: u64) -> Option<Vec<i64>> {
        ring.since(place).map(|events| events.map(|event| event.revision()).collect())
    }

    #[test]
    fn a_watch_begins_after_its_revision() {
        let ring = ring(RingLimits::default(), &[12, 15, 15, 18], Instant::now());
        for (revision, expected) in [
            (10, Some(&[12, 15, 15, 18][..])),
            (12, Some(&[15, 15, 18])),
            (14, Some(&[15, 15, 18])),
            (15, Some(&[18])),
            (18, Some(&[])),
            (99, Some(&[])),
            (9, None),
        ] {
            let found = ring.place_after(revision).and_then(|place| revisions(&ring, place));
            assert_eq!(found.as_deref(), expected, "{revision}");
        }
    }

    #[test]
    fn old_events_go_but_for_the_least_number() {
        let limits = RingLimits { age: Duration::from_secs(3), least: 2, ..RingLimits::default() };
        let start = Instant::now();
        let mut ring = ring(limits, &[11, 12, 13, 14, 15, 16], start);
        assert_eq!((ring.floor(), revisions(&ring, BEGIN + 1), ring.place_after(11)), (12, None, None));
        assert_eq!(revisions(&ring, BEGIN + 2), Some(vec![13, 14, 15, 16]));
        ring.trim(start + Duration::from_secs(60));
        assert_eq!((ring.floor(), revisions(&ring, BEGIN + 4)), (14, Some(vec![15, 16])));
    }

    #[test]
    fn too_many_or_too_large_events_go_however_young() {
        let many = RingLimits { most: 2, ..RingLimits::default() };
        assert_eq!(ring(many, &[11, 12, 13, 14], Instant::now()).floor(), 12);
        let large = RingLimits { bytes: 250, ..RingLimits::default() };
        assert_eq!(ring(large, &[11, 12, 13, 14], Instant::now()).floor(), 12);
        let huge = RingLimits { bytes: 10, ..RingLimits::default() };
        assert_eq!(ring(huge, &[11, 12, 13, 14], Instant::now()).floor(), 13, "the last one stays");
    }

    #[test]
    fn what_happened_before_comes_first() {
        let start = Instant::now();
        let mut ring = ring(RingLimits::default(), &[12, 15], start);
        let end = ring.end();
        let cache = FormCache::new(0);
        let before = [8, 9].map(|revision| {
            let object = Stored::new("a/c", revision, Bytes::new(), &cache);
            Arc::new(Event { change: Change::Added, object, previous: None })
        });
        ring.prepend(6, before.into(), start);
        assert_eq!((ring.floor(), ring.end(), ring.place_after(5)), (6, end, None));
        assert_eq!(revisions(&ring, ring.place_after(6).unwrap()), Some(vec![8, 9, 12, 15]));
        assert_eq!(revisions(&ring, ring.place_after(8).unwrap()), Some(vec![9, 12, 15]));
        assert_eq!(revisions(&ring, end - 1), Some(vec![15]));
    }

    #[test]
    fn after_a_break_every_place_is_lost() {
        let mut ring = ring(RingLimits::default(), &[11, 12], Instant::now());
        let (first, end) = (ring.place_after(10).unwrap(), ring.end());
        ring.restart(5);
        assert!(revisions(&ring, first).is_none() && revisions(&ring, end).is_none());
        assert_eq!(revisions(&ring, ring.place_after(5).unwrap()), Some(vec![]));
    }
}
