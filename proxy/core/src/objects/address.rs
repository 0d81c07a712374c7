//! Addresses as the API has them.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// The API accepts what Go once did: leading zeros in IPv4 (decimal, not octal), and IPv4 in IPv6 notation, which means
/// the IPv4 address.
pub(super) fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let parsed = text.parse::<IpAddr>().ok().or_else(|| leading_zeros(text));
    parsed.map(|ip| ip.to_canonical()).ok_or_else(|| format!("{text:?} is not an IP address"))
}

/// A CIDR, its host bits cleared.
pub(super) fn parse_net(text: &str) -> Result<IpNet, String> {
    let bad = || format!("{text:?} is not a CIDR");
    let (ip, len) = text.split_once('/').ok_or_else(bad)?;
    let ip = parse_ip(ip)?;
    let digits = !len.is_empty() && len.bytes().all(|byte| byte.is_ascii_digit());
    let len = len.parse().ok().filter(|_| digits).ok_or_else(bad)?;
    Ok(IpNet::new(ip, len).map_err(|_| bad())?.trunc())
}

fn leading_zeros(text: &str) -> Option<IpAddr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        let digits = !part.is_empty() && part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        *octet = part.parse().ok().filter(|_| digits)?;
    }
    parts.next().is_none().then_some(IpAddr::V4(Ipv4Addr::from(octets)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_spellings_of_addresses_are_read_as_the_api_reads_them() {
        assert_eq!(parse_ip("010.0.0.09").unwrap().to_string(), "10.0.0.9");
        assert_eq!(parse_ip("::ffff:10.0.0.9").unwrap().to_string(), "10.0.0.9");
        assert_eq!(parse_ip("fd00::0a").unwrap().to_string(), "fd00::a");
        assert_eq!(parse_net("10.96.3.4/16").unwrap().to_string(), "10.96.0.0/16");
        for bad in ["", "10.0.0", "10.0.0.256", "10.0.0.1.2", "10.0.0.+1", "x", "10.0.0.0001"] {
            assert!(parse_ip(bad).is_err(), "{bad}");
        }
        for bad in ["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "/8"] {
            assert!(parse_net(bad).is_err(), "{bad}");
        }
    }
}
