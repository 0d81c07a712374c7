//! The peers' leases, kept up to date from what their source says.
//!
//! Begin at [`LeaseBook`]. Owns: what a snapshot, a put and a delete change, and what is wrong with what they say.
//! Never stored: our own lease, whatever overlaps our own subnets, and what no packet could be sent by. So the
//! book can be turned into routes as it stands.
//!
//! **Lost leases.** A peer goes when its lease is deleted, or when a snapshot that continues what was heard before
//! has it no more. But a source that lost its data (an etcd that came back empty, or was restored from a backup) also
//! has the peer no more, and the peer is still there: flannel publishes its lease again only when it renews it, up to
//! 24 hours later. So a peer that vanishes in a snapshot which does not continue what was heard ([`Continuity::Lost`]),
//! or together with our own lease, or with half of the peers, is held for [`HOLD`], unless another lease has its
//! subnet or its address.

mod index;
mod notice;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lease::{Lease, LeaseAttrs, Stored, Subnets};
use index::Index;

pub use notice::{Few, Notice};

/// How long a vanished peer is held: flannel's time to live of a lease. After it every peer that lives has renewed.
pub const HOLD: Duration = Duration::from_secs(24 * 3600);

/// All peers, fed with leases. After any feed the book is what one fresh [`LeaseBook::snapshot`] of the same store
/// would have made it, but for the peers that are held.
#[derive(Clone, Debug)]
pub struct LeaseBook {
    own: Subnets,
    public_ip: Ipv4Addr,
    peers: BTreeMap<Subnets, LeaseAttrs>,
    index: Index,
    /// Those of `peers` that the store no longer has, and until when they are kept.
    held: BTreeMap<Subnets, Duration>,
}

/// Whether a snapshot follows on what the source said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// What is not in it was deleted, or has expired.
    Kept,
    /// The source has lost data, or is another one: what is not in it may well be alive.
    Lost,
}

/// What one feed did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the kernel tables have to follow, in the order of the subnets.
    pub changes: Vec<Change>,
    /// What somebody should know. Nothing here has been acted on.
    pub notices: Vec<Notice>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Added(Lease),
    Changed { lease: Lease, was: LeaseAttrs },
    Removed(Lease),
}

impl LeaseBook {
    /// An empty book for the node that holds `own` and is reached at `public_ip`.
    pub fn new(own: Subnets, public_ip: Ipv4Addr) -> Self {
        Self { own, public_ip, peers: BTreeMap::new(), index: Index::default(), held: BTreeMap::new() }
    }

    /// The peers in the order of their subnets, with those that are held.
    pub fn peers(&self) -> impl ExactSizeIterator<Item = (&Subnets, &LeaseAttrs)> {
        self.peers.iter()
    }

    pub fn get(&self, subnets: &Subnets) -> Option<&LeaseAttrs> {
        self.peers.get(subnets)
    }

    /// Our own subnets.
    pub fn own(&self) -> Subnets {
        self.own
    }

