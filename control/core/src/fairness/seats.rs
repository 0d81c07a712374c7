//! Who runs, who waits, and who is sent away.
//!
//! Owns: the seats of all levels, and the queue of each flow. Begin at [`Seats::enter`] and [`Seats::leave`].
//!
//! - A level runs as many requests as its seats are, and more while no other level needs the seats that it may lend. What
//!   a level must not lend stays free for it: a flood in one level never keeps another waiting for that.
//! - A request takes one seat or several (its width), and waits until all of them are free.
//! - In a level the next seat is for the flow with the fewest seats in use, and of those for the one that has waited
//!   longest: whoever asks little is next, however much others ask.
//! - Where no more may wait, the longest queue loses its newest request.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::level::Limits;

/// A request that waits, or waited.
pub type Ticket = u64;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It runs; [`Seats::leave`] when it has ended.
    Runs,
    /// It waits until [`Seats::leave`] names it, or [`Seats::give_up`].
    Waits { ticket: Ticket, instead_of: Option<Ticket> },
    /// It is sent away: no seat is free, and nobody waits in this level.
    NoSeat,
    /// It is sent away: too many wait already.
    Full,
}

/// What a level has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    pub seats: usize,
    pub requests: usize,
    pub waiting: usize,
}

/// The seats of a server.
#[derive(Debug)]
pub struct Seats {
    total: usize,
    levels: BTreeMap<Arc<str>, Level>,
    next: Ticket,
}

#[derive(Debug, Default)]
struct Level {
    limits: Limits,
    /// It is configured no more, and goes when its last request has.
    is_retired: bool,
    /// Seats in use.
    running: usize,
    /// Requests that have them.
    requests: usize,
    waiting: usize,
    flows: HashMap<Arc<str>, Flow>,
    /// Flows that wait: seats in use, since when, which.
    turns: BTreeSet<(usize, Ticket, Arc<str>)>,
}

#[derive(Debug, Default)]
struct Flow {
    /// Seats in use.
    running: usize,
    /// Requests that wait, and their widths.
    queue: VecDeque<(Ticket, usize)>,
    /// When it was served last, or began to wait.
    since: Ticket,
}

impl Seats {
    pub fn new(total: usize, limits: &BTreeMap<Arc<str>, Limits>) -> Self {
        let mut seats = Self { total, levels: BTreeMap::new(), next: 0 };
        seats.configure(limits);
        seats
    }

    /// Takes other limits from now on. Gives the tickets of those that run now.
    pub fn configure(&mut self, limits: &BTreeMap<Arc<str>, Limits>) -> Vec<Ticket> {
        for (name, level) in &mut self.levels {
            level.is_retired = !limits.contains_key(name);
        }
        for (name, limits) in limits {
            self.levels.entry(Arc::clone(name)).or_default().limits = *limits;
        }
        self.levels.retain(|_, level| !level.is_retired || level.running + level.waiting > 0);
        self.start()
    }

    /// The width that a request of the level may have, where it would like to be so wide. It is never more than what
    /// nobody else may use: it would wait for that as long as others borrow it.
    pub fn width(&self, level: &str, wanted: usize) -> usize {
        let Some(own) = self.levels.get(level).filter(|own| !own.limits.is_exempt) else { return 1 };
        wanted.min(own.limits.widest).min(own.limits.least).max(1)
    }

    /// A request comes, of a width that [`Seats::width`] gave. A level that is not known lets everything run.
    pub fn enter(&mut self, level: &str, flow: &Arc<str>, width: usize) -> Entry {
        let may_run = self.may_run(level, width);
        let Some(own) = self.levels.get_mut(level) else { return Entry::Runs };
        if own.limits.is_exempt || (may_run && own.is_next(flow)) {
            own.run(flow, width);
            return Entry::Runs;
        }
        if own.limits.waiting == 0 {
            return Entry::NoSeat;
        }
        let queued = own.flows.get(flow).map_or(0, |flow| flow.queue.len());
        if queued >= own.limits.waiting_of_flow {
            return Entry::Full;
        }
        let instead_of = match own.waiting >= own.limits.waiting {
            false => None,
            true => match own.push_out(queued) {
                Some(ticket) => Some(ticket),
                None => return Entry::Full,
            },
        };
        self.next += 1;
        own.wait(flow, self.next, width);
        Entry::Waits { ticket: self.next, instead_of }
    }

