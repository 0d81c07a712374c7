//! Durations as Go writes and reads them (time.ParseDuration and Duration.String).

use std::time::Duration;

const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// `30s`, `1h2m3.5s`, `100ms`, `0`. None for anything else, and for negative times: no option takes one.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let size = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        total = total.checked_add(scaled(number, size)?)?;
        rest = after;
    }
    i64::try_from(total).ok()?;
    Some(Duration::from_nanos(u64::try_from(total).ok()?))
}

/// A decimal number times a size in nanoseconds; what is less than a nanosecond is cut off.
fn scaled(number: &str, size: u128) -> Option<u128> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() || part.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part = &part[..part.len().min(18)];
    let below: u128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let scale = 10u128.pow(u32::try_from(part.len()).ok()?);
    whole.checked_mul(size)?.checked_add(below.checked_mul(size)? / scale)
}

/// Go's own spelling: `24h0m0s`, `1m30s`, `1.5s`, `100ms`, `0s`.
pub fn format(time: Duration) -> String {
    let nanos = time.as_nanos();
    let (hours, minutes, below) = (nanos / UNITS[7].1, nanos / UNITS[6].1 % 60, nanos % UNITS[6].1);
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}\u{b5}s", decimal(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanos, 1_000_000)),
        _ if hours > 0 => format!("{hours}h{minutes}m{}s", decimal(below, UNITS[5].1)),
        _ if minutes > 0 => format!("{minutes}m{}s", decimal(below, UNITS[5].1)),
        _ => format!("{}s", decimal(below, UNITS[5].1)),
    }
}

fn decimal(number: u128, unit: u128) -> String {
    let (whole, part) = (number / unit, number % unit);
    if part == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{part:0width$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, seconds) in [
            ("30s", Some(30.0)),
            ("1h2m3.5s", Some(3723.5)),
            ("100ms", Some(0.1)),
            ("1.5h", Some(5400.0)),
            (".5s", Some(0.5)),
            ("0", Some(0.0)),
            ("0s", Some(0.0)),
            ("+5m", Some(300.0)),
            ("2us", Some(0.000_002)),
            ("", None),
            ("30", None),
            ("s", None),
            (".s", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("1d", None),
            ("1s ", None),
            ("9999999h", None),
        ] {
            assert_eq!(parse(text).map(|time| time.as_secs_f64()), seconds, "{text:?}");
        }
    }

    #[test]
    fn written_as_go_writes_it_and_read_again() {
        for text in [
            "0s", "30s", "15m0s", "24h0m0s", "1h0m0s", "1.5s", "1m30.25s", "100ms", "1.5ms", "7\u{b5}s",
            "3ns",
        ] {
            let time = parse(text).unwrap_or_else(|| panic!("{text} is a duration"));
            assert_eq!(format(time), text);
        }
    }
}
