//! Versions (`semver('1.2.3-alpha.1+b')`): semver.org's, version 2.0.

use std::cmp::Ordering;
use std::rc::Rc;

use crate::codec::quote::quoted;

use super::eval::{Answer, error};
use super::value::Value;

/// A version. What follows `+` is no part of it when two are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Semver {
    major: u64,
    minor: u64,
    patch: u64,
    before: Vec<Word>,
}

/// A part of what follows `-`: numbers come before texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Number(u64),
    Text(String),
}

impl Ord for Semver {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = |of: &Self| (of.major, of.minor, of.patch);
        // A version comes after those that are before it.
        let released = |of: &Self| of.before.is_empty();
        numbers(self)
            .cmp(&numbers(other))
            .then(released(self).cmp(&released(other)))
            .then_with(|| self.before.cmp(&other.before))
    }
}

impl PartialOrd for Semver {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn number(text: &str, what: &str) -> Result<u64, String> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("Invalid character(s) found in {what} number {}", quoted(text)));
    }
    if text.len() > 1 && text.starts_with('0') {
        let mut what = what.to_owned();
        what[..1].make_ascii_uppercase();
        return Err(format!("{what} number must not contain leading zeroes {}", quoted(text)));
    }
    text.parse().map_err(|_| {
        let problem = if text.is_empty() { "invalid syntax" } else { "value out of range" };
        format!("strconv.ParseUint: parsing {}: {problem}", quoted(text))
    })
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn word(text: &str) -> Result<Word, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            let text = quoted(text);
            return Err(format!("Numeric PreRelease version must not contain leading zeroes {text}"));
        }
        return number(text, "prerelease").map(Word::Number);
    }
    match is_word(text) {
        true => Ok(Word::Text(text.to_owned())),
        false => Err(format!("Invalid character(s) found in prerelease {}", quoted(text))),
    }
}

impl Semver {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".to_owned());
        }
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("No Major.Minor.Patch elements found".to_owned());
        };
        let (major, minor) = (number(major, "major")?, number(minor, "minor")?);
        let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
        let (patch, before) =
            rest.split_once('-').map_or((rest, None), |(rest, before)| (rest, Some(before)));
        let patch = number(patch, "patch")?;
        let before = before.into_iter().flat_map(|before| before.split('.')).map(word);
        let before = before.collect::<Result<_, _>>()?;
        for part in build.into_iter().flat_map(|build| build.split('.')) {
            if part.is_empty() {
                return Err("Build meta data is empty".to_owned());
            }
            if !is_word(part) {
                return Err(format!("Invalid character(s) found in build meta data {}", quoted(part)));
            }
        }
        Ok(Self { major, minor, patch, before })
    }

    /// Of `v1.2` and `01.2.3` too.
    fn tolerant(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text.splitn(3, '.').map(without_zeros).collect();
        if parts.len() < 3 && parts.last().is_some_and(|last| last.contains(['+', '-'])) {
            return Err("short version cannot contain PreRelease/Build meta data".to_owned());
        }
        parts.resize(3, "0".to_owned());
        Self::parse(&parts.join("."))
    }
}

fn without_zeros(part: &str) -> String {
    if part.len() < 2 {
        return part.to_owned();
    }
    let bare = part.trim_start_matches('0');
    let digit = bare.starts_with(|c: char| c.is_ascii_digit());
    if digit { bare.to_owned() } else { format!("0{bare}") }
}

#[expect(clippy::cast_possible_wrap, reason = "as the original gives them")]
fn part<'a>(number: u64) -> Answer<'a> {
    Ok(Value::Int(number as i64))
}

/// `None`: no function of versions.
pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    let parsed = |text: &str, tolerant: bool| {
        if tolerant { Semver::tolerant(text) } else { Semver::parse(text) }
    };
    Some(match (name, args) {
        ("semver" | "isSemver", [Value::Text(text), rest @ ..]) => {
            let tolerant = match rest {
                [] => false,
                [Value::Bool(tolerant)] => *tolerant,
                _ => return None,
            };
            match (name, parsed(text.get(), tolerant)) {
                ("isSemver", parsed) => Ok(Value::Bool(parsed.is_ok())),
                (_, Ok(version)) => Ok(Value::Semver(Rc::new(version))),
                (_, Err(what)) => error(what),
            }
        }
        ("major", [Value::Semver(of)]) => part(of.major),
        ("minor", [Value::Semver(of)]) => part(of.minor),
        ("patch", [Value::Semver(of)]) => part(of.patch),
        ("isLessThan", [Value::Semver(a), Value::Semver(b)]) => Ok(Value::Bool(a < b)),
        ("isGreaterThan", [Value::Semver(a), Value::Semver(b)]) => Ok(Value::Bool(a > b)),
        ("compareTo", [Value::Semver(a), Value::Semver(b)]) => Ok(Value::Int(a.cmp(b) as i64)),
        _ => return None,
    })
}
