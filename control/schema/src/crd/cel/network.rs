//! Addresses, networks and URLs.

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use super::eval::{Answer, error};
use super::value::Value;

/// A network: an address, of which the first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    address: IpAddr,
    length: u8,
}

/// The parts of an absolute URL or of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// IPv4 in IPv6 and zones are no addresses here.
fn address(text: &str) -> Option<IpAddr> {
    match text.parse().ok()? {
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => None,
        address => Some(address),
    }
}

fn no_address<'a>(text: &str) -> Answer<'a> {
    error(format!(
        "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"
    ))
}

fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

impl Cidr {
    fn parse(text: &str) -> Option<Self> {
        let (base, length) = text.split_once('/')?;
        let base = address(base)?;
        let length: u8 = length.parse().ok()?;
        (length <= bits(base).1).then_some(Self { address: base, length })
    }

    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0)
    }

    fn contains(self, other: IpAddr) -> bool {
        let ((base, most), (other, family)) = (bits(self.address), bits(other));
        most == family && base & self.mask() == other & self.mask()
    }

    fn masked(self) -> Self {
        let (base, most) = bits(self.address);
        let base = base & self.mask();
        let address = match most {
            32 => IpAddr::V4(u32::try_from(base >> 96).unwrap_or_default().into()),
            _ => IpAddr::V6(base.into()),
        };
        Self { address, ..self }
    }
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        if text.contains(|c: char| c.is_control() || c == ' ') {
            return None;
        }
        let (before, query) = text.split_once('?').unwrap_or((text, ""));
        let query = query.to_owned();
        if before.starts_with('/') {
            return Some(Self { path: before.to_owned(), query, ..Self::default() });
        }
        let (scheme, rest) = before.split_once("://")?;
        let good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        good.then(|| Self {
            scheme: scheme.to_lowercase(),
            host: host.to_owned(),
            path: path.to_owned(),
            query,
        })
    }

    fn name_and_port(&self) -> (&str, &str) {
        let after = self.host.rfind(']').map_or(0, |at| at + 1);
        let (name, port) = match self.host[after..].rfind(':') {
            Some(at) => (&self.host[..after + at], &self.host[after + at + 1..]),
            None => (self.host.as_str(), ""),
        };
        (name.trim_start_matches('[').trim_end_matches(']'), port)
    }

    /// Values by their names.
    fn queries(&self) -> Vec<(String, Vec<String>)> {
        let mut out: Vec<(String, Vec<String>)> = Vec::new();
        for part in self.query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decoded(name), decoded(value));
            match out.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => out.push((name, vec![value])),
            }
        }
        out
    }
}

/// `%2F` and `+` of a query.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [b, after @ ..] = rest {
        rest = after;
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (b, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'+', _) => out.push(b' '),
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &after[2..];
            }
            (b, _) => out.push(*b),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `None`: none of these functions.
pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Answer<'a>> {
    let text = args.first().and_then(Value::as_text);
    Some(match (name, args) {
        ("ip", [Value::Text(_)]) => match address(text?) {
            Some(address) => Ok(Value::Ip(address)),
            None => no_address(text?),
        },
        ("isIP", [Value::Text(_)]) => Ok(Value::Bool(address(text?).is_some())),
        ("ip.isCanonical", [Value::Text(_)]) => match address(text?) {
            Some(address) => Ok(Value::Bool(address.to_string() == text?)),
            None => no_address(text?),
        },
        ("cidr", [Value::Text(_)]) => match Cidr::parse(text?) {
            Some(net) => Ok(Value::Cidr(net)),
            None => error(format!("network address parse error during conversion from string: {:?}", text?)),
        },
        ("isCIDR", [Value::Text(_)]) => Ok(Value::Bool(Cidr::parse(text?).is_some())),
        ("url", [Value::Text(_)]) => match Url::parse(text?) {
            Some(url) => Ok(Value::Url(Rc::new(url))),
            None => error(format!("URL parse error during conversion from string: {:?}", text?)),
        },
        ("isURL", [Value::Text(_)]) => Ok(Value::Bool(Url::parse(text?).is_some())),
        (_, [Value::Ip(address)]) => Ok(match name {
            "family" => Value::Int(if address.is_ipv4() { 4 } else { 6 }),
            "isUnspecified" => Value::Bool(address.is_unspecified()),
            "isLoopback" => Value::Bool(address.is_loopback()),
            "isLinkLocalMulticast" => Value::Bool(match address {
                IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
                IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
            }),
            "isLinkLocalUnicast" => Value::Bool(match address {
                IpAddr::V4(address) => address.is_link_local(),
                IpAddr::V6(address) => address.segments()[0] & 0xffc0 == 0xfe80,
            }),
            "isGlobalUnicast" => Value::Bool(match address {
                IpAddr::V4(address) => {
                    !(address.is_unspecified()
                        || address.is_loopback()
                        || address.is_multicast()
                        || address.is_link_local()
                        || address.is_broadcast())
                }
                IpAddr::V6(address) => {
                    !(address.is_unspecified() || address.is_loopback() || address.is_multicast())
                        && address.segments()[0] & 0xffc0 != 0xfe80
                }
            }),
            _ => return None,
        }),
        ("containsIP", [Value::Cidr(net), Value::Ip(address)]) => Ok(Value::Bool(net.contains(*address))),
        ("containsIP", [Value::Cidr(net), Value::Text(text)]) => match address(text.get()) {
            Some(address) => Ok(Value::Bool(net.contains(address))),
            None => no_address(text.get()),
        },
        ("containsCIDR", [Value::Cidr(net), other]) => {
            let other = match other {
                Value::Cidr(other) => Some(*other),
                other => other.as_text().and_then(Cidr::parse),
            };
            match other {
                Some(other) => Ok(Value::Bool(net.length <= other.length && net.contains(other.address))),
                None => error("network address parse error during conversion from string"),
            }
        }
        (_, [Value::Cidr(net)]) => Ok(match name {
            "ip" => Value::Ip(net.address),
            "masked" => Value::Cidr(net.masked()),
            "prefixLength" => Value::Int(i64::from(net.length)),
            _ => return None,
        }),
        (_, [Value::Url(url)]) => Ok(match name {
            "getScheme" => Value::text(url.scheme.as_str()),
            "getHost" => Value::text(url.host.as_str()),
            "getHostname" => Value::text(url.name_and_port().0),
            "getPort" => Value::text(url.name_and_port().1),
            "getEscapedPath" => Value::text(url.path.as_str()),
            "getQuery" => {
                let entries = url.queries().into_iter().map(|(name, values)| {
                    (Value::text(name), Value::list(values.into_iter().map(Value::text).collect()))
                });
                Value::Map(super::value::Map::Own(Rc::new(entries.collect())))
            }
            _ => return None,
        }),
        _ => return None,
    })
}
