//! URLs as Go reads them (`net/url`, of 1.26), with its words for what is none.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use crate::codec::quote::quoted;

/// The parts of a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Url {
    pub scheme: String,
    /// As it is written, with its password.
    user: String,
    /// With its port.
    pub host: String,
    /// What follows the scheme where that is no path: `x@y` of `mailto:x@y`.
    opaque: String,
    /// Escaped.
    pub path: String,
    query: String,
    fragment: String,
}

/// Queries of more parts are none.
const MAX_PARTS: usize = 10_000;

impl Url {
    /// An absolute URL or an absolute path, as requests have it.
    ///
    /// # Errors
    /// `parse "x": invalid URI for request`.
    pub fn request(text: &str) -> Result<Self, String> {
        Self::parse(text, true).map_err(|what| format!("parse {}: {what}", quoted(text)))
    }

    /// As [`Url::request`], of what may have a fragment.
    ///
    /// # Errors
    /// As there.
    pub fn with_fragment(text: &str) -> Result<Self, String> {
        Self::request(text)?;
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        let wrong = |what: String| format!("parse {}: {what}", quoted(text));
        unescaped(fragment, Part::Other).map_err(wrong)?;
        let url = Self::parse(text, false).map_err(wrong)?;
        Ok(Self { fragment: fragment.to_owned(), ..url })
    }

    fn parse(text: &str, of_request: bool) -> Result<Self, String> {
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        if text.is_empty() && of_request {
            return Err("empty url".to_owned());
        }
        if text == "*" {
            return Ok(Self { path: text.to_owned(), ..Self::default() });
        }
        let (scheme, rest) = scheme(text)?;
        let scheme = scheme.to_ascii_lowercase();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let query = query.to_owned();
        if !rest.starts_with('/') {
            if !scheme.is_empty() {
                return Ok(Self { scheme, query, opaque: rest.to_owned(), ..Self::default() });
            }
            if of_request {
                return Err("invalid URI for request".to_owned());
            }
            if rest.split('/').next().is_some_and(|first| first.contains(':')) {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        let has_authority = !scheme.is_empty() || (!of_request && !rest.starts_with("///"));
        let authority = rest.strip_prefix("//").filter(|_| has_authority);
        let (user, host, path) = match authority {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let (user, host) = split_user(&scheme, authority)?;
                (user, host, path)
            }
            None => (String::new(), String::new(), rest),
        };
        Ok(Self { scheme, user, host, path: escaped_path(path)?, query, ..Self::default() })
    }

    /// Without brackets, and the port, where it is a number.
    pub fn name_and_port(&self) -> (&str, &str) {
        let (name, port) = match self.host.rfind(':') {
            Some(at) if is_port(&self.host[at..]) => (&self.host[..at], &self.host[at + 1..]),
            _ => (self.host.as_str(), ""),
        };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        (bare.unwrap_or(name), port)
    }

    /// Values by their names; parts that are not well escaped are left out.
    pub fn queries(&self) -> BTreeMap<String, Vec<String>> {
        let mut out = BTreeMap::<_, Vec<String>>::new();
        if self.query.matches('&').count() >= MAX_PARTS {
            return out;
        }
        for part in self.query.split('&').filter(|part| !part.is_empty() && !part.contains(';')) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if let (Ok(name), Ok(value)) = (unescaped(name, Part::Query), unescaped(value, Part::Query)) {
                out.entry(lossy(&name)).or_default().push(lossy(&value));
            }
        }
        out
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn scheme(text: &str) -> Result<(&str, &str), String> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')));
    match end {
        Some(0) if text.starts_with(':') => Err("missing protocol scheme".to_owned()),
        Some(end) if text[end..].starts_with(':') && text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Ok((&text[..end], &text[end + 1..]))
        }
        _ => Ok(("", text)),
    }
}

fn split_user(scheme: &str, authority: &str) -> Result<(String, String), String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let host = parse_host(scheme, host)?;
    let Some(user) = user else { return Ok((String::new(), host)) };
    if !user.chars().all(|c| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c)) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    unescaped(user, Part::Other)?;
    Ok((user.to_owned(), host))
}

