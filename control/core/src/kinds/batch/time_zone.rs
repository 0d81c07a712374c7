//! Names of time zones (IANA). The names are compiled in: a server does not depend on the files of its machine.

use std::collections::HashSet;
use std::sync::LazyLock;

/// One name a line, of the release 2025b.
static NAMES: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("time_zones.txt").lines().collect());

pub fn is_known(name: &str) -> bool {
    matches!(name, "" | "Local") || NAMES.contains(name)
}

/// What is wrong with the time zone of a CronJob.
pub fn problems(name: &str) -> Vec<String> {
    let unknown = || format!("unknown time zone {name}");
    if name.is_empty() {
        return vec!["timeZone must be nil or non-empty string".to_owned()];
    }
    let fits = |part: &str| {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
        !matches!(part, "." | "..")
            && !part.starts_with('-')
            && (1..=14).contains(&part.len())
            && part.bytes().all(word)
    };
    if !name.split('/').all(fits) {
        return vec![unknown()];
    }
    let mut problems = Vec::new();
    if name.eq_ignore_ascii_case("local") {
        problems.push(
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".to_owned(),
        );
    }
    if !is_known(name) {
        problems.push(unknown());
    }
    problems
}
