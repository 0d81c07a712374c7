//! The formats of strings that validation knows. Unknown ones accept everything.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::dates;
use super::urls::Url;

/// Whether the text is of the format, as far as that is known.
pub(super) fn is(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => date_time(text),
        "date" => dates::date(text).is_some(),
        "duration" => duration(text),
        "byte" => base64(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => cidr(text),
        "mac" => mac(text),
        "uuid" => uuid(text, None),
        "uuid3" => uuid(text, Some('3')),
        "uuid4" => uuid(text, Some('4')),
        "uuid5" => uuid(text, Some('5')),
        "email" => email(text),
        "hostname" => hostname(text),
        "uri" => Url::request(text).is_ok(),
        _ => true,
    }
}

/// A date, `T` and a time of day, in letters of either case.
fn date_time(text: &str) -> bool {
    let text = text.to_lowercase();
    // What follows another `t` is not looked at.
    let mut parts = text.split('t');
    let (Some(day), Some(time)) = (parts.next(), parts.next()) else { return false };
    let below = |from: usize, most: i64| dates::number(time, from, from + 2).is_some_and(|n| n < most);
    let marked = |at: usize| time.as_bytes().get(at) == Some(&b':');
    let legal =
        dates::date(day).is_some() && below(0, 24) && marked(2) && below(3, 60) && marked(5) && below(6, 60);
    let Some(rest) = time.get(8..).filter(|_| legal) else { return false };
    let zone = |rest: &str| {
        let offset = rest.strip_prefix(['+', '-']).is_some_and(|offset| {
            let number = |from: usize| dates::number(offset, from, from + 2).is_some();
            offset.len() == 5 && number(0) && offset.as_bytes()[2] == b':' && number(3)
        });
        rest == "z" || offset
    };
    // Any letter stands before a fraction.
    let fraction = rest.chars().next().map(|mark| &rest[mark.len_utf8()..]).unwrap_or_default();
    let after = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    zone(rest) || (after.len() < fraction.len() && zone(after))
}

fn duration(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text == "0" {
        return true;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let known = matches!(unit.trim(), "ns" | "us" | "µs" | "ms" | "s" | "m" | "h" | "d" | "w");
        if number.parse::<f64>().is_err() || !known {
            return false;
        }
        rest = after;
    }
    !text.is_empty()
}

fn base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

fn cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let most = match (address.parse::<Ipv4Addr>(), address.parse::<Ipv6Addr>()) {
        (Ok(_), _) => 32,
        (_, Ok(_)) => 128,
        _ => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= most)
}

fn mac(text: &str) -> bool {
    let separator = if text.contains('-') { '-' } else { ':' };
    let parts: Vec<&str> = text.split(separator).collect();
    matches!(parts.len(), 6 | 8)
        && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// With dashes or without; of a version where one is asked for.
fn uuid(text: &str, version: Option<char>) -> bool {
    let mut rest = text;
    for (n, size) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        rest = rest.strip_prefix('-').filter(|_| n > 0).unwrap_or(rest);
        let Some((group, after)) = rest.split_at_checked(size) else { return false };
        let variant = n == 3 && matches!(version, Some('4' | '5'));
        if !group.bytes().all(|byte| byte.is_ascii_hexdigit())
            || (n == 2 && version.is_some_and(|version| !group.starts_with(version)))
            || (variant && !group.starts_with(['8', '9', 'a', 'b', 'A', 'B']))
        {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

fn email(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && !domain.is_empty()
            && !local.contains(char::is_whitespace)
            && !domain.contains(' ')
    })
}

fn hostname(text: &str) -> bool {
    let label = |label: &str| {
        let edge = |b: u8| b.is_ascii_alphanumeric();
        let bytes = label.as_bytes();
        !bytes.is_empty()
            && bytes.len() <= 63
            && bytes.iter().all(|b| edge(*b) || *b == b'-')
            && bytes.first().is_some_and(|b| edge(*b))
            && bytes.last().is_some_and(|b| edge(*b))
    };
    text.len() <= 255 && text.trim_end_matches('.').split('.').all(label)
}
