//! How many requests are served at the same time, where they are not shared fairly ([`crate::fairness`]).
//!
//! Facts: 400 that read and 200 that write; watches do not count. A request too many is told to come again (429).

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::request::info::Info;

/// Places for requests.
#[derive(Debug)]
pub struct Inflight {
    reads: Semaphore,
    writes: Semaphore,
    most: (usize, usize),
}

/// A place, for as long as it is held.
#[derive(Debug)]
pub struct Place<'a>(#[expect(dead_code, reason = "held, not read")] Option<SemaphorePermit<'a>>);

impl Inflight {
    pub fn new(reads: usize, writes: usize) -> Self {
        Self { reads: Semaphore::new(reads), writes: Semaphore::new(writes), most: (reads, writes) }
    }

    /// Counts, and sends nobody away.
    pub fn unlimited() -> Self {
        Self::new(Semaphore::MAX_PERMITS, Semaphore::MAX_PERMITS)
    }

    /// `None`: there is no place. Watches, and the paths by which others see whether the server lives, need none.
    pub fn enter(&self, info: &Info) -> Option<Place<'_>> {
        let places = match info.verb.as_str() {
            _ if info.resource.is_none() => return Some(Place(None)),
            "watch" => return Some(Place(None)),
            _ if info.is_stream() => return Some(Place(None)),
            "get" | "list" => &self.reads,
            _ => &self.writes,
        };
        places.try_acquire().ok().map(|permit| Place(Some(permit)))
    }

    /// How many are being served: such that read, and such that write.
    pub fn now(&self) -> (usize, usize) {
        let (reads, writes) = self.most;
        (reads - self.reads.available_permits(), writes - self.writes.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_too_many_is_sent_away_and_a_watch_never() {
        let of = |verb: &str| Info {
            verb: verb.to_owned(),
            resource: Some(Default::default()),
            ..Info::default()
        };
        let places = Inflight::new(1, 1);
        let read = places.enter(&of("list")).expect("a place");
        assert!(places.enter(&of("get")).is_none());
        assert!(places.enter(&of("watch")).is_some());
        let write = places.enter(&of("create")).expect("a place");
        assert!(places.enter(&of("patch")).is_none());
        assert_eq!(places.now(), (1, 1));
        drop((read, write));
        assert_eq!(places.now(), (0, 0));
        assert!(places.enter(&of("get")).is_some());
    }
}
