//! The truth words and whole numbers of Go's package strconv.

/// Go's `strconv.ParseBool`: exactly these words and no others.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Go's `strconv.ParseInt(text, 0, 64)`: `0x`, `0o`, `0b` and a bare leading `0` (octal) name the base;
/// underscores may stand between digits and after the base's mark.
pub fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits, marked) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex, true)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal, true)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary, true)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..], true)
    } else {
        (10, lower.as_str(), false)
    };
    let underscores_fit =
        !digits.contains("__") && !digits.ends_with('_') && (marked || !digits.starts_with('_'));
    let plain = digits.replace('_', "");
    if !underscores_fit || plain.is_empty() || !plain.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let size = i128::from_str_radix(&plain, base).ok()?;
    i64::try_from(if negative { -size } else { size }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_gos() {
        for (text, number) in [
            ("60", Some(60)),
            ("0x3c", Some(60)),
            ("0X3C", Some(60)),
            ("074", Some(60)),
            ("0o74", Some(60)),
            ("0b111100", Some(60)),
            ("+60", Some(60)),
            ("-1", Some(-1)),
            ("0", Some(0)),
            ("1_000", Some(1000)),
            ("0x_ff", Some(255)),
            ("0_7", Some(7)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("-", None),
            ("+-1", None),
            ("0x", None),
            ("08", None),
            ("_1", None),
            ("1_", None),
            ("1__0", None),
            (" 1", None),
            ("1.5", None),
            ("60s", None),
        ] {
            assert_eq!(integer(text), number, "{text:?}");
        }
    }

    #[test]
    fn truth_words_are_gos() {
        for word in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(boolean(word), Some(true));
        }
        for word in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(boolean(word), Some(false));
        }
        for word in ["", "yes", "on", "tRUE", "2"] {
            assert_eq!(boolean(word), None);
        }
    }
}
