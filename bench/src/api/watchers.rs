//! Watchers of all pods, each over a connection of its own, in one thread.
//!
//! A thousand of them share the machine with the server that is measured. So what arrives is only taken from the kernel
//! while a change is on its way, and the time noted; it is decrypted, and its events counted, when nothing more comes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lab::LabError;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use originals::Trust;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::client::{JSON, TOKEN};
use super::objects::ALL;
use crate::measure::failed;

/// When nothing came for so long, what came is looked at.
const QUIET_MS: u16 = 20;
/// How long a change may take to all watchers.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes taken from the kernel at a time.
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
    /// What has arrived and was not decrypted: the end of each piece, and when it came.
    raw: Vec<u8>,
    pieces: Vec<(usize, Instant)>,
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
        write: impl FnOnce() -> Result<Instant, LabError> + Send,
    ) -> Result<Vec<Duration>, LabError> {
        let (begun, seen) = thread::scope(|scope| {
            let writing = scope.spawn(write);
            let seen = self.gather();
            (writing.join(), seen)
        });
        let begun = begun.map_err(|_| failed("a change", "the writer panicked"))??;
        let seen = seen.map_err(|error| failed("a watch of all pods", error.to_string()))?;
        Ok(seen.into_iter().map(|seen| seen.saturating_duration_since(begun)).collect())
    }

    /// Until each has one event: when it came.
    fn gather(&mut self) -> io::Result<Vec<Instant>> {
        let deadline = Instant::now() + LIMIT;
        let mut seen: Vec<Option<Instant>> = vec![None; self.all.len()];
        let mut ready = [EpollEvent::empty(); AT_ONCE];
        loop {
            match self.epoll.wait(&mut ready, EpollTimeout::from(QUIET_MS))? {
                0 => {
                    for (watcher, seen) in self.all.iter_mut().zip(&mut seen) {
                        *seen = (*seen).or(watcher.first_event()?);
                    }
                    let missing = seen.iter().filter(|seen| seen.is_none()).count();
                    if missing == 0 {
                        return Ok(seen.into_iter().flatten().collect());
                    }
                    if Instant::now() > deadline {
                        return Err(io::Error::other(format!("{missing} watchers have not seen a change")));
                    }
                }
                count => {
                    for event in &ready[..count] {
                        let nth = usize::try_from(event.data()).unwrap_or(usize::MAX);
                        if let Some(watcher) = self.all.get_mut(nth) {
                            watcher.take()?;
                        }
                    }
                }
            }
        }
    }
}

impl Watcher {
    fn open(address: SocketAddr, trust: &Trust, version: &str) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(LIMIT))?;
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
        Ok(Self { socket, session, raw: Vec::new(), pieces: Vec::new(), counter: Counter::default() })
    }

    /// Takes what the kernel has.
    fn take(&mut self) -> io::Result<()> {
        let begin = self.raw.len();
        self.raw.resize(begin + CHUNK, 0);
        let read = self.socket.read(&mut self.raw[begin..]);
        self.raw.truncate(begin + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ends the watch")),
            Ok(_) => {
                self.pieces.push((self.raw.len(), Instant::now()));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Decrypts what was taken: when the first whole event in it came.
    fn first_event(&mut self) -> io::Result<Option<Instant>> {
        let (raw, pieces) = (std::mem::take(&mut self.raw), std::mem::take(&mut self.pieces));
        let (mut begin, mut first, mut plain) = (0, None, Vec::new());
        for (end, came) in pieces {
            let mut piece = &raw[begin..end];
            begin = end;
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
