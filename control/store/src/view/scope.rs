//! Watchers of a part of a kind: a namespace, one object, or all objects that have something in common.
//!
//! Owns: which events are of which part. Begin at [`Scopes::note`], which every event passes, and [`Scopes::since`].
//! Never: keeps an event; a part knows the numbers of its events in the ring.
//!
//! Ten thousand kubelets' watches of single Secrets must neither wake nor search for every other Secret's change, and
//! must not fall off the ring because others change often.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::ring::Ring;
use crate::event::Event;
use crate::stored::Stored;

/// What an object has in common with others, if anything: the name of a Pod's node. Asked for every change while somebody
/// watches by it.
pub type Topic = Arc<dyn Fn(&Stored) -> Option<Box<str>> + Send + Sync>;

/// Which part of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// A prefix that ends with a slash, or one whole key.
    Under(Box<str>),
    /// Objects with this topic, or that had it before the change.
    About(Box<str>),
}

/// The parts of one kind that are being watched.
#[derive(Default)]
pub(crate) struct Scopes {
    parts: HashMap<Part, Scope>,
    topic: Option<Topic>,
    /// Whether any part is about a topic.
    about: bool,
}

#[derive(Debug)]
struct Scope {
    /// Events of this part, by their numbers.
    numbers: VecDeque<u64>,
    /// Nothing is known of events before this number.
    from: u64,
    /// Behind the last event.
    end: watch::Sender<u64>,
}

/// Who is to be woken: to be told when no lock is held.
pub(crate) type Wakes = Vec<(watch::Sender<u64>, u64)>;

impl Scopes {
    pub(crate) fn set_topic(&mut self, topic: Topic) {
        self.topic = Some(topic);
    }

    /// An event has got its number.
    pub(crate) fn note(&mut self, number: u64, event: &Event, wakes: &mut Wakes) {
        if self.parts.is_empty() {
            return;
        }
        let key = event.key();
        let prefixes = key.match_indices('/').map(|(at, _)| &key[..=at]).chain([key]);
        let mut parts: Vec<Part> = prefixes.map(|prefix| Part::Under(prefix.into())).collect();
        if self.about {
            parts.extend(self.topics(event).map(Part::About));
        }
        for part in parts {
            if let Some(scope) = self.parts.get_mut(&part)
                && scope.numbers.back() != Some(&number)
            {
                scope.numbers.push_back(number);
                wakes.push((scope.end.clone(), number + 1));
            }
        }
    }

    /// Lets somebody wait for events of a part from a place in the ring on; None where that is lost.
    pub(crate) fn subscribe(&mut self, part: &Part, place: u64, ring: &Ring) -> Option<watch::Receiver<u64>> {
        let known = self.parts.get(part).map_or(ring.end(), |scope| scope.from);
        let mut earlier = Vec::new();
        if place < known {
            let numbered = (place..known).zip(ring.since(place)?);
            earlier =
                numbered.filter(|(_, event)| self.is_of(part, event)).map(|(number, _)| number).collect();
        }
        self.about |= matches!(part, Part::About(_));
        let scope = self.parts.entry(part.clone()).or_insert_with(|| Scope {
            numbers: VecDeque::new(),
            from: known,
            end: watch::Sender::new(0),
        });
        scope.from = scope.from.min(place);
        for number in earlier.into_iter().rev() {
            scope.numbers.push_front(number);
        }
        let end = scope.numbers.back().map_or(0, |last| last + 1);
        scope.end.send_if_modified(|now| std::mem::replace(now, end.max(*now)) < end);
        Some(scope.end.subscribe())
    }

    /// Up to `most` events of a part from a place on, with their numbers; None where some may be lost.
    pub(crate) fn since(
        &self,
        part: &Part,
        place: u64,
        ring: &Ring,
        most: usize,
    ) -> Option<Vec<(u64, Arc<Event>)>> {
        let scope = self.parts.get(part).filter(|scope| scope.from <= place)?;
        let skipped = scope.numbers.partition_point(|number| *number < place);
        let numbers = scope.numbers.range(skipped..).take(most);
        numbers.map(|number| Some((*number, ring.get(*number)?.clone()))).collect()
    }

    /// All places are lost.
    pub(crate) fn restart(&mut self, ring: &Ring, wakes: &mut Wakes) {
        for scope in self.parts.values_mut() {
            scope.numbers.clear();
            scope.from = ring.end();
            wakes.push((scope.end.clone(), ring.end()));
        }
    }

    /// Forgets what the ring has forgotten, and parts that nobody watches.
    pub(crate) fn trim(&mut self, ring: &Ring) {
        self.parts.retain(|_, scope| {
            while scope.numbers.front().is_some_and(|number| ring.get(*number).is_none()) {
                // Who waits from before this event has lost it.
                scope.from = scope.numbers.pop_front().map_or(scope.from, |number| number + 1);
            }
            scope.end.receiver_count() > 0
        });
        self.about = self.parts.keys().any(|part| matches!(part, Part::About(_)));
    }

    pub(crate) fn are_watched(&self) -> bool {
        self.parts.values().any(|scope| scope.end.receiver_count() > 0)
    }

    fn is_of(&self, part: &Part, event: &Event) -> bool {
        match part {
            Part::Under(prefix) => is_under(event.key(), prefix),
            Part::About(topic) => self.topics(event).any(|found| found == *topic),
        }
    }

    /// What the object is about, and what it was about before, if that is something else.
    fn topics(&self, event: &Event) -> impl Iterator<Item = Box<str>> {
        let ask = |object: &Stored| self.topic.as_ref().and_then(|topic| topic(object));
        let now = ask(&event.object);
        let before = event.previous.as_ref().and_then(ask).filter(|before| now.as_ref() != Some(before));
        now.into_iter().chain(before)
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.parts).finish()
    }
}