fn parse_host(scheme: &str, host: &str) -> Result<String, String> {
    let no_port = |port: &str| Err(format!("invalid port {} after host", quoted(port)));
    match host.rfind('[') {
        Some(0) => {
            let Some(end) = host.rfind(']') else { return Err("missing ']' in host".to_owned()) };
            let (name, port) = (&host[1..end], &host[end + 1..]);
            if !is_port(port) {
                return no_port(port);
            }
            let name = match name.find("%25") {
                Some(at) => {
                    lossy(&unescaped(&name[..at], Part::Host)?) + &lossy(&unescaped(&name[at..], Part::Zone)?)
                }
                None => lossy(&unescaped(name, Part::Host)?),
            };
            let (address, zone) = name.split_once('%').unwrap_or((&name, "x"));
            match address.parse::<Ipv6Addr>() {
                Ok(_) if !zone.is_empty() => Ok(format!("[{name}]{port}")),
                _ if name.parse::<std::net::Ipv4Addr>().is_ok() => Err("invalid IP-literal".to_owned()),
                _ => Err(format!("invalid host: ParseAddr({}): unable to parse IP", quoted(&name))),
            }
        }
        Some(_) => Err("invalid IP-literal".to_owned()),
        None => {
            // Of several colons, only the last begins a port, but for the web's own schemes.
            let strict = matches!(scheme, "http" | "https");
            let colon = if strict { host.find(':') } else { host.rfind(':') };
            match colon.map(|at| &host[at..]) {
                Some(port) if !is_port(port) => no_port(port),
                _ => Ok(lossy(&unescaped(host, Part::Host)?)),
            }
        }
    }
}

/// Nothing, or a colon and digits.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What the letters of a text are part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Host,
    Zone,
    Query,
    Other,
}

fn unescaped(text: &str, part: Part) -> Result<Vec<u8>, String> {
    let bad = |what: &[u8]| Err(format!("invalid URL escape {}", quoted(&String::from_utf8_lossy(what))));
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        match byte {
            b'%' => {
                let Some(value) = hex(after) else { return bad(&rest[..rest.len().min(3)]) };
                let percent = after.starts_with(b"25");
                // Only what is no ASCII may be escaped in a host.
                if (part == Part::Host && value < 0x80 && !percent)
                    || (part == Part::Zone && !percent && value != b' ' && !is_of_host(value))
                {
                    return bad(&rest[..3]);
                }
                out.push(value);
                rest = &after[2..];
                continue;
            }
            b'+' if part == Part::Query => out.push(b' '),
            byte if matches!(part, Part::Host | Part::Zone) && byte.is_ascii() && !is_of_host(*byte) => {
                let letter = char::from(*byte).to_string();
                return Err(format!("invalid character {} in host name", quoted(&letter)));
            }
            byte => out.push(*byte),
        }
        rest = after;
    }
    Ok(out)
}

fn hex(bytes: &[u8]) -> Option<u8> {
    let digit = |n: usize| bytes.get(n).and_then(|byte| char::from(*byte).to_digit(16));
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!\"$&'()*+,-.:;<=>[]_~".contains(&byte)
}

fn is_of_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"$&+,-./:;=@_~".contains(&byte)
}

/// A path as it is written, where that is well escaped; else as it should be.
fn escaped_path(path: &str) -> Result<String, String> {
    let plain = unescaped(path, Part::Other)?;
    if path.bytes().all(|byte| is_of_path(byte) || b"!'()*[]%".contains(&byte)) {
        return Ok(path.to_owned());
    }
    let mut out = String::with_capacity(path.len());
    for byte in plain {
        if is_of_path(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_refused_in_gos_words() {
        for (text, want) in [
            ("", "parse \"\": empty url"),
            ("A_b", "parse \"A_b\": invalid URI for request"),
            (":x", "parse \":x\": missing protocol scheme"),
            ("https://a:b", "parse \"https://a:b\": invalid port \":b\" after host"),
            ("http://[::1", "parse \"http://[::1\": missing ']' in host"),
            ("http://[1.2.3.4]/", "parse \"http://[1.2.3.4]/\": invalid IP-literal"),
            ("http://a b/", "parse \"http://a b/\": invalid character \" \" in host name"),
            ("/%zz", "parse \"/%zz\": invalid URL escape \"%zz\""),
            ("/%e", "parse \"/%e\": invalid URL escape \"%e\""),
            ("/\n", "parse \"/\\n\": net/url: invalid control character in URL"),
            ("http://a^@b/", "parse \"http://a^@b/\": net/url: invalid userinfo"),
        ] {
            assert_eq!(Url::request(text), Err(want.to_owned()));
        }
    }

    #[test]
    fn urls_have_parts() {
        let url = Url::with_fragment("HTTPS://u:p@e.com:80/a b/ä?x=1&y=+%41&z;&x=2&%#f").unwrap();
        assert_eq!((url.scheme.as_str(), url.host.as_str()), ("https", "e.com:80"));
        assert_eq!((url.path.as_str(), url.name_and_port()), ("/a%20b/%C3%A4", ("e.com", "80")));
        let queries: Vec<_> = url.queries().into_iter().collect();
        let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        assert_eq!(queries, [("x".to_owned(), texts(&["1", "2"])), ("y".to_owned(), texts(&[" A"]))]);
        let zone = Url::request("http://[fe80::1%25eth0]:1/").unwrap();
        assert_eq!(zone.name_and_port(), ("fe80::1%eth0", "1"));
        assert_eq!(Url::request("mailto:x@y").unwrap().opaque, "x@y");
    }
}
