//! What one candidate does next.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::timing::JITTER;
use super::{Record, Timing};

/// Now, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since the machine started; goes on while it, or the process, sleeps. All decisions are made by this one.
    pub boot: Duration,
    /// For people who read the Lease.
    pub wall: SystemTime,
}

/// What to do. All but [`Step::Wait`] and [`Step::Lost`] is a request, whose outcome is told by [`Election::read`],
/// [`Election::written`] or [`Election::failed`] before the next step is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing until then, by the clock since boot.
    Wait(Duration),
    /// Read the Lease.
    Read,
    /// Create it; whoever was faster wins.
    Create(Value),
    /// Replace it, at the version that it names.
    Replace(Value),
    /// This candidate led, and does not any more.
    Lost(Loss),
}

/// Why a leader leads no longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    #[error("the lease was not renewed in time")]
    Late,
    #[error("the lease is {0}'s now")]
    Taken(String),
}

/// A candidate for a Lease.
#[derive(Clone, Debug)]
pub struct Election {
    namespace: String,
    name: String,
    identity: String,
    timing: Timing,
    seen: Option<Seen>,
    known: Known,
    /// This candidate leads until then, unless it renews.
    until: Option<Duration>,
    lost: Option<Loss>,
    /// Nothing is done before.
    next: Duration,
    /// When the request was sent that is on its way.
    sent: Duration,
    /// A renewal failed, and the Lease was read again for it: what fails now waits.
    again: bool,
}

/// How much is known of the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It may have changed since it was seen.
    Old,
    Missing,
    /// No later version is known.
    Current,
}

#[derive(Clone, Debug)]
struct Seen {
    lease: Arc<Value>,
    record: Record,
    /// When this candidate first saw that record.
    since: Duration,
}

impl Election {
    /// `identity` must be another one for each process that ever stands for this Lease.
    pub fn new(namespace: &str, name: &str, identity: &str, timing: Timing) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: identity.to_owned(),
            timing,
            seen: None,
            known: Known::Old,
            until: None,
            lost: None,
            next: Duration::ZERO,
            sent: Duration::ZERO,
            again: false,
        }
    }

    /// Until when this candidate leads, by the clock since boot, if nothing more happens. No write may start later.
    pub fn leads_until(&self) -> Option<Duration> {
        self.until
    }

    /// Who holds the Lease as it was seen last; empty where nobody does.
    pub fn holder(&self) -> &str {
        self.seen.as_ref().map_or("", |seen| &seen.record.holder)
    }

    /// The Lease as it was seen last.
    pub fn lease(&self) -> Option<&Arc<Value>> {
        self.seen.as_ref().map(|seen| &seen.lease)
    }

    /// `chance` is from 0 to 1, another one each time: it keeps candidates apart.
    pub fn next(&mut self, now: Moment, chance: f64) -> Step {
        if let Some(end) = self.until
            && now.boot >= end
        {
            self.lose(Loss::Late);
        }
        if let Some(loss) = &self.lost {
            return Step::Lost(loss.clone());
        }
        if now.boot < self.next {
            return Step::Wait(self.until.map_or(self.next, |end| end.min(self.next)));
        }
        self.sent = now.boot;
        match (self.known, &self.seen) {
            (Known::Missing, _) => Step::Create(self.claim(now.wall, None)),
            (Known::Current, Some(seen)) => match self.others_until(seen) {
                Some(end) if now.boot < end => {
                    self.known = Known::Old;
                    self.next = end.min(now.boot + self.pause(chance));
                    Step::Wait(self.next)
                }
                _ => Step::Replace(self.claim(now.wall, Some(seen))),
            },
            _ => Step::Read,
        }
    }

    /// The Lease as it is, or that there is none.
    pub fn read(&mut self, now: Duration, lease: Option<Arc<Value>>) {
        self.known = Known::Missing;
        if let Some(lease) = lease {
            self.see(now, lease);
            // Nobody's, while this candidate leads: nobody can have led meanwhile, so it is taken again. A program of
            // client-go that stood still for longer than its lease may give up what is another's by then.
            let holder = self.holder();
            if self.until.is_some() && !holder.is_empty() && holder != self.identity {
                self.lose(Loss::Taken(holder.to_owned()));
            }
        }
    }

    /// The server accepted what was sent; `lease` is what it made of it.
    pub fn written(&mut self, now: Duration, lease: Arc<Value>) {
        self.see(now, lease);
        self.again = false;
        // Others were told meanwhile that this candidate does not lead: it does not begin again in silence.
        if self.until.is_some_and(|end| now >= end) {
            return self.lose(Loss::Late);
        }
        // Who waits may have seen the write right after it was sent, so that is when our time begins.
        let end = self.sent + self.timing.renew();
        if now < end {
            self.until = Some(end);
            self.next = now + self.timing.retry();
        }
    }

    /// The request was refused, or it is not known whether it was done.
    pub fn failed(&mut self, now: Duration, chance: f64) {
        self.known = Known::Old;
        self.next = match (self.until, self.again) {
            (None, _) => now + self.pause(chance),
            // What this leader knew of the Lease may be old: that is found out at once.
            (Some(_), false) => now,
            (Some(_), true) => now + self.timing.retry(),
        };
        self.again = true;
    }

    fn lose(&mut self, loss: Loss) {
        self.until = None;
        self.lost = Some(loss);
    }

    fn see(&mut self, now: Duration, lease: Arc<Value>) {
        let record = Record::of(&lease);
        let since = self.seen.as_ref().filter(|seen| seen.record == record).map_or(now, |seen| seen.since);
        self.seen = Some(Seen { lease, record, since });
        self.known = Known::Current;
    }

    /// Until when another candidate has it; `None` where nobody else has.
    fn others_until(&self, seen: &Seen) -> Option<Duration> {
        let holder = &seen.record.holder;
        let others = !holder.is_empty() && *holder != self.identity;
        others.then(|| seen.since + seen.record.lasts())
    }

    /// The Lease with this candidate as its holder.
    fn claim(&self, wall: SystemTime, seen: Option<&Seen>) -> Value {
        let before = seen.map(|seen| &seen.record);
        let renewed = before.cloned().unwrap_or_default().another_time(wall);
        let (acquired, transitions) = match before {
            Some(record) if record.holder == self.identity => (record.acquired.clone(), record.transitions),
            Some(record) => (renewed.clone(), record.transitions.saturating_add(1)),
            None => (renewed.clone(), 0),
        };
        let record = Record {
            holder: self.identity.clone(),
            seconds: self.timing.seconds(),
            acquired,
            renewed,
            transitions,
        };
        record.put(seen.map(|seen| &*seen.lease), &self.namespace, &self.name)
    }

    fn pause(&self, chance: f64) -> Duration {
        self.timing.retry().mul_f64(1.0 + JITTER * chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests;