    /// A request that ran has ended. Gives the tickets of those that run instead.
    pub fn leave(&mut self, level: &str, flow: &Arc<str>, width: usize) -> Vec<Ticket> {
        let Some(own) = self.levels.get_mut(level) else { return Vec::new() };
        own.running = own.running.saturating_sub(width);
        own.requests = own.requests.saturating_sub(1);
        own.change(flow, |flow| flow.running = flow.running.saturating_sub(width));
        let is_over = own.is_retired && own.running + own.waiting == 0;
        if is_over {
            self.levels.remove(level);
        }
        self.start()
    }

    /// A request waits no longer. Gives the tickets of those that run, because it was in their way. `None`: it did not
    /// wait any more, but runs or was pushed out.
    pub fn give_up(&mut self, level: &str, flow: &Arc<str>, ticket: Ticket) -> Option<Vec<Ticket>> {
        let own = self.levels.get_mut(level)?;
        let mut waited = false;
        own.change(flow, |flow| {
            let before = flow.queue.len();
            flow.queue.retain(|(other, _)| *other != ticket);
            waited = flow.queue.len() < before;
        });
        own.waiting -= usize::from(waited);
        waited.then(|| self.start())
    }

    /// What each level has.
    pub fn now(&self) -> impl Iterator<Item = (&Arc<str>, Use)> {
        let shown =
            |level: &Level| Use { seats: level.running, requests: level.requests, waiting: level.waiting };
        self.levels.iter().map(move |(name, level)| (name, shown(level)))
    }

    /// Whether a level may use so many seats more: it has not all that it may have, and what is free is more than what the
    /// others must find free.
    fn may_run(&self, level: &str, width: usize) -> bool {
        let Some(own) = self.levels.get(level) else { return true };
        // It may have come while the level was larger.
        let width = width.min(own.limits.least.max(1));
        if own.running + width > own.limits.most {
            return false;
        }
        // What is its own and may not be lent is there whatever happens, even where rounding makes more of it than there is.
        if own.running + width <= own.limits.least {
            return true;
        }
        let counted = || self.levels.iter().filter(|(_, other)| !other.limits.is_exempt);
        let used: usize = counted().map(|(_, other)| other.running).sum();
        let kept: usize = counted()
            .filter(|(name, _)| ***name != *level)
            .map(|(_, other)| other.limits.least.saturating_sub(other.running))
            .sum();
        self.total.max(1) >= used + kept + width
    }

    /// Fills free seats: the level that has least of what is its own comes first.
    fn start(&mut self) -> Vec<Ticket> {
        let mut started = Vec::new();
        loop {
            let waiting = self.levels.iter().filter(|(_, level)| level.waiting > 0);
            let able =
                waiting.filter(|(name, level)| level.is_retired || self.may_run(name, level.next_width()));
            // running / nominal, without fractions that differ in their last bit.
            let poorest = able.min_by(|(_, a), (_, b)| {
                let (left, right) =
                    (a.running * b.limits.nominal.max(1), b.running * a.limits.nominal.max(1));
                left.cmp(&right)
            });
            let Some(name) = poorest.map(|(name, _)| Arc::clone(name)) else { return started };
            self.next += 1;
            match self.levels.get_mut(&name).and_then(|level| level.start_next(self.next)) {
                Some(ticket) => started.push(ticket),
                None => return started,
            }
        }
    }
}

impl Level {
    /// Nobody waits, or those who wait have more seats in use than this flow.
    fn is_next(&self, flow: &Arc<str>) -> bool {
        let Some((least, ..)) = self.turns.first() else { return true };
        self.flows.get(flow).is_none_or(|flow| flow.queue.is_empty() && flow.running < *least) && *least > 0
    }

    /// Of the request that is next.
    fn next_width(&self) -> usize {
        let first = self.turns.first().and_then(|(_, _, flow)| self.flows.get(flow)?.queue.front());
        first.map_or(1, |(_, width)| *width)
    }

    fn run(&mut self, flow: &Arc<str>, width: usize) {
        self.running += width;
        self.requests += 1;
        self.change(flow, |flow| flow.running += width);
    }

