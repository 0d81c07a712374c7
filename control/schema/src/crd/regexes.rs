//! Regular expressions as Go reads them: `\d`, `\w`, `\s` and `\b` know ASCII only.

use regex::{Regex, RegexBuilder};

/// Larger programs, in bytes, are refused.
const MAX_SIZE: usize = 1 << 20;

/// # Errors
/// No expression, or too large a one.
pub(super) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&ascii(pattern)).size_limit(MAX_SIZE).dfa_size_limit(MAX_SIZE).build()
}

/// What Go says of a pattern that is none, as far as that is known.
pub(super) fn problem(pattern: &str) -> String {
    match pattern {
        "(" => "error parsing regexp: missing closing ): `(`".to_owned(),
        other => format!("error parsing regexp: invalid or unsupported Perl syntax: `{other}`"),
    }
}

fn ascii(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut letters = pattern.chars();
    let mut class = false;
    while let Some(c) = letters.next() {
        match c {
            '\\' => match letters.next() {
                Some('d') => out.push_str(if class { "0-9" } else { "[0-9]" }),
                Some('w') => out.push_str(if class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('s') => out.push_str(if class { r"\t\n\f\r\x20" } else { r"[\t\n\f\r\x20]" }),
                Some('D') if !class => out.push_str("[^0-9]"),
                Some('W') if !class => out.push_str("[^0-9A-Za-z_]"),
                Some('S') if !class => out.push_str(r"[^\t\n\f\r\x20]"),
                Some('b') if !class => out.push_str(r"(?-u:\b)"),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            '[' if !class => {
                class = true;
                out.push('[');
                // A bracket that comes first stands for itself.
                let mut rest = letters.clone();
                let first = rest.next();
                if first == Some('^') {
                    out.push('^');
                    letters = rest.clone();
                    if rest.next() == Some(']') {
                        out.push_str(r"\]");
                        letters = rest;
                    }
                } else if first == Some(']') {
                    out.push_str(r"\]");
                    letters = rest;
                }
            }
            '[' if !letters.as_str().starts_with(':') => out.push_str(r"\["),
            '[' => {
                // [:alpha:] and its like.
                out.push('[');
                for c in letters.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            ']' if class => {
                class = false;
                out.push(']');
            }
            // Rust's classes have operators where Go's have letters.
            '&' | '~' if class => {
                out.push('\\');
                out.push(c);
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_mean_what_go_means() {
        for (pattern, text, want) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^[\w-]+$", "a-b_1", true),
            (r"^[]a]+$", "]a", true),
            (r"^[^]a]+$", "]a", false),
            (r"^[[:alpha:]&&]+$", "a&", true),
            (r"^[a[]+$", "a[", true),
            (r"^\S+\s\S+$", "a b", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^\pL+$", "äö", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text), want, "{pattern} {text}");
        }
        assert!(compile("(").is_err());
        assert!(compile("(a{1000}){1000}").is_err());
    }
}
