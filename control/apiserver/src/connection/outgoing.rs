//! How answers leave: a piece at a time, as the client takes them.
//!
//! Facts: HTTP/2 takes a body's next frame when its client has room, and holds all of that frame until it has gone. An answer
//! that is one frame would be forgotten here and held there for every stream of a client that reads none of them. In pieces
//! it is known who leaves how much unread: who does so for too long is cut off, and sooner where memory is short.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::crowd::Busy;
use crate::reply::{self, BoxError};

/// Bytes that the connection is given at a time.
const PIECE: usize = 128 << 10;

/// How long a client may leave what we sent unread.
pub const UNREAD: Duration = Duration::from_secs(60);

/// The same where all clients together leave more than [`PLENTY`] unread.
const UNREAD_OF_MUCH: Duration = Duration::from_secs(5);

/// Bytes of answers that wait for all clients of the server.
const PLENTY: usize = 256 << 20;

/// Bytes of answers that wait for clients, of all connections.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Arc<AtomicUsize>);

/// Answers of one connection whose next piece waits for the client, and since when.
#[derive(Clone, Debug, Default)]
pub struct Unread {
    all: Waiting,
    own: Arc<Mutex<Own>>,
    begun: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Own {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

impl Unread {
    pub fn new(all: &Waiting) -> Self {
        Self { all: all.clone(), ..Self::default() }
    }

    /// Comes back when the client has left an answer unread for too long, though it may be awake otherwise.
    pub async fn too_long(&self) {
        while !self.is_too_long(Instant::now()) {
            // Most connections have nothing to look at.
            if self.own().since.is_empty() {
                self.begun.notified().await;
            }
            tokio::time::sleep(UNREAD_OF_MUCH).await;
        }
    }

    fn is_too_long(&self, now: Instant) -> bool {
        let much = self.all.0.load(Ordering::Relaxed) > PLENTY;
        self.longest(now) >= if much { UNREAD_OF_MUCH } else { UNREAD }
    }

    /// For how long the client has left its oldest answer unread.
    fn longest(&self, now: Instant) -> Duration {
        let oldest = self.own().since.values().min().copied();
        oldest.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of an answer, with an error that has a type. The connection is busy until it has gone.
#[derive(Debug)]
pub struct Outgoing {
    body: reply::Body,
    /// Of the frame that is being sent.
    rest: Bytes,
    /// Of this answer in `unread`; 0 until it has more than one piece.
    number: u64,
    unread: Unread,
    _busy: Busy,
}

#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub struct Broken(#[source] BoxError);

impl Outgoing {
    /// An answer as the connection sends it. That to HEAD has no body, whatever its length says: HTTP/2 sends what it is
    /// given.
    pub fn answer(
        answer: reply::Response,
        is_head: bool,
        busy: Busy,
        unread: Unread,
    ) -> http::Response<Self> {
        let (head, body) = answer.into_parts();
        let body = if is_head { reply::whole(Bytes::new()) } else { body };
        let outgoing = Self { body, rest: Bytes::new(), number: 0, unread, _busy: busy };
        http::Response::from_parts(head, outgoing)
    }

    /// The next piece of the frame that is being sent.
    fn piece(&mut self) -> Bytes {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.unread.all.0.fetch_sub(piece.len(), Ordering::Relaxed);
        let mut own = self.unread.own();
        if self.rest.is_empty() {
            own.since.remove(&self.number);
        } else {
            if self.number == 0 {
                own.next += 1;
                self.number = own.next;
                self.unread.begun.notify_one();
            }
            own.since.insert(self.number, Instant::now());
        }
        drop(own);
        piece
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.piece()))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context).map_err(Broken);
        let Poll::Ready(Some(Ok(frame))) = polled else { return polled };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) if data.len() > PIECE => {
                self.unread.all.0.fetch_add(data.len(), Ordering::Relaxed);
                self.rest = data;
                Frame::data(self.piece())
            }
            Ok(data) => Frame::data(data),
            Err(other) => other,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.number != 0 {
            self.unread.own().since.remove(&self.number);
        }
        self.unread.all.0.fetch_sub(self.rest.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::crowd::Activity;
    use http_body_util::BodyExt;

    fn outgoing(size: usize, is_head: bool, unread: &Unread) -> Outgoing {
        let answer = reply::reply(200, "text/plain", vec![b'x'; size]);
        let busy = Activity::begin(&Arc::default());
        Outgoing::answer(answer, is_head, busy, unread.clone()).into_body()
    }

    #[tokio::test]
    async fn a_large_answer_leaves_in_pieces_and_is_unread_while_one_waits() {
        let (unread, size) = (Unread::default(), 2 * PIECE + 7);
        let mut body = outgoing(size, false, &unread);
        let (begin, late) = (Instant::now(), Instant::now() + Duration::from_secs(3600));
        let mut left = size;
        while let Some(frame) = body.frame().await {
            let piece = frame.expect("no error").into_data().expect("data").len();
            left -= piece;
            assert!(piece <= PIECE && body.size_hint().exact() == Some(left as u64), "{piece} {left}");
            assert_eq!(body.is_end_stream(), left == 0);
            // Between pieces it waits for its client, and at the end for nobody.
            assert_eq!(unread.longest(late) > Duration::from_secs(3000), left > 0);
            assert_eq!(unread.longest(begin), Duration::ZERO);
        }
        assert_eq!(left, 0);
        let mut body = outgoing(size, false, &unread);
        body.frame().await.expect("a piece").expect("no error");
        assert!(!unread.is_too_long(begin + UNREAD_OF_MUCH) && unread.is_too_long(late));
        let mut held = outgoing(PLENTY + 2 * PIECE, false, &Unread::new(&unread.all));
        held.frame().await.expect("a piece").expect("no error");
        assert!(unread.is_too_long(Instant::now() + UNREAD_OF_MUCH), "less patience where much is unread");
        drop((body, held));
        assert_eq!(unread.longest(late), Duration::ZERO, "a client that has gone leaves nothing unread");
        assert_eq!(unread.all.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn the_answer_to_head_has_no_body() {
        let unread = Unread::default();
        let body = outgoing(9, true, &unread);
        assert!(body.is_end_stream() && outgoing(0, false, &unread).is_end_stream());
        assert!(body.collect().await.expect("no error").to_bytes().is_empty());
    }
}
