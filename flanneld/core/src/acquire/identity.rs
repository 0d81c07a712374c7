//! Which leases are this node's own: those at its public address, and those that it held at a former one.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::lease::{LeaseAttrs, Stored, Subnets, VxlanData};
use crate::mac::Mac;

/// The subnets of an earlier run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Previous {
    pub v4: Option<Ipv4Net>,
    pub v6: Option<Ipv6Net>,
}

/// What this node knows of itself.
///
/// A node whose address or interface changed while flanneld was not running finds its lease under the former address.
/// flannel takes it for a peer's, picks another subnet, and routes the pods that are still there to itself. To take a
/// lease from a node that really has it would be worse, so a lease under another address is ours only where
/// `subnet.env` names its subnet, and our own note of the last write agrees, or, where there is no such note, the
/// lease has our VXLAN MAC or an address that this host still has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub public_ip: Ipv4Addr,
    /// What `subnet.env` says this node had before.
    pub previous: Previous,
    /// All addresses of this host.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// The MAC addresses of the tunnels that an earlier run left.
    pub macs: BTreeSet<Mac>,
    /// What the last run noted about its lease.
    pub note: Option<Note>,
}

impl Identity {
    /// A node that knows nothing of earlier runs.
    pub fn new(public_ip: Ipv4Addr) -> Self {
        Self {
            public_ip,
            previous: Previous::default(),
            addresses: BTreeSet::new(),
            macs: BTreeSet::new(),
            note: None,
        }
    }

    /// Whether a lease is this node's.
    pub fn owns(&self, stored: &Stored) -> bool {
        stored.attrs.as_ref().is_ok_and(|attrs| self.is_at_ours(attrs) || self.is_former(stored, attrs))
    }

    fn is_at_ours(&self, attrs: &LeaseAttrs) -> bool {
        attrs.public_ip == self.public_ip && !self.public_ip.is_unspecified()
    }

    fn is_former(&self, stored: &Stored, attrs: &LeaseAttrs) -> bool {
        if self.previous.v4 != Some(stored.subnets.v4) {
            return false;
        }
        match self.note {
            // Whoever wrote it since has it now, also if he got our former address.
            Some(note) if note.subnets == stored.subnets => note.written == stored.written,
            _ => self.addresses.contains(&attrs.public_ip) || self.has_mac(attrs),
        }
    }

    fn has_mac(&self, attrs: &LeaseAttrs) -> bool {
        let data = [&attrs.backend_data, &attrs.backend_v6_data];
        let mut macs = data.into_iter().flatten().filter_map(|data| VxlanData::parse(data).ok());
        macs.any(|data| self.macs.contains(&data.vtep_mac))
    }
}

/// What a run notes about its lease for the next one: its key's name, and the number of its last write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    pub subnets: Subnets,
    pub written: i64,
}

/// One line: `10.5.1.0-24 4711`.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.subnets, self.written)
    }
}

/// The text is no note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the note of a lease (10.5.1.0-24 4711)")]
pub struct BadNote;

impl FromStr for Note {
    type Err = BadNote;

    fn from_str(text: &str) -> Result<Self, BadNote> {
        let (subnets, written) = text.trim().split_once(' ').ok_or(BadNote)?;
        Ok(Self {
            subnets: subnets.parse().map_err(|_| BadNote)?,
            written: written.parse().map_err(|_| BadNote)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Vni;

    const NOW: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
    const FORMER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 9);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn lease(public_ip: Ipv4Addr, written: i64) -> Stored {
        let data = VxlanData { vni: Vni::DEFAULT, vtep_mac: MAC }.render();
        let attrs = LeaseAttrs { backend_data: Some(data), ..LeaseAttrs::new(public_ip) };
        Stored { subnets: "10.5.7.0-24".parse().unwrap(), attrs: Ok(attrs), reserved: false, written }
    }

    fn node() -> Identity {
        let previous = Previous { v4: Some("10.5.7.0/24".parse().unwrap()), v6: None };
        Identity { previous, ..Identity::new(NOW) }
    }

    #[test]
    fn a_lease_under_a_former_address_is_ours_if_the_note_of_its_last_write_agrees() {
        let note = |written| Some(Note { subnets: "10.5.7.0-24".parse().unwrap(), written });
        let node = |note| Identity { note, ..node() };
        assert!(node(note(40)).owns(&lease(FORMER, 40)));
        // Another node has written it since: his MAC and address do not matter any more.
        assert!(!node(note(40)).owns(&lease(FORMER, 41)));
        let sure = Identity { macs: [MAC].into(), addresses: [FORMER].into(), ..node(note(40)) };
        assert!(!sure.owns(&lease(FORMER, 41)));
        assert!(!node(None).owns(&lease(FORMER, 40)));
    }

    #[test]
    fn without_a_note_a_lease_under_a_former_address_is_ours_by_mac_or_address() {
        assert!(Identity { macs: [MAC].into(), ..node() }.owns(&lease(FORMER, 40)));
        assert!(Identity { addresses: [FORMER].into(), ..node() }.owns(&lease(FORMER, 40)));
        // On NAT machines (Vagrant) every node has 10.0.2.15: what subnet.env does not name is not ours.
        let elsewhere = Previous { v4: Some("10.5.8.0/24".parse().unwrap()), v6: None };
        for previous in [elsewhere, Previous::default()] {
            let other = Identity { macs: [MAC].into(), addresses: [FORMER].into(), previous, ..node() };
            assert!(!other.owns(&lease(FORMER, 40)));
            assert!(other.owns(&lease(NOW, 40)));
        }
    }

    #[test]
    fn a_note_is_read_back_and_garbage_is_none() {
        for text in ["10.5.7.0-24 40", "10.5.7.0-24&fd00:5:7::-64 9223372036854775807"] {
            assert_eq!(text.parse::<Note>().unwrap().to_string(), text);
            assert_eq!(format!("{text}\n").parse::<Note>().unwrap().to_string(), text);
        }
        for text in ["", "10.5.7.0-24", "x 4", "10.5.7.0-24 x"] {
            assert_eq!(text.parse::<Note>(), Err(BadNote), "{text:?}");
        }
    }
}
