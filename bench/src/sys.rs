//! The call that needs `unsafe`: a thread's place in the queue for the CPU.
#![allow(unsafe_code)] // sched_setscheduler, which nix does not know.

use std::io;

/// Lets the calling thread run before all that share the CPU in the ordinary way (`SCHED_FIFO` of sched(7), the lowest
/// priority of it). Needs `CAP_SYS_NICE`.
pub fn realtime() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the kernel reads one `sched_param`, which lives for the whole call; 0 is the calling thread.
    let answer = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
