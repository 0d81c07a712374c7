//! tc filters of kind bpf at a clsact hook: aya attaches them, but does not say whether they are there.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// A filter of kind bpf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub priority: u16,
    pub handle: u32,
    /// What its owner called it; aya gives the program's name.
    pub name: String,
    /// The program's id in the kernel.
    pub program: u32,
}

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
const HEADER: usize = 16;
const TCMSG: usize = 20;

/// Every bpf filter at `parent` (a clsact half) of an interface. None when it has no clsact.
pub fn filters(ifindex: u32, parent: u32) -> io::Result<Vec<Filter>> {
    let socket = super::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    let mut request = Vec::with_capacity(HEADER + TCMSG);
    request.extend(((HEADER + TCMSG) as u32).to_ne_bytes());
    request.extend(libc::RTM_GETTFILTER.to_ne_bytes());
    request.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    request.extend([1u32, 0].map(u32::to_ne_bytes).concat());
    request.extend([0u32, ifindex, 0, parent, 0].map(u32::to_ne_bytes).concat());
    send(&socket, &request)?;

    let mut found = Vec::new();
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        let len = receive(&socket, &mut buffer)?;
        let mut rest = &buffer[..len];
        while rest.len() >= HEADER {
            let size = (u32_at(rest, 0) as usize).clamp(HEADER, rest.len());
            let (message, kind) = (&rest[HEADER..size], u16_at(rest, 4));
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(found),
                libc::NLMSG_ERROR => match u32_at(message, 0) as i32 {
                    0 => return Ok(found),
                    // No clsact there, thus no filters.
                    errno if errno == -libc::EINVAL || errno == -libc::ENOENT => return Ok(found),
                    errno => return Err(io::Error::from_raw_os_error(-errno)),
                },
                _ if kind == libc::RTM_NEWTFILTER => found.extend(filter(message)),
                _ => {}
            }
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
    }
}

fn filter(message: &[u8]) -> Option<Filter> {
    let attributes = message.get(TCMSG..)?;
    let of = |wanted| attribute(attributes, wanted);
    if of(TCA_KIND)? != b"bpf\0" {
        return None;
    }
    // A priority's own entry comes before its filters, with handle 0 and no options.
    let options = of(TCA_OPTIONS)?;
    let name = attribute(options, TCA_BPF_NAME).unwrap_or_default();
    Some(Filter {
        priority: (u32_at(message, 16) >> 16) as u16,
        handle: u32_at(message, 8),
        name: String::from_utf8_lossy(name).trim_end_matches('\0').to_owned(),
        program: attribute(options, TCA_BPF_ID).map_or(0, |id| u32_at(id, 0)),
    })
}

fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while attributes.len() >= 4 {
        let size = (u16_at(attributes, 0) as usize).clamp(4, attributes.len());
        if u16_at(attributes, 2) & 0x3fff == wanted {
            return Some(&attributes[4..size]);
        }
        attributes = &attributes[size.next_multiple_of(4).min(attributes.len())..];
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_ne_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
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
