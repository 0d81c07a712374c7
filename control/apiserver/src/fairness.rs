//! A request's place among all that are served: it runs, waits for its turn, or is told to come again (429).
//!
//! Owns: the one table of seats, and how long a request waits. Which request is next is decided by
//! [`control_core::fairness`]. Begin at [`Fairness::enter`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use control_core::access::{Attributes, User};
use control_core::fairness::level::Limits;
use control_core::fairness::seats::{Entry, Seats, Ticket, Use};
use control_core::fairness::{Place, Rules};
use tokio::sync::oneshot;

use crate::metrics::flows::Flows;

/// The table of who runs and who waits.
#[derive(Debug)]
pub struct Fairness {
    seats: usize,
    /// The longest that a request waits for its turn.
    patience: Duration,
    rules: RwLock<Arc<Rules>>,
    table: Mutex<Table>,
    pub metrics: Flows,
}

#[derive(Debug)]
struct Table {
    seats: Seats,
    waiting: HashMap<Ticket, oneshot::Sender<Turn>>,
}

/// What a waiting request is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Yours,
    /// Another one has its place in the queue.
    Lost,
}

/// A seat, for as long as it is held.
#[derive(Debug)]
pub struct Seat {
    fairness: Arc<Fairness>,
    place: Place,
    /// It is so many seats.
    width: usize,
}

/// A request waits no longer when this goes, whatever the reason is: it may be that its client has gone.
struct Waiting<'a> {
    fairness: &'a Arc<Fairness>,
    place: &'a Place,
    width: usize,
    ticket: Ticket,
    turn: oneshot::Receiver<Turn>,
    /// It has its seat, or lost its place.
    is_over: bool,
}

impl Fairness {
    /// `seats`: requests at the same time, of all levels but the exempt one.
    pub fn new(seats: usize, patience: Duration) -> Arc<Self> {
        let rules = Rules::of_defaults();
        let limits = rules.limits(seats);
        let metrics = Flows::default();
        metrics.limits(&limits);
        let table = Table { seats: Seats::new(seats, &limits), waiting: HashMap::new() };
        let (rules, table) = (RwLock::new(Arc::new(rules)), Mutex::new(table));
        Arc::new(Self { seats, patience, rules, table, metrics })
    }

