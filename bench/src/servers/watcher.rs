//! A watcher: when each of the things that one waits for was first seen.
//!
//! It reads in a thread of its own, over a connection of its own; whoever waits is woken.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lab::LabError;
use originals::Trust;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::client::TOKEN;
use super::side::Side;
use crate::interrupt::Interrupt;
use crate::measure::failed;

/// How often somebody who waits looks whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Objects without more than their metadata, which cost the server and this machine little.
pub const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// When each was first seen, by what the watcher made of it.
pub type Times = HashMap<String, Instant>;

#[derive(Default)]
struct Seen {
    times: Mutex<(Times, Option<io::Error>)>,
    changed: Condvar,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, (Times, Option<io::Error>)> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// The connection of the present watch; `None` once nobody wants it any more.
type Socket = Arc<Mutex<Option<TcpStream>>>;

/// The watcher. It stops when it is dropped.
pub struct Watcher {
    /// What is waited for, for people: `pods that are bound`.
    what: &'static str,
    socket: Socket,
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Connects and watches `path` (with its `watch=1`), from what is there already. `hear` makes of an event, a line of
    /// JSON, what has been seen by it, if anything.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn open(
        side: &Side,
        what: &'static str,
        path: &str,
        accept: &str,
        hear: impl FnMut(&str) -> Option<String> + Send + 'static,
    ) -> Result<Self, LabError> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\nAccept: {accept}\r\n\r\n",
            side.address()
        );
        let question = Question { address: side.address(), trust: side.trust()?, request };
        let (socket, stream) = question.ask().map_err(|error| failed(&watch(what), error.to_string()))?;
        let socket: Socket = Arc::new(Mutex::new(Some(socket)));
        let seen = Arc::new(Seen::default());
        let thread = thread::spawn({
            let (seen, socket) = (Arc::clone(&seen), Arc::clone(&socket));
            move || {
                let ended = follow(stream, &question, &socket, &seen, hear);
                seen.lock().1 = ended.err();
                seen.changed.notify_all();
            }
        });
        Ok(Self { what, socket, seen, thread: Some(thread) })
    }

    /// Waits until so many were seen, and gives them all. `still`: how long one may wait without another one. `lives` says
    /// whether who makes them still lives.
    ///
    /// # Errors
    /// There is no other one for so long, the watch ends, or who makes them does.
    pub fn wait(
        &self,
        count: usize,
        still: Duration,
        interrupt: &Interrupt,
        lives: impl Fn() -> Result<(), LabError>,
    ) -> Result<Times, LabError> {
        let mut seen = self.seen.lock();
        let (mut before, mut changed) = (seen.0.len(), Instant::now());
        loop {
            if seen.0.len() >= count {
                return Ok(seen.0.clone());
            }
            if interrupt.asked() {
                return Err(LabError::Interrupted);
            }
            lives()?;
            if let Some(error) = &seen.1 {
                return Err(failed(&watch(self.what), error.to_string()));
            }
            if seen.0.len() > before {
                (before, changed) = (seen.0.len(), Instant::now());
            }
            if changed.elapsed() > still {
                let reason = format!("{before} of {count}, and no other for {} s", still.as_secs());
                return Err(failed(self.what, reason));
            }
            seen = self.seen.changed.wait_timeout(seen, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn watch(what: &str) -> String {
    format!("a watch of {what}")
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The thread's read ends with it.
        if let Some(socket) = lock(&self.socket).take() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(socket: &Socket) -> MutexGuard<'_, Option<TcpStream>> {
    socket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is asked, and of whom.
struct Question {
    address: SocketAddr,
    trust: Trust,
    request: String,
}

impl Question {
    fn ask(&self) -> io::Result<(TcpStream, Stream)> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        let session = ClientConnection::new(Arc::clone(&self.trust), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket.try_clone()?);
        stream.write_all(self.request.as_bytes())?;
        Ok((socket, stream))
    }
}

/// Reads one watch after the other: kube-apiserver ends that of a client which is too slow on a busy machine. The next one
/// begins with all that is there; who waits for a deletion that came in between waits in vain, and hears so. Returns once
/// nobody wants it any more.
fn follow(
    mut stream: Stream,
    question: &Question,
    socket: &Socket,
    seen: &Seen,
    mut hear: impl FnMut(&str) -> Option<String>,
) -> io::Result<()> {
    loop {
        let ended = read(stream, seen, &mut hear);
        if lock(socket).is_none() {
            return Ok(());
        }
        ended?;
        let (next, opened) = question.ask()?;
        match &mut *lock(socket) {
            Some(present) => *present = next,
            None => return Ok(()),
        }
        stream = opened;
    }
}

/// Reads until the server ends the watch.
fn read(mut stream: impl Read, seen: &Seen, mut hear: impl FnMut(&str) -> Option<String>) -> io::Result<()> {
    let (mut bytes, mut events) = (vec![0; 64 << 10], Events::default());
    while !matches!(events.place, Place::Over) {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let now = Instant::now();
        let mut found = Vec::new();
        events.take(&bytes[..count], |line| found.extend(hear(line)));
        if !found.is_empty() {
            let mut seen_now = seen.lock();
            for name in found {
                seen_now.0.entry(name).or_insert(now);
            }
            drop(seen_now);
            seen.changed.notify_all();
        }
    }
    Ok(())
}

/// Where in an answer of HTTP/1.1 the next byte is. A chunk may begin and end anywhere in an event.
#[derive(Default)]
enum Place {
    #[default]
    Head,
    Size,
    /// So many bytes of a chunk are to come.
    Data(usize),
    /// The end of line behind a chunk.
    End,
    /// Behind the empty chunk, which is the last one.
    Over,
}

/// Finds the events in an answer that is a stream of them, a line each.
#[derive(Default)]
struct Events {
    place: Place,
    /// Not yet looked at, for it is not whole.
    raw: Vec<u8>,
    line: Vec<u8>,
}

impl Events {
    fn take(&mut self, bytes: &[u8], mut hear: impl FnMut(&str)) {
        self.raw.extend_from_slice(bytes);
        while self.step(&mut hear).is_some() {}
    }

    /// Goes on by one part; `None` where more has to come.
    fn step(&mut self, hear: &mut impl FnMut(&str)) -> Option<()> {
        let until = |raw: &[u8], end: &[u8]| raw.windows(end.len()).position(|found| found == end);
        match self.place {
            Place::Head => {
                let length = until(&self.raw, b"\r\n\r\n")?;
                self.raw.drain(..length + 4);
                self.place = Place::Size;
            }
            Place::Size => {
                let length = until(&self.raw, b"\r\n")?;
                let size = std::str::from_utf8(&self.raw[..length]).ok()?;
                let size =
                    usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).ok()?;
                self.raw.drain(..length + 2);
                self.place = if size == 0 { Place::Over } else { Place::Data(size) };
            }
            Place::Over => return None,
            Place::Data(0) => self.place = Place::End,
            Place::Data(left) => {
                let count = left.min(self.raw.len());
                if count == 0 {
                    return None;
                }
                for byte in self.raw.drain(..count) {
                    if byte != b'\n' {
                        self.line.push(byte);
                        continue;
                    }
                    if let Ok(line) = std::str::from_utf8(&self.line) {
                        hear(line);
                    }
                    self.line.clear();
                }
                self.place = Place::Data(left - count);
            }
            Place::End => {
                self.raw.get(1)?;
                self.raw.drain(..2);
                self.place = Place::Size;
            }
        }
        Some(())
    }
}

/// The name of the object in an event that says it is there, without a look at the rest.
pub fn present(line: &str) -> Option<&str> {
    let object = line.strip_prefix(r#"{"type":""#)?;
    if !object.starts_with("ADDED") && !object.starts_with("MODIFIED") {
        return None;
    }
    let (_, metadata) = object.split_once(r#""metadata":{"#)?;
    let (_, name) = metadata.split_once(r#""name":""#)?;
    name.split_once('"').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_over_the_borders_of_pieces_and_of_chunks() {
        let event = |kind: &str, name: &str| {
            format!(
                r#"{{"type":"{kind}","object":{{"kind":"PartialObjectMetadata","metadata":{{"name":"{name}","uid":"u","managedFields":[]}}}}}}"#
            ) + "\n"
        };
        let body = [event("ADDED", "a"), event("DELETED", "b"), event("MODIFIED", "c")].concat();
        for chunk in [1, 7, 64, body.len()] {
            let chunks = body
                .as_bytes()
                .chunks(chunk)
                .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)));
            let text = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n".to_owned() + &chunks.collect::<String>();
            for cut in 0..text.len() {
                let (mut events, mut found) = (Events::default(), Vec::new());
                let (left, right) = text.as_bytes().split_at(cut);
                for part in [left, right] {
                    events.take(part, |line| found.extend(present(line).map(str::to_owned)));
                }
                assert_eq!(found, ["a", "c"], "chunks of {chunk}, cut at {cut}");
            }
        }
    }

    #[test]
    fn the_empty_chunk_is_the_end_of_a_watch() {
        let seen = Seen::default();
        let named = |line: &str| present(line).map(str::to_owned);
        let event = r#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#;
        let head = format!("HTTP/1.1 200 OK\r\n\r\n{:x}\r\n{event}\n\r\n", event.len() + 1);
        let ended = read(format!("{head}0\r\n\r\n").as_bytes(), &seen, named);
        assert!(ended.is_ok() && seen.lock().0.contains_key("a"));
        let cut = read(head.as_bytes(), &Seen::default(), named).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn whoever_waits_for_too_many_hears_why_the_watch_has_ended() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let seen = Arc::new(Seen::default());
        seen.lock().1 = Some(io::Error::other("gone"));
        let socket = Arc::new(Mutex::new(Some(socket)));
        let watcher = Watcher { what: "pods", socket, seen, thread: None };
        let error = watcher.wait(1, Duration::ZERO, &Interrupt::default(), || Ok(())).unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }
}
