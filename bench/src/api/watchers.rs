//! Watchers of all pods, each over a connection of its own, in one thread.
//!
//! A thousand of them share the machine with the server that is measured, and must not be what is measured. So this thread
//! sleeps while a change is on its way; the kernel notes when each piece of data has arrived at its socket. Afterwards the
//! pieces are taken with their times, decrypted, and searched for the end of an event.

use std::io::{self, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::LabError;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use originals::Trust;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::objects::ALL;
use crate::measure::failed;
use crate::servers::client::{JSON, TOKEN};

/// How long a change is left alone on its way, before a look at what has arrived: so long for all, and for each watcher.
/// This is the length of the measurement, not a wait for luck: where something is missing, there is another look.
const LOOK: Duration = Duration::from_millis(5);
const LOOK_EACH: Duration = Duration::from_micros(60);
/// How long a change may take to all watchers.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes taken from the kernel at a time: more than an event has, so that each piece has a time of its own.
const CHUNK: usize = 32 << 10;
/// What the kernel tells of at a time.
const AT_ONCE: usize = 256;

/// The watchers.
pub struct Watchers {
    epoll: Epoll,
    all: Vec<Watcher>,
}

struct Watcher {
    socket: TcpStream,
    session: ClientConnection,
    counter: Counter,
}

impl Watchers {
    /// Connects, and begins to watch after a version of the server's.
    ///
    /// # Errors
    /// The server does not answer with a stream.
    pub fn open(count: u32, address: SocketAddr, trust: &Trust, version: &str) -> Result<Self, LabError> {
        let opened = || {
            let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
            let mut all = Vec::new();
            for nth in 0..count {
                let watcher = Watcher::open(address, trust, version)?;
                epoll.add(&watcher.socket, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(nth)))?;
                all.push(watcher);
            }
            Ok::<_, io::Error>(Self { epoll, all })
        };
        opened().map_err(|error| failed("a watch of all pods", error.to_string()))
    }

    /// Makes a change by `write`, which says when it began, and waits until all have seen it. Gives each watcher's time.
    ///
    /// # Errors
    /// The change fails, or does not reach everybody.
    pub fn see(
        &mut self,
        write: impl FnOnce() -> Result<SystemTime, LabError> + Send,
    ) -> Result<Vec<Duration>, LabError> {
        let (begun, seen) = thread::scope(|scope| {
            let writing = scope.spawn(write);
            let seen = self.gather();
            (writing.join(), seen)
        });
        let begun = begun.map_err(|_| failed("a change", "the writer panicked"))??;
        let seen = seen.map_err(|error| failed("a watch of all pods", error.to_string()))?;
        // Both are of the system's clock. One that was set back in between gives nothing.
        Ok(seen.into_iter().map(|seen| seen.duration_since(begun).unwrap_or_default()).collect())
    }

    /// Until each has one event: when it came.
    fn gather(&mut self) -> io::Result<Vec<SystemTime>> {
        let deadline = Instant::now() + LIMIT;
        let look = LOOK + LOOK_EACH * u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let mut seen: Vec<Option<SystemTime>> = vec![None; self.all.len()];
        let mut missing = self.all.len();
        let mut ready = [EpollEvent::empty(); AT_ONCE];
        let mut pieces = Pieces::default();
        while missing > 0 {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{missing} watchers have not seen a change")));
            }
            thread::sleep(look);
            loop {
                let count = self.epoll.wait(&mut ready, EpollTimeout::ZERO)?;
                for event in &ready[..count] {
                    let nth = usize::try_from(event.data()).unwrap_or(usize::MAX);
                    let (Some(watcher), Some(seen)) = (self.all.get_mut(nth), seen.get_mut(nth)) else {
                        continue;
                    };
                    let first = watcher.first_event(&mut pieces)?;
                    if seen.is_none() && first.is_some() {
                        *seen = first;
                        missing -= 1;
                    }
                }
                if count == 0 {
                    break;
                }
            }
        }
        Ok(seen.into_iter().flatten().collect())
    }
}

