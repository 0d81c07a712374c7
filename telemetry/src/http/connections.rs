//! How many connections there may be, and which one has to go for a new one.
//!
//! Clients that hold connections open without asking anything must not keep a probe out, nor take the descriptors
//! that everything else needs. So there is a limit, and at the limit the connection that has been waiting longest for
//! a request is closed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use super::deadline::Phase;

/// A limit of connections, for one listener or for several together. Clones share it.
#[derive(Clone, Debug)]
pub struct Connections {
    most: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    phases: BTreeMap<u64, watch::Sender<Option<Phase>>>,
}

impl Default for Connections {
    fn default() -> Self {
        Self::at_most(64)
    }
}

impl Connections {
    pub fn at_most(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// How many are open now.
    pub fn count(&self) -> usize {
        self.lock().phases.len()
    }

    /// A place for a new connection. `None` where all others are being answered.
    pub(super) fn admit(&self, now: Instant) -> Option<Place> {
        let mut open = self.lock();
        if open.phases.len() >= self.most {
            let waiting = |(id, phase): (&u64, &watch::Sender<Option<Phase>>)| {
                phase.borrow().and_then(Phase::waiting_since).map(|since| (since, *id))
            };
            let (_, longest) = open.phases.iter().filter_map(waiting).min()?;
            if let Some(phase) = open.phases.remove(&longest) {
                phase.send_replace(None);
            }
        }
        let id = open.next;
        open.next += 1;
        let (phase, changes) = watch::channel(Some(Phase::accepted(now)));
        open.phases.insert(id, phase.clone());
        drop(open);
        Some(Place { id, connections: self.clone(), phase, changes })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, given back when dropped.
pub(super) struct Place {
    id: u64,
    connections: Connections,
    phase: watch::Sender<Option<Phase>>,
    changes: watch::Receiver<Option<Phase>>,
}

impl Place {
    /// Tells what the connection does now. A place that was taken away stays so.
    pub fn setter(&self) -> impl Fn(Phase) + Clone + Send + Sync + 'static {
        let phase = self.phase.clone();
        move |now| {
            phase.send_if_modified(|held| held.is_some() && held.replace(now).is_some());
        }
    }

    /// Returns when the place is taken away, or its time is over.
    pub async fn ends(&mut self) {
        loop {
            let Some(phase) = *self.changes.borrow_and_update() else { return };
            tokio::select! {
                changed = self.changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(phase.until()) => return,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().phases.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn is_gone(place: &Place) -> bool {
        place.changes.borrow().is_none()
    }

    #[test]
    fn at_the_limit_the_connection_that_waits_longest_goes_and_one_that_is_answered_stays() {
        let connections = Connections::at_most(3);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let first = connections.admit(after(0)).expect("a place");
        let second = connections.admit(after(1)).expect("a place");
        let third = connections.admit(after(2)).expect("a place");
        // The oldest has just been answered, the second is being answered.
        first.setter()(Phase::answered(after(3)));
        second.setter()(Phase::asked(after(3)));
        let fourth = connections.admit(after(4)).expect("a place");
        assert_eq!([&first, &second, &third, &fourth].map(is_gone), [false, false, true, false]);
        assert_eq!(connections.count(), 3);
        // What comes late from a connection that has to go gives its place back to nobody.
        third.setter()(Phase::answered(after(5)));
        assert!(is_gone(&third));
        drop(third);
        assert_eq!(connections.count(), 3);
        for place in [&first, &fourth] {
            place.setter()(Phase::asked(after(6)));
        }
        assert!(connections.admit(after(7)).is_none(), "all are being answered");
        drop(second);
        assert!(connections.admit(after(8)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_when_its_time_is_over() {
        let connections = Connections::default();
        let start = Instant::now();
        let mut silent = connections.admit(start).expect("a place");
        silent.ends().await;
        assert_eq!(start.elapsed().as_secs(), 5);
        let mut idle = connections.admit(Instant::now()).expect("a place");
        let set = idle.setter();
        set(Phase::asked(Instant::now()));
        let begun = Instant::now();
        let answer = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            set(Phase::answered(Instant::now()));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = idle.ends() => {}
            () = answer => {}
        }
        assert_eq!(begun.elapsed().as_secs(), 50);
    }
}
