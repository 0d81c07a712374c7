//! The unsafe part: kernel calls that neither aya nor nix has, and promises about layouts.
#![allow(unsafe_code)] // system calls with raw structures; Pod is a promise that only a person can make

pub mod link;
mod netlink;
pub mod tc;

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::layout::{Config, Count, State};

// SAFETY: all are repr(C), made of integers only, without padding (their sizes are asserted).
unsafe impl aya::Pod for Config {}
// SAFETY: as above.
unsafe impl aya::Pod for Count {}
// SAFETY: as above.
unsafe impl aya::Pod for State {}

/// Kernels before 5.11 charge maps to RLIMIT_MEMLOCK: use all that the hard limit allows. Never above it.
pub fn use_memlock_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write one rlimit that lives on this stack.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit);
        }
    }
}

/// The link type (ARPHRD_*) of an interface of the current network namespace.
pub fn link_type(name: &str) -> io::Result<u16> {
    // SAFETY: ifreq is plain old data; the name is copied with its final zero left in place.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    // SAFETY: SIOCGIFHWADDR fills ifr_hwaddr of the structure handed in.
    unsafe {
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR as _, &raw mut request) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(request.ifr_ifru.ifru_hwaddr.sa_family)
    }
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is new and ours.
    unsafe {
        match libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) {
            fd if fd < 0 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}
