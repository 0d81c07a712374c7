//! Socket options that neither nix nor socket2 has, and ports to listen at.

mod ports;
mod sys;

use std::io;
use std::os::fd::AsFd;

pub use ports::free_port;

/// Sends every packet of a socket with "don't fragment", whatever the kernel believes about the path
/// (`IP_PMTUDISC_PROBE` of ip(7), the same number for IPv6).
pub fn dont_fragment(socket: &impl AsFd, ipv6: bool) -> io::Result<()> {
    let (level, option) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
    } else {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
    };
    sys::set_int(socket.as_fd(), level, option, libc::IP_PMTUDISC_PROBE)
}

/// Lets a listener wait for the first byte of a connection, for five seconds (`TCP_DEFER_ACCEPT` of tcp(7)): a
/// connection that is closed before wakes nobody.
pub fn defer_accept(listener: &impl AsFd) -> io::Result<()> {
    sys::set_int(listener.as_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 5)
}

/// Sends no UDP checksum from now on (`SO_NO_CHECK` of socket(7)): legal over IPv4, RFC 768.
pub fn leave_checksum_out(socket: &impl AsFd) -> io::Result<()> {
    sys::set_int(socket.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1)
}
