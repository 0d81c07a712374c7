//! Whether what clients met is what the case says.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use proxy_core::cases::{Case, Masquerade, Probe, Want, world};
use proxy_core::question::{Origin, Packet, Verdict};

use super::ask::Seen;

/// One packet of a case, and what was heard of it.
pub struct Judge<'a> {
    probe: &'a Probe,
    wants: &'a [Want],
    /// Whether the case says that this implementation does something else than others.
    noted: bool,
    late: bool,
    /// Affinity binds a client to one endpoint; which ones there are is the table's matter.
    sticky: bool,
    asked: bool,
    /// Where there are several: those that were met.
    met: BTreeSet<usize>,
    complaint: Option<String>,
}

impl<'a> Judge<'a> {
    pub fn new(case: &Case, probe: &'a Probe, implementation: &str) -> Self {
        let other = probe.others.get(implementation);
        Self {
            probe,
            wants: probe.wants_of(implementation),
            noted: other.is_some(),
            late: other.is_some_and(|other| other.late),
            sticky: !case.expect.affinity.is_empty(),
            asked: false,
            met: BTreeSet::new(),
            complaint: None,
        }
    }

    pub fn probe(&self) -> &'a Probe {
        self.probe
    }

    pub fn has_asked(&self) -> bool {
        self.asked
    }

    pub fn wants_more(&self) -> bool {
        !self.asked || self.wants.len() > 1 && self.met.len() < self.wants.len() && self.complaint.is_none()
    }

    pub fn hear(&mut self, seen: &[Seen]) {
        self.asked = true;
        if let [want] = self.wants {
            self.complaint =
                self.differs(want, self.late, seen).map(|what| format!("want {want}\n    {what}"));
            if self.complaint.is_none() && self.noted && self.differs(&self.probe.want, false, seen).is_none()
            {
                let common = &self.probe.want;
                self.complaint = Some(format!("the case says that it differs here, but it does: {common}"));
            }
            return;
        }
        for one in seen {
            match (0..self.wants.len()).find(|nth| self.fits(&self.wants[*nth], false, one).is_ok()) {
                Some(nth) => _ = self.met.insert(nth),
                None => self.complaint = Some(format!("got {one:?}, none of what the case says")),
            }
        }
    }

    /// What went wrong, with the packet.
    pub fn complaint(self) -> Option<String> {
        let never = || {
            let missing =
                (0..self.wants.len()).find(|nth| self.wants.len() > 1 && !self.met.contains(nth))?;
            Some(format!("never did: {}", self.wants[missing]))
        };
        let what = self.complaint.clone().or_else(never)?;
        Some(format!("{}\n    {what}", self.probe.text))
    }

    /// What is wrong with all that was seen.
    fn differs(&self, want: &Want, late: bool, seen: &[Seen]) -> Option<String> {
        let mut reached = BTreeSet::new();
        for one in seen {
            match self.fits(want, late, one) {
                Ok(at) => reached.extend(at),
                Err(what) => return Some(what),
            }
        }
        if self.sticky && reached.len() > 1 {
            return Some(format!("one client reached all of {reached:?}"));
        }
        let all = want.verdict != Verdict::Deliver || self.sticky || reached == want.endpoints;
        (!all).then(|| format!("reached only {reached:?} in {} tries", seen.len()))
    }

    /// Where it arrived, if anywhere; or what is wrong with it.
    fn fits(&self, want: &Want, late: bool, one: &Seen) -> Result<Option<SocketAddr>, String> {
        let packet = &self.probe.packet;
        match (want.verdict, one) {
            (Verdict::Reject, Seen::Refused) if !late => Ok(None),
            (Verdict::Reject, Seen::RefusedLate) if late => Ok(None),
            (Verdict::Drop, Seen::Silence) => Ok(None),
            (Verdict::Pass, Seen::Reached { at, .. })
                if (at.ip(), at.port()) == (packet.dst, packet.port) =>
            {
                Ok(None)
            }
            (Verdict::Deliver, Seen::Reached { at, from }) if want.endpoints.contains(at) => {
                let expected = match want.masquerade {
                    Masquerade::Yes => true,
                    Masquerade::No => false,
                    Masquerade::Hairpin => at.ip() == packet.src,
                };
                let wrong = tells(packet, *at) && expected != (*from != packet.src);
                if wrong { Err(format!("{at} saw {from}")) } else { Ok(Some(*at)) }
            }
            (_, other) => Err(format!("got {other:?}")),
        }
    }
}

/// Whether an endpoint can tell masqueraded from not: the node's address masqueraded may be the node's address, and
/// what stays on the node leaves by no hook that could masquerade it.
fn tells(packet: &Packet, at: SocketAddr) -> bool {
    let stays = world::node_of(at.ip())
        .is_some_and(|node| node.name == world::NODE && world::origin_of(at.ip()) == Origin::Node);
    (packet.from != Origin::Node || packet.src.is_loopback()) && !stays
}
