//! The formats of strings that validation knows. Unknown ones accept everything.

use std::net::{Ipv4Addr, Ipv6Addr};

use apiclient_core::time;

/// Whether the text is of the format, as far as that is known.
pub(super) fn is(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => date_time(text),
        "date" => time::parse(&format!("{text}T00:00:00Z")).is_some() && text.len() == 10,
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
        "uri" => uri(text),
        _ => true,
    }
}

fn date_time(text: &str) -> bool {
    time::parse(text).is_some()
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
    text.len().is_multiple_of(4)
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
    let bare: String = text.chars().filter(|c| *c != '-').collect();
    let dashes = text.len() == 32 || text.len() == 36;
    dashes
        && bare.len() == 32
        && bare.chars().all(|c| c.is_ascii_hexdigit())
        && version.is_none_or(|version| bare.chars().nth(12) == Some(version))
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

/// An absolute URI, or a path: as Go's `url.ParseRequestURI` takes it.
fn uri(text: &str) -> bool {
    if text.contains(|c: char| c.is_control() || c == ' ') {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        && !rest.is_empty()
}
