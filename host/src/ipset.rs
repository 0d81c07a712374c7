//! Named sets of addresses and ports (ip_set), as rules of iptables match them: listing and destroying whole sets.
//!
//! Owns: nothing. Begin at [`Ipsets`]. Never: makes a set, or destroys one that a caller did not name.

use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::error::HostError;
use crate::wire::{ACK, Connection, DUMP, Header, Message, REQUEST, Writer};

/// `NFNL_SUBSYS_IPSET`; the commands are of linux/netfilter/ipset/ip_set.h.
const SUBSYSTEM: u16 = 6 << 8;
const DESTROY: u16 = SUBSYSTEM | 3;
const LIST: u16 = SUBSYSTEM | 7;

const PROTOCOL: u16 = 1;
const SETNAME: u16 = 2;
const FLAGS: u16 = 6;
/// Spoken since Linux 2.6.39.
const VERSION: u8 = 6;
const ONLY_NAMES: u32 = 1 << 1;
const NLA_F_NET_BYTEORDER: u16 = 1 << 14;

/// A connection to ip_set in the network namespace of the thread that made it. Calls need CAP_NET_ADMIN there.
pub struct Ipsets(Connection);

impl Ipsets {
    pub fn connect() -> Result<Self, HostError> {
        Connection::open(NETLINK_NETFILTER).map(Self).map_err(|error| failed("open", "sets", error))
    }

    /// The names of all sets; none where the kernel has no ip_set.
    pub fn names(&mut self) -> Result<Vec<String>, HostError> {
        let mut names = Vec::new();
        let question = |w: &mut Writer| w.u32(FLAGS | NLA_F_NET_BYTEORDER, ONLY_NAMES);
        let refused =
            self.ask("list", LIST, DUMP, "all", question, |m| names.extend(m.attrs().string(SETNAME)))?;
        match refused {
            0 | libc::EINVAL | libc::EOPNOTSUPP => Ok(names),
            errno => Err(HostError::kernel("list", "ipsets", errno)),
        }
    }

    /// Destroys a set, if it is there. The kernel has numbers of its own for what stands in the way.
    pub fn destroy(&mut self, name: &str) -> Result<(), HostError> {
        match self.ask("destroy", DESTROY, ACK, name, |w| w.string(SETNAME, name), |_| {})? {
            0 | libc::ENOENT => Ok(()),
            4097.. => Err(HostError::Refused {
                op: "destroy",
                object: format!("ipset {name}"),
                reason: "a rule or another set refers to it".to_owned(),
                advice: "`iptables-save | grep match-set` shows the rule".to_owned(),
                errno: libc::EBUSY,
            }),
            errno => Err(HostError::kernel("destroy", format!("ipset {name}"), errno)),
        }
    }

    /// Sends a question and reads to the end of the answer; returns the kernel's errno, 0 for success.
    fn ask(
        &mut self,
        op: &'static str,
        kind: u16,
        flags: u16,
        object: &str,
        attributes: impl FnOnce(&mut Writer),
        mut read: impl FnMut(Message),
    ) -> Result<i32, HostError> {
        let header = |seq| Header::netfilter(kind, REQUEST | flags, seq, libc::AF_INET as u8);
        let question = |w: &mut Writer, seq| {
            w.message(header(seq), |w| {
                w.u8(PROTOCOL, VERSION);
                attributes(w);
            });
        };
        self.0.ask(question, &mut read).map_err(|error| failed(op, object, error))
    }
}

fn failed(op: &'static str, object: &str, source: io::Error) -> HostError {
    HostError::io(op, format!("ipset {object}"), source)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: u16 = SUBSYSTEM | 2;

    impl Ipsets {
        fn create(&mut self, name: &str) {
            let attributes = |w: &mut Writer| {
                w.string(SETNAME, name);
                w.string(3, "hash:ip");
                w.u8(4, 0);
                w.u8(5, libc::AF_INET as u8);
                w.nested(7, |_| {});
            };
            assert_eq!(self.ask("create", CREATE, ACK, name, attributes, |_| {}).unwrap(), 0);
        }
    }

    #[test]
    fn sets_are_listed_and_destroyed_by_name() {
        let inside = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("unshare (needs root)");
            let mut sets = Ipsets::connect().unwrap();
            assert_eq!(sets.names().unwrap(), Vec::<String>::new());
            ["KUBE-CLUSTER-IP", "somebodys"].iter().for_each(|name| sets.create(name));
            let mut names = sets.names().unwrap();
            names.sort();
            assert_eq!(names, ["KUBE-CLUSTER-IP", "somebodys"]);
            sets.destroy("KUBE-CLUSTER-IP").unwrap();
            sets.destroy("KUBE-CLUSTER-IP").expect("gone is gone");
            assert_eq!(sets.names().unwrap(), ["somebodys"]);
        };
        std::thread::spawn(inside).join().unwrap();
    }
}
