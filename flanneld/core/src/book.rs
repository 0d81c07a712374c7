//! The peers' leases, kept up to date from what etcd says.
//!
//! Begin at [`LeaseBook`]. Owns: what a snapshot, a put and a delete change, and what is wrong with what they say.
//! Never stored: our own lease, whatever overlaps our own subnets, and what no packet could be sent by. So the
//! book can be turned into routes as it stands.

mod index;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use crate::lease::{Lease, LeaseAttrs, Subnets};
use index::Index;

/// All peers, fed with raw keys and values. After any feed the book is what one fresh [`LeaseBook::snapshot`] of the
/// same store would have made it.
#[derive(Clone, Debug)]
pub struct LeaseBook {
    own: Subnets,
    public_ip: Ipv4Addr,
    peers: BTreeMap<Subnets, LeaseAttrs>,
    index: Index,
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

/// Something odd in the store. Conflicts between two peers are given once, when they arise; everything else whenever
/// the key is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Our own key is not there: it was deleted, or its etcd lease ran out.
    OwnDeleted,
    /// Our own key has somebody else's public IP: he took our subnets.
    OwnTakenOver { by: LeaseAttrs },
    /// Our own key has a value that nobody can read.
    OwnUnreadable { reason: String },
    /// This key is no lease that anybody could use, and has been left out.
    Malformed { key: String, reason: String },
    /// This lease overlaps our own subnets, and has been left out: a route to it would take away our own pods.
    OverlapsOwn { lease: Lease },
    /// Our own public IP holds other subnets too. The lease has been left out: its packets would come back to us.
    OwnAddressElsewhere { lease: Lease },
    /// Two peers with one public IP: machines made from one image, or all on the same NAT address (Vagrant's
    /// 10.0.2.15). One of them cannot be reached.
    SameAddress { lease: Lease, other: Subnets },
    /// Two peers with overlapping subnets: each gets only a part of the packets.
    Overlap { lease: Lease, other: Subnets },
}

impl LeaseBook {
    /// An empty book for the node that holds `own` and is reached at `public_ip`.
    pub fn new(own: Subnets, public_ip: Ipv4Addr) -> Self {
        Self { own, public_ip, peers: BTreeMap::new(), index: Index::default() }
    }

    /// The peers in the order of their subnets.
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

    /// Everything that is stored now: what is not in it has gone. Keys may be whole etcd keys.
    pub fn snapshot<K, V>(&mut self, entries: impl IntoIterator<Item = (K, V)>) -> Outcome
    where
        K: AsRef<str>,
        V: AsRef<[u8]>,
    {
        let mut out = Outcome::default();
        let mut fresh = BTreeMap::new();
        let mut own_is_there = false;
        for (key, value) in entries {
            match self.judge(key.as_ref(), value.as_ref()) {
                Judged::Peer(lease) => {
                    fresh.insert(lease.subnets, lease.attrs);
                }
                Judged::Own(notice) => {
                    own_is_there = true;
                    out.notices.extend(notice);
                }
                Judged::Useless(_, notice) => out.notices.push(notice),
            }
        }
        if !own_is_there {
            out.notices.push(Notice::OwnDeleted);
        }
        // What has gone goes first, so that nothing new seems to be in conflict with it.
        let gone: Vec<Subnets> =
            self.peers.keys().filter(|subnets| !fresh.contains_key(subnets)).copied().collect();
        for subnets in gone {
            self.remove(subnets, &mut out);
        }
        for (subnets, attrs) in fresh {
            self.insert(Lease { subnets, attrs }, &mut out);
        }
        out.changes.sort_by_key(|change| change.lease().subnets);
        out
    }

    /// One key was written.
    pub fn put(&mut self, key: &str, value: impl AsRef<[u8]>) -> Outcome {
        let mut out = Outcome::default();
        match self.judge(key, value.as_ref()) {
            Judged::Peer(lease) => self.insert(lease, &mut out),
            Judged::Own(notice) => out.notices.extend(notice),
            Judged::Useless(subnets, notice) => {
                // What it said before does not hold any more either.
                if let Some(subnets) = subnets {
                    self.remove(subnets, &mut out);
                }
                out.notices.push(notice);
            }
        }
        out
    }

