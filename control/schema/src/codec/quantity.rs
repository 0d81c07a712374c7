//! The text of quantities, as the original keeps it.
//!
//! Facts: apimachinery's `ParseQuantity`. It keeps the text of a number that is written in one of its short forms, `1.001`
//! and `1E3` too, and writes all others in the canonical form.

use apiclient_core::quantity::Quantity;

const FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const NUMERIC: &str = "unable to parse numeric part of quantity";
const SUFFIX: &str = "unable to parse quantity's suffix";

/// The text that a quantity has after it was read. `None`: the text is as it was.
///
/// # Errors
/// The original's words.
pub(crate) fn canonical(text: &str) -> Result<Option<String>, &'static str> {
    let (number, suffix) = split(text)?;
    if is_kept(number, suffix) {
        return Ok(None);
    }
    let found: Quantity = text.parse().map_err(|_| match suffix {
        "" => NUMERIC,
        _ if number.is_empty() => FORMAT,
        _ => SUFFIX,
    })?;
    let found = found.to_string();
    Ok((found != text).then_some(found))
}

/// Number without its sign, and suffix.
fn split(text: &str) -> Result<(&str, &str), &'static str> {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = body.bytes().take_while(u8::is_ascii_digit).count();
    let mut size = whole;
    if body[whole..].starts_with('.') {
        size += 1 + body[whole + 1..].bytes().take_while(u8::is_ascii_digit).count();
    }
    let (number, suffix) = body.split_at(size);
    let letters = suffix.bytes().take_while(|byte| b"eEinumkKMGTP".contains(byte)).count();
    let exponent = &suffix[letters..];
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if text.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(FORMAT);
    }
    Ok((number, suffix))
}

fn is_kept(number: &str, suffix: &str) -> bool {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let digits = whole.len() + fraction.len();
    if let Some(nth) = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|known| *known == suffix) {
        let room = 14_usize.saturating_sub((nth + 1) * 3);
        return fraction.is_empty()
            && whole.len() <= room
            && whole.parse::<u64>().is_ok_and(|value| value & 7 != 0);
    }
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    let power = match decimal.iter().position(|known| *known == suffix) {
        Some(nth) => i64::try_from(nth).unwrap_or_default() * 3 - 9,
        None => match suffix.strip_prefix(['e', 'E']).map(str::parse::<i64>) {
            Some(Ok(power)) => power,
            _ => return false,
        },
    };
    let scale = power.saturating_sub(i64::try_from(fraction.len()).unwrap_or(i64::MAX));
    let first = whole.as_bytes().first();
    let thousands = match fraction.len() {
        0 => whole.ends_with("000"),
        1 => fraction == "0" && whole.ends_with("00"),
        2 => fraction == "00" && whole.ends_with('0'),
        _ => fraction.ends_with("000"),
    };
    digits <= 18 && scale >= -9 && scale % 3 == 0 && first != Some(&b'0') && !thousands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_kept_or_made_canonical_as_the_original_does() {
        for (text, want) in [
            ("0", "0"),
            ("1", "1"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("0.5", "500m"),
            ("1.500", "1.500"),
            ("1.5", "1500m"),
            ("1E3", "1E3"),
            ("1e4", "10e3"),
            ("+1", "+1"),
            ("100Mi", "100Mi"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0Mi", "0"),
        ] {
            let found = canonical(text).map(|found| found.unwrap_or_else(|| text.to_owned()));
            assert_eq!(found.as_deref(), Ok(want), "{text}");
        }
        for (text, want) in
            [("", FORMAT), ("x", FORMAT), ("1Kb", FORMAT), ("1KK", SUFFIX), ("1.2.3", FORMAT), ("é", FORMAT)]
        {
            assert_eq!(canonical(text), Err(want), "{text}");
        }
    }
}
