//! What is odd in the store, in words for the log.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::lease::{Lease, LeaseAttrs, Subnets};

/// Something odd in the store. Conflicts between peers are given once, when they arise, and in a snapshot once per
/// address; everything else whenever the lease is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Our own lease is not there: it was deleted, or it expired.
    OwnDeleted,
    /// Our own lease has somebody else's public IP: he took our subnets.
    OwnTakenOver { by: LeaseAttrs },
    /// Our own lease has a value that nobody can read.
    OwnUnreadable { reason: String },
    /// This is no lease that anybody could use, and has been left out.
    Malformed { subnets: Subnets, reason: String },
    /// This lease overlaps our own subnets, and has been left out: a route to it would take away our own pods.
    OverlapsOwn { lease: Lease },
    /// Our own public IP holds other subnets too. The lease has been left out: its packets would come back to us.
    OwnAddressElsewhere { lease: Lease },
    /// Several peers with one public IP: machines made from one image, or all on the same NAT address (Vagrant's
    /// 10.0.2.15). All but one of them cannot be reached.
    SameAddress { address: IpAddr, leases: Few },
    /// Peers with overlapping subnets: each gets only a part of the packets.
    Overlap { lease: Lease, others: Few },
    /// The store lost these leases without a word of their end; they are kept for now.
    Held { leases: Few, hold: Duration },
}

/// How many are named.
const NAMED: usize = 3;

/// The first few of many subnets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few {
    named: Vec<Subnets>,
    more: bool,
}

impl Few {
    /// Looks at no more than it names, so that a thousand conflicts cost no thousand steps each.
    pub fn of(subnets: impl IntoIterator<Item = Subnets>) -> Self {
        let mut subnets = subnets.into_iter();
        Self { named: subnets.by_ref().take(NAMED).collect(), more: subnets.next().is_some() }
    }

    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }
}

impl fmt::Display for Few {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, subnets) in self.named.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{subnets}")?;
        }
        f.write_str(if self.more { " and more" } else { "" })
    }
}

/// Of the conflicts over one address leaves the last, which names them all.
pub(super) fn gather(notices: &mut Vec<Notice>) {
    let mut last = BTreeMap::new();
    for (place, notice) in notices.iter().enumerate() {
        if let Notice::SameAddress { address, .. } = notice {
            last.insert(*address, place);
        }
    }
    let mut place = 0;
    notices.retain(|notice| {
        let stays = match notice {
            Notice::SameAddress { address, .. } => last.get(address) == Some(&place),
            _ => true,
        };
        place += 1;
        stays
    });
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |lease: &Lease| format!("{} ({})", lease.subnets, lease.attrs.public_ip);
        match self {
            Self::OwnDeleted => write!(f, "our own lease has been deleted"),
            Self::OwnTakenOver { by } => write!(f, "our own lease has been taken over by {}", by.public_ip),
            Self::OwnUnreadable { reason } => write!(f, "our own lease has been overwritten: {reason}"),
            Self::Malformed { subnets, reason } => write!(f, "{subnets} is ignored: {reason}"),
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
            Self::SameAddress { address, leases } => write!(
                f,
                "{leases} have the same public IP {address}; give the nodes different addresses with --iface or \
                 --public-ip"
            ),
            Self::Overlap { lease, others } => {
                write!(f, "{} overlaps {others}; delete the lease of the node that came later", who(lease))
            }
            Self::Held { leases, hold } => write!(
                f,
                "the leases have lost {leases} without a word of their end, as when etcd loses its data; the way to \
                 them is kept for {} hours, until they publish their leases again or another node has their subnets; \
                 restart flanneld to forget them now",
                hold.as_secs() / 3600
            ),
        }
    }
}
