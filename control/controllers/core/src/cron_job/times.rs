//! When a schedule is due.
//!
//! The original's rules: hours that a change of the clock leaves out are left out, hours that come twice are due twice.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use apiclient_core::time;
use control_core::kinds::schedule::{Fields, Schedule, Times};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ToSpan, ZonedDateTime};

/// The data are compiled in: it does not depend on the files of its machine.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Years after which a time is looked for in vain, such as the 31st of February.
const YEARS: i16 = 5;

/// A schedule in its time zone.
#[derive(Debug)]
pub struct Plan {
    schedule: Schedule,
    zone: TimeZone,
}

/// Starts that were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    None,
    Few,
    /// More than a hundred: a clock is wrong, or nobody looked for long.
    Many,
}

/// What is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// The last start that is due; none where it is in the future, or where the schedule has none.
    pub last: Option<SystemTime>,
    pub missed: Missed,
}

/// The time zone of this name; UTC where there is none.
pub fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "" | "Local" | "UTC" => Some(TimeZone::UTC),
        name => ZONES.get(name).ok(),
    }
}

impl Plan {
    pub fn new(schedule: Schedule, zone: TimeZone) -> Self {
        let own = schedule.zone.as_deref().and_then(self::zone);
        Self { zone: own.unwrap_or(zone), schedule }
    }

    /// The first time after another.
    pub fn next(&self, after: SystemTime) -> Option<SystemTime> {
        let after = Timestamp::try_from(after).ok()?;
        // Whole seconds.
        let after = Timestamp::from_second(after.as_second()).ok()?;
        let next = match &self.schedule.times {
            Times::Every(wait) => after.checked_add(SignedDuration::try_from(*wait).ok()?).ok()?,
            Times::At(fields) => at(fields, after.to_zoned_datetime(self.zone.clone()))?.timestamp(),
        };
        SystemTime::try_from(next).ok()
    }

    /// What is due of the times after `earliest`.
    ///
    /// # Errors
    /// The schedule is never due.
    pub fn due(&self, earliest: SystemTime, now: SystemTime) -> Result<Due, &'static str> {
        let never = "time difference between two schedules is less than 1 second";
        let first = self.next(earliest).ok_or(never)?;
        let second = self.next(first).ok_or(never)?;
        if now < first {
            return Ok(Due { last: None, missed: Missed::None });
        }
        if now < second {
            return Ok(Due { last: Some(first), missed: Missed::None });
        }
        // As many as fit: a guess where times are not regular, as the original's.
        let between = second.duration_since(first).map_or(1, |between| between.as_secs().max(1));
        let number = now.duration_since(first).map_or(0, |elapsed| elapsed.as_secs()) / between + 1;
        let back = Duration::from_secs(number.saturating_sub(2) * between);
        let mut time = if number >= 2 { first + back } else { first - Duration::from_secs(between) };
        let mut last = None;
        while let Some(next) = self.next(time).filter(|next| *next <= now) {
            last = Some(next);
            time = next;
        }
        Ok(Due { last, missed: if number > 100 { Missed::Many } else { Missed::Few } })
    }

    /// A time as the time zone shows it (RFC 3339).
    pub fn shown(zone: &TimeZone, at: SystemTime) -> String {
        let Ok(stamp) = Timestamp::try_from(at) else { return time::seconds(at) };
        if *zone == TimeZone::UTC {
            return time::seconds(at);
        }
        stamp.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }
}

/// The first minute after a time that is in all sets.
fn at(fields: &Fields, after: ZonedDateTime) -> Option<ZonedDateTime> {
    let last_year = after.year() + YEARS;
    let mut time = whole_minute(&after)?.checked_add(1.minute()).ok()?;
    loop {
        if time.year() > last_year {
            return None;
        }
        time = if !has(fields.months, time.month()) {
            time.first_of_month().ok()?.checked_add(1.month()).ok()?.start_of_day().ok()?
        } else if !is_day(fields, &time) {
            time.tomorrow().ok()?.start_of_day().ok()?
        } else if !has(fields.hours, time.hour()) {
            // An hour of an hour's length, whatever the clock shows then.
            let past = SignedDuration::from_secs(i64::from(time.minute()) * 60);
            time.checked_sub(past).ok()?.checked_add(SignedDuration::from_hours(1)).ok()?
        } else if !has(fields.minutes, time.minute()) {
            time.checked_add(SignedDuration::from_mins(1)).ok()?
        } else {
            return Some(time);
        };
    }
}

fn whole_minute(time: &ZonedDateTime) -> Option<ZonedDateTime> {
    time.checked_sub(SignedDuration::from_secs(i64::from(time.second()))).ok()
}

fn has(set: u64, number: i8) -> bool {
    u32::try_from(number).is_ok_and(|number| set >> number & 1 == 1)
}

fn is_day(fields: &Fields, time: &ZonedDateTime) -> bool {
    let day = has(fields.days, time.day());
    let weekday = has(fields.weekdays, time.weekday().to_sunday_zero_offset());
    if fields.both { day && weekday } else { day || weekday }
}

#[cfg(test)]
mod tests {
    use control_core::kinds::schedule;

    use super::*;

    fn at(text: &str) -> SystemTime {
        time::parse(text).expect("a time")
    }

    fn plan(schedule: &str, of: &str) -> Plan {
        Plan::new(schedule::parse(schedule).expect("a schedule"), zone(of).expect("a zone"))
    }

