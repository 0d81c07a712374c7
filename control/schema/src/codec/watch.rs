//! Frames of watches, made of objects that are encoded already.

use super::json::string;
use super::protobuf::{put_bytes, put_length};

/// One event in JSON, with the newline that ends it. `kind` is `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
pub fn json(kind: &str, object: &[u8]) -> Vec<u8> {
    let object = object.strip_suffix(b"\n").unwrap_or(object);
    let mut out = Vec::with_capacity(object.len() + 40);
    out.extend_from_slice(b"{\"type\":");
    string(kind, &mut out);
    out.extend_from_slice(b",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
    out
}

/// One event in protobuf, with the four bytes of its length before it. The object is in its envelope.
pub fn protobuf(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + 32);
    out.extend_from_slice(&[0; 4]);
    put_bytes(1, kind.as_bytes(), &mut out);
    // The object's bytes, in a message (RawExtension) of their own.
    out.push(2 << 3 | 2);
    let start = out.len();
    put_bytes(1, object, &mut out);
    put_length(start, &mut out);
    // No object is as large as that.
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}