    /// Where a request belongs.
    pub fn classify(&self, attributes: &Attributes, user: &User) -> Place {
        let rules = Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner));
        rules.classify(attributes, user)
    }

    /// Other rules count from now on.
    pub fn replace(&self, rules: Rules) {
        let limits = rules.limits(self.seats);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.metrics.limits(&limits);
        let mut table = self.table();
        let started = table.seats.configure(&limits);
        table.start(started);
    }

    /// Comes back when it is the request's turn; `None` where it is to come again later. It takes as many seats as `wanted`,
    /// or as its level has for one request.
    pub async fn enter(self: &Arc<Self>, place: Place, wanted: usize) -> Option<Seat> {
        let begin = Instant::now();
        let width = self.table().seats.width(&place.level, wanted);
        let outcome = self.turn(&place, width).await;
        let level = &place;
        match outcome {
            Ok(()) => self.metrics.dispatched(level, begin.elapsed()),
            Err(reason) => self.metrics.rejected(level, reason, begin.elapsed()),
        }
        outcome.ok().map(|()| Seat { fairness: Arc::clone(self), place, width })
    }

    /// # Errors
    /// The reason by the name that it has in metrics.
    async fn turn(self: &Arc<Self>, place: &Place, width: usize) -> Result<(), &'static str> {
        let (ticket, turn) = {
            let mut table = self.table();
            match table.seats.enter(&place.level, &place.flow, width) {
                Entry::Runs => return Ok(()),
                Entry::NoSeat => return Err("concurrency-limit"),
                Entry::Full => return Err("queue-full"),
                Entry::Waits { ticket, instead_of } => {
                    if let Some(lost) = instead_of.and_then(|lost| table.waiting.remove(&lost)) {
                        let _ = lost.send(Turn::Lost);
                    }
                    let (tell, turn) = oneshot::channel();
                    table.waiting.insert(ticket, tell);
                    (ticket, turn)
                }
            }
        };
        let mut waiting = Waiting { fairness: self, place, width, ticket, turn, is_over: false };
        match tokio::time::timeout(self.patience, &mut waiting.turn).await {
            Ok(Ok(Turn::Yours)) => {
                waiting.is_over = true;
                Ok(())
            }
            Ok(_) => {
                waiting.is_over = true;
                Err("queue-full")
            }
            Err(_) => Err("time-out"),
        }
    }

    /// What each level has.
    pub fn now(&self) -> Vec<(Arc<str>, Use)> {
        self.table().seats.now().map(|(name, now)| (Arc::clone(name), now)).collect()
    }

    /// What each level may use.
    pub fn limits(&self) -> std::collections::BTreeMap<Arc<str>, Limits> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).limits(self.seats)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// One whose request has gone just now gives its seat back itself.
    fn start(&mut self, tickets: Vec<Ticket>) {
        for ticket in tickets {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                let _ = waiting.send(Turn::Yours);
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut table = self.fairness.table();
        table.waiting.remove(&self.ticket);
        let (level, flow) = (&self.place.level, &self.place.flow);
        let started = match table.seats.give_up(level, flow, self.ticket) {
            Some(started) => started,
            // It was given its seats, and has not heard of it.
            None if self.turn.try_recv() == Ok(Turn::Yours) => table.seats.leave(level, flow, self.width),
            None => Vec::new(),
        };
        table.start(started);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.fairness.table();
        let started = table.seats.leave(&self.place.level, &self.place.flow, self.width);
        table.start(started);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice(name: &str) -> Place {
        let user =
            User { name: name.to_owned(), groups: vec![User::AUTHENTICATED.to_owned()], ..User::default() };
        let attributes =
            Attributes { verb: "list".to_owned(), resource: "pods".to_owned(), ..Attributes::default() };
        Fairness::new(1, Duration::ZERO).classify(&attributes, &user)
    }

    /// Until as many wait as should.
    async fn until_waiting(fairness: &Fairness, want: usize) {
        while fairness.now().iter().map(|(_, now)| now.waiting).sum::<usize>() != want {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_client_that_floods_does_not_keep_another_waiting() {
        let fairness = Fairness::new(1, Duration::from_secs(60));
        let seat = fairness.enter(alice("flood"), 1).await.expect("a seat");
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let ask = |name: &'static str| {
            let (fairness, tell) = (Arc::clone(&fairness), tell.clone());
            tokio::spawn(async move {
                let seat = fairness.enter(alice(name), 1).await;
                let _ = tell.send(name);
                drop(seat);
            })
        };
        for nth in 1..=20 {
            ask("flood");
            until_waiting(&fairness, nth).await;
        }
        ask("quiet");
        until_waiting(&fairness, 21).await;
        drop(seat);
        let mut order = Vec::new();
        for _ in 0..21 {
            order.push(told.recv().await.expect("one is served"));
        }
        // The one that waited longest, then whoever had nothing yet.
        assert_eq!(order[..3], ["flood", "quiet", "flood"]);
    }

    #[tokio::test]
    async fn who_waits_too_long_or_goes_away_leaves_nothing_behind() {
        let fairness = Fairness::new(1, Duration::from_millis(1));
        let seat = fairness.enter(alice("a"), 1).await.expect("a seat");
        assert!(fairness.enter(alice("b"), 1).await.is_none(), "it waited its millisecond");
        until_waiting(&fairness, 0).await;
        let patient = Fairness::new(1, Duration::from_secs(60));
        let held = patient.enter(alice("a"), 1).await.expect("a seat");
        let gone = tokio::spawn({
            let patient = Arc::clone(&patient);
            async move { patient.enter(alice("b"), 1).await }
        });
        until_waiting(&patient, 1).await;
        gone.abort();
        until_waiting(&patient, 0).await;
        drop((seat, held));
        assert!(patient.enter(alice("b"), 1).await.is_some());
        assert!(patient.now().iter().all(|(_, now)| now.seats == 0));
    }
}
