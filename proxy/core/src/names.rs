//! What things are called: objects, service ports, families, protocols.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

pub use apiclient_core::names::{Name, ObjectName};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// IP family. A table is written one family at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// Transport protocol of a service port; the API's words are in capitals, ours in small letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub const ALL: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

    /// IANA protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }

    /// `tcp`, `udp` or `sctp`, as nft, iptables and people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a protocol (tcp, udp, sctp)")]
pub struct BadProtocol(String);

impl FromStr for Protocol {
    type Err = BadProtocol;

    fn from_str(text: &str) -> Result<Self, BadProtocol> {
        let found = Protocol::ALL.into_iter().find(|protocol| protocol.as_str().eq_ignore_ascii_case(text));
        found.ok_or_else(|| BadProtocol(text.to_owned()))
    }
}

/// By hand, because serde would take `{"TCP": null}` as well.
impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Word;

        impl Visitor<'_> for Word {
            type Value = Protocol;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("TCP, UDP or SCTP")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Protocol, E> {
                match word {
                    "TCP" => Ok(Protocol::Tcp),
                    "UDP" => Ok(Protocol::Udp),
                    "SCTP" => Ok(Protocol::Sctp),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }

        from.deserialize_str(Word)
    }
}

/// The [`ObjectName`] of a Service.
pub type ServiceName = ObjectName;

/// One port of a Service. Sorts by service first, so that a service's ports are neighbours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName {
    pub service: ServiceName,
    /// Empty where the Service has one nameless port.
    pub port: Name,
    pub protocol: Protocol,
}

/// `namespace/name:port`, or `namespace/name` for a nameless port: kube-proxy's own spelling.
impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.service.fmt(f)?;
        if self.port.is_empty() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// Lets equal names be one allocation: namespaces, nodes and port names repeat thousands of times.
///
/// Forgets by itself what nobody else uses any more, so that what it holds goes with the names in use.
#[derive(Clone, Debug, Default)]
pub struct Interner {
    names: HashSet<Name>,
    /// Names that were asked for, or may have gone, since the last sweep.
    calls: usize,
    /// Names that the last sweep kept.
    kept: usize,
}

/// Calls between two sweeps, at least; as many as the last one kept names, so that the sweeps cost each call little.
const SWEEP_EVERY: usize = 1024;

/// Namespace, name, node and the like.
const NAMES_OF_AN_OBJECT: usize = 4;

impl Interner {
    /// Replaces the name by the one that everybody else has.
    pub fn share(&mut self, name: &mut Name) {
        self.tick(1);
        match self.names.get(name) {
            Some(known) => *name = known.clone(),
            None => _ = self.names.insert(name.clone()),
        }
    }

    /// An object that used some of the shared names goes.
    pub fn release(&mut self) {
        self.tick(NAMES_OF_AN_OBJECT);
    }

    /// How many names are kept, in use or not.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn tick(&mut self, names: usize) {
        self.calls += names;
        if self.calls >= self.kept.max(SWEEP_EVERY) {
            self.sweep();
        }
    }

    /// Forgets names that nobody uses any more.
    pub fn sweep(&mut self) {
        self.calls = 0;
        self.names.retain(|name| Arc::strong_count(name) > 1);
        self.kept = self.names.len();
        if self.names.capacity() / 4 > self.names.len().max(SWEEP_EVERY) {
            self.names.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_uses_any_more_are_forgotten_without_being_asked() {
        let mut names = Interner::default();
        let mut kept: Name = "kept".into();
        names.share(&mut kept);
        for n in 0..100 * SWEEP_EVERY {
            let mut name: Name = format!("preview-{n}").into();
            names.share(&mut name);
        }
        assert!(names.len() <= 2 * SWEEP_EVERY, "{}", names.len());
        let mut again: Name = "kept".into();
        names.share(&mut again);
        assert!(Arc::ptr_eq(&kept, &again));
    }

    #[test]
    fn names_of_objects_that_all_went_are_forgotten() {
        let mut names = Interner::default();
        let mut used: Vec<Name> = (0..20 * SWEEP_EVERY).map(|n| format!("web-{n}").into()).collect();
        used.iter_mut().for_each(|name| names.share(name));
        assert_eq!(names.len(), used.len());
        let gone = used.len();
        drop(used);
        (0..gone / NAMES_OF_AN_OBJECT).for_each(|_| names.release());
        assert!(names.is_empty(), "{}", names.len());
    }
}
