//! The `simple` data path: user space, one packet per system call.
//!
//! Two plain threads, one for each direction. Each reads until there is nothing left and then sleeps in poll.
//! flannel has one thread for both; two carry 1.4 times as much and cost the same (6.18, two cores).

use super::flow::{Egress, Ingress, Step};
use super::shared::Shared;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// The running threads. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Simple {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

/// The wish to end: a flag for a thread that is busy, an event for one that sleeps.
#[derive(Debug)]
struct Stop {
    flag: AtomicBool,
    event: EventFd,
}

impl Simple {
    /// Starts both threads.
    pub fn start(shared: Shared) -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let stop = Arc::new(Stop { flag: AtomicBool::new(false), event });
        let mut simple = Self { stop: stop.clone(), threads: Vec::new() };
        let shared = Arc::new(shared);

        let (at, until, mut egress) = (shared.clone(), stop.clone(), Egress::new(shared.clone()));
        simple.spawn("udp-egress", move || run(at.tun.as_fd(), &until, || egress.step()))?;
        let mut ingress = Ingress::new(shared.clone());
        simple.spawn("udp-ingress", move || run(shared.socket.as_fd(), &stop, || ingress.step()))?;
        Ok(simple)
    }

    fn spawn(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let logged = move || {
            let end = work();
            if let Err(error) = &end {
                tracing::warn!(thread = name, %error, "the data path has lost its TUN or its socket");
            }
            end
        };
        self.threads.push(thread::Builder::new().name(name.to_owned()).spawn(logged)?);
        Ok(())
    }

    /// False once a thread has ended, by itself or as told.
    pub fn running(&self) -> bool {
        !self.threads.is_empty() && !self.threads.iter().any(JoinHandle::is_finished)
    }
}

impl Simple {
    /// Ends both threads and waits for them.
    pub fn stop(&mut self) {
        self.stop.flag.store(true, Ordering::Relaxed);
        // It can only fail when it holds a wish already.
        let _ = self.stop.event.write(1);
        for thread in self.threads.drain(..) {
            // Its error was logged when it ended.
            let _ = thread.join();
        }
    }
}

impl Drop for Simple {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Steps until told to stop. Sleeps while there is nothing to read.
fn run(source: BorrowedFd<'_>, stop: &Stop, mut step: impl FnMut() -> io::Result<Step>) -> io::Result<()> {
    while !stop.flag.load(Ordering::Relaxed) {
        if step()? == Step::Moved {
            continue;
        }
        let mut fds =
            [PollFd::new(source, PollFlags::POLLIN), PollFd::new(stop.event.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