    /// One key was deleted. flannel logs an error where it did not know the key; here that is nothing.
    pub fn delete(&mut self, key: &str) -> Outcome {
        let mut out = Outcome::default();
        match key.parse::<Subnets>() {
            Ok(subnets) if subnets == self.own => out.notices.push(Notice::OwnDeleted),
            Ok(subnets) => self.remove(subnets, &mut out),
            Err(_) => {}
        }
        out
    }

    fn judge(&self, key: &str, value: &[u8]) -> Judged {
        let malformed = |reason: String| Notice::Malformed { key: key.to_owned(), reason };
        let subnets: Subnets = match key.parse() {
            Ok(subnets) => subnets,
            Err(_) => return Judged::Useless(None, malformed("it is not the key of a lease".to_owned())),
        };
        let attrs = LeaseAttrs::from_json(value);
        if subnets == self.own {
            return Judged::Own(match attrs {
                Ok(attrs) if attrs.public_ip == self.public_ip => None,
                Ok(by) => Some(Notice::OwnTakenOver { by }),
                Err(error) => Some(Notice::OwnUnreadable { reason: error.to_string() }),
            });
        }
        let useless = |notice| Judged::Useless(Some(subnets), notice);
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
        let was = self.peers.insert(lease.subnets, lease.attrs.clone());
        if was.as_ref() == Some(&lease.attrs) {
            return;
        }
        let known: BTreeSet<Subnets> =
            was.as_ref().map(|was| self.index.same_address(&lease.subnets, was)).unwrap_or_default();
        if let Some(was) = &was {
            self.index.remove(&lease.subnets, was);
        } else {
            let overlaps = self.index.overlapping(&lease.subnets);
            out.notices.extend(overlaps.map(|other| Notice::Overlap { lease: lease.clone(), other }));
        }
        let same = self.index.same_address(&lease.subnets, &lease.attrs);
        let new = same.difference(&known);
        out.notices.extend(new.map(|other| Notice::SameAddress { lease: lease.clone(), other: *other }));
        self.index.insert(&lease.subnets, &lease.attrs);
        out.changes.push(match was {
            Some(was) => Change::Changed { lease, was },
            None => Change::Added(lease),
        });
    }

    fn remove(&mut self, subnets: Subnets, out: &mut Outcome) {
        if let Some(attrs) = self.peers.remove(&subnets) {
            self.index.remove(&subnets, &attrs);
            out.changes.push(Change::Removed(Lease { subnets, attrs }));
        }
    }
}

/// What one key and its value are to us.
enum Judged {
    Peer(Lease),
    Own(Option<Notice>),
    Useless(Option<Subnets>, Notice),
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

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |lease: &Lease| format!("{} ({})", lease.subnets, lease.attrs.public_ip);
        match self {
            Self::OwnDeleted => write!(f, "our own lease has been deleted"),
            Self::OwnTakenOver { by } => write!(f, "our own lease has been taken over by {}", by.public_ip),
            Self::OwnUnreadable { reason } => write!(f, "our own lease has been overwritten: {reason}"),
            Self::Malformed { key, reason } => write!(f, "{key} is ignored: {reason}"),
            Self::OverlapsOwn { lease } => {
                write!(
                    f,
                    "{} is ignored: it overlaps our own subnets; delete one of the two leases",
                    who(lease)
                )
            }
            Self::OwnAddressElsewhere { lease } => write!(
                f,
                "{} is ignored: its public IP is our own; delete the lease if it is an old one of this node, else \
                 give the nodes different addresses with --iface or --public-ip",
                who(lease)
            ),
            Self::SameAddress { lease, other } => write!(
                f,
                "{} and {other} have the same public IP; give the nodes different addresses with --iface or \
                 --public-ip",
                who(lease)
            ),
            Self::Overlap { lease, other } => {
                write!(f, "{} overlaps {other}; delete the lease of the node that came later", who(lease))
            }
        }
    }
}
