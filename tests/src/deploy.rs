//! The files in `deploy/`, read as whoever uses them does.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file of `deploy/`.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

/// Its text.
///
/// # Panics
/// It is not there.
pub fn text(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The documents of a manifest.
///
/// # Panics
/// One is not YAML.
pub fn documents(name: &str) -> Vec<Value> {
    text(name).split("\n---\n").map(yaml).collect()
}

/// A text of YAML, with one document.
///
/// # Panics
/// It is none.
pub fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}
