//! YAML as the API's tools write it, JSON included.
//!
//! Owns: where one document of a file ends and the next begins, and the limits of what is read. All YAML is read here.

use serde_json::Value;

/// A document that is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct YamlError {
    /// In the whole file, from 1.
    pub line: usize,
    pub reason: String,
}

/// The documents of a text that hold something, each with the number of its first line (from 1).
///
/// A line that begins with `---` (or `...`) and a blank or nothing is always a boundary in YAML, whatever it stands in.
pub fn documents(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = Some((1, text));
    std::iter::from_fn(move || {
        let (first, text) = rest?;
        let mut at = 0;
        for (nth, line) in text.split_inclusive('\n').enumerate() {
            if is_boundary(line) {
                let next = at + line.len();
                // What follows the marker on its own line belongs to the next document.
                let inline = line[3..].trim();
                let after = if inline.is_empty() || inline.starts_with('#') { next } else { at + 3 };
                let line_of_next = first + nth + usize::from(after == next);
                rest = Some((line_of_next, &text[after..]));
                return Some((first, &text[..at]));
            }
            at += line.len();
        }
        rest = None;
        Some((first, text))
    })
    .filter(|(_, text)| holds_something(text))
}

/// All documents of a text, decoded.
///
/// # Errors
/// The first document that cannot be read, by its line.
pub fn values(text: &str) -> Result<Vec<Value>, YamlError> {
    documents(text).map(|(line, text)| value(line, text)).collect()
}

/// One document, decoded. A key that stands twice in a map is an error.
///
/// # Errors
/// What is wrong, and in which line of the file, where `line` is the document's first.
pub fn value(line: usize, text: &str) -> Result<Value, YamlError> {
    // JSON has a reader ten times as fast, and most large files are JSON.
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    let options = serde_saphyr::options! {
        // The directory is the operator's own: a large file is no attack. Aliases stay limited.
        budget: None,
        with_snippet: false,
        // `on` and `yes` are text in YAML 1.2; the API's tools write true and false.
        strict_booleans: true,
        // 010 is 8, as for the API's tools.
        legacy_octal_numbers: true,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| found(line, &error))
}

/// What becomes of a key that stands twice in a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twice {
    LastWins,
    /// The error's `reason` is `duplicate mapping key: KEY`.
    Refused,
}

/// One document of a client's, which may be hostile: how deep and how large it becomes is limited. `yes` and `on` are
/// true, as the original's server reads them.
///
/// # Errors
/// As [`value`], and for what is too much.
pub fn untrusted(text: &str, twice: Twice) -> Result<Value, YamlError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            // The reader needs some 20 kB of stack a level.
            max_depth: 64,
            max_nodes: 250_000,
            max_events: 750_000,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 32,
        },
        duplicate_keys: match twice {
            Twice::LastWins => serde_saphyr::options::DuplicateKeyPolicy::LastWins,
            Twice::Refused => serde_saphyr::options::DuplicateKeyPolicy::Error,
        },
        with_snippet: false,
        strict_booleans: false,
        legacy_octal_numbers: true,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| found(1, &error))
}

fn found(line: usize, error: &serde_saphyr::Error) -> YamlError {
    let place = error.location().map_or(0, |place| place.line() as usize);
    let reason = error.to_string();
    // Its own line counts from the document.
    let reason = reason.lines().next().unwrap_or_default().split(" at line ").next().unwrap_or_default();
    // And it tells how to program it.
    let reason = reason.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
    YamlError { line: line + place.saturating_sub(1), reason: reason.to_owned() }
}

/// A document as YAML.
///
/// # Errors
/// None that a [`Value`] could cause.
pub fn write(value: &Value) -> Result<String, YamlError> {
    serde_saphyr::to_string(value).map_err(|error| YamlError { line: 0, reason: error.to_string() })
}

fn is_boundary(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("---").or_else(|| line.strip_prefix("...")) else { return false };
    rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r'])
}

fn holds_something(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#') && !line.starts_with('%')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_end_where_yaml_says() {
        let text = "# head\n---\na: 1\n---\n\n# nothing\n--- # comment\nb: |\n  ---\n  x\n...\n--- {c: 3}\n";
        let found: Vec<_> =
            documents(text).map(|(line, text)| (line, value(line, text).expect("YAML"))).collect();
        assert_eq!(found, [(3, json!({"a": 1})), (8, json!({"b": "---\nx\n"})), (12, json!({"c": 3}))]);
        assert_eq!(documents("").count(), 0);
        assert_eq!(values("a: 1").expect("one"), [json!({"a": 1})]);
    }

    #[test]
    fn errors_name_the_line_of_the_file() {
        let error = values("a: 1\n---\nb: 2\nc: [\n").expect_err("not closed");
        assert!(error.line >= 4, "{error}");
        let error = values("{\"a\": 1, \"a\": 2, b}").expect_err("twice");
        assert_eq!(error.line, 1, "{error}");
    }

    #[test]
    fn scalars_are_what_the_api_means() {
        let found =
            values("a: yes\nb: 010\nc: 1e3\nd: '5'\ne: ~\nf: true\ng: 2026-01-01T00:00:00Z\nh: 0x10\ni: 30s")
                .expect("YAML");
        assert_eq!(
            found[0],
            json!({"a": "yes", "b": 8, "c": 1000.0, "d": "5", "e": null, "f": true, "g": "2026-01-01T00:00:00Z", "h": 16, "i": "30s"})
        );
    }

    #[test]
    fn a_client_s_text_is_read_within_limits() {
        let read = |text: &str| untrusted(text, Twice::LastWins);
        assert_eq!(read("a: yes\na: 2\nb: 010\n1: x"), Ok(json!({"a": 2, "b": 8, "1": "x"})));
        let twice = untrusted("a: 1\nb: 1\na: 2", Twice::Refused).expect_err("twice");
        assert_eq!((twice.line, &*twice.reason), (3, "duplicate mapping key: a"));
        let bomb = (0..12).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
            let items = vec![format!("*a{n}"); 10].join(",");
            format!("{text}a{next}: &a{next} [{items}]\n", next = n + 1)
        });
        assert!(read(&bomb).is_err());
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read(&"- ".repeat(100_000)).is_err());
        assert!(read(&format!("{}1", "a: {".repeat(300))).is_err());
        assert!(read(&"- a\n".repeat(260_000)).is_err());
        assert!(read("a: ${HOME}").is_ok_and(|found| found == json!({"a": "${HOME}"})));
    }

    #[test]
    fn writes_what_it_reads() {
        let value = json!({"a": {"b": ["x", "1", "true", ""], "c": {}, "d": []}, "e": "30s", "f": "a: b"});
        assert_eq!(values(&write(&value).expect("YAML")).expect("our own"), [value]);
    }
}
