//! The call that needs `unsafe`: what a daemon's process does before it becomes its program.
#![allow(unsafe_code)] // CommandExt::pre_exec.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes the child lead a session of its own, so that it outlives the command that started it and the terminal.
pub fn in_own_session(command: &mut Command) {
    // SAFETY: setsid is async-signal-safe, and nothing else happens between fork and exec here.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from));
    }
}