/// Whether a key is under a prefix that ends with a slash (or is empty), or is that key.
pub(crate) fn is_under(key: &str, prefix: &str) -> bool {
    match prefix.is_empty() || prefix.ends_with('/') {
        true => key.starts_with(prefix),
        false => key == prefix,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::event::Change;
    use crate::stored::forms::FormCache;
    use crate::view::ring::RingLimits;

    /// A ring with the scopes beside it.
    struct Bench {
        ring: Ring,
        scopes: Scopes,
        begin: u64,
    }

    impl Bench {
        fn new(most: usize) -> Self {
            let ring = Ring::new(0, RingLimits { most, ..RingLimits::default() });
            let mut scopes = Scopes::default();
            let text = |object: &Stored| Some(std::str::from_utf8(object.bytes()).ok()?.into());
            scopes.set_topic(Arc::new(text));
            let begin = ring.end();
            Self { ring, scopes, begin }
        }

        /// A change whose bytes are its topic; the keys that are woken.
        fn change(&mut self, key: &str, before: Option<&str>, now: &str) -> usize {
            let cache = FormCache::new(0);
            let number = self.ring.end();
            let object = |text: &str, revision| {
                Stored::new(key, revision, Bytes::copy_from_slice(text.as_bytes()), &cache)
            };
            let revision = i64::try_from(number - self.begin).unwrap() + 1;
            let event = Event {
                change: Change::Modified,
                object: object(now, revision),
                previous: before.map(|before| object(before, revision - 1)),
            };
            let mut wakes = Wakes::new();
            self.ring.push(Arc::new(event.clone()), Instant::now());
            self.scopes.note(number, &event, &mut wakes);
            wakes.len()
        }

        /// Numbers and places here count from the first event.
        fn since(&self, part: &Part, place: u64) -> Option<Vec<u64>> {
            let events = self.scopes.since(part, self.begin + place, &self.ring, 100)?;
            Some(events.into_iter().map(|(number, _)| number - self.begin).collect())
        }

        fn subscribe(&mut self, part: &Part, place: u64) -> watch::Receiver<u64> {
            let place = self.begin + place;
            self.scopes.subscribe(part, place, &self.ring).unwrap()
        }
    }

    fn under(prefix: &str) -> Part {
        Part::Under(prefix.into())
    }

    #[test]
    fn only_those_who_watch_a_part_are_woken_for_it() {
        let mut bench = Bench::new(1000);
        bench.change("pods/a/1", None, "n1");
        let _space = bench.subscribe(&under("pods/a/"), 0);
        let _object = bench.subscribe(&under("pods/a/1"), 1);
        let _node = bench.subscribe(&Part::About("n1".into()), 0);
        assert_eq!(bench.change("pods/b/1", None, "n2"), 0);
        assert_eq!(bench.change("pods/a/11", None, "n2"), 1, "the namespace");
        assert_eq!(bench.change("pods/a/1", Some("n1"), "n2"), 3, "it has left the node");
        assert_eq!(bench.change("pods/a/1", Some("n2"), "n2"), 2);
        assert_eq!(bench.since(&under("pods/a/"), 0), Some(vec![0, 2, 3, 4]));
        assert_eq!(bench.since(&under("pods/a/1"), 1), Some(vec![3, 4]));
        assert_eq!(bench.since(&Part::About("n1".into()), 0), Some(vec![0, 3]));
        assert_eq!(bench.since(&under("pods/a/1"), 0), None, "nobody has asked from there");
        let _earlier = bench.subscribe(&under("pods/a/1"), 0);
        assert_eq!(bench.since(&under("pods/a/1"), 0), Some(vec![0, 3, 4]));
        assert_eq!(bench.since(&under("pods/a/1"), 4), Some(vec![4]));
    }

    #[test]
    fn others_changes_do_not_push_a_watcher_off_the_ring() {
        let mut bench = Bench::new(3);
        let _object = bench.subscribe(&under("pods/a/1"), 0);
        for _ in 0..10 {
            bench.change("pods/b/1", None, "");
            bench.scopes.trim(&bench.ring);
        }
        assert_eq!(bench.since(&under("pods/a/1"), 0), Some(vec![]));
        bench.change("pods/a/1", None, "");
        assert_eq!(bench.since(&under("pods/a/1"), 0), Some(vec![10]));
        for _ in 0..3 {
            bench.change("pods/b/1", None, "");
        }
        assert_eq!(bench.since(&under("pods/a/1"), 0), None, "its own was lost");
        bench.scopes.trim(&bench.ring);
        assert_eq!(bench.since(&under("pods/a/1"), 0), None);
        assert_eq!(bench.since(&under("pods/a/1"), 11), Some(vec![]));
    }

    #[test]
    fn after_a_break_every_place_is_lost() {
        let mut bench = Bench::new(1000);
        let mut object = bench.subscribe(&under("pods/a/1"), 0);
        bench.change("pods/a/1", None, "");
        let (begin, end) = (bench.begin, bench.ring.end());
        bench.ring.restart(0);
        let mut wakes = Wakes::new();
        bench.scopes.restart(&bench.ring, &mut wakes);
        for (end, place) in wakes {
            end.send_replace(place);
        }
        assert!(*object.borrow_and_update() > end);
        assert_eq!(
            (bench.since(&under("pods/a/1"), 0), bench.since(&under("pods/a/1"), end - begin)),
            (None, None)
        );
        drop(object);
        bench.scopes.trim(&bench.ring);
        assert!(bench.scopes.parts.is_empty());
    }
}
