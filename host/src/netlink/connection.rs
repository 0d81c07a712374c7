//! Requests and their answers on one netlink socket.
//!
//! netlink-proto keeps the socket and matches answers to requests by their number, so an answer that comes after
//! its request was given up is nobody's. Here are what it leaves out: many writes in one datagram, interrupted dumps,
//! the kernel's own words about an error, a time limit, and a new socket in the place of one that broke.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use futures::{Stream, StreamExt};
use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR,
    NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, SocketAddr};
use rtnetlink::proto::{self, ConnectionHandle};
use tokio::runtime::{self, Handle};
use tokio::task::JoinHandle;

use super::write::Write;
use crate::error::HostError;
use crate::netns::Namespace;

/// Writes per datagram. Their acknowledgements must fit into the socket's receive buffer at once: 64 of them take some
/// 50 kB of the default 208 kB.
const BATCH: usize = 64;

/// How often a dump is taken again when the table changed under it.
const DUMPS: u32 = 20;

/// How long a caller waits. The kernel answers within the system call, but the call itself waits for the lock of
/// the network configuration (rtnl), which others may hold for many seconds: a host that takes down many namespaces.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// A pause between two attempts at a dump.
const PAUSE: Duration = Duration::from_millis(20);

/// Who answers.
const KERNEL_PORT: u32 = 0;

type Message = NetlinkMessage<RouteNetlinkMessage>;

#[derive(Clone)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    /// How long an answer is waited for.
    limit: Duration,
}

struct Shared {
    endpoint: Endpoint,
    /// Another one after it broke.
    socket: Mutex<Served>,
    /// Held during a dump: the kernel refuses a second one on the same socket (`EBUSY`).
    dumping: tokio::sync::Mutex<()>,
}

/// What a socket is opened for.
struct Endpoint {
    home: Arc<Namespace>,
    /// `NETLINK_ROUTE`, outside of tests.
    protocol: isize,
    peer: SocketAddr,
}

/// The way to an open socket.
struct Served {
    requests: ConnectionHandle<RouteNetlinkMessage>,
    /// Ends when the socket breaks.
    task: JoinHandle<()>,
}

impl Endpoint {
    fn open(&self) -> Result<Served, HostError> {
        self.home
            .run(|| open_socket(self.protocol))?
            .map_err(|e| HostError::io("open", "a netlink socket", e))
    }
}

/// Opens a socket in the calling thread's namespace and has it served.
fn open_socket(protocol: isize) -> io::Result<Served> {
    let service = service()?;
    let _entered = service.enter();
    let (mut connection, requests, _unsolicited) = proto::new_connection::<RouteNetlinkMessage>(protocol)?;
    connection.set_forward_ack(true);
    connection.set_forward_done(true); // it may carry an error, or NLM_F_DUMP_INTR
    let socket = connection.socket_mut().socket_mut();
    // Kernels before 4.12 and 4.20 lack these: shorter errors, and dumps that we filter here.
    let _ = socket.set_ext_ack(true);
    let _ = socket.set_cap_ack(true);
    let _ = socket.set_netlink_get_strict_chk(true);
    Ok(Served { requests, task: service.spawn(connection) })
}

/// The thread that serves all netlink sockets of this process. A request is carried out within the system call that
/// sends it, and waits there, uninterruptibly, while somebody holds the rtnl lock: nothing else may share the thread.
fn service() -> io::Result<&'static Handle> {
    static SERVICE: OnceLock<Handle> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = SERVICE.get() {
        return Ok(handle);
    }
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("netlink".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(SERVICE.get_or_init(|| handle))
}

impl Connection {
    /// Opens a socket in a namespace.
    pub fn open(home: Arc<Namespace>) -> Result<Self, HostError> {
        Self::to(
            Endpoint { home, protocol: NETLINK_ROUTE, peer: SocketAddr::new(KERNEL_PORT, 0) },
            TIME_LIMIT,
        )
    }

    fn to(endpoint: Endpoint, limit: Duration) -> Result<Self, HostError> {
        let socket = Mutex::new(endpoint.open()?);
        let dumping = tokio::sync::Mutex::default();
        Ok(Self { shared: Arc::new(Shared { endpoint, socket, dumping }), limit })
    }

