//! Durations as tables show them (`duration.HumanDuration` of apimachinery): two or three significant figures.

use std::time::{Duration, SystemTime};

use apiclient_core::time;
use serde_json::Value;

/// The age of a time stamp (RFC 3339); `<unknown>` where there is none.
pub fn since(stamp: &Value, now: SystemTime) -> String {
    match stamp.as_str().and_then(time::parse) {
        Some(time) => between(time, now),
        None => "<unknown>".to_owned(),
    }
}

/// The age of `metadata.creationTimestamp`.
pub fn of(object: &Value, now: SystemTime) -> String {
    since(crate::edit::at(object, &["metadata", "creationTimestamp"]), now)
}

/// How long from `start` to `end`. Two seconds into the future are still now, for clocks differ.
pub fn between(start: SystemTime, end: SystemTime) -> String {
    match end.duration_since(start) {
        Ok(age) => human(age),
        Err(ahead) if ahead.duration() < Duration::from_secs(2) => "0s".to_owned(),
        Err(_) => "<invalid>".to_owned(),
    }
}

/// `119s`, `9m59s`, `179m`, `7h59m`, `47h`, `7d23h`, `729d`, `7y364d`, `8y`.
pub fn human(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, part: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{part}"),
    };
    match (minutes, hours) {
        _ if seconds < 120 => format!("{seconds}s"),
        (..10, _) => two(minutes, "m", seconds % 60, "s"),
        (..180, _) => format!("{minutes}m"),
        (_, ..8) => two(hours, "h", minutes % 60, "m"),
        (_, ..48) => format!("{hours}h"),
        (_, ..192) => two(days, "d", hours % 24, "h"),
        _ if days < 730 => format!("{days}d"),
        _ if days < 2_920 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::UNIX_EPOCH;

    #[test]
    fn ages_have_two_or_three_figures() {
        let of = |seconds| human(Duration::from_secs(seconds));
        let (minute, hour, day, year) = (60, 3_600, 86_400, 31_536_000);
        assert_eq!(of(119), "119s");
        assert_eq!((of(2 * minute), of(10 * minute - 1)), ("2m".to_owned(), "9m59s".to_owned()));
        assert_eq!((of(10 * minute), of(3 * hour - 1)), ("10m".to_owned(), "179m".to_owned()));
        assert_eq!((of(3 * hour), of(8 * hour - 1)), ("3h".to_owned(), "7h59m".to_owned()));
        assert_eq!((of(8 * hour), of(2 * day - 1)), ("8h".to_owned(), "47h".to_owned()));
        assert_eq!((of(2 * day), of(8 * day - 1)), ("2d".to_owned(), "7d23h".to_owned()));
        assert_eq!((of(8 * day), of(2 * year - 1)), ("8d".to_owned(), "729d".to_owned()));
        assert_eq!((of(2 * year), of(8 * year - 1)), ("2y".to_owned(), "7y364d".to_owned()));
        assert_eq!(of(8 * year + 40 * day), "8y");
    }

    #[test]
    fn what_has_no_time_has_no_age_and_the_future_is_invalid() {
        let now = UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(since(&json!(null), now), "<unknown>");
        assert_eq!(since(&json!("1970-01-01T00:01:41Z"), now), "0s");
        assert_eq!(since(&json!("1970-01-01T00:01:42Z"), now), "<invalid>");
        assert_eq!(since(&json!("1970-01-01T00:00:58Z"), now), "42s");
    }
}
