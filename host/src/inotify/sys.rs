//! Registers inotify with the runtime: tokio asks for a promise that the compiler cannot check.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::sys::inotify::Inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Owns the descriptor for as long as it is registered.
pub struct Registered(Inotify);

impl Registered {
    pub fn inotify(&self) -> &Inotify {
        &self.0
    }
}

impl AsRawFd for Registered {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Waits for events of it become possible. Needs a tokio runtime.
pub fn register(inotify: Inotify) -> io::Result<AsyncFd<Registered>> {
    // SAFETY: the descriptor must stay open and the same while it is registered. `Registered` owns it, never gives
    // it away, and `AsyncFd` deregisters before it drops it.
    let registered = unsafe { AsyncFd::register_with_interest(Registered(inotify), Interest::READABLE) };
    registered.map_err(io::Error::from)
}
