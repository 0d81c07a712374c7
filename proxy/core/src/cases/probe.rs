//! One packet and what has to become of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::world::{self, parse};
use crate::names::Family;
use crate::question::{Answer, Masqueraded, Packet, Verdict};

#[derive(Clone, Debug)]
pub struct Probe {
    /// As written: `pod -> 10.96.0.10:80/tcp`.
    pub text: String,
    pub packet: Packet,
    pub want: Want,
    /// What another implementation does: `iptables` and `nftables` (our own backends, where one cannot do better),
    /// `kube-proxy iptables` and `kube-proxy nftables`.
    pub others: BTreeMap<String, Other>,
    /// Of the service's endpoints, why some are left out.
    pub left_out: BTreeMap<SocketAddr, String>,
}

/// A difference with its reason.
#[derive(Clone, Debug)]
pub struct Other {
    /// More than one: now this, now that.
    pub wants: Vec<Want>,
    /// It refuses, but a client on this machine hears of it at its second attempt, a second later.
    pub late: bool,
    pub why: String,
}

/// What becomes of a packet, for comparison between implementations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    pub verdict: Verdict,
    /// Where it may arrive.
    pub endpoints: BTreeSet<SocketAddr>,
    pub masquerade: Masquerade,
}

/// Whether the endpoint sees the node's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masquerade {
    No,
    Yes,
    /// Only where the client is its own endpoint.
    Hairpin,
}

impl Probe {
    /// What is expected of an implementation: the common answer, if it is not named in the case. More than one: any of
    /// them.
    pub fn wants_of(&self, implementation: &str) -> &[Want] {
        self.others.get(implementation).map_or(std::slice::from_ref(&self.want), |other| &other.wants)
    }

    /// All answers that the case speaks of.
    pub fn wants(&self) -> impl Iterator<Item = &Want> {
        std::iter::once(&self.want).chain(self.others.values().flat_map(|other| &other.wants))
    }

    /// `SRC -> DST:PORT[/PROTO]`, the source by name or address.
    pub(super) fn packet(text: &str) -> Packet {
        let (src, dst) = text.split_once(" -> ").unwrap_or_else(|| panic!("{text:?} is not SRC -> DST:PORT"));
        let (dst, protocol) = dst.trim().split_once('/').unwrap_or((dst.trim(), "tcp"));
        let dst: SocketAddr = parse(dst);
        let family = Family::of(dst.ip());
        let (src, from) = world::sender(src.trim(), family).unwrap_or_else(|| {
            let src: IpAddr = parse(src.trim());
            (src, world::origin_of(src))
        });
        assert_eq!(Family::of(src), family, "{text:?} is of two families");
        Packet { src, dst: dst.ip(), port: dst.port(), protocol: parse(protocol), from }
    }
}

impl Other {
    /// `A or B`; `reject late`.
    pub(super) fn read(text: &str, why: &str) -> Other {
        let (text, late) = match text.trim().strip_suffix(" late") {
            Some("reject") => ("reject", true),
            Some(_) => panic!("{text:?}: only a refusal may be late"),
            None => (text, false),
        };
        Other { wants: text.split(" or ").map(Want::read).collect(), late, why: why.to_owned() }
    }
}

impl Want {
    /// `reject`, `drop`, `pass`, or endpoints with `masq` or `hairpin` after them.
    pub(super) fn read(text: &str) -> Want {
        let none = |verdict| Want { verdict, endpoints: BTreeSet::new(), masquerade: Masquerade::No };
        match text.trim() {
            "reject" => return none(Verdict::Reject),
            "drop" => return none(Verdict::Drop),
            "pass" => return none(Verdict::Pass),
            _ => {}
        }
        let mut want = none(Verdict::Deliver);
        for word in text.split_whitespace() {
            match word {
                "masq" => want.masquerade = Masquerade::Yes,
                "hairpin" => want.masquerade = Masquerade::Hairpin,
                endpoint => assert!(want.endpoints.insert(parse(endpoint)), "{endpoint} is there twice"),
            }
        }
        assert!(!want.endpoints.is_empty(), "{text:?} names no endpoint");
        want
    }
}

impl From<&Answer> for Want {
    fn from(answer: &Answer) -> Want {
        let endpoints = answer.endpoints().iter();
        let masquerade = match answer.balance().map(|balance| balance.masquerade) {
            Some(Masqueraded::Yes(_)) => Masquerade::Yes,
            Some(Masqueraded::IfHairpin) => Masquerade::Hairpin,
            Some(Masqueraded::No) | None => Masquerade::No,
        };
        Want {
            verdict: answer.verdict(),
            endpoints: endpoints.map(|endpoint| SocketAddr::new(endpoint.ip, endpoint.port)).collect(),
            masquerade,
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.verdict != Verdict::Deliver {
            return self.verdict.fmt(f);
        }
        let endpoints: Vec<_> = self.endpoints.iter().map(SocketAddr::to_string).collect();
        f.write_str(&endpoints.join(" "))?;
        f.write_str(match self.masquerade {
            Masquerade::No => "",
            Masquerade::Yes => " masq",
            Masquerade::Hairpin => " hairpin",
        })
    }
}
