//! Times and durations as the original's JSON has them, and its words for what is none.
//!
//! Facts: Go's `time.Parse` for `metav1.Time` and `metav1.MicroTime`, `time.ParseDuration` for `metav1.Duration`.

use std::fmt::Write;

/// As Go's package for times quotes: a byte at a time.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=0x7f => out.push(char::from(byte)),
            // Writing to memory does not fail.
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('"');
    out
}

/// A moment, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    /// Since 1970, before which they are negative.
    pub seconds: i64,
    pub micros: u32,
}

/// The zero of Go's `time.Time`, which the API takes for an absent time: the first second of the year 1.
const ZERO: Moment = Moment { seconds: -62_135_596_800, micros: 0 };

/// The first second of the year 0, and the last of the year 9999.
const FIRST: i64 = -62_167_219_200;
const LAST: i64 = 253_402_300_799;

const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
const MICRO_LAYOUT: &str = "2006-01-02T15:04:05.000000Z07:00";

impl Moment {
    pub(crate) fn is_zero(self) -> bool {
        self == ZERO
    }

    /// `2026-01-01T00:00:00Z`.
    pub(crate) fn in_seconds(self) -> String {
        let mut text = self.date();
        text.push('Z');
        text
    }

    /// `2026-01-01T00:00:00.000000Z`.
    pub(crate) fn in_micros(self) -> String {
        let mut text = self.date();
        // Writing to memory does not fail.
        let _ = write!(text, ".{:06}Z", self.micros);
        text
    }

    fn date(self) -> String {
        // RFC 3339 has years of four digits; what protobuf says beyond them would not be read again.
        let seconds = self.seconds.clamp(FIRST, LAST);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let mut text = String::with_capacity(28);
        push_two(&mut text, year / 100);
        push_two(&mut text, year % 100);
        for (mark, part) in
            [('-', month), ('-', day), ('T', second / 3_600), (':', second / 60 % 60), (':', second % 60)]
        {
            text.push(mark);
            push_two(&mut text, part);
        }
        text
    }
}

/// A number from 0 to 99.
fn push_two(text: &mut String, number: i64) {
    for digit in [number / 10, number % 10] {
        text.push(char::from(b'0' + u8::try_from(digit).unwrap_or_default()));
    }
}

