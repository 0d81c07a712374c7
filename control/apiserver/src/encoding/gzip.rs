//! Smaller answers for clients that can unpack them.
//!
//! Facts: level 1, from 128 KiB on, and only where `Accept-Encoding` says gzip.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use crate::reply::LEAST;

/// Whether a client unpacks gzip.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|one| one.trim() == "gzip")
}

/// The packed body, or `None` where that is not worth it.
pub fn packed(body: &Bytes) -> Option<Bytes> {
    if body.len() <= LEAST {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).ok()?;
    Some(encoder.finish().ok()?.into())
}
