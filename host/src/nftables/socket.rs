//! The socket: sends a batch and finds out what became of it, asks and collects answers.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::batch::{Batch, Op};
use super::message::{self, Encoded, request};
use super::numbers::elements;
use super::read;
use crate::error::HostError;
use crate::wire::{
    Attrs, DATAGRAM, DUMP, HEADER, Header, Message, Messages, NLMSG_DONE, NLMSG_ERROR, Writer,
};

const NLM_F_MULTI: u16 = 0x2;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;

/// What the kernel takes off the send buffer (net/netlink/af_netlink.c).
const OVERHEAD: usize = 32;
/// Room for the answers to a batch in which a thousand changes fail.
const ANSWERS: usize = 1 << 20;
/// A dump during which the ruleset changed is begun again, this often.
const DUMP_TRIES: usize = 10;

/// A connection to nf_tables in the network namespace of the thread that made it. Calls block for as long as
/// the kernel works on them, and no longer.
pub struct Nftables {
    socket: Socket,
    /// Our address among netlink's.
    port: u32,
    /// The longest batch for which the send buffer has room.
    room: usize,
    seq: u32,
    buffer: Vec<u8>,
    /// See [`Nftables::tolerate_changes`].
    tolerant: bool,
    /// See [`Nftables::messages`].
    messages: u64,
}

/// What an answer is of.
enum Whole {
    /// One ruleset.
    One,
    /// Several: somebody changed it meanwhile.
    Several,
    /// Several, and it ends before its end.
    Cut,
}

/// What the kernel says of one message.
struct Answer {
    seq: u32,
    /// 0 for success.
    errno: i32,
    /// Where in the message the trouble is, in bytes from its start.
    offset: Option<u32>,
}

impl Nftables {
    /// Opens a socket. What changes or reads rules needs CAP_NET_ADMIN in the namespace.
    pub fn connect() -> Result<Self, HostError> {
        let open = || -> io::Result<(Socket, u32)> {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            let port = socket.bind_auto()?.port_number();
            socket.connect(&SocketAddr::new(0, 0))?;
            // Answers without a copy of the question, but with the place of the error in it.
            socket.set_cap_ack(true)?;
            socket.set_ext_ack(true)?;
            Ok((socket, port))
        };
        let (socket, port) = open().map_err(|error| io_error("open", error))?;
        // Without the privilege the default stays; only batches with very many errors would miss it.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &ANSWERS);
        let room = getsockopt(&socket, sockopt::SndBuf).unwrap_or(0).saturating_sub(OVERHEAD);
        Ok(Self {
            socket,
            port,
            room,
            seq: 0,
            buffer: Vec::with_capacity(DATAGRAM),
            tolerant: false,
            messages: 0,
        })
    }

    /// The port by which events name this socket: see [`super::Change::port`].
    pub fn port(&self) -> u32 {
        self.port
    }

