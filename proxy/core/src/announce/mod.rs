//! Which addresses of load balancers a node may announce on its network, and the packets that do so.
//!
//! Owns: for which Services this node is a candidate ([`Candidates`]), the questions of neighbours and their answers
//! ([`Question`], [`answer`], [`unasked`]), and when an address is announced without a question ([`Schedule`]).
//! Never: decides who of several candidates announces; a Lease does.

mod arp;
mod candidates;
mod ndp;
mod schedule;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use arp::ETHER_TYPE as ARP;
pub use candidates::Candidates;
pub use ndp::{ETHER_TYPE as IPV6, solicited_node};
pub use schedule::Schedule;

/// Of an Ethernet interface.
pub type Mac = [u8; 6];

/// Somebody on the network asks who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub address: IpAddr,
    /// Who asks. Unspecified where he asks before he takes an address for himself.
    from: IpAddr,
    asker: Mac,
}

impl Question {
    /// Reads a frame as it comes from an Ethernet interface. `None`: it is no question that anybody should answer.
    pub fn read(frame: &[u8]) -> Option<Self> {
        arp::question(frame).or_else(|| ndp::question(frame))
    }

    /// Who sent it.
    pub fn asker(&self) -> Mac {
        self.asker
    }
}

/// The frame that says to who asks: the address is at `own`.
pub fn answer(question: &Question, own: Mac) -> Vec<u8> {
    match question.address {
        IpAddr::V4(address) => arp::answer(address, question, own),
        IpAddr::V6(address) => ndp::answer(address, question, own),
    }
}

/// The frames that say to everybody: the address is at `own` now.
pub fn unasked(address: IpAddr, own: Mac) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(address) => arp::unasked(address, own).into(),
        IpAddr::V6(address) => vec![ndp::unasked(address, own)],
    }
}

const BROADCAST: Mac = [0xff; 6];

/// Fields of `N` bytes at a place of a frame.
fn field<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}
