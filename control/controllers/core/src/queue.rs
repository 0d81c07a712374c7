//! Which key is next.
//!
//! A key is worked on by one worker at a time; what happens to it meanwhile brings it back once. Time is an argument.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

/// The first pause after a failure, and the longest (the original's).
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1000));

/// Keys that wait, each at most once.
#[derive(Debug)]
pub struct Queue<K> {
    ready: VecDeque<K>,
    /// The same as a set, for those that are in `ready`.
    there: HashSet<K>,
    /// In the order of their times.
    later: BTreeSet<(Duration, K)>,
    /// When each of `later` is due.
    due: HashMap<K, Duration>,
    /// In work; `true` where something happened meanwhile.
    active: HashMap<K, bool>,
    failures: HashMap<K, u32>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            there: HashSet::new(),
            later: BTreeSet::new(),
            due: HashMap::new(),
            active: HashMap::new(),
            failures: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Something happened to a key.
    pub fn add(&mut self, key: K) {
        if let Some(again) = self.active.get_mut(&key) {
            *again = true;
        } else if self.there.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Looks at a key again at a time, or sooner if something happens or was to happen.
    pub fn add_at(&mut self, key: K, at: Duration) {
        if let Some(due) = self.due.get_mut(&key) {
            if *due <= at {
                return;
            }
            self.later.remove(&(*due, key.clone()));
            *due = at;
        } else {
            self.due.insert(key.clone(), at);
        }
        self.later.insert((at, key));
    }

    /// The next key, which is in work from now on.
    pub fn take(&mut self, now: Duration) -> Option<K> {
        while let Some((at, key)) = self.later.first().cloned() {
            if at > now {
                break;
            }
            self.later.pop_first();
            self.due.remove(&key);
            self.add(key);
        }
        let key = self.ready.pop_front()?;
        self.there.remove(&key);
        self.active.insert(key.clone(), false);
        Some(key)
    }

    /// A key is as it should be.
    pub fn done(&mut self, key: &K) {
        self.failures.remove(key);
        self.end(key);
    }

    /// It is not; it is tried again after a pause that doubles. Returns the pause.
    pub fn failed(&mut self, key: &K, now: Duration) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let pause = PAUSES.0.saturating_mul(1 << (*failures).min(20)).min(PAUSES.1);
        *failures = failures.saturating_add(1);
        self.end(key);
        self.add_at(key.clone(), now + pause);
        pause
    }

    /// When [`Queue::take`] gives something; `None`: not before something happens.
    pub fn next(&self, now: Duration) -> Option<Duration> {
        if self.ready.is_empty() { self.later.first().map(|(at, _)| *at) } else { Some(now) }
    }

    /// Keys that could be taken now.
    pub fn depth(&self) -> usize {
        self.ready.len()
    }

    /// Nothing is in work, and nothing is ready.
    pub fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.active.is_empty()
    }

    fn end(&mut self, key: &K) {
        if self.active.remove(key) == Some(true) {
            self.add(key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_key_in_work_comes_back_once_for_all_that_happens_meanwhile() {
        let mut queue = Queue::default();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.take(at(0)), Some("a"));
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.take(at(0)), None);
        queue.done(&"a");
        assert_eq!((queue.take(at(0)), queue.take(at(0))), (Some("a"), None));
        queue.done(&"a");
        assert!(queue.is_idle());
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_success_forgets_them() {
        let mut queue = Queue::default();
        queue.add("a");
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..20 {
            now = queue.next(now).expect("it comes back");
            assert_eq!(queue.take(now), Some("a"));
            pauses.push(queue.failed(&"a", now));
        }
        assert_eq!(&pauses[..3], [at(5), at(10), at(20)]);
        assert_eq!(pauses.last(), Some(&PAUSES.1));
        now += PAUSES.1;
        assert_eq!(queue.take(now), Some("a"));
        queue.done(&"a");
        queue.add("a");
        assert_eq!(queue.take(now), Some("a"));
        assert_eq!(queue.failed(&"a", now), PAUSES.0);
    }

    #[test]
    fn the_sooner_of_two_times_counts() {
        let mut queue = Queue::default();
        queue.add_at("a", at(50));
        queue.add_at("a", at(20));
        queue.add_at("a", at(70));
        assert_eq!((queue.take(at(19)), queue.next(at(19))), (None, Some(at(20))));
        assert_eq!(queue.take(at(20)), Some("a"));
        queue.done(&"a");
        assert_eq!((queue.take(at(100)), queue.next(at(100))), (None, None));
    }

    proptest! {
        /// Whatever happens, what was added is taken at last, and no key by two at a time.
        #[test]
        fn nothing_is_lost_and_nothing_is_taken_twice(acts in prop::collection::vec((0..4_u8, 0..5_u8, 0..40_u64), 0..200)) {
            let (mut queue, mut now) = (Queue::default(), at(0));
            let (mut active, mut owed) = (HashSet::new(), HashSet::new());
            for (act, key, wait) in acts {
                match act {
                    0 => {
                        queue.add(key);
                        owed.insert(key);
                    }
                    1 => {
                        queue.add_at(key, now + at(wait));
                        owed.insert(key);
                    }
                    2 => {
                        now += at(wait);
                        if let Some(key) = queue.take(now) {
                            prop_assert!(active.insert(key));
                            owed.remove(&key);
                        }
                    }
                    _ => if active.remove(&key) {
                        if wait % 2 == 0 {
                            queue.done(&key);
                        } else {
                            queue.failed(&key, now);
                            owed.insert(key);
                        }
                    }
                }
            }
            for key in active {
                queue.done(&key);
            }
            while let Some(next) = queue.next(now) {
                now = now.max(next);
                let key = queue.take(now).expect("it is due");
                owed.remove(&key);
                queue.done(&key);
            }
            prop_assert!(owed.is_empty(), "{owed:?}");
        }
    }
}
