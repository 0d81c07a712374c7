//! Generic netlink: kernel families that are found by name, such as `IPVS` and `wireguard`.
//!
//! Owns: the look-up of a family. What a family's commands are belongs to who uses it. Begin at [`Generic`].
//! Never: loads a module itself.

use std::io;

use netlink_sys::protocols::NETLINK_GENERIC;

use crate::error::HostError;
use crate::wire::{ACK, Connection, DUMP, Header, REQUEST};

/// The family that knows the others (linux/genetlink.h).
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const VERSION: u16 = 3;

/// A family of the kernel, as it is known until the next boot or until its module goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    pub id: u16,
    pub version: u32,
}

/// A connection to generic netlink in the network namespace of the thread that made it.
pub struct Generic(Connection);

impl Generic {
    /// Opens a socket. What it asks for may need CAP_NET_ADMIN; looking a family up does not.
    pub fn connect() -> Result<Self, HostError> {
        let connection =
            Connection::open(NETLINK_GENERIC).map_err(|error| failed("open", "the socket", error))?;
        Ok(Self(connection))
    }

    /// Looks a family up by its name, in capitals or not as the kernel has it. `None` where the kernel does not have
    /// it. The question makes the kernel load the module of that family where it may load modules.
    pub fn family(&mut self, name: &str) -> Result<Option<Family>, HostError> {
        let mut found = None;
        let header = |seq| Header::generic(CONTROLLER, REQUEST | ACK, seq, GET_FAMILY, 1);
        let answer =
            self.0.ask(|w, seq| w.message(header(seq), |w| w.string(FAMILY_NAME, name)), &mut |message| {
                let attrs = message.attrs();
                let id = attrs.get(FAMILY_ID).map(|attr| attr.u16_host());
                let version = attrs.get(VERSION).map_or(0, |attr| attr.u32_host());
                found = id.map(|id| Family { id, version });
            });
        match answer.map_err(|error| failed("look up", name, error))? {
            0 => Ok(found),
            libc::ENOENT => Ok(None),
            errno => Err(HostError::kernel("look up", format!("the netlink family {name}"), errno)),
        }
    }

    /// The names of all families that the kernel has now; one in a module that is not loaded yet is not among them.
    pub fn names(&mut self) -> Result<Vec<String>, HostError> {
        let mut names = Vec::new();
        let header = |seq| Header::generic(CONTROLLER, REQUEST | DUMP, seq, GET_FAMILY, 1);
        let answer = self.0.ask(|w, seq| w.message(header(seq), |_| {}), &mut |message| {
            names.extend(message.attrs().string(FAMILY_NAME))
        });
        match answer.map_err(|error| failed("list", "families", error))? {
            0 => Ok(names),
            errno => Err(HostError::kernel("list", "the netlink families", errno)),
        }
    }
}

fn failed(op: &'static str, what: &str, source: io::Error) -> HostError {
    HostError::io(op, format!("generic netlink: {what}"), source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_found_by_its_name_or_not_there() {
        let mut generic = Generic::connect().unwrap();
        assert_eq!(generic.family("nlctrl").unwrap().unwrap().id, CONTROLLER);
        assert_eq!(generic.family("weft-has-none").unwrap(), None);
    }

    #[test]
    fn the_families_are_listed_by_name() {
        let names = Generic::connect().unwrap().names().unwrap();
        assert!(names.len() > 1 && names.iter().any(|name| name == "nlctrl"), "{names:?}");
    }
}
