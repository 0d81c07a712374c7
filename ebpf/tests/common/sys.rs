//! A persistent TUN as the daemon makes it: with vnet_hdr and offloads.
#![allow(unsafe_code)] // the TUN's ioctls

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

const IFF_TUN: i16 = 0x0001;
const IFF_NO_PI: i16 = 0x1000;
const IFF_VNET_HDR: i16 = 0x4000;
/// CSUM, TSO4, TSO6
const OFFLOADS: u64 = 0x01 | 0x02 | 0x04;

nix::ioctl_write_int!(tun_set_iff, b'T', 202);
nix::ioctl_write_int!(tun_set_persist, b'T', 203);
nix::ioctl_write_int!(tun_set_offload, b'T', 208);

#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: i16,
    pad: [u8; 22],
}

/// Makes or opens the persistent TUN of this name in the current network namespace.
pub fn tun(name: &str, offloads: bool) -> File {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun").expect("/dev/net/tun");
    let mut request = Request { name: [0; 16], flags: IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, pad: [0; 22] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: TUNSETIFF reads one ifreq at the address; the others take a number.
    unsafe {
        tun_set_iff(file.as_raw_fd(), (&raw mut request) as u64).expect("TUNSETIFF");
        tun_set_persist(file.as_raw_fd(), 1).expect("TUNSETPERSIST");
        tun_set_offload(file.as_raw_fd(), if offloads { OFFLOADS } else { 0 }).expect("TUNSETOFFLOAD");
    }
    file
}