impl Watcher {
    fn open(address: SocketAddr, trust: &Trust, version: &str) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(LIMIT))?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        let name = ServerName::from(address.ip());
        let mut session = ClientConnection::new(Arc::clone(trust), name).map_err(io::Error::other)?;
        let request = format!(
            "GET {ALL}?watch=1&resourceVersion={version} HTTP/1.1\r\nHost: {address}\r\n\
             Authorization: Bearer {TOKEN}\r\nAccept: {JSON}\r\n\r\n"
        );
        session.writer().write_all(request.as_bytes())?;
        // The head of the answer comes before any event.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            session.complete_io(&mut socket)?;
            plaintext(&mut session, &mut head)?;
            if session.wants_read() && !head.ends_with(b"\r\n\r\n") && session.read_tls(&mut socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            session.process_new_packets().map_err(io::Error::other)?;
        }
        if !head.starts_with(b"HTTP/1.1 200") {
            return Err(io::Error::other(format!("not a stream: {}", String::from_utf8_lossy(&head))));
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket, session, counter: Counter::default() })
    }

    /// Takes what the kernel has: when the first whole event in it came.
    fn first_event(&mut self, pieces: &mut Pieces) -> io::Result<Option<SystemTime>> {
        let (mut first, mut plain) = (None, Vec::new());
        while let Some((mut piece, came)) = pieces.next(&self.socket)? {
            while !piece.is_empty() {
                self.session.read_tls(&mut piece)?;
                self.session.process_new_packets().map_err(io::Error::other)?;
                plaintext(&mut self.session, &mut plain)?;
            }
            if self.counter.count(&plain) > 0 {
                first.get_or_insert(came);
            }
            plain.clear();
        }
        Ok(first)
    }
}

/// Room for what is taken from a socket.
struct Pieces {
    bytes: Vec<u8>,
    control: Vec<u8>,
}

impl Default for Pieces {
    fn default() -> Self {
        Self { bytes: vec![0; CHUNK], control: nix::cmsg_space!(TimeSpec) }
    }
}

impl Pieces {
    /// What has arrived, and when the last of it did; None where there is nothing.
    fn next(&mut self, socket: &TcpStream) -> io::Result<Option<(&[u8], SystemTime)>> {
        let mut into = [IoSliceMut::new(&mut self.bytes)];
        let received =
            recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(&mut self.control), MsgFlags::MSG_DONTWAIT);
        let (count, came) = match received {
            Ok(message) => (message.bytes, message.cmsgs()?.find_map(arrival)),
            Err(Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ends the watch"));
        }
        // A kernel that has only just been asked for times may have none yet. Later than it was flatters nobody.
        Ok(Some((&self.bytes[..count], came.unwrap_or_else(SystemTime::now))))
    }
}

/// SO_TIMESTAMPNS (socket(7)); over TCP since Linux 4.13: when the last byte that was taken came to the socket.
fn arrival(message: ControlMessageOwned) -> Option<SystemTime> {
    match message {
        ControlMessageOwned::ScmTimestampns(time) => UNIX_EPOCH.checked_add(Duration::from(time)),
        _ => None,
    }
}

/// Adds what has been decrypted.
fn plaintext(session: &mut ClientConnection, to: &mut Vec<u8>) -> io::Result<()> {
    match session.reader().read_to_end(to) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Counts the ends of events in JSON: a line feed behind a brace. No line feed stands within an event, and those of the
/// chunks around them follow on digits and carriage returns.
#[derive(Debug, Default)]
struct Counter {
    brace: bool,
}

impl Counter {
    fn count(&mut self, bytes: &[u8]) -> usize {
        let mut found = 0;
        for byte in bytes {
            found += usize::from(self.brace && *byte == b'\n');
            self.brace = *byte == b'}';
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_over_the_borders_of_pieces_and_chunks() {
        let text = b"14\r\n{\"a\":{\"b\":\"}\"}}\n\r\n3\r\n{}\n\r\n";
        for cut in 0..text.len() {
            let mut counter = Counter::default();
            let (left, right) = text.split_at(cut);
            assert_eq!(counter.count(left) + counter.count(right), 2, "{cut}");
        }
    }
}
