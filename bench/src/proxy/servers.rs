//! The endpoints: they answer every connection that brings a byte with one that says which of them it reached.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use host::netns::Namespace;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};

use super::objects::TARGET_PORT;
use lab::LabError;

/// How long a server may take to notice that it shall end.
const LOOK: u16 = 100;
/// Connections that wait to be accepted: clients come faster than threads wake up.
const WAITING: i32 = 4096;

/// A server in a namespace; ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on [`TARGET_PORT`] of all addresses, also of those that come later, and answers `byte`.
    pub fn start(namespace: &Namespace, byte: u8) -> Result<Self, LabError> {
        let listener = namespace.run(listener)?;
        let listener = listener.map_err(LabError::io("listen as", "an endpoint"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || serve(&listener, byte, &asked));
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does nothing that panics.
            let _ = thread.join();
        }
    }
}

fn listener() -> std::io::Result<TcpListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&listener, sockopt::ReuseAddr, &true)?;
    // Who only connects shall not pay for waking a server: on an idle machine that takes as long as the rest.
    host::sockets::defer_accept(&listener)?;
    bind(listener.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, TARGET_PORT))?;
    listen(&listener, Backlog::new(WAITING)?)?;
    Ok(listener.into())
}

fn serve(listener: &TcpListener, byte: u8, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        // A time-out and an interruption both lead to the next look.
        let _ = poll(&mut waiting, PollTimeout::from(LOOK));
        while let Ok((mut stream, _)) = listener.accept() {
            // Who only wanted to connect is gone by now.
            let _ = stream.write_all(&[byte]);
        }
    }
}
