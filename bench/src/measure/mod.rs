//! One number at a time, from one namespace to another. Nothing here compares or decides.

pub mod connect;
pub mod cpu;
pub mod family;
pub mod iperf;
pub mod memory;
mod pin;
pub mod ping;
pub mod rr;

use std::net::Ipv4Addr;

use host::netns::Namespace;

use lab::LabError;

/// Two ends of a packet path.
#[derive(Clone, Debug)]
pub struct Path {
    /// Where clients run.
    pub from: Namespace,
    /// Where servers run.
    pub to: Namespace,
    /// The servers' address.
    pub address: Ipv4Addr,
}

pub(super) fn failed(what: &str, reason: impl Into<String>) -> LabError {
    LabError::Protocol { what: what.to_owned(), reason: reason.into() }
}
