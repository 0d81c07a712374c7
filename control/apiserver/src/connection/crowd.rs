//! Which connection goes where there are too many.
//!
//! Facts: a connection costs a descriptor and some memory before anything is known of its client. Where there are as many
//! as may be, a new one takes the place of an idle one, of the address that has most; so who opens thousands and asks
//! nothing keeps nobody out.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// All connections.
#[derive(Debug)]
pub struct Crowd {
    most: usize,
    next: u64,
    members: HashMap<u64, Member>,
}

#[derive(Debug)]
struct Member {
    from: IpAddr,
    activity: Arc<Activity>,
}

/// What becomes of a new connection.
#[derive(Debug)]
pub enum Entry {
    /// `instead_of`: another one, which is to be closed.
    Admitted { id: u64, activity: Arc<Activity>, instead_of: Option<u64> },
    /// All others are busy.
    Refused,
}

impl Crowd {
    /// `most`: connections at a time.
    pub fn new(most: usize) -> Self {
        Self { most, next: 0, members: HashMap::new() }
    }

    pub fn enter(&mut self, from: IpAddr) -> Entry {
        let instead_of = match self.members.len() >= self.most {
            false => None,
            true => match self.victim(Some(from)) {
                None => return Entry::Refused,
                found => found,
            },
        };
        if let Some(victim) = instead_of {
            self.members.remove(&victim);
        }
        self.next += 1;
        let activity = Arc::new(Activity::default());
        self.members.insert(self.next, Member { from, activity: Arc::clone(&activity) });
        Entry::Admitted { id: self.next, activity, instead_of }
    }

    /// The machine has no descriptor left for one more: who is to go, whoever comes.
    pub fn make_room(&mut self) -> Option<u64> {
        let found = self.victim(None)?;
        self.members.remove(&found);
        Some(found)
    }

    /// A connection has ended.
    pub fn leave(&mut self, id: u64) {
        self.members.remove(&id);
    }

    /// The idle connection of the address with most connections that has been there longest without a request. Who has
    /// fewer than the newcomer's own address is not touched for it.
    fn victim(&self, newcomer: Option<IpAddr>) -> Option<u64> {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for member in self.members.values() {
            *counts.entry(member.from).or_default() += 1;
        }
        let count = |from: &IpAddr| counts.get(from).copied().unwrap_or_default();
        let own = newcomer.map_or(0, |from| count(&from));
        let idle = self.members.iter().filter(|(_, member)| !member.activity.is_busy());
        let candidates = idle.filter(|(_, member)| count(&member.from) >= own.max(1));
        let key = |id: u64, member: &Member| {
            (count(&member.from), std::cmp::Reverse(member.activity.last()), std::cmp::Reverse(id))
        };
        candidates.max_by_key(|(id, member)| key(**id, member)).map(|(id, _)| *id)
    }
}

/// What goes on on a connection.
#[derive(Debug, Default)]
pub struct Activity {
    in_flight: AtomicUsize,
    /// Requests so far.
    requests: AtomicU64,
    begun: Notify,
}

/// A request is under way until this goes.
#[derive(Debug)]
pub struct Busy(Arc<Activity>);

impl Activity {
    /// A request begins.
    pub fn begin(activity: &Arc<Self>) -> Busy {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.begun.notify_waiters();
        Busy(Arc::clone(activity))
    }

    pub fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Moves whenever something happens.
    pub fn last(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Comes back when there has been a request.
    pub async fn first(&self) {
        let begun = self.begun.notified();
        tokio::pin!(begun);
        // From here on no beginning is missed.
        begun.as_mut().enable();
        if self.last() == 0 {
            begun.await;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn enter(crowd: &mut Crowd, from: IpAddr) -> (u64, Arc<Activity>, Option<u64>) {
        match crowd.enter(from) {
            Entry::Admitted { id, activity, instead_of } => (id, activity, instead_of),
            Entry::Refused => panic!("refused"),
        }
    }

    #[test]
    fn one_connection_too_many_takes_the_place_of_an_idle_one_of_who_has_most() {
        let mut crowd = Crowd::new(4);
        let (quiet, ..) = enter(&mut crowd, ip(1));
        let (first, activity, _) = enter(&mut crowd, ip(2));
        let (second, ..) = enter(&mut crowd, ip(2));
        let (third, ..) = enter(&mut crowd, ip(2));
        let busy = Activity::begin(&activity);
        let (newcomer, _, instead_of) = enter(&mut crowd, ip(3));
        assert_eq!(instead_of, Some(second), "the first one is busy");
        drop(busy);
        // The hog gets no place but its own.
        let (_, _, instead_of) = enter(&mut crowd, ip(2));
        assert_eq!(instead_of, Some(third), "it has had no request, unlike the first one");
        for gone in [quiet, newcomer, first] {
            crowd.leave(gone);
        }
        assert_eq!(enter(&mut crowd, ip(2)).2, None);
    }

    #[test]
    fn where_all_are_busy_the_new_one_is_refused() {
        let mut crowd = Crowd::new(1);
        let (_, activity, _) = enter(&mut crowd, ip(1));
        let busy = Activity::begin(&activity);
        assert!(matches!(crowd.enter(ip(2)), Entry::Refused));
        drop(busy);
        assert!(matches!(crowd.enter(ip(2)), Entry::Admitted { .. }));
    }

    #[tokio::test]
    async fn the_first_request_of_a_connection_is_noticed_before_and_after_it_comes() {
        let activity = Arc::new(Activity::default());
        let waiting = tokio::spawn({
            let activity = Arc::clone(&activity);
            async move { activity.first().await }
        });
        tokio::task::yield_now().await;
        drop(Activity::begin(&activity));
        waiting.await.expect("no panic");
        activity.first().await;
    }
}
