//! The ioctls of `linux/if_tun.h`.
#![allow(unsafe_code)] // ioctl: the kernel trusts the type of what the pointer points at.

use std::ffi::{CStr, c_int};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::{ioctl_read_bad, ioctl_write_int_bad, ioctl_write_ptr_bad, request_code_read, request_code_write};

// The sizes in these numbers are those of an int, whatever the argument really is: history.
ioctl_write_ptr_bad!(tunsetiff, request_code_write!(b'T', 202, size_of::<c_int>()), libc::ifreq);
ioctl_write_int_bad!(tunsetpersist, request_code_write!(b'T', 203, size_of::<c_int>()));
ioctl_write_int_bad!(tunsetoffload, request_code_write!(b'T', 208, size_of::<c_int>()));
ioctl_read_bad!(tungetiff, request_code_read!(b'T', 210, size_of::<c_int>()), libc::ifreq);
ioctl_write_ptr_bad!(tunsetvnethdrsz, request_code_write!(b'T', 216, size_of::<c_int>()), c_int);

/// Binds the descriptor to the TUN of this name, which it makes where there is none. Returns the real name.
pub(super) fn attach(fd: BorrowedFd<'_>, name: &str, flags: c_int) -> nix::Result<String> {
    let mut request = empty_request();
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains(['/', '\0', ' ']) {
        return Err(Errno::EINVAL);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the request is a whole ifreq, alive for the call; TUNSETIFF reads it and writes the name back.
    unsafe { tunsetiff(fd.as_raw_fd(), &raw mut request) }?;
    // SAFETY: the name was zeroed and is shorter than its field, and the kernel ends what it writes with a zero.
    let name = unsafe { CStr::from_ptr(request.ifr_name.as_ptr()) };
    Ok(name.to_string_lossy().into_owned())
}

/// `IFF_*` of the TUN that the descriptor is bound to.
pub(super) fn flags(fd: BorrowedFd<'_>) -> nix::Result<c_int> {
    let mut request = empty_request();
    // SAFETY: the request is a whole ifreq, alive for the call.
    unsafe { tungetiff(fd.as_raw_fd(), &raw mut request) }?;
    // SAFETY: TUNGETIFF fills in the flags; any bits are a valid short.
    Ok(c_int::from(unsafe { request.ifr_ifru.ifru_flags } as u16))
}

pub(super) fn set_persistent(fd: BorrowedFd<'_>, persistent: bool) -> nix::Result<()> {
    // SAFETY: takes a number.
    unsafe { tunsetpersist(fd.as_raw_fd(), persistent.into()) }.map(drop)
}

/// `TUN_F_*`
pub(super) fn set_offload(fd: BorrowedFd<'_>, offload: libc::c_uint) -> nix::Result<()> {
    // SAFETY: takes a number.
    unsafe { tunsetoffload(fd.as_raw_fd(), offload as c_int) }.map(drop)
}

pub(super) fn set_vnet_header_size(fd: BorrowedFd<'_>, bytes: c_int) -> nix::Result<()> {
    // SAFETY: reads one int.
    unsafe { tunsetvnethdrsz(fd.as_raw_fd(), &raw const bytes) }.map(drop)
}

fn empty_request() -> libc::ifreq {
    // SAFETY: ifreq is an array of bytes and a union of plain data; zero is a valid value of each.
    unsafe { std::mem::zeroed() }
}
