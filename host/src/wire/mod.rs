//! Netlink's wire format where no crate speaks it, and the one way to ask and to read answers over it.
//!
//! Owns: messages and attributes as bytes ([`message`]), and a socket that asks one question at a time ([`Connection`]).
//! Never: knows what a message means: that is each subsystem's own.

mod connection;
pub(crate) mod message;

pub(crate) use connection::{Connection, DATAGRAM};
pub(crate) use message::{Attr, Attrs, HEADER, Header, Message, Messages, NLA_F_NESTED, Writer};

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;

/// Flags of requests (linux/netlink.h).
pub(crate) const REQUEST: u16 = 0x1;
pub(crate) const ACK: u16 = 0x4;
pub(crate) const DUMP: u16 = 0x300;
