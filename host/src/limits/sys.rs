//! prlimit(2), which nix does not have.
#![allow(unsafe_code)] // The call takes a pointer.

use std::io;

/// Sets the limits of open files of another process.
pub(super) fn set_open_files(pid: u32, soft: libc::rlim_t, hard: libc::rlim_t) -> io::Result<()> {
    let limits = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: the kernel reads one `rlimit`, and writes nothing back where the last pointer is null.
    let answer = unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const limits, std::ptr::null_mut()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
