//! Where in a JSON text something stands, as people write it: `spec.ports[2].port`.

/// The innermost value at a position (bytes from the start), as a path; empty for the text as a whole. The text is JSON
/// up to there.
pub fn path(json: &[u8], position: usize) -> String {
    let mut open: Vec<Step> = Vec::new();
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        let start = at;
        at += 1;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b':' => continue,
            b'{' | b'[' => {
                if position <= start {
                    break;
                }
                open.push(if *byte == b'{' { Step::Key(None) } else { Step::Index(0) });
                continue;
            }
            b'}' | b']' => _ = open.pop(),
            b',' => match open.last_mut() {
                Some(Step::Key(key)) => *key = None,
                Some(Step::Index(index)) => *index += 1,
                None => {}
            },
            b'"' => {
                at = end_of_string(json, at);
                if let Some(Step::Key(key @ None)) = open.last_mut() {
                    *key =
                        Some(String::from_utf8_lossy(&json[start + 1..at.max(start + 2) - 1]).into_owned());
                    continue;
                }
            }
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                at = json[at..].iter().position(ends).map_or(json.len(), |more| at + more);
            }
        }
        if position <= at {
            break;
        }
    }
    written(&open)
}

/// The position behind a string that begins before `at`.
fn end_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    json.len()
}

enum Step {
    Key(Option<String>),
    Index(usize),
}

fn written(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(Some(key)) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Step::Key(None) => {}
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_told_as_a_path() {
        let json = br#"{"a": {"b": [1, {"c": "x\"}"}, []]}, "d": 77, "e": {}}"#;
        let at = |needle: &str, plus: usize| {
            let text = std::str::from_utf8(json).unwrap();
            path(json, text.find(needle).unwrap() + plus)
        };
        assert_eq!(at("{\"a", 0), "");
        assert_eq!(at("{\"b", 0), "a");
        assert_eq!(at("[1", 0), "a.b");
        assert_eq!(at("1", 1), "a.b[0]");
        assert_eq!(at("\"x", 6), "a.b[1].c");
        assert_eq!(at("}, []", 1), "a.b[1]");
        assert_eq!(at("[]", 0), "a.b[2]");
        assert_eq!(at("77", 1), "d");
        assert_eq!(at("{}", 2), "e");
        assert_eq!(path(json, json.len()), "");
    }

    #[test]
    fn no_text_and_no_position_make_it_fall_over() {
        for text in ["", "\"", "\"\\", "{\"", "[[[", "}}]", "{\"a\"", "{,:\"", "\\\"\"\\"] {
            for position in 0..text.len() + 3 {
                path(text.as_bytes(), position);
            }
        }
    }
}
