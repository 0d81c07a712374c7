//! Points in time and durations.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apiclient_core::time;

use super::eval::{Answer, error};
use super::value::Value;

const SECOND: i64 = 1_000_000_000;

/// Nanoseconds since 1970 of RFC 3339, or of a date alone.
pub(super) fn timestamp(text: &str) -> Option<i128> {
    let at = time::parse(text).or_else(|| time::parse(&format!("{text}T00:00:00Z")))?;
    Some(match at.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_nanos()).ok()?,
        Err(before) => -i128::try_from(before.duration().as_nanos()).ok()?,
    })
}

/// RFC 3339 in UTC.
pub(super) fn shown(at: i128) -> Option<String> {
    let long = |nanos: i128| {
        let seconds = u64::try_from(nanos / i128::from(SECOND)).ok()?;
        let rest = u32::try_from(nanos % i128::from(SECOND)).ok()?;
        Some(Duration::new(seconds, rest))
    };
    let time: SystemTime = match at >= 0 {
        true => UNIX_EPOCH.checked_add(long(at)?)?,
        false => UNIX_EPOCH.checked_sub(long(-at)?)?,
    };
    let whole = at.rem_euclid(i128::from(SECOND)) == 0;
    Some(if whole { time::seconds(time) } else { time::nanos(time) })
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
    let mut total: f64 = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let nanos = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * nanos;
        rest = after;
    }
    let fits = !text.is_empty() && total < 9.2e18;
    #[expect(clippy::cast_possible_truncation, reason = "in range, as was checked")]
    fits.then_some(if negative { -total as i64 } else { total as i64 })
}

pub(super) fn shown_duration(long: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "as CEL shows durations")]
    let seconds = long as f64 / 1e9;
    format!("{seconds}s")
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
        [Value::Time(at)] => {
            let seconds = i64::try_from(at.div_euclid(i128::from(SECOND))).ok()?;
            let nanos = i64::try_from(at.rem_euclid(i128::from(SECOND))).ok()?;
            let (days, second) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
            let (year, month, day) = civil(days);
            match name {
                "getFullYear" => year,
                "getMonth" => month - 1,
                "getDate" => day,
                "getDayOfMonth" => day - 1,
                "getDayOfWeek" => (days + 4).rem_euclid(7),
                "getDayOfYear" => days - days_before(year),
                "getHours" => second / 3600,
                "getMinutes" => second / 60 % 60,
                "getSeconds" => second % 60,
                "getMilliseconds" => nanos / 1_000_000,
                _ => return None,
            }
        }
        [Value::Time(_), _] => return Some(error("time zones are not supported")),
        _ => return None,
    })))
}

/// Year, month and day of a day since 1970, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the day that comes and goes is the last.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days from 1970 to the first day of a year.
fn days_before(year: i64) -> i64 {
    let before = year - 1;
    before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162
}