    /// Everything that the kernel lists, from one uninterrupted pass.
    pub async fn dump(
        &self,
        op: &'static str,
        object: &str,
        request: impl Fn() -> RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, HostError> {
        let _alone = self.shared.dumping.lock().await;
        let end = Instant::now() + self.limit;
        let mut interrupted = 0;
        loop {
            match self.dump_once(op, object, request()).await {
                Ok(Some(complete)) => return Ok(complete),
                Ok(None) if interrupted < DUMPS => interrupted += 1,
                Ok(None) => return Err(HostError::kernel(op, object, libc::EINTR)),
                // The rest of a dump that somebody gave up waiting for is still on its way.
                Err(e) if e.errno() == Some(libc::EBUSY) && Instant::now() < end => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(e) => return Err(e),
            }
            tokio::time::sleep(PAUSE.min(Duration::from_millis(interrupted.into()))).await;
        }
    }

    /// `None` when the table changed meanwhile.
    async fn dump_once(
        &self,
        op: &'static str,
        object: &str,
        request: RouteNetlinkMessage,
    ) -> Result<Option<Vec<RouteNetlinkMessage>>, HostError> {
        let mut answers = Vec::new();
        let mut interrupted = false;
        let mut stream = self.send(op, [frame(request, NLM_F_DUMP)])?;
        loop {
            let answer = self.next(op, || object.to_owned(), &mut stream).await?;
            interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => answers.push(message),
                NetlinkPayload::Done(done) if done.code < 0 => {
                    return Err(refusal(op, object.to_owned(), -done.code, words(&done.extended_ack)));
                }
                NetlinkPayload::Done(_) => return Ok((!interrupted).then_some(answers)),
                NetlinkPayload::Error(e) => outcome(op, || object.to_owned(), answer.header.flags, &e)?,
                _ => return Err(HostError::Protocol { op, reason: "a dump overran".to_owned() }),
            }
        }
    }

    /// The one object that was asked for.
    pub async fn get(
        &self,
        op: &'static str,
        object: String,
        request: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, HostError> {
        let mut stream = self.send(op, [frame(request, 0)])?;
        let answer = self.next(op, || object.clone(), &mut stream).await?;
        match answer.payload {
            NetlinkPayload::InnerMessage(message) => Ok(message),
            NetlinkPayload::Error(e) => {
                outcome(op, || object.clone(), answer.header.flags, &e)?;
                Err(HostError::Protocol { op, reason: format!("an acknowledgement instead of {object}") })
            }
            other => Err(HostError::Protocol { op, reason: format!("{other:?} instead of {object}") }),
        }
    }

    /// Makes what must not exist yet.
    pub async fn create(
        &self,
        op: &'static str,
        object: String,
        request: RouteNetlinkMessage,
    ) -> Result<(), HostError> {
        let mut stream = self.send(op, [frame(request, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)])?;
        let answer = self.next(op, || object.clone(), &mut stream).await?;
        acknowledged(op, || object, answer)
    }

    /// Carries out writes in order; the result of each is at its place.
    pub async fn write(&self, writes: &[Write]) -> Vec<Result<(), HostError>> {
        let mut results = Vec::with_capacity(writes.len());
        // All are queued before the first answer is awaited: the socket's task never waits for this one.
        let batches: Vec<_> = writes.chunks(BATCH).map(|batch| (batch, self.send_batch(batch))).collect();
        // After one answer that did not come in time nobody waits for the others too.
        let mut late = false;
        for (batch, stream) in batches {
            let mut stream = stream.ok();
            for write in batch {
                let op = write.op();
                let answer = match &mut stream {
                    _ if late => Err(self.late(op, write.to_string())),
                    Some(stream) => self.next(op, || write.to_string(), stream).await,
                    None => Err(closed(op)),
                };
                late |= matches!(answer, Err(HostError::Late { .. }));
                if answer.is_err() {
                    stream = None;
                }
                results.push(answer.and_then(|answer| acknowledged(op, || write.to_string(), answer)));
            }
        }
        results
    }

    fn send_batch(&self, batch: &[Write]) -> Result<impl Stream<Item = Message> + Unpin + use<>, HostError> {
        let frames: Vec<Message> = batch
            .iter()
            .map(|write| {
                let (message, flags) = write.encode();
                frame(message, flags | NLM_F_ACK)
            })
            .collect();
        self.send(batch[0].op(), frames)
    }

    fn send<I: IntoIterator<Item = Message>>(
        &self,
        op: &'static str,
        messages: I,
    ) -> Result<impl Stream<Item = Message> + Unpin + use<I>, HostError> {
        let messages: Vec<Message> = messages.into_iter().collect();
        let Shared { endpoint, socket, .. } = &*self.shared;
        let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
        if socket.task.is_finished() {
            *socket = endpoint.open()?;
        }
        socket.requests.request_batch(messages, endpoint.peer).map_err(|_| closed(op))
    }

    async fn next(
        &self,
        op: &'static str,
        object: impl FnOnce() -> String,
        stream: &mut (impl Stream<Item = Message> + Unpin),
    ) -> Result<Message, HostError> {
        match tokio::time::timeout(self.limit, stream.next()).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(closed(op)),
            Err(_) => Err(self.late(op, object())),
        }
    }

