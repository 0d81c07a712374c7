//! A netlink socket that asks one question at a time.

use std::io;

use netlink_sys::{Socket, SocketAddr};

use super::{Message, Messages, NLMSG_DONE, NLMSG_ERROR, Writer};

/// The kernel fills at most 32 KiB of an answer at once.
pub(crate) const DATAGRAM: usize = 64 << 10;

/// A connection to one netlink protocol in the network namespace of the thread that made it. Calls block for as long as
/// the kernel works on them.
pub(crate) struct Connection {
    socket: Socket,
    seq: u32,
    buffer: Vec<u8>,
}

impl Connection {
    /// `protocol` is one of `netlink_sys::protocols`.
    pub fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, seq: 0, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// Sends a question, which bears the sequence number it is handed, and reads to the end of the answer; returns the
    /// kernel's errno, 0 for success. The question asks for an acknowledgement or a dump, or the end never comes.
    pub fn ask(
        &mut self,
        question: impl FnOnce(&mut Writer, u32),
        read: &mut dyn FnMut(Message),
    ) -> io::Result<i32> {
        self.seq += 1;
        let seq = self.seq;
        let mut w = Writer::default();
        question(&mut w, seq);
        self.socket.send(&w.bytes, 0)?;
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            for message in Messages(&self.buffer).filter(|message| message.header.seq == seq) {
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
