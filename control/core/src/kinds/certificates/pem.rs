//! PEM as Go's decoder reads it: blocks between lines of text, which are skipped.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A block, its contents decoded.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    pub label: String,
    pub has_headers: bool,
    pub contents: Vec<u8>,
}

/// All blocks that are well-formed, in order.
pub fn blocks(text: &[u8]) -> Vec<Block> {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines().map(str::trim_end);
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        let end = format!("-----END {label}-----");
        let body: Vec<&str> = lines.by_ref().take_while(|line| **line != *end).collect();
        let has_headers = body.iter().any(|line| line.contains(':'));
        let encoded: String = body.iter().filter(|line| !line.contains(':')).copied().collect();
        if let Ok(contents) = STANDARD.decode(encoded) {
            blocks.push(Block { label: label.to_owned(), has_headers, contents });
        }
    }
    blocks
}

/// The bytes of a field, which JSON has in base64.
pub fn bytes(field: &str) -> Vec<u8> {
    STANDARD.decode(field).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_lines() {
        let text = b"x\n-----BEGIN A-----\nAQI=\n-----END A-----\ny\n-----BEGIN B-----\nk: v\n\nAw==\n-----END B-----\n";
        let found = blocks(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Block { label: "A".to_owned(), has_headers: false, contents: vec![1, 2] });
        assert_eq!(found[1], Block { label: "B".to_owned(), has_headers: true, contents: vec![3] });
        assert!(blocks(b"-----BEGIN A-----\n?\n-----END A-----\n").is_empty());
    }
}