    fn late(&self, op: &'static str, object: String) -> HostError {
        HostError::Late { op, object, waited: self.limit }
    }
}

fn frame(message: RouteNetlinkMessage, flags: u16) -> Message {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | flags;
    message
}

pub(super) fn closed(op: &'static str) -> HostError {
    HostError::Protocol { op, reason: "the netlink socket is closed".to_owned() }
}

fn acknowledged(op: &'static str, object: impl FnOnce() -> String, answer: Message) -> Result<(), HostError> {
    match answer.payload {
        NetlinkPayload::Error(e) => outcome(op, object, answer.header.flags, &e),
        other => Err(HostError::Protocol { op, reason: format!("{other:?} instead of an acknowledgement") }),
    }
}

/// What an `NLMSG_ERROR` means: an acknowledgement when its code is 0.
fn outcome(
    op: &'static str,
    object: impl FnOnce() -> String,
    flags: u16,
    e: &ErrorMessage,
) -> Result<(), HostError> {
    let Some(code) = e.code else { return Ok(()) };
    // The payload begins with the request: its header alone where the kernel capped it.
    let said = (flags & NLM_F_ACK_TLVS != 0).then(|| {
        let request = e.header.get(..4).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let skip = if flags & NLM_F_CAPPED != 0 { 16 } else { request.next_multiple_of(4) };
        words(e.header.get(skip..).unwrap_or_default())
    });
    Err(refusal(op, object(), code.get().abs(), said.flatten()))
}

fn refusal(op: &'static str, object: String, errno: i32, said: Option<String>) -> HostError {
    match said {
        Some(said) => HostError::Explained { op, object, errno, said },
        None => HostError::Kernel { op, object, errno },
    }
}

