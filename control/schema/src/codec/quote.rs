//! Text in quotation marks, as Go writes it (`strconv.Quote`).

use std::fmt::Write;

pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ' '..='~' => out.push(c),
            // Writing to memory does not fail.
            _ if c < '\u{80}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            _ if is_printable(c) => out.push(c),
            _ if c < '\u{10000}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

/// Close to Go's `IsPrint`: letters, marks, numbers, punctuation and symbols.
fn is_printable(c: char) -> bool {
    !c.is_control() && !c.is_whitespace() && (c.is_alphanumeric() || c.escape_debug().len() == 1)
}
