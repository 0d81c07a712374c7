//! Schedules of CronJobs: `*/5 * * * *`, `@hourly`, `@every 1h`. Read, not evaluated.

use super::time_zone;

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

/// Whether a text is a schedule.
///
/// # Errors
/// What is wrong, in the original's words.
pub fn parse(text: &str) -> Result<(), String> {
    let mut spec = text;
    if spec.starts_with("TZ=") || spec.starts_with("CRON_TZ=") {
        let (zone, rest) =
            spec.split_once(' ').ok_or_else(|| "the schedule has a time zone only".to_owned())?;
        let zone = zone.split_once('=').map_or("", |(_, zone)| zone);
        if !time_zone::is_known(zone) {
            return Err(format!("provided bad location {zone}: unknown time zone {zone}"));
        }
        spec = rest.trim();
    }
    if spec.starts_with('@') {
        return descriptor(spec);
    }
    let fields: Vec<&str> = spec.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let shown = fields.join(" ");
        return Err(format!("expected exactly 5 fields, found {}: [{shown}]", fields.len()));
    }
    for (text, field) in fields.iter().zip(&FIELDS) {
        text.split(',').filter(|part| !part.is_empty()).try_for_each(|part| range(part, field))?;
    }
    Ok(())
}

fn descriptor(text: &str) -> Result<(), String> {
    match text {
        "@yearly" | "@annually" | "@monthly" | "@weekly" | "@daily" | "@midnight" | "@hourly" => Ok(()),
        _ => match text.strip_prefix("@every ") {
            Some(duration) if is_duration(duration) => Ok(()),
            Some(duration) => Err(format!(
                "failed to parse duration {text}: time: invalid duration {}",
                crate::field::quote(duration)
            )),
            None => Err(format!("unrecognized descriptor: {text}")),
        },
    }
}

/// `1h30m`, `1.5s`, `-2ms`, `0`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut any = false;
    while !rest.is_empty() {
        let number = rest.find(|found: char| !found.is_ascii_digit() && found != '.').unwrap_or(rest.len());
        let (digits, unit) = rest.split_at(number);
        let length = unit.find(|found: char| found.is_ascii_digit() || found == '.').unwrap_or(unit.len());
        let valid = digits.bytes().any(|byte| byte.is_ascii_digit()) && digits.matches('.').count() < 2;
        if !valid || !matches!(&unit[..length], "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h") {
            return false;
        }
        rest = &unit[length..];
        any = true;
    }
    any
}

/// `*`, `5`, `1-5`, `*/2`, `1-5/2`.
fn range(text: &str, field: &Field) -> Result<(), String> {
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
        [] => return Ok(()),
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
    Ok(())
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