/// `NLMSGERR_ATTR_MSG` (1) of an extended acknowledgement.
fn words(attributes: &[u8]) -> Option<String> {
    let message = NlasIterator::new(attributes).flatten().find(|a| a.kind() == 1)?;
    let text = String::from_utf8_lossy(message.value());
    Some(text.trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{DoneMessage, NLM_F_MULTIPART};
    use netlink_packet_route::AddressFamily;
    use netlink_packet_route::link::LinkMessage;
    use netlink_sys::Socket;
    use netlink_sys::protocols::NETLINK_USERSOCK;
    use proptest::prelude::*;

    use super::*;

    /// A kernel that answers when the test says so. It is another netlink socket of this process.
    struct Kernel(Socket);

    impl Kernel {
        fn with_connection(limit: Duration) -> (Self, Connection) {
            let mut socket = Socket::new(NETLINK_USERSOCK).unwrap();
            let address = socket.bind_auto().unwrap();
            let home = Arc::new(Namespace::current().unwrap());
            let endpoint = Endpoint { home, protocol: NETLINK_USERSOCK, peer: address };
            (Self(socket), Connection::to(endpoint, limit).unwrap())
        }

        /// Waits for a request.
        async fn hear(&self) -> (Message, SocketAddr) {
            loop {
                match self.0.recv_from_full() {
                    Ok((bytes, from)) => return (Message::deserialize(&bytes).unwrap(), from),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => tokio::task::yield_now().await,
                    Err(e) => panic!("{e}"),
                }
            }
        }

        /// Answers a dump with one link.
        fn answer(&self, (request, from): &(Message, SocketAddr), index: u32) {
            let mut link = LinkMessage::default();
            link.header.index = index;
            let payloads = [
                NetlinkPayload::from(RouteNetlinkMessage::NewLink(link)),
                NetlinkPayload::Done(DoneMessage::default()),
            ];
            for payload in payloads {
                let mut answer = NetlinkMessage::new(request.header, payload);
                answer.header.flags = NLM_F_MULTIPART;
                answer.finalize();
                let mut bytes = vec![0; answer.buffer_len()];
                answer.serialize(&mut bytes);
                self.0.send_to(&bytes, from, 0).unwrap();
            }
        }
    }

    fn links() -> RouteNetlinkMessage {
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Unspec;
        RouteNetlinkMessage::GetLink(message)
    }

    fn indices(answers: &[RouteNetlinkMessage]) -> Vec<u32> {
        let index = |answer: &RouteNetlinkMessage| match answer {
            RouteNetlinkMessage::NewLink(link) => link.header.index,
            other => panic!("{other:?}"),
        };
        answers.iter().map(index).collect()
    }

    #[tokio::test]
    async fn an_answer_that_comes_late_is_not_taken_for_the_next_ones() {
        let (kernel, connection) = Kernel::with_connection(Duration::from_millis(20));
        kernel.0.set_non_blocking(true).unwrap();
        let error = connection.dump("list", "links", links).await.unwrap_err();
        assert!(matches!(error, HostError::Late { .. }), "{error}");
        assert!(error.to_string().contains("list links"), "{error}");
        assert_eq!(error.remedy(), crate::error::Remedy::Resync);

        // What was asked first is answered while the second waits, and before it.
        let patient = Connection { limit: Duration::from_secs(60), ..connection };
        let first = kernel.hear().await;
        let (answers, ()) = tokio::join!(patient.dump("list", "links", links), async {
            let second = kernel.hear().await;
            kernel.answer(&first, 1);
            kernel.answer(&second, 2);
        });
        assert_eq!(indices(&answers.unwrap()), [2]);
    }

    #[tokio::test]
    async fn a_socket_that_broke_is_opened_again() {
        let (kernel, connection) = Kernel::with_connection(Duration::from_secs(60));
        kernel.0.set_non_blocking(true).unwrap();
        let broken = {
            let socket = connection.shared.socket.lock().unwrap();
            socket.task.abort();
            Arc::clone(&connection.shared)
        };
        while !broken.socket.lock().unwrap().task.is_finished() {
            tokio::task::yield_now().await;
        }
        let (answers, ()) = tokio::join!(connection.dump("list", "links", links), async {
            kernel.answer(&kernel.hear().await, 3);
        });
        assert_eq!(indices(&answers.unwrap()), [3]);
    }

    proptest! {
        #[test]
        fn no_acknowledgement_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..100), flags: u16) {
            let _ = outcome("add", String::new, flags, &error(-libc::EINVAL, &bytes, &[]));
        }
    }

    fn extended(text: &str) -> Vec<u8> {
        let mut attribute = Vec::new();
        attribute.extend((4 + text.len() as u16 + 1).to_ne_bytes());
        attribute.extend(1u16.to_ne_bytes());
        attribute.extend(text.as_bytes());
        attribute.push(0);
        attribute.resize(attribute.len().next_multiple_of(4), 0);
        attribute
    }

    fn error(code: i32, request: &[u8], tlvs: &[u8]) -> ErrorMessage {
        let mut e = ErrorMessage::default();
        e.code = std::num::NonZeroI32::new(code);
        e.header = [request, tlvs].concat();
        e
    }

    #[test]
    fn an_error_of_zero_is_an_acknowledgement() {
        assert!(outcome("x", String::new, 0, &error(0, &[0; 16], &[])).is_ok());
    }

    #[test]
    fn the_kernels_words_are_found_behind_a_capped_and_a_whole_request() {
        let mut request = [0u8; 28];
        request[..4].copy_from_slice(&27u32.to_ne_bytes()); // padded to 28
        let cases = [(NLM_F_ACK_TLVS | NLM_F_CAPPED, &request[..16]), (NLM_F_ACK_TLVS, &request[..])];
        for (flags, echoed) in cases {
            let e = error(-libc::EINVAL, echoed, &extended("Device is not up"));
            let error = outcome("add", || "route 1".to_owned(), flags, &e).unwrap_err();
            assert!(error.to_string().ends_with("(Device is not up)"), "{error}");
            assert_eq!(error.errno(), Some(libc::EINVAL));
        }
    }

    #[test]
    fn a_truncated_error_still_has_its_number() {
        for length in 0..20 {
            let e = error(-libc::EPERM, &vec![0xff; length], &[]);
            let error = outcome("add", || "route 1".to_owned(), NLM_F_ACK_TLVS, &e).unwrap_err();
            assert_eq!(error.errno(), Some(libc::EPERM));
        }
    }
}
