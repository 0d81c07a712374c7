//! Dumps over rtnetlink, for the little that aya does not ask the kernel itself.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const HEADER: usize = 16;

/// Sends one dump request and returns the bodies of all replies.
pub fn dump(kind: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let socket = super::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    let mut request = Vec::with_capacity(HEADER + body.len());
    request.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    request.extend([1u32, 0].map(u32::to_ne_bytes).concat());
    request.extend(body);
    send(&socket, &request)?;

    let mut found = Vec::new();
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        let len = receive(&socket, &mut buffer)?;
        let mut rest = &buffer[..len];
        while rest.len() >= HEADER {
            let size = (u32_at(rest, 0) as usize).clamp(HEADER, rest.len());
            let message = &rest[HEADER..size];
            match i32::from(u16_at(rest, 4)) {
                // Both carry an errno, 0 for success; DONE may come without.
                libc::NLMSG_DONE | libc::NLMSG_ERROR => match u32_at(message, 0) as i32 {
                    0 => return Ok(found),
                    errno => return Err(io::Error::from_raw_os_error(-errno)),
                },
                _ => found.push(message.to_vec()),
            }
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
    }
}

/// The value of an attribute in a list of attributes.
pub fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while attributes.len() >= 4 {
        let size = (u16_at(attributes, 0) as usize).clamp(4, attributes.len());
        if u16_at(attributes, 2) & 0x3fff == wanted {
            return Some(&attributes[4..size]);
        }
        attributes = &attributes[size.next_multiple_of(4).min(attributes.len())..];
    }
    None
}

/// 0 where there is nothing to read.
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_ne_bytes([b[0], b[1]]))
}

/// 0 where there is nothing to read.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length of one slice.
    match unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) } {
        sent if sent < 0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length of one slice.
    match unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) } {
        len if len < 0 => Err(io::Error::last_os_error()),
        len => Ok(len as usize),
    }
}
