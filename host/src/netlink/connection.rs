//! Requests and their answers on one netlink socket.
//!
//! netlink-proto keeps the socket and matches answers to requests; here are what it leaves out: many writes in one
//! datagram, interrupted dumps, the kernel's own words about an error, and a time limit.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR,
    NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, SocketAddr};
use rtnetlink::proto::{self, ConnectionHandle};
use tokio::sync::Mutex;

use super::write::Write;
use crate::error::HostError;

/// Writes per datagram. Their acknowledgements must fit into the socket's receive buffer at once: 64 of them take some
/// 50 kB of the default 208 kB.
const BATCH: usize = 64;

/// How often a dump is taken again when the table changed under it, or another is in the way.
const DUMPS: u32 = 20;

/// The kernel answers within the system call; this is for an answer that was lost.
const TIME_LIMIT: Duration = Duration::from_secs(10);

const KERNEL: (u32, u32) = (0, 0);

type Message = NetlinkMessage<RouteNetlinkMessage>;

#[derive(Clone)]
pub(super) struct Connection {
    handle: ConnectionHandle<RouteNetlinkMessage>,
    /// Held during a dump: the kernel refuses a second one on the same socket (`EBUSY`).
    dumping: Arc<Mutex<()>>,
}

impl Connection {
    /// Opens a socket in the calling thread's namespace and serves it on the current runtime.
    pub fn open() -> Result<Self, HostError> {
        let (mut connection, handle, _unsolicited) =
            proto::new_connection::<RouteNetlinkMessage>(NETLINK_ROUTE)
                .map_err(|e| HostError::io("open", "a netlink socket", e))?;
        connection.set_forward_ack(true);
        connection.set_forward_done(true); // it may carry an error, or NLM_F_DUMP_INTR
        let socket = connection.socket_mut().socket_mut();
        // Kernels before 4.12 and 4.20 lack these: shorter errors, and dumps that we filter here.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        tokio::spawn(connection);
        Ok(Self { handle, dumping: Arc::default() })
    }

    /// Everything that the kernel lists, from one uninterrupted pass.
    pub async fn dump(
        &self,
        op: &'static str,
        object: &str,
        request: impl Fn() -> RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, HostError> {
        let _alone = self.dumping.lock().await;
        for attempt in 0..DUMPS {
            match self.dump_once(op, object, request()).await {
                Ok(Some(complete)) => return Ok(complete),
                Ok(None) => {}
                // The rest of a dump that somebody gave up waiting for is still on its way.
                Err(e) if e.errno() == Some(libc::EBUSY) => {}
                Err(e) => return Err(e),
            }
            tokio::time::sleep(Duration::from_millis(attempt.into())).await;
        }
        Err(HostError::kernel(op, object, libc::EINTR))
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
            let answer = next(op, &mut stream).await?;
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
        let answer = next(op, &mut stream).await?;
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
        let answer = next(op, &mut stream).await?;
        acknowledged(op, || object, answer)
    }

    /// Carries out writes in order; the result of each is at its place.
    pub async fn write(&self, writes: &[Write]) -> Vec<Result<(), HostError>> {
        let mut results = Vec::with_capacity(writes.len());
        // All are queued before the first answer is awaited: the socket's task never waits for this one.
        let batches: Vec<_> = writes.chunks(BATCH).map(|batch| (batch, self.send_batch(batch))).collect();
        for (batch, stream) in batches {
            let answered = results.len() + batch.len();
            match stream {
                Ok(mut stream) => {
                    for write in batch {
                        let op = write.op();
                        let result = match next(op, &mut stream).await {
                            Ok(answer) => acknowledged(op, || write.to_string(), answer),
                            Err(e) => Err(e),
                        };
                        let lost = matches!(result, Err(HostError::Protocol { .. }));
                        results.push(result);
                        if lost {
                            break;
                        }
                    }
                }
                Err(e) => results.push(Err(e)),
            }
            while results.len() < answered {
                let op = batch[batch.len() - (answered - results.len())].op();
                results.push(Err(closed(op)));
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
        let kernel = SocketAddr::new(KERNEL.0, KERNEL.1);
        self.handle.request_batch(messages, kernel).map_err(|_| closed(op))
    }
}

fn frame(message: RouteNetlinkMessage, flags: u16) -> Message {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | flags;
    message
}

async fn next(
    op: &'static str,
    stream: &mut (impl Stream<Item = Message> + Unpin),
) -> Result<Message, HostError> {
    match tokio::time::timeout(TIME_LIMIT, stream.next()).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(closed(op)),
        Err(_) => {
            Err(HostError::Protocol { op, reason: format!("no answer from the kernel in {TIME_LIMIT:?}") })
        }
    }
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
    use proptest::prelude::*;

    use super::*;

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