    fn wait(&mut self, flow: &Arc<str>, ticket: Ticket, width: usize) {
        self.waiting += 1;
        self.change(flow, |flow| {
            if flow.queue.is_empty() {
                flow.since = ticket;
            }
            flow.queue.push_back((ticket, width));
        });
    }

    fn start_next(&mut self, now: Ticket) -> Option<Ticket> {
        let (_, _, flow) = self.turns.first()?.clone();
        let mut next = None;
        self.change(&flow, |flow| {
            next = flow.queue.pop_front();
            flow.running += next.map_or(0, |(_, width)| width);
            flow.since = now;
        });
        let (ticket, width) = next?;
        self.running += width;
        self.requests += 1;
        self.waiting = self.waiting.saturating_sub(1);
        Some(ticket)
    }

    /// Takes the newest request out of the longest queue, where that is longer than `queued`.
    fn push_out(&mut self, queued: usize) -> Option<Ticket> {
        let longest = self.flows.iter().max_by_key(|(_, flow)| flow.queue.len());
        let flow =
            longest.filter(|(_, flow)| flow.queue.len() > queued + 1).map(|(name, _)| Arc::clone(name))?;
        let mut ticket = None;
        self.change(&flow, |flow| ticket = flow.queue.pop_back().map(|(ticket, _)| ticket));
        self.waiting = self.waiting.saturating_sub(1);
        ticket
    }