/// Days since 1970 of a date (H. Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, of_year - (153 * from_march + 2) / 5 + 1)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Reads RFC 3339; with `micro`, exactly six digits of a fraction.
///
/// # Errors
/// Go's words.
pub(crate) fn parse(text: &str, micro: bool) -> Result<Moment, String> {
    let layout = if micro { MICRO_LAYOUT } else { LAYOUT };
    let cannot = |rest: &str, element: &str| {
        format!(
            "parsing time {} as {}: cannot parse {} as {}",
            quoted(text),
            quoted(layout),
            quoted(rest),
            quoted(element)
        )
    };
    let out_of_range = |what: &str| format!("parsing time {}: {what} out of range", quoted(text));
    let mut rest = text;
    let take = |rest: &mut &str, digits: usize, element: &str| -> Result<i64, String> {
        let found = rest.get(..digits).filter(|found| found.bytes().all(|byte| byte.is_ascii_digit()));
        let number = found.and_then(|found| found.parse().ok()).ok_or_else(|| cannot(rest, element))?;
        *rest = &rest[digits..];
        Ok(number)
    };
    let skip = |rest: &mut &str, mark: &str| -> Result<(), String> {
        *rest = rest.strip_prefix(mark).ok_or_else(|| cannot(rest, mark))?;
        Ok(())
    };
    let year = take(&mut rest, 4, "2006")?;
    skip(&mut rest, "-")?;
    let month = take(&mut rest, 2, "01")?;
    if !(1..=12).contains(&month) {
        return Err(out_of_range("month"));
    }
    skip(&mut rest, "-")?;
    let day = take(&mut rest, 2, "02")?;
    skip(&mut rest, "T")?;
    // The one number that may have one digit.
    let one = rest.as_bytes().get(1).is_none_or(|byte| !byte.is_ascii_digit());
    let hour = take(&mut rest, if one { 1 } else { 2 }, "15")?;
    if hour >= 24 {
        return Err(out_of_range("hour"));
    }
    skip(&mut rest, ":")?;
    let minute = take(&mut rest, 2, "04")?;
    if minute >= 60 {
        return Err(out_of_range("minute"));
    }
    skip(&mut rest, ":")?;
    let second = take(&mut rest, 2, "05")?;
    if second >= 60 {
        return Err(out_of_range("second"));
    }
    let micros = fraction(&mut rest, micro).ok_or_else(|| cannot(rest, ".000000"))?;
    let offset = match rest.as_bytes() {
        [b'Z', ..] => {
            rest = &rest[1..];
            0
        }
        [sign @ (b'+' | b'-'), _, _, b':', _, _, ..] => {
            let whole = rest;
            rest = &rest[1..];
            let hours = take(&mut rest, 2, "Z07:00").map_err(|_| cannot(whole, "Z07:00"))?;
            rest = &rest[1..];
            let minutes = take(&mut rest, 2, "Z07:00").map_err(|_| cannot(whole, "Z07:00"))?;
            if hours > 24 {
                return Err(out_of_range("time zone offset hour"));
            }
            if minutes > 60 {
                return Err(out_of_range("time zone offset minute"));
            }
            let seconds = hours * 3_600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return Err(cannot(rest, "Z07:00")),
    };
    if !rest.is_empty() {
        return Err(format!("parsing time {}: extra text: {}", quoted(text), quoted(rest)));
    }
    if day < 1 || day > days_in(year, month) {
        return Err(out_of_range("day"));
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    // What is finer than the encoding is cut.
    Ok(Moment { seconds, micros: if micro { micros } else { 0 } })
}

/// Microseconds behind the seconds: exactly six digits where the layout says so, else any or none.
fn fraction(rest: &mut &str, micro: bool) -> Option<u32> {
    let bytes = rest.as_bytes();
    let mark = bytes.first().is_some_and(|byte| matches!(byte, b'.' | b','));
    let digits = bytes.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
    if micro {
        if !mark || digits < 6 {
            return None;
        }
        let micros = rest[1..7].parse().ok()?;
        *rest = &rest[7..];
        return Some(micros);
    }
    if mark && digits > 0 {
        *rest = &rest[1 + digits..];
    }
    Some(0)
}

/// Whether a text is a time as [`Moment::in_seconds`] writes it, so that it need not be written again. Days beyond
/// a month's last and the zero time are for [`parse`].
pub(crate) fn is_canonical(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00Z";
    if bytes.len() != shape.len()
        || !bytes
            .iter()
            .zip(shape)
            .all(|(byte, like)| if *like == b'0' { byte.is_ascii_digit() } else { byte == like })
    {
        return false;
    }
    let two = |at: usize| (bytes[at] - b'0') * 10 + bytes[at + 1] - b'0';
    bytes[..4] != *b"0001"
        && (1..=12).contains(&two(5))
        && (1..=28).contains(&two(8))
        && two(11) < 24
        && two(14) < 60
        && two(17) < 60
}

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds of a duration like `1h30m`, `-1.5s`.
///
/// # Errors
/// Go's words.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quoted(text));
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let value: u64 = if whole == 0 { 0 } else { rest[..whole].parse().map_err(|_| invalid())? };
        let (mut digits, mut size) = ("", whole);
        if rest[whole..].starts_with('.') {
            let count = rest[whole + 1..].bytes().take_while(u8::is_ascii_digit).count();
            digits = &rest[whole + 1..=whole + count];
            size += 1 + count;
        }
        if whole == 0 && digits.is_empty() {
            return Err(invalid());
        }
        rest = &rest[size..];
        let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
        let name = &rest[..end];
        rest = &rest[end..];
        if name.is_empty() {
            return Err(format!("time: missing unit in duration {}", quoted(text)));
        }
        let unit = UNITS.iter().find(|(unit, _)| *unit == name).map(|(_, size)| size.unsigned_abs());
        let unit =
            unit.ok_or_else(|| format!("time: unknown unit {} in duration {}", quoted(name), quoted(text)))?;
        let mut amount = value.checked_mul(unit).ok_or_else(invalid)?;
        let mut place = unit;
        for digit in digits.bytes() {
            place /= 10;
            amount = amount.checked_add(u64::from(digit - b'0') * place).ok_or_else(invalid)?;
        }
        total = total.checked_add(amount).filter(|total| *total <= 1 << 63).ok_or_else(invalid)?;
    }
    if negative {
        // -2^63 has no positive counterpart.
        return Ok(0_i64.wrapping_sub_unsigned(total));
    }
    i64::try_from(total).map_err(|_| invalid())
}

