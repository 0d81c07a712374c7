//! Time stamps as the API writes them (RFC 3339).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Reads a time stamp with any offset; what is finer than nanoseconds is cut. `None` for anything else, and for times
/// before 1970.
pub fn parse(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let mark = |at: usize, marks: &[u8]| bytes.get(at).is_some_and(|byte| marks.contains(byte));
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let marked = mark(4, b"-") && mark(7, b"-") && mark(10, b"Tt ") && mark(13, b":") && mark(16, b":");
    let legal = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !marked || !legal || year < 1970 {
        return None;
    }
    let mut rest = &text[19..];
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let size = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let kept = &fraction[..size.min(9)];
        nanos = kept.parse::<u32>().ok()? * 10_u32.pow(9 - u32::try_from(kept.len()).ok()?);
        rest = &fraction[size..];
    }
    let seconds = days_before(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let seconds = match rest.as_bytes() {
        b"Z" | b"z" => seconds,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let at = text.len() - 5;
            let offset = number(at, at + 2)? * 3_600 + number(at + 3, at + 5)? * 60;
            if *sign == b'+' { seconds.checked_sub(offset)? } else { seconds + offset }
        }
        _ => return None,
    };
    Some(UNIX_EPOCH + Duration::new(seconds, nanos))
}

/// `2026-01-01T00:00:00Z`, as in `creationTimestamp`.
pub fn seconds(time: SystemTime) -> String {
    format!("{}Z", date(time))
}

/// `2026-01-01T00:00:00.000000Z`: exactly six digits, as MicroTime fields take it.
pub fn micros(time: SystemTime) -> String {
    format!("{}.{:06}Z", date(time), since(time).subsec_micros())
}

/// `2026-01-01T00:00:00.5Z`: as many digits as it takes, as Go's `RFC3339Nano`.
pub fn nanos(time: SystemTime) -> String {
    let fraction = format!(".{:09}", since(time).subsec_nanos());
    format!("{}{}Z", date(time), fraction.trim_end_matches(['0', '.']))
}

fn since(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn date(time: SystemTime) -> String {
    let whole = since(time).as_secs();
    let (year, month, day) = civil(whole / 86_400);
    let (hour, minute, second) = (whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date that is not before it.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    years + (1..month).map(|month| days_in(year, month)).sum::<u64>() + day - 1
}

fn civil(days: u64) -> (u64, u64, u64) {
    // A first guess that is never late, and at most a year or so early.
    let mut year = 1970 + days / 366;
    while days_before(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut left = days - days_before(year, 1, 1);
    let mut month = 1;
    while left >= days_in(year, month) {
        left -= days_in(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn time_stamps_are_read_with_their_offset() {
        let at = |text: &str| parse(text).map(|time| since(time).as_millis());
        assert_eq!(at("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(at("2026-01-01T00:00:00.5Z"), Some(1_767_225_600_500));
        assert_eq!(at("2026-01-01T02:00:00+02:00"), at("2026-01-01T00:00:00Z"));
        assert_eq!(at("2025-12-31T18:30:00.123456789123-05:30"), Some(1_767_225_600_123));
        assert_eq!(at("2024-02-29T23:59:60Z"), Some(1_709_251_200_000));
        for bad in [
            "",
            "2026-01-01",
            "2026-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+0200",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-0éT00:00:00Z",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(seconds_since in 0..200_000_000_000_u64, micro in 0..1_000_000_u32) {
            let time = UNIX_EPOCH + Duration::new(seconds_since, micro * 1000);
            if seconds_since < 250_000_000_000 && micros(time).len() == 27 {
                prop_assert_eq!(parse(&micros(time)), Some(time));
                prop_assert_eq!(parse(&nanos(time)), Some(time));
                prop_assert_eq!(parse(&seconds(time)), Some(UNIX_EPOCH + Duration::from_secs(seconds_since)));
            }
        }

        #[test]
        fn no_text_breaks_it(text in any::<String>(), tail in "[-0-9T:.Z+]{0,30}") {
            let _ = (parse(&text), parse(&tail));
        }
    }
}