    /// How many peers are held although the store no longer has them.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// When [`LeaseBook::expire`] has something to do.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.held.values().min().copied()
    }

    /// Everything that is stored now: what is not in it has gone, or is held. `now`: the time since any fixed moment.
    pub fn snapshot(
        &mut self,
        leases: impl IntoIterator<Item = Stored>,
        continuity: Continuity,
        now: Duration,
    ) -> Outcome {
        let mut out = Outcome::default();
        let mut fresh = BTreeMap::new();
        let mut unusable = BTreeSet::new();
        let mut own_is_there = false;
        for stored in leases {
            match self.judge(stored) {
                Judged::Peer(lease) => {
                    fresh.insert(lease.subnets, lease.attrs);
                }
                Judged::Own(notice) => {
                    own_is_there = true;
                    out.notices.extend(notice);
                }
                Judged::Useless(subnets, notice) => {
                    unusable.insert(subnets);
                    out.notices.push(notice);
                }
            }
        }
        if !own_is_there {
            out.notices.push(Notice::OwnDeleted);
        }
        // What has gone goes first, so that nothing new seems to be in conflict with it.
        let mut vanished = Vec::new();
        let mut known = 0;
        for subnets in self.peers.keys().filter(|subnets| !self.held.contains_key(subnets)) {
            known += 1;
            if !fresh.contains_key(subnets) {
                vanished.push(*subnets);
            }
        }
        let mut replaced = Vec::new();
        vanished.retain(|subnets| {
            let stays = !unusable.contains(subnets);
            if !stays {
                replaced.push(*subnets);
            }
            stays
        });
        let lost = continuity == Continuity::Lost
            || !own_is_there
            || (vanished.len() > 1 && vanished.len() * 2 >= known);
        for subnets in replaced {
            self.remove(subnets, &mut out);
        }
        if lost {
            self.held.extend(vanished.into_iter().map(|subnets| (subnets, now + HOLD)));
        } else {
            for subnets in vanished {
                self.remove(subnets, &mut out);
            }
        }
        // An unusable lease that was held is in the store again, and of no use.
        let back: Vec<Subnets> = unusable.into_iter().filter(|one| self.held.contains_key(one)).collect();
        for subnets in back {
            self.remove(subnets, &mut out);
        }
        let before = self.held.len();
        for (subnets, attrs) in fresh {
            self.insert(Lease { subnets, attrs }, &mut out);
        }
        if lost && before > 0 && !self.held.is_empty() {
            out.notices.push(Notice::Held { leases: Few::of(self.held.keys().copied()), hold: HOLD });
        }
        out.changes.sort_by_key(|change| change.lease().subnets);
        notice::gather(&mut out.notices);
        out
    }

    /// One lease was written.
    pub fn put(&mut self, stored: Stored) -> Outcome {
        let mut out = Outcome::default();
        match self.judge(stored) {
            Judged::Peer(lease) => self.insert(lease, &mut out),
            Judged::Own(notice) => out.notices.extend(notice),
            Judged::Useless(subnets, notice) => {
                // What it said before does not hold any more either.
                self.remove(subnets, &mut out);
                out.notices.push(notice);
            }
        }
        out.changes.sort_by_key(|change| change.lease().subnets);
        out
    }

    /// One lease was deleted, and the source saw it go. flannel logs an error where it did not know the lease; here
    /// that is nothing.
    pub fn delete(&mut self, subnets: Subnets) -> Outcome {
        let mut out = Outcome::default();
        if subnets == self.own {
            out.notices.push(Notice::OwnDeleted);
        } else {
            self.remove(subnets, &mut out);
        }
        out
    }

    /// Removes the peers that were held long enough.
    pub fn expire(&mut self, now: Duration) -> Outcome {
        let mut out = Outcome::default();
        let due: Vec<Subnets> =
            self.held.iter().filter(|(_, until)| **until <= now).map(|(subnets, _)| *subnets).collect();
        for subnets in due {
            self.remove(subnets, &mut out);
        }
        out
    }

    fn judge(&self, stored: Stored) -> Judged {
        let Stored { subnets, attrs, .. } = stored;
        let malformed = |reason: String| Notice::Malformed { subnets, reason };
        if subnets == self.own {
            return Judged::Own(match attrs {
                Ok(attrs) if attrs.public_ip == self.public_ip => None,
                Ok(by) => Some(Notice::OwnTakenOver { by }),
                Err(error) => Some(Notice::OwnUnreadable { reason: error.to_string() }),
            });
        }
        let useless = |notice| Judged::Useless(subnets, notice);
        let attrs = match attrs {
            Ok(attrs) => attrs,
            Err(error) => return useless(malformed(format!("its value is no lease: {error}"))),
        };
        let lease = Lease { subnets, attrs };
        let ip = lease.attrs.public_ip;
        if !subnets.is_aligned() {
            useless(malformed("its subnet has bits behind the prefix".to_owned()))
        } else if ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() {
            useless(malformed(format!("nobody can be reached at its PublicIP {ip}")))
        } else if subnets.overlaps(&self.own) {
            useless(Notice::OverlapsOwn { lease })
        } else if ip == self.public_ip {
            useless(Notice::OwnAddressElsewhere { lease })
        } else {
            Judged::Peer(lease)
        }
    }

    fn insert(&mut self, lease: Lease, out: &mut Outcome) {
        self.held.remove(&lease.subnets);
        self.release_to(&lease, out);
        let was = self.peers.insert(lease.subnets, lease.attrs.clone());
        if was.as_ref() == Some(&lease.attrs) {
            return;
        }
        if let Some(was) = &was {
            self.index.remove(&lease.subnets, was);
        } else {
            let others = Few::of(self.index.overlapping(&lease.subnets));
            if !others.is_empty() {
                out.notices.push(Notice::Overlap { lease: lease.clone(), others });
            }
        }
        self.index.insert(&lease.subnets, &lease.attrs);
        for address in index::addresses(&lease.attrs) {
            let new = was.as_ref().is_none_or(|was| !index::addresses(was).any(|one| one == address));
            if new && self.index.at(address).nth(1).is_some() {
                let leases = Few::of(self.index.at(address));
                out.notices.push(Notice::SameAddress { address, leases });
            }
        }
        out.changes.push(match was {
            Some(was) => Change::Changed { lease, was },
            None => Change::Added(lease),
        });
    }

    /// A lease in the store ends the hold on those that it has replaced: its subnet was theirs, or its node is theirs.
    fn release_to(&mut self, lease: &Lease, out: &mut Outcome) {
        if self.held.is_empty() {
            return;
        }
        let at = index::addresses(&lease.attrs).flat_map(|address| self.index.at(address));
        let replaced: BTreeSet<Subnets> = self
            .index
            .overlapping(&lease.subnets)
            .chain(at)
            .filter(|other| *other != lease.subnets && self.held.contains_key(other))
            .collect();
        for subnets in replaced {
            self.remove(subnets, out);
        }
    }

    fn remove(&mut self, subnets: Subnets, out: &mut Outcome) {
        self.held.remove(&subnets);
        if let Some(attrs) = self.peers.remove(&subnets) {
            self.index.remove(&subnets, &attrs);
            out.changes.push(Change::Removed(Lease { subnets, attrs }));
        }
    }
}

/// What one lease is to us.
enum Judged {
    Peer(Lease),
    Own(Option<Notice>),
    Useless(Subnets, Notice),
}

impl Change {
    pub fn lease(&self) -> &Lease {
        match self {
            Self::Added(lease) | Self::Changed { lease, .. } | Self::Removed(lease) => lease,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lease { subnets, attrs } = self.lease();
        match self {
            Self::Added(_) => write!(f, "+ {subnets} {}", attrs.to_json()),
            Self::Changed { was, .. } => write!(f, "~ {subnets} {} (was {})", attrs.to_json(), was.to_json()),
            Self::Removed(_) => write!(f, "- {subnets} {}", attrs.to_json()),
        }
    }
}
