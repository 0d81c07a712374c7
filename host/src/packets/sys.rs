//! Socket options and addresses whose types nix does not make.
#![allow(unsafe_code)] // setsockopt(2) and bind(2) take pointers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::Instruction;

fn done(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub fn attach(socket: BorrowedFd<'_>, filter: &[Instruction]) -> io::Result<()> {
    let mut program: Vec<libc::sock_filter> = filter
        .iter()
        .map(|one| libc::sock_filter { code: one.code, jt: one.jump.0, jf: one.jump.1, k: one.value })
        .collect();
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let filter = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    let size = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the whole call; the kernel reads `size` bytes of `filter` and `length`
    // instructions of `program`, which lives as long.
    done(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size,
        )
    })
}

pub fn bind(socket: BorrowedFd<'_>, index: u32, protocol: u16) -> io::Result<()> {
    let index = i32::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the whole call, and the kernel reads `size` bytes of `address`.
    done(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) })
}
