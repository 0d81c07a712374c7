//! Schedules of CronJobs: `*/5 * * * *`, `@hourly`, `@every 1h`. Read, not evaluated.

use std::time::Duration;

use super::time_zone;

/// When a CronJob is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The time zone that it begins with, which the API accepts no longer.
    pub zone: Option<String>,
    pub times: Times,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Times {
    /// At minutes that are in all of these sets.
    At(Fields),
    /// Again and again, after whole seconds.
    Every(Duration),
}

/// Sets of numbers, a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    pub minutes: u64,
    pub hours: u64,
    pub days: u64,
    pub months: u64,
    /// From Sunday, which is 0.
    pub weekdays: u64,
    /// Either days or weekdays are not restricted: both must hold. Otherwise one is enough.
    pub both: bool,
}

/// Number of the values that a field takes, and their names.
struct Field {
    least: i64,
    most: i64,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { least: 0, most: 59, names: &[] },
    Field { least: 0, most: 23, names: &[] },
    Field { least: 1, most: 31, names: &[] },
    Field {
        least: 1,
        most: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { least: 0, most: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

/// Reads a schedule.
///
/// # Errors
/// What is wrong, in the original's words.
pub fn parse(text: &str) -> Result<Schedule, String> {
    let (mut zone, mut spec) = (None, text);
    if spec.starts_with("TZ=") || spec.starts_with("CRON_TZ=") {
        let (name, rest) =
            spec.split_once(' ').ok_or_else(|| "the schedule has a time zone only".to_owned())?;
        let name = name.split_once('=').map_or("", |(_, zone)| zone);
        if !time_zone::is_known(name) {
            return Err(format!("provided bad location {name}: unknown time zone {name}"));
        }
        (zone, spec) = (Some(name.to_owned()), rest.trim());
    }
    if spec.starts_with('@') {
        return Ok(Schedule { zone, times: descriptor(spec)? });
    }
    let fields: Vec<&str> = spec.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let shown = fields.join(" ");
        return Err(format!("expected exactly 5 fields, found {}: [{shown}]", fields.len()));
    }
    let mut sets = [(0, false); 5];
    for ((text, field), (set, any)) in fields.iter().zip(&FIELDS).zip(&mut sets) {
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (numbers, is_any) = range(part, field)?;
            *set |= numbers;
            *any |= is_any;
        }
    }
    let [minutes, hours, days, months, weekdays] = sets;
    let fields = Fields {
        minutes: minutes.0,
        hours: hours.0,
        days: days.0,
        months: months.0,
        weekdays: weekdays.0,
        both: days.1 || weekdays.1,
    };
    Ok(Schedule { zone, times: Times::At(fields) })
}

fn descriptor(text: &str) -> Result<Times, String> {
    let same = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let text_of =
                text.strip_prefix("@every ").ok_or_else(|| format!("unrecognized descriptor: {text}"))?;
            let wait = duration(text_of).ok_or_else(|| {
                let quoted = crate::field::quote(text_of);
                format!("failed to parse duration {text}: time: invalid duration {quoted}")
            })?;
            return Ok(Times::Every(Duration::from_secs(wait.as_secs().max(1))));
        }
    };
    parse(same).map(|schedule| schedule.times)
}

/// `1h30m`, `1.5s`, `-2ms`, `0`; a negative one counts as none.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|found: char| !found.is_ascii_digit() && found != '.').unwrap_or(rest.len());
        let (digits, unit) = rest.split_at(number);
        let length = unit.find(|found: char| found.is_ascii_digit() || found == '.').unwrap_or(unit.len());
        let valid = digits.bytes().any(|byte| byte.is_ascii_digit()) && digits.matches('.').count() < 2;
        let seconds = match &unit[..length] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = digits.parse().ok().filter(|_| valid)?;
        sum = sum.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = &unit[length..];
    }
    Some(if text.starts_with('-') { Duration::ZERO } else { sum })
}

/// `*`, `5`, `1-5`, `*/2`, `1-5/2`: the numbers as bits, and whether they are not restricted.
fn range(text: &str, field: &Field) -> Result<(u64, bool), String> {
    let slashes: Vec<&str> = text.split('/').collect();
    let hyphens: Vec<&str> = slashes[0].split('-').collect();
    let (first, mut last) = match hyphens[..] {
        ["*" | "?", ..] => (field.least, field.most),
        [only] => (value(only, field)?, value(only, field)?),
        [first, last] => (value(first, field)?, value(last, field)?),
        [first, ..] => {
            value(first, field)?;
            return Err(format!("too many hyphens: {text}"));
        }
        [] => return Ok((0, false)),
    };
    let step = match slashes[..] {
        [_] => 1,
        [_, step] => {
            let step = number(step)?;
            if hyphens.len() == 1 {
                last = field.most;
            }
            step
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    if first < field.least {
        return Err(format!("beginning of range ({first}) below minimum ({}): {text}", field.least));
    }
    if last > field.most {
        return Err(format!("end of range ({last}) above maximum ({}): {text}", field.most));
    }
    if first > last {
        return Err(format!("beginning of range ({first}) beyond end of range ({last}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let is_any = matches!(hyphens[0], "*" | "?") && step == 1;
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    let numbers = (first..=last).step_by(step).fold(0, |numbers, number| numbers | 1_u64 << number);
    Ok((numbers, is_any))
}

fn value(text: &str, field: &Field) -> Result<i64, String> {
    let name = text.to_lowercase();
    match field.names.iter().position(|own| *own == name) {
        Some(place) => Ok(field.least + i64::try_from(place).unwrap_or_default()),
        None => number(text),
    }
}

fn number(text: &str) -> Result<i64, String> {
    let wrong = || {
        let quoted = crate::field::quote(text);
        format!("failed to parse int from {text}: strconv.Atoi: parsing {quoted}: invalid syntax")
    };
    let number: i64 = text.parse().map_err(|_| wrong())?;
    if number < 0 {
        return Err(format!("negative number ({number}) not allowed: {text}"));
    }
    Ok(number)
}
