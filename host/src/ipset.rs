//! Named sets of addresses and ports (ip_set), as rules of iptables match them: listing and destroying whole sets.
//!
//! Owns: nothing. Begin at [`Ipsets`]. Never: makes a set, or destroys one that a caller did not name.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::error::HostError;
use crate::nftables::attr::{Header, Message, Messages, Writer};

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The kernel fills at most 32 KiB of an answer at once.
const DATAGRAM: usize = 64 << 10;

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
pub struct Ipsets {
    socket: Socket,
    seq: u32,
}

impl Ipsets {
    pub fn connect() -> Result<Self, HostError> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        Ok(Self { socket: open().map_err(|error| failed("open", "sets", error))?, seq: 0 })
    }

    /// The names of all sets; none where the kernel has no ip_set.
    pub fn names(&mut self) -> Result<Vec<String>, HostError> {
        let mut names = Vec::new();
        let question = |w: &mut Writer| w.u32(FLAGS | NLA_F_NET_BYTEORDER, ONLY_NAMES);
        let refused =
            self.ask("list", LIST, NLM_F_DUMP, "all", question, |m| names.extend(m.attrs().string(SETNAME)))?;
        match refused {
            0 | libc::EINVAL | libc::EOPNOTSUPP => Ok(names),
            errno => Err(HostError::kernel("list", "ipsets", errno)),
        }
    }

    /// Destroys a set, if it is there. The kernel has numbers of its own for what stands in the way.
    pub fn destroy(&mut self, name: &str) -> Result<(), HostError> {
        match self.ask("destroy", DESTROY, NLM_F_ACK, name, |w| w.string(SETNAME, name), |_| {})? {
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
        self.seq += 1;
        let seq = self.seq;
        let mut w = Writer::default();
        let family = libc::AF_INET as u8;
        w.message(Header { kind, flags: NLM_F_REQUEST | flags, seq, family, res_id: 0 }, |w| {
            w.u8(PROTOCOL, VERSION);
            attributes(w);
        });
        self.socket.send(&w.bytes, 0).map_err(|error| failed(op, object, error))?;
        let mut buffer = Vec::with_capacity(DATAGRAM);
        loop {
            buffer.clear();
            self.socket.recv(&mut buffer, 0).map_err(|error| failed(op, object, error))?;
            for message in Messages(&buffer).filter(|message| message.header.seq == seq) {
                match message.header.kind {
                    NLMSG_DONE => return Ok(0),
                    NLMSG_ERROR => {
                        let errno =
                            message.payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                        return Ok(-errno);
                    }
                    _ => read(message),
                }
            }
        }
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
            assert_eq!(self.ask("create", CREATE, NLM_F_ACK, name, attributes, |_| {}).unwrap(), 0);
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
