//! The bytes of a request's body, up to a limit.

use apiclient_core::wire::Status;
use bytes::{Bytes, BytesMut};
use control_core::refusal;
use http_body_util::BodyExt;

use crate::reply::Body;

/// Largest body of a request, in bytes.
pub const BODY_LIMIT: usize = 3 << 20;

/// # Errors
/// 413 for more than the limit; 400 where the client stops in its midst.
pub async fn read(mut body: Body) -> Result<Bytes, Status> {
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    let mut size = 0;
    while let Some(frame) = body.frame().await {
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
