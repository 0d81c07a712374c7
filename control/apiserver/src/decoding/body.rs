//! The bytes of a request's body, up to a limit.

use std::time::Duration;

use apiclient_core::wire::Status;
use bytes::{Bytes, BytesMut};
use control_core::refusal;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::reply::Body;

/// Largest body of a request, in bytes.
pub const BODY_LIMIT: usize = 3 << 20;

/// How long a client may take for the next piece. The whole of it has the time that a request has.
const PIECE: Duration = Duration::from_secs(15);

/// # Errors
/// 413 for more than the limit; 400 where the client stops in its midst, and 504 where nothing more comes.
pub async fn read(body: Body) -> Result<Bytes, Status> {
    read_with(body, PIECE).await
}

async fn read_with(mut body: Body, piece: Duration) -> Result<Bytes, Status> {
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    let mut size = 0;
    loop {
        let Ok(frame) = timeout(piece, body.frame()).await else {
            return Err(refusal::timeout("the body of the request did not come to its end", 0));
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| refusal::bad_request(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        size += data.len();
        if size > BODY_LIMIT {
            return Err(refusal::too_large(&format!("limit is {BODY_LIMIT}")));
        }
        // Most bodies come in one piece, and that need not be copied.
        match first.take() {
            None if all.is_empty() => first = Some(data),
            None => all.extend_from_slice(&data),
            Some(earlier) => {
                all.extend_from_slice(&earlier);
                all.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::BoxError;
    use futures::StreamExt;
    use http_body::Frame;
    use http_body_util::StreamBody;

    #[tokio::test]
    async fn an_upload_that_does_not_move_is_given_up() {
        let piece = |text: &'static str| Ok::<_, BoxError>(Frame::data(Bytes::from_static(text.as_bytes())));
        let frames = futures::stream::iter([piece("{")]).chain(futures::stream::pending());
        let refused = read_with(StreamBody::new(frames).boxed_unsync(), Duration::from_millis(1))
            .await
            .expect_err("a refusal");
        assert_eq!((refused.code, refused.reason.as_str()), (504, "Timeout"), "{}", refused.message);
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let of = |size: usize| crate::reply::whole(vec![b' '; size]);
        assert_eq!(read(of(BODY_LIMIT)).await.map(|bytes| bytes.len()), Ok(BODY_LIMIT));
        assert_eq!(read(of(BODY_LIMIT + 1)).await.map_err(|refused| refused.code), Err(413));
    }
}