    /// How many messages the kernel has answered with so far: what looking has cost.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Carries out a batch: all of it, or on an error nothing. The error names the first change that the
    /// kernel refused. A batch is one datagram and one transaction, whatever its size.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), HostError> {
        if batch.is_empty() {
            return Ok(());
        }
        let encoded = message::encode(batch);
        if encoded.ops.is_empty() {
            return Ok(());
        }
        self.make_room(encoded.bytes.len())?;
        self.socket.send(&encoded.bytes, 0).map_err(|error| io_error("send", error))?;
        // The kernel has worked on the batch within `send`: all its answers are there.
        let mut answered = false;
        let mut failure: Option<Answer> = None;
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // More failed than there was room to say. The first answers are there.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => continue,
                Err(error) => return Err(io_error("receive", error)),
            }
            self.messages += Messages(&self.buffer).count() as u64;
            for answer in Messages(&self.buffer).filter_map(answer) {
                answered |= answer.seq == encoded.ops.len() as u32;
                if answer.errno != 0 && failure.is_none() {
                    failure = Some(answer);
                }
            }
        }
        match failure {
            Some(answer) => Err(blame(batch, &encoded, &answer)),
            None if answered => Ok(()),
            None => Err(HostError::Protocol { op: "nftables", reason: "no answer to a batch".to_owned() }),
        }
    }

    /// The send buffer has to hold a batch whole.
    fn make_room(&mut self, bytes: usize) -> Result<(), HostError> {
        if bytes > self.room {
            let room = bytes.next_power_of_two();
            setsockopt(&self.socket, sockopt::SndBufForce, &room)
                .map_err(|errno| io_error("enlarge the send buffer of", errno.into()))?;
            // The kernel has doubled it.
            self.room = room;
        }
        Ok(())
    }

    /// Whether the rules of a table and the elements of a set may be listed while somebody changes the ruleset. The
    /// kernel cannot tell changes of the very table from those of others; whoever listens to events can, and need not
    /// read again for ever because others write all the time.
    pub fn tolerate_changes(&mut self, yes: bool) {
        self.tolerant = yes;
    }

    /// Asks for one object and gives `read` the answer.
    pub(super) fn get<T>(
        &mut self,
        kind: u16,
        family: u8,
        question: impl Fn(&mut Writer),
        mut read: impl FnMut(Message) -> Option<T>,
    ) -> Result<Option<T>, HostError> {
        let mut found = None;
        self.ask(kind, 0, family, &question, &mut |message| found = found.take().or(read(message)))?;
        Ok(found)
    }

    /// Asks for all objects of a kind and gives `read` each. A list that changed while it was read is read
    /// again.
    pub(super) fn dump<T>(
        &mut self,
        kind: u16,
        family: u8,
        question: impl Fn(&mut Writer),
        read: impl FnMut(Message, &mut Vec<T>),
    ) -> Result<Vec<T>, HostError> {
        self.dump_of(false, kind, family, question, read)
    }

    /// The same of one table, whose objects keep their order whatever becomes of other tables.
    pub(super) fn dump_within<T>(
        &mut self,
        kind: u16,
        family: u8,
        question: impl Fn(&mut Writer),
        read: impl FnMut(Message, &mut Vec<T>),
    ) -> Result<Vec<T>, HostError> {
        self.dump_of(self.tolerant, kind, family, question, read)
    }

    fn dump_of<T>(
        &mut self,
        tolerant: bool,
        kind: u16,
        family: u8,
        question: impl Fn(&mut Writer),
        mut read: impl FnMut(Message, &mut Vec<T>),
    ) -> Result<Vec<T>, HostError> {
        for _ in 0..DUMP_TRIES {
            let mut list = Vec::new();
            match self.ask(kind, DUMP, family, &question, &mut |message| read(message, &mut list))? {
                Whole::One => return Ok(list),
                Whole::Several if tolerant => return Ok(list),
                Whole::Several | Whole::Cut => {}
            }
        }
        let reason = "the ruleset changed each time that it was read".to_owned();
        Err(HostError::Protocol { op: "nftables", reason })
    }

    /// Sends a question and reads to the end of the answer.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        question: &impl Fn(&mut Writer),
        read: &mut dyn FnMut(Message),
    ) -> Result<Whole, HostError> {
        self.seq += 1;
        let seq = self.seq;
        let mut w = Writer::default();
        w.message(request(kind, flags, family, seq), |w| question(w));
        self.socket.send(&w.bytes, 0).map_err(|error| io_error("send", error))?;
        let mut whole = Whole::One;
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0).map_err(|error| io_error("receive", error))?;
            self.messages += Messages(&self.buffer).count() as u64;
            for message in Messages(&self.buffer).filter(|message| message.header.seq == seq) {
                if message.header.flags & NLM_F_DUMP_INTR != 0 {
                    whole = Whole::Several;
                }
                match message.header.kind {
                    NLMSG_DONE => return Ok(whole),
                    NLMSG_ERROR => match answer(message) {
                        Some(Answer { errno: 0, .. }) | None => return Ok(whole),
                        // The kernel noticed the change before the flag did.
                        Some(Answer { errno: libc::EINTR, .. }) => return Ok(Whole::Cut),
                        Some(Answer { errno, .. }) => {
                            return Err(HostError::Kernel {
                                op: "read",
                                object: "nftables".to_owned(),
                                errno,
                            });
                        }
                    },
                    _ => {
                        read(message);
                        if message.header.flags & NLM_F_MULTI == 0 {
                            return Ok(whole);
                        }
                    }
                }
            }
        }
    }
}

fn io_error(op: &'static str, source: io::Error) -> HostError {
    HostError::Io { op, object: "the nftables socket".to_owned(), source }
}

/// Reads `struct nlmsgerr` and what follows it.
fn answer(message: Message) -> Option<Answer> {
    let Header { kind, flags, seq, .. } = message.header;
    if kind != NLMSG_ERROR {
        return None;
    }
    let errno = -i32::from_ne_bytes(*message.payload.first_chunk()?);
    let question = u32::from_ne_bytes(*message.payload.get(4..)?.first_chunk()?) as usize;
    let behind = 4 + if flags & NLM_F_CAPPED != 0 { 16 } else { question.next_multiple_of(4) };
    let offset = (flags & NLM_F_ACK_TLVS != 0)
        .then(|| Attrs(message.payload.get(behind..)?).get(2))
        .flatten()
        // The kernel's own attributes are in the host's byte order.
        .and_then(|attr| Some(u32::from_ne_bytes(*attr.value.first_chunk()?)));
    Some(Answer { seq, errno, offset })
}

/// The error for a batch: the change to blame, and of a list of elements the one.
fn blame(batch: &Batch, encoded: &Encoded, answer: &Answer) -> HostError {
    let op = answer.seq.checked_sub(1).and_then(|n| batch.ops.get(*encoded.ops.get(n as usize)?));
    let change = match op {
        // Trouble with the whole: no permission, an older generation, or a commit that failed.
        None => format!("batch of {} changes", batch.ops.len()),
        Some(op) => narrow(op, encoded, answer).unwrap_or_else(|| op.clone()).to_string(),
    };
    HostError::Transaction { op: "nftables", change, errno: answer.errno }
}

/// A change of many elements, cut down to the one that the answer points at.
fn narrow(op: &Op, encoded: &Encoded, answer: &Answer) -> Option<Op> {
    let (Op::AddElements(set, _) | Op::DeleteElements(set, _)) = op else { return None };
    // Message 0 is the begin mark.
    let message = Messages(&encoded.bytes).nth(answer.seq as usize)?;
    let elements = message.attrs().get(elements::LIST)?;
    let start = elements.value.as_ptr() as usize - message.payload.as_ptr() as usize + HEADER - 4;
    let offset = (answer.offset? as usize).checked_sub(start)?;
    let mut end = 0;
    let culprit = elements.nested().into_iter().find(|element| {
        end += 4 + element.value.len().next_multiple_of(4);
        offset < end
    })?;
    let (element, _) = read::element(culprit.nested())?;
    Some(match op {
        Op::AddElements(..) => Op::AddElements(set.clone(), vec![element]),
        _ => Op::DeleteElements(set.clone(), vec![element]),
    })
}
