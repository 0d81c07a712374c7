//! The calls that need `unsafe`: what a daemon's process does before it becomes its program, two socket options, and a
//! thread's place in the queue for the CPU.
#![allow(unsafe_code)] // CommandExt::pre_exec, setsockopt of options and sched_setscheduler, which nix does not know.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes the child lead a session of its own, so that it outlives the command that started it and the terminal.
pub fn in_own_session(command: &mut Command) {
    // SAFETY: setsid is async-signal-safe, and nothing else happens between fork and exec here.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from));
    }
}

/// Sends every packet of a socket with "don't fragment", whatever the kernel believes about the path
/// (`IP_PMTUDISC_PROBE` of ip(7), the same number for IPv6).
pub fn dont_fragment(socket: BorrowedFd<'_>, ipv6: bool) -> io::Result<()> {
    let (level, option) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
    } else {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
    };
    let value: libc::c_int = libc::IP_PMTUDISC_PROBE;
    let size = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the whole call, and the kernel reads `size` bytes of `value`.
    let answer =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the calling thread run before all that share the CPU in the ordinary way (`SCHED_FIFO` of sched(7), the lowest
/// priority of it). Needs `CAP_SYS_NICE`.
pub fn realtime() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the kernel reads one `sched_param`, which lives for the whole call; 0 is the calling thread.
    let answer = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets a listener wait for the first byte of a connection, for some seconds (`TCP_DEFER_ACCEPT` of tcp(7)): one that is
/// closed before wakes nobody.
pub fn defer_accept(listener: BorrowedFd<'_>) -> io::Result<()> {
    let seconds: libc::c_int = 5;
    let size = libc::socklen_t::try_from(size_of_val(&seconds)).map_err(io::Error::other)?;
    let (level, option) = (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT);
    // SAFETY: the descriptor is open for the whole call, and the kernel reads `size` bytes of `seconds`.
    let answer =
        unsafe { libc::setsockopt(listener.as_raw_fd(), level, option, (&raw const seconds).cast(), size) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
