//! Refusals and other statuses as answers.

use apiclient_core::wire::Status;
use http::header::{HeaderValue, RETRY_AFTER};

use super::object::{body, write_meta};
use crate::negotiation::{Encoding, Media};
use crate::reply::{Response, reply};

/// A status in an encoding, without a newline.
pub fn form(status: &Status, encoding: Encoding) -> bytes::Bytes {
    write_meta("v1", "Status", &status.document(), encoding)
}

/// The answer that a status is. One without a code is of a wish that was fulfilled.
pub fn answer(status: &Status, media: Media) -> Response {
    let code = if status.code == 0 { 200 } else { status.code };
    let bytes = body(form(status, media.encoding), media);
    let mut response = reply(code, media.encoding.media_type(), bytes);
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if seconds > 0 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