    /// Changes a flow, and keeps its turn right. One with nothing in it is forgotten.
    fn change(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Flow)) {
        let flow = self.flows.entry(Arc::clone(name)).or_default();
        self.turns.remove(&(flow.running, flow.since, Arc::clone(name)));
        change(flow);
        if !flow.queue.is_empty() {
            self.turns.insert((flow.running, flow.since, Arc::clone(name)));
        } else if flow.running == 0 {
            self.flows.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(nominal: usize, least: usize, most: usize, waiting: usize) -> Limits {
        Limits { is_exempt: false, nominal, least, most, widest: 10, waiting_of_flow: waiting, waiting }
    }

    fn seats(total: usize, levels: &[(&str, Limits)]) -> Seats {
        Seats::new(total, &levels.iter().map(|(name, limits)| (Arc::from(*name), *limits)).collect())
    }

    fn ticket(entry: Entry) -> Ticket {
        match entry {
            Entry::Waits { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_flow_that_asks_little_is_next_however_much_another_asks() {
        let mut seats = seats(2, &[("a", limits(2, 2, 2, 100))]);
        let (flood, quiet) = (Arc::from("flood"), Arc::from("quiet"));
        assert_eq!([seats.enter("a", &flood, 1), seats.enter("a", &flood, 1)], [Entry::Runs, Entry::Runs]);
        let first = ticket(seats.enter("a", &flood, 1));
        for _ in 0..50 {
            ticket(seats.enter("a", &flood, 1));
        }
        let late = ticket(seats.enter("a", &quiet, 1));
        assert_eq!(seats.leave("a", &flood, 1), [late]);
        assert_eq!(seats.leave("a", &quiet, 1), [first], "nobody else waits");
    }

    #[test]
    fn flows_that_ask_the_same_take_turns() {
        let mut seats = seats(1, &[("a", limits(1, 1, 1, 100))]);
        let flows: Vec<Arc<str>> = ["x", "y", "z"].map(Arc::from).to_vec();
        assert_eq!(seats.enter("a", &flows[0], 1), Entry::Runs);
        let waiting: Vec<(Ticket, usize)> =
            (0..6).map(|nth| (ticket(seats.enter("a", &flows[nth % 3], 1)), nth % 3)).collect();
        let (mut served, mut running) = (Vec::new(), 0);
        for _ in 0..6 {
            let started = seats.leave("a", &flows[running], 1);
            running = waiting.iter().find(|(known, _)| [*known] == *started).expect("one").1;
            served.push(running);
        }
        assert_eq!(served, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_level_borrows_what_others_may_lend_and_gives_it_back() {
        let mut seats = seats(10, &[("a", limits(5, 5, 10, 100)), ("b", limits(5, 3, 10, 100))]);
        let flow = Arc::from("f");
        for _ in 0..7 {
            assert_eq!(seats.enter("a", &flow, 1), Entry::Runs);
        }
        let waits = ticket(seats.enter("a", &flow, 1));
        // What b must not lend is there at once, and what it lent as soon as it is free.
        for _ in 0..3 {
            assert_eq!(seats.enter("b", &flow, 1), Entry::Runs);
        }
        let own = ticket(seats.enter("b", &flow, 1));
        assert_eq!(seats.leave("a", &flow, 1), [own], "b has less of what is its own than a");
        assert_eq!(
            seats.leave("b", &flow, 1),
            [waits],
            "b has all that it must find free, and lends the rest"
        );
    }

    #[test]
    fn the_longest_queue_loses_where_no_more_may_wait() {
        let mut seats = seats(1, &[("a", Limits { waiting_of_flow: 3, ..limits(1, 1, 1, 4) })]);
        let (flood, quiet, third) = (Arc::from("flood"), Arc::from("quiet"), Arc::from("third"));
        assert_eq!(seats.enter("a", &flood, 1), Entry::Runs);
        let tickets: Vec<_> = (0..3).map(|_| ticket(seats.enter("a", &flood, 1))).collect();
        assert_eq!(seats.enter("a", &flood, 1), Entry::Full, "three of one flow");
        ticket(seats.enter("a", &quiet, 1));
        let Entry::Waits { instead_of, .. } = seats.enter("a", &third, 1) else { panic!("it waits") };
        assert_eq!(instead_of, Some(tickets[2]));
        assert_eq!(seats.give_up("a", &flood, tickets[2]), None, "it was pushed out");
        assert_eq!(seats.give_up("a", &flood, tickets[1]), Some(Vec::new()));
    }

    #[test]
    fn a_level_without_queues_sends_away_and_an_exempt_one_never_does() {
        let exempt = Limits { is_exempt: true, most: 1, ..Limits::default() };
        let mut seats = seats(1, &[("a", limits(1, 1, 1, 0)), ("exempt", exempt)]);
        let flow = Arc::from("f");
        assert_eq!([seats.enter("a", &flow, 1), seats.enter("a", &flow, 1)], [Entry::Runs, Entry::NoSeat]);
        for _ in 0..50 {
            assert_eq!(seats.enter("exempt", &flow, 1), Entry::Runs);
        }
        assert!(seats.leave("a", &flow, 1).is_empty());
        assert_eq!(seats.enter("a", &flow, 1), Entry::Runs, "what is exempt takes nobody's seat");
    }

    #[test]
    fn a_wide_request_waits_for_all_its_seats_and_is_not_overtaken_by_its_own_flow() {
        let mut seats = seats(4, &[("a", Limits { widest: 3, ..limits(4, 4, 4, 10) })]);
        let (lists, gets) = (Arc::from("lists"), Arc::from("gets"));
        assert_eq!((seats.width("a", 10), seats.width("a", 0), seats.width("none", 10)), (3, 1, 1));
        assert_eq!(seats.enter("a", &lists, 3), Entry::Runs);
        let wide = ticket(seats.enter("a", &lists, 3));
        let narrow = ticket(seats.enter("a", &lists, 1));
        assert_eq!(seats.enter("a", &gets, 1), Entry::Runs, "another flow, with nothing in use");
        assert_eq!(seats.leave("a", &gets, 1), [0; 0], "the wide one has no room yet");
        assert_eq!(seats.leave("a", &lists, 3), [wide, narrow]);
        let again = ticket(seats.enter("a", &lists, 3));
        let behind = ticket(seats.enter("a", &lists, 1));
        assert_eq!(seats.leave("a", &lists, 1), [0; 0]);
        assert_eq!(seats.give_up("a", &lists, again), Some(vec![behind]), "nothing is in its way any more");
    }

    #[test]
    fn a_level_that_is_no_more_serves_those_that_wait() {
        let mut seats = seats(1, &[("a", limits(1, 1, 1, 10)), ("b", limits(1, 0, 1, 10))]);
        let flow = Arc::from("f");
        assert_eq!(seats.enter("a", &flow, 1), Entry::Runs);
        let waits = ticket(seats.enter("a", &flow, 1));
        let rest = BTreeMap::from([(Arc::from("b"), limits(1, 0, 1, 10))]);
        assert_eq!(seats.configure(&rest), [waits]);
        assert!(seats.leave("a", &flow, 1).is_empty());
        assert!(seats.leave("a", &flow, 1).is_empty());
        assert_eq!(seats.now().map(|(name, ..)| name.to_string()).collect::<Vec<_>>(), ["b"]);
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Enter(usize, usize, usize),
        Leave(usize),
        GiveUp(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => (0..3usize, 0..4usize, 1..4usize).prop_map(|(level, flow, width)| Act::Enter(level, flow, width)),
            2 => (0..64usize).prop_map(Act::Leave),
            1 => (0..64usize).prop_map(Act::GiveUp),
        ]
    }

    proptest! {
        /// Whatever comes and goes: the books agree with who runs and waits, no limit is passed, no seat that somebody
        /// waits for stays free, and when all have left nothing is left.
        #[test]
        fn no_seat_is_lost_and_no_limit_passed(acts in proptest::collection::vec(act(), 0..200)) {
            let names = ["a", "b", "c"];
            let bounds = [limits(2, 2, 6, 5), limits(3, 1, 4, 4), limits(1, 0, 6, 6)];
            let mut seats = seats(6, &[("a", bounds[0]), ("b", bounds[1]), ("c", bounds[2])]);
            let flows: Vec<Arc<str>> = ["w", "x", "y", "z"].map(Arc::from).to_vec();
            type Own = (usize, usize, usize);
            let (mut running, mut waiting) = (Vec::<Own>::new(), Vec::<(Ticket, Own)>::new());
            let started = |tickets: Vec<Ticket>, running: &mut Vec<Own>, waiting: &mut Vec<(Ticket, Own)>| {
                for ticket in tickets {
                    let at = waiting.iter().position(|(own, _)| *own == ticket).expect("a ticket that waits");
                    running.push(waiting.remove(at).1);
                }
            };
            for act in acts {
                match act {
                    Act::Enter(level, flow, wanted) => {
                        let width = seats.width(names[level], wanted);
                        let own = (level, flow, width);
                        match seats.enter(names[level], &flows[flow], width) {
                            Entry::Runs => running.push(own),
                            Entry::Waits { ticket, instead_of } => {
                                waiting.push((ticket, own));
                                waiting.retain(|(own, _)| Some(*own) != instead_of);
                            }
                            Entry::NoSeat | Entry::Full => {}
                        }
                    }
                    Act::Leave(nth) if !running.is_empty() => {
                        let (level, flow, width) = running.remove(nth % running.len());
                        let tickets = seats.leave(names[level], &flows[flow], width);
                        started(tickets, &mut running, &mut waiting);
                    }
                    Act::GiveUp(nth) if !waiting.is_empty() => {
                        let (ticket, (level, flow, _)) = waiting.remove(nth % waiting.len());
                        let tickets = seats.give_up(names[level], &flows[flow], ticket);
                        started(tickets.expect("it waited"), &mut running, &mut waiting);
                    }
                    Act::Leave(_) | Act::GiveUp(_) => {}
                }
                for (nth, (name, now)) in seats.now().enumerate() {
                    let of_level = || running.iter().filter(|(level, ..)| *level == nth);
                    prop_assert_eq!(now.requests, of_level().count());
                    prop_assert_eq!(now.seats, of_level().map(|(.., width)| width).sum::<usize>());
                    prop_assert_eq!(now.waiting, waiting.iter().filter(|(_, (level, ..))| *level == nth).count());
                    prop_assert!(now.seats <= bounds[nth].most && now.waiting <= bounds[nth].waiting);
                    let next = seats.levels[name].next_width();
                    prop_assert!(now.waiting == 0 || !seats.may_run(name, next), "seats are free and somebody waits");
                }
                prop_assert!(running.iter().map(|(.., width)| width).sum::<usize>() <= 6);
            }
            while let Some((level, flow, width)) = running.pop() {
                started(seats.leave(names[level], &flows[flow], width), &mut running, &mut waiting);
            }
            prop_assert!(waiting.is_empty());
            prop_assert!(seats.levels.values().all(|level| level.flows.is_empty() && level.turns.is_empty()));
        }
    }
}
