//! Points in time and durations.

use super::super::dates::{self, civil, days_before};
use super::eval::{Answer, error};
use super::value::Value;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// The first second of the year 1, and the last of the year 9999, since 1970.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;

/// A point in time, of the years 1 to 9999, as a clock showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    /// Since 1970.
    pub nanos: i128,
    /// In seconds, east of UTC.
    offset: i64,
}

impl Time {
    fn new(nanos: i128, offset: i64) -> Option<Self> {
        let second = nanos.div_euclid(i128::from(SECOND));
        (i128::from(FIRST)..=i128::from(LAST)).contains(&second).then_some(Self { nanos, offset })
    }

    /// In UTC.
    pub fn of_seconds(seconds: i64) -> Option<Self> {
        Self::new(i128::from(seconds) * i128::from(SECOND), 0)
    }

    /// Later by so many nanoseconds.
    pub fn plus(self, nanos: i128) -> Option<Self> {
        Self::new(self.nanos + nanos, self.offset)
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> i64 {
        i64::try_from(self.nanos.div_euclid(i128::from(SECOND))).unwrap_or_default()
    }

    /// RFC 3339, with as many digits as it takes.
    pub fn shown(self) -> String {
        let local = self.seconds() + self.offset;
        let (days, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let fraction = format!(".{:09}", self.nanos.rem_euclid(i128::from(SECOND)));
        let fraction = fraction.trim_end_matches(['0', '.']);
        let zone = match self.offset {
            0 => "Z".to_owned(),
            offset => {
                let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
                format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        };
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}")
    }

    fn part(self, name: &str) -> Option<i64> {
        let local = self.seconds().saturating_add(self.offset);
        let (days, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        Some(match name {
            "getFullYear" => year,
            "getMonth" => month - 1,
            "getDate" => day,
            "getDayOfMonth" => day - 1,
            "getDayOfWeek" => (days + 4).rem_euclid(7),
            "getDayOfYear" => days - days_before(year),
            "getHours" => second / 3600,
            "getMinutes" => second / 60 % 60,
            "getSeconds" => second % 60,
            "getMilliseconds" => {
                i64::try_from(self.nanos.rem_euclid(i128::from(SECOND)) / 1_000_000).unwrap_or_default()
            }
            _ => return None,
        })
    }
}

/// RFC 3339, or a date alone.
pub(super) fn timestamp(text: &str) -> Option<Time> {
    if text.len() == 10 {
        return Time::of_seconds(dates::date(text)? * DAY);
    }
    let days = dates::date(text.get(..10)?)?;
    let number = |from: usize| dates::number(text, from, from + 2);
    let mark = |at: usize, mark: u8| text.as_bytes().get(at) == Some(&mark);
    let (hour, minute, second) = (number(11)?, number(14)?, number(17)?);
    if !(mark(10, b'T') && mark(13, b':') && mark(16, b':')) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let size = fraction.bytes().take_while(u8::is_ascii_digit).count();
        // What is finer than nanoseconds is cut.
        let kept = &fraction[..size.min(9)];
        nanos = kept.parse::<i128>().ok()? * 10_i128.pow(9 - u32::try_from(kept.len()).ok()?);
        rest = &fraction[size..];
    }
    let offset = match rest.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (dates::number(rest, 1, 3)?, dates::number(rest, 4, 6)?);
            let offset = hours * 3600 + minutes * 60;
            let legal = hours <= 24 && minutes < 60;
            legal.then_some(if *sign == b'-' { -offset } else { offset })?
        }
        _ => return None,
    };
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset;
    Time::new(i128::from(seconds) * i128::from(SECOND) + nanos, offset)
}

/// Nanoseconds of `1h30m`, `1.5s`.
pub(super) fn duration(text: &str) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { i128::from(whole.parse::<u64>().ok()?) };
        // Eighteen digits of a fraction are more than an hour has nanoseconds.
        let kept = &fraction[..fraction.len().min(18)];
        let part = match kept.parse::<i128>() {
            Ok(part) => part * unit / 10_i128.pow(u32::try_from(kept.len()).ok()?),
            Err(_) => 0,
        };
        total += whole * unit + part;
        if total > i128::from(i64::MAX) + 1 {
            return None;
        }
        rest = after;
    }
    let total = if negative { -total } else { total };
    i64::try_from(total).ok().filter(|_| !text.is_empty())
}

pub(super) fn shown_duration(long: i64) -> String {
    let (whole, rest) = (long / SECOND, long % SECOND);
    #[expect(clippy::cast_precision_loss, reason = "as CEL shows durations")]
    let seconds = whole as f64 + rest as f64 / 1e9;
    format!("{seconds}s")
}

/// Seconds east of UTC. No names of places: their rules are data that this does not have.
fn zone(name: &str) -> Result<i64, String> {
    let unknown = || format!("unknown time zone {name}");
    let Some((hours, minutes)) = name.split_once(':') else {
        let utc = ["", "UTC", "Local", "GMT", "Etc/UTC", "Etc/GMT", "UCT", "Etc/UCT", "Zulu", "Etc/Zulu"];
        if utc.contains(&name) {
            return Ok(0);
        }
        // Of these, whose signs are the other way round, twelve lie west, and fourteen east.
        let west = name.strip_prefix("Etc/GMT").ok_or_else(unknown)?;
        let hours: i64 = west.parse().map_err(|_| unknown())?;
        let legal = (-14..=12).contains(&hours) && west == format!("{hours:+}");
        return if legal { Ok(-hours * 3600) } else { Err(unknown()) };
    };
    let number = |text: &str| {
        let what = || format!("strconv.Atoi: parsing {text:?}: invalid syntax");
        text.parse::<i32>().map(i64::from).map_err(|_| what())
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    Ok((hours * 60 + if name.starts_with('-') { -minutes } else { minutes }) * 60)
}

/// `None`: no function of times.
pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    Some(Ok(Value::Int(match args {
        [Value::Duration(long)] => match name {
            "getHours" => long / (3600 * SECOND),
            "getMinutes" => long / (60 * SECOND),
            "getSeconds" => long / SECOND,
            "getMilliseconds" => long / (SECOND / 1000),
            _ => return None,
        },
        // Whatever its own offset is.
        [Value::Time(at)] => Time { offset: 0, ..*at }.part(name)?,
        [Value::Time(at), Value::Text(place)] => match zone(place.get()) {
            Ok(offset) => Time { offset, ..*at }.part(name)?,
            Err(what) => return Some(error(what)),
        },
        _ => return None,
    })))
}
