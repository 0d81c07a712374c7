//! A memory of what others said, which forgets each entry after its time.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Never holds more than `most` entries: one too many is not remembered.
#[derive(Debug)]
pub struct Expiring<K, V> {
    entries: HashMap<K, (Instant, V)>,
    most: usize,
}

impl<K: Eq + Hash, V: Clone> Expiring<K, V> {
    pub fn new(most: usize) -> Self {
        Self { entries: HashMap::new(), most }
    }

    pub fn get(&self, key: &K, now: Instant) -> Option<V> {
        let (until, value) = self.entries.get(key)?;
        (now < *until).then(|| value.clone())
    }

    /// For `time`; 0 is not at all.
    pub fn put(&mut self, key: K, value: V, now: Instant, time: Duration) {
        let Some(until) = now.checked_add(time).filter(|until| *until > now) else { return };
        if self.entries.len() >= self.most {
            self.entries.retain(|_, (until, _)| now < *until);
        }
        if self.entries.len() < self.most {
            self.entries.insert(key, (until, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_entry_is_forgotten_after_its_time() {
        let (mut memory, start) = (Expiring::new(8), Instant::now());
        memory.put("a", 1, start, 10 * SECOND);
        memory.put("b", 2, start, Duration::ZERO);
        assert_eq!(memory.get(&"a", start + 9 * SECOND), Some(1));
        assert_eq!(memory.get(&"a", start + 10 * SECOND), None);
        assert_eq!(memory.get(&"b", start), None, "no time is no memory");
    }

    #[test]
    fn a_memory_that_is_full_takes_more_when_entries_have_ended() {
        let (mut memory, start) = (Expiring::new(4), Instant::now());
        for n in 0..8 {
            memory.put(n, n, start, SECOND);
        }
        assert_eq!(memory.entries.len(), 4);
        memory.put(9, 9, start + SECOND, SECOND);
        assert_eq!((memory.entries.len(), memory.get(&9, start + SECOND)), (1, Some(9)));
    }
}