    #[test]
    fn the_next_time_is_the_originals() {
        // Most of these are of the tests of the library that the original uses.
        let cases = [
            ("0/15 * * * *", "", "2012-07-09T14:45:00Z", "2012-07-09T15:00:00Z"),
            ("0/15 * * * *", "", "2012-07-09T14:59:59Z", "2012-07-09T15:00:00Z"),
            ("20-35/15 * * * *", "", "2012-07-09T15:45:00Z", "2012-07-09T16:20:00Z"),
            ("*/15 * * * *", "", "2012-07-09T23:46:00Z", "2012-07-10T00:00:00Z"),
            ("0 0 9 Apr-Oct ?", "", "2012-07-09T23:35:00Z", "2012-08-09T00:00:00Z"),
            ("0 0 */5 Apr,Aug,Oct Mon", "", "2012-07-09T23:35:00Z", "2012-08-01T00:00:00Z"),
            ("0 0 */5 Oct Mon", "", "2012-07-09T23:35:00Z", "2012-10-01T00:00:00Z"),
            ("0 0 * Feb Mon", "", "2012-07-09T23:35:00Z", "2013-02-04T00:00:00Z"),
            ("0 0 29 2 ?", "", "2012-07-09T23:35:00Z", "2016-02-29T00:00:00Z"),
            ("59 23 31 12 *", "", "2012-12-31T23:59:45Z", "2013-12-31T23:59:00Z"),
            ("@hourly", "", "2012-07-09T14:00:00Z", "2012-07-09T15:00:00Z"),
            ("@weekly", "", "2012-07-09T14:00:00Z", "2012-07-15T00:00:00Z"),
            ("@every 90s", "", "2012-07-09T14:59:59.5Z", "2012-07-09T15:01:29Z"),
            ("0 9 * * *", "Europe/Berlin", "2026-07-01T12:00:00Z", "2026-07-02T07:00:00Z"),
            ("0 9 * * *", "Asia/Kolkata", "2026-07-01T12:00:00Z", "2026-07-02T03:30:00Z"),
            // An hour that is left out, and one that comes twice.
            ("30 2 * * *", "America/New_York", "2012-03-11T06:00:00Z", "2012-03-12T06:30:00Z"),
            ("0 3 * * *", "America/New_York", "2012-03-11T06:00:00Z", "2012-03-11T07:00:00Z"),
            ("0 1 * * *", "America/New_York", "2012-11-04T04:30:00Z", "2012-11-04T05:00:00Z"),
            ("0 1 * * *", "America/New_York", "2012-11-04T05:00:00Z", "2012-11-04T06:00:00Z"),
            ("0 1 * * *", "America/New_York", "2012-11-04T06:00:00Z", "2012-11-05T06:00:00Z"),
            // Midnight that is left out.
            ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-05T02:00:00Z"),
        ];
        for (text, zone, after, expected) in cases {
            let next = plan(text, zone).next(at(after)).map(time::seconds);
            assert_eq!(next.as_deref(), Some(expected), "{text} {zone} {after}");
        }
        assert_eq!(plan("0 0 30 2 *", "").next(at("2026-01-01T00:00:00Z")), None);
    }

    #[test]
    fn the_last_time_that_is_due_is_found_however_long_ago_the_first_was() {
        let cases = [
            ("0 * * * *", "2026-01-01T10:30:00Z", "2026-01-01T10:59:00Z", None, Missed::None),
            (
                "0 * * * *",
                "2026-01-01T10:30:00Z",
                "2026-01-01T11:00:00Z",
                Some("2026-01-01T11:00:00Z"),
                Missed::None,
            ),
            (
                "0 * * * *",
                "2026-01-01T10:30:00Z",
                "2026-01-01T14:20:00Z",
                Some("2026-01-01T14:00:00Z"),
                Missed::Few,
            ),
            (
                "* * * * *",
                "2026-01-01T10:30:00Z",
                "2026-01-03T14:20:30Z",
                Some("2026-01-03T14:20:00Z"),
                Missed::Many,
            ),
            (
                "30 6-16/4 * * 1-5",
                "2026-01-02T18:00:00Z",
                "2026-01-05T11:00:00Z",
                Some("2026-01-05T10:30:00Z"),
                Missed::Few,
            ),
            (
                "@every 1h",
                "2026-01-01T10:15:00Z",
                "2026-01-01T14:20:00Z",
                Some("2026-01-01T14:15:00Z"),
                Missed::Few,
            ),
        ];
        for (text, earliest, now, last, missed) in cases {
            let due = plan(text, "").due(at(earliest), at(now)).expect("it is due at times");
            assert_eq!((due.last.map(time::seconds).as_deref(), due.missed), (last, missed), "{text} {now}");
        }
        assert!(plan("0 0 31 2 *", "").due(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z")).is_err());
    }

    #[test]
    fn a_time_is_shown_in_its_zone() {
        let shown = |of: &str| Plan::shown(&zone(of).expect("a zone"), at("2026-07-01T12:00:00Z"));
        assert_eq!(shown(""), "2026-07-01T12:00:00Z");
        assert_eq!(shown("Asia/Kolkata"), "2026-07-01T17:30:00+05:30");
        assert_eq!(zone("Middle/Earth"), None);
    }
}
