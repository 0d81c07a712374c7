//! Frames of an Ethernet interface, of one protocol and only those that a filter in the kernel lets through.
//!
//! Owns: the socket ([`Frames`]). Never: looks into a frame.

mod sys;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socket};

/// One instruction of a classic BPF program (packet(7), `linux/filter.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    /// How many instructions to leave out, where a comparison holds and where it does not.
    pub jump: (u8, u8),
    pub value: u32,
}

/// A filter that lets a frame through where each byte is as given: `(place, value)`, at most 100 of them.
pub fn bytes_are(wanted: &[(u32, u8)]) -> Vec<Instruction> {
    let mut program = Vec::with_capacity(wanted.len() * 2 + 2);
    for (nth, (place, value)) in wanted.iter().enumerate() {
        let load = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
        program.push(Instruction { code: load as u16, jump: (0, 0), value: *place });
        // Over what is left of the comparisons, and over the frame's acceptance.
        let rest = u8::try_from((wanted.len() - nth - 1) * 2 + 1).unwrap_or(u8::MAX);
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        program.push(Instruction { code: equal as u16, jump: (0, rest), value: u32::from(*value) });
    }
    for kept in [u32::MAX, 0] {
        program.push(Instruction { code: (libc::BPF_RET | libc::BPF_K) as u16, jump: (0, 0), value: kept });
    }
    program
}

/// A socket for the frames of one interface. Needs `CAP_NET_RAW`.
#[derive(Debug)]
pub struct Frames(OwnedFd);

impl Frames {
    /// `index` is the interface's, `protocol` an EtherType. Nothing is read that came before, or that the filter does not
    /// let through.
    ///
    /// # Errors
    /// The kernel's refusal: no such interface, or no right to do this.
    pub fn open(index: u32, protocol: u16, filter: &[Instruction]) -> io::Result<Self> {
        // Without a protocol it hears nothing until it is bound.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        sys::attach(socket.as_fd(), filter)?;
        sys::bind(socket.as_fd(), index, protocol)?;
        Ok(Self(socket))
    }

    /// The next frame, with its Ethernet header; as much of it as `buffer` has room for. `None`: none came in time.
    ///
    /// # Errors
    /// The kernel's, such as `ENETDOWN` while the interface is down.
    pub fn read<'a>(&self, buffer: &'a mut [u8], limit: Duration) -> io::Result<Option<&'a [u8]>> {
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], limit) {
            Ok(0) | Err(Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        match recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => Ok(Some(&buffer[..length])),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_wants_every_byte_as_given() {
        let program = bytes_are(&[(20, 58), (54, 135)]);
        let (load, equal, end) = (0x30, 0x15, 0x06);
        let wanted = [
            (load, (0, 0), 20),
            (equal, (0, 3), 58),
            (load, (0, 0), 54),
            (equal, (0, 1), 135),
            (end, (0, 0), u32::MAX),
            (end, (0, 0), 0),
        ];
        assert_eq!(program, wanted.map(|(code, jump, value)| Instruction { code, jump, value }));
    }
}
