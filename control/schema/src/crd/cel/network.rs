//! Addresses, networks and URLs.

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use super::super::urls::Url;
use super::eval::{Answer, error};
use super::maps::Entries;
use super::value::{Map, Value};

/// A network: an address, of which the first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    address: IpAddr,
    length: u8,
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
        // In digits, without zeros before them.
        let plain =
            length.bytes().all(|byte| byte.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
        let length: u8 = length.parse().ok().filter(|_| plain)?;
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
        ("url", [Value::Text(_)]) => match Url::with_fragment(text?) {
            Ok(url) => Ok(Value::Url(Rc::new(url))),
            Err(what) => error(format!("URL parse error during conversion from string: {what}")),
        },
        ("isURL", [Value::Text(_)]) => Ok(Value::Bool(Url::request(text?).is_ok())),
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
                let mut entries = Entries::default();
                for (name, values) in url.queries() {
                    let values = Value::list(values.into_iter().map(Value::text).collect());
                    if let Err(what) = entries.set(Value::text(name), values) {
                        return Some(error(what));
                    }
                }
                Value::Map(Map::Own(Rc::new(entries)))
            }
            _ => return None,
        }),
        _ => return None,
    })
}