/// As Go writes a duration: `1h30m0s`, `1.5s`, `100ms`, `0s`.
pub(crate) fn write_duration(nanos: i64) -> String {
    let whole = nanos.unsigned_abs();
    let mut out = String::from(if nanos < 0 { "-" } else { "" });
    let second = 1_000_000_000;
    if whole == 0 {
        out.push_str("0s");
    } else if whole < second {
        let (unit, name) = match whole {
            ..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        push_decimal(&mut out, whole, unit);
        out.push_str(name);
    } else {
        let (hours, minutes) = (whole / (3_600 * second), whole / (60 * second) % 60);
        if hours > 0 {
            let _ = write!(out, "{hours}h");
        }
        if hours > 0 || minutes > 0 {
            let _ = write!(out, "{minutes}m");
        }
        push_decimal(&mut out, whole % (60 * second), second);
        out.push('s');
    }
    out
}

fn push_decimal(out: &mut String, value: u64, unit: u64) {
    let _ = write!(out, "{}", value / unit);
    if !value.is_multiple_of(unit) {
        let size = unit.ilog10() as usize;
        let fraction = format!("{:0size$}", value % unit);
        out.push('.');
        out.push_str(fraction.trim_end_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        let read = |text: &str| parse(text, false).map(Moment::in_seconds);
        for (text, want) in [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:00Z"),
            ("2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00Z"),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("2024-02-29T1:00:00Z", "2024-02-29T01:00:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(want));
        }
        let layout = "2006-01-02T15:04:05Z07:00";
        for (text, want) in [
            ("", format!(r#"parsing time "" as "{layout}": cannot parse "" as "2006""#)),
            ("soon", format!(r#"parsing time "soon" as "{layout}": cannot parse "soon" as "2006""#)),
            ("2026-01-01", format!(r#"parsing time "2026-01-01" as "{layout}": cannot parse "" as "T""#)),
            ("2026-13-01T00:00:00Z", r#"parsing time "2026-13-01T00:00:00Z": month out of range"#.to_owned()),
            ("2025-02-29T00:00:00Z", r#"parsing time "2025-02-29T00:00:00Z": day out of range"#.to_owned()),
            ("2025-02-28T00:00:00Zz", r#"parsing time "2025-02-28T00:00:00Zz": extra text: "z""#.to_owned()),
        ] {
            assert_eq!(read(text), Err(want));
        }
        assert!(parse("0001-01-01T00:00:00Z", false).is_ok_and(Moment::is_zero));
        let far = |seconds| Moment { seconds, micros: 0 }.in_seconds();
        assert_eq!(
            (far(i64::MIN), far(i64::MAX)),
            ("0000-01-01T00:00:00Z".into(), "9999-12-31T23:59:59Z".into())
        );
        let micro = parse("2026-01-01T00:00:00.000001Z", true).map(Moment::in_micros);
        assert_eq!(micro.as_deref(), Ok("2026-01-01T00:00:00.000001Z"));
        assert!(
            parse("2026-01-01T00:00:00Z", true)
                .is_err_and(|error| error.ends_with(r#"cannot parse "Z" as ".000000""#))
        );
    }

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        for (text, want) in [
            ("1h30m", "1h30m0s"),
            ("90s", "1m30s"),
            ("1.5s", "1.5s"),
            ("100ms", "100ms"),
            ("-2m", "-2m0s"),
            ("0", "0s"),
            ("1us", "1µs"),
            ("-9223372036854775808ns", "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(duration(text).map(write_duration).as_deref(), Ok(want), "{text}");
        }
        for (text, want) in [
            ("", r#"time: invalid duration """#),
            ("5", r#"time: missing unit in duration "5""#),
            ("5x", r#"time: unknown unit "x" in duration "5x""#),
            ("s", r#"time: invalid duration "s""#),
            ("9223372036854775808ns", r#"time: invalid duration "9223372036854775808ns""#),
        ] {
            assert_eq!(duration(text), Err(want.to_owned()));
        }
    }
}
