//! Ranges of addresses in objects, in the original's words (apimachinery's `util/validation/ip.go`).

use std::net::IpAddr;

use crate::field::{Path, quote};
use crate::names::sloppy_ip;

/// A range as Go's old parser reads it: the address as it is written and the length of the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    pub prefix: u8,
}

impl Cidr {
    /// Leading zeros are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let mut parsed = Self { address: sloppy_ip(address)?, prefix: number(prefix)? };
        let mapped = address.contains(':') && parsed.address.is_ipv4();
        if mapped {
            parsed.prefix = parsed.prefix.checked_sub(96)?;
        }
        (parsed.prefix <= parsed.bits()).then_some(parsed)
    }

    fn bits(self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// The first address of the range.
    pub fn first(self) -> IpAddr {
        masked(self.address, self.prefix)
    }

    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.first()
    }

    fn canonical(self) -> String {
        format!("{}/{}", self.first(), self.prefix)
    }
}

fn number(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or_default();
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or_default();
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

/// A range as old fields take it.
pub fn legacy(text: &str) -> Vec<String> {
    let Some(cidr) = Cidr::parse(text) else {
        return vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()];
    };
    let (address, prefix) = text.split_once('/').unwrap_or_default();
    let problem = match address.parse::<IpAddr>() {
        Err(_) => "must not have leading 0s in IP or prefix length",
        Ok(_) if prefix.len() > 1 && prefix.starts_with('0') => {
            "must not have leading 0s in IP or prefix length"
        }
        Ok(_) if address.contains(':') && cidr.address.is_ipv4() => {
            "must not have an IPv4-mapped IPv6 address"
        }
        Ok(parsed) if parsed != cidr.first() => "must not have bits set beyond the prefix length",
        Ok(_) => return Vec::new(),
    };
    vec![problem.to_owned()]
}

/// A range in its one true form.
pub fn strict(text: &str) -> Vec<String> {
    let errors = legacy(text);
    match Cidr::parse(text) {
        Some(cidr) if errors.is_empty() && cidr.canonical() != text => {
            vec![format!("must be in canonical form ({})", quote(&cidr.canonical()))]
        }
        _ => errors,
    }
}

/// An address with the prefix of its network, in its one true form.
pub fn interface(text: &str) -> Vec<String> {
    let Some(cidr) = Cidr::parse(text) else {
        return vec!["must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)".to_owned()];
    };
    let canonical = format!("{}/{}", cidr.address, cidr.prefix);
    match canonical == text {
        true => Vec::new(),
        false => vec![format!("must be in canonical form ({})", quote(&canonical))],
    }
}

/// Warnings for a range in an old field that is ambiguous or has another form than today's.
pub fn warnings(path: &Path, text: &str) -> Vec<String> {
    let Some(cidr) = Cidr::parse(text) else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    let shown = quote(text);
    if cidr.address != cidr.first() {
        let (range, single) = (quote(&cidr.canonical()), quote(&format!("{}/{}", cidr.address, cidr.bits())));
        warnings.push(format!(
            "{path}: CIDR value {shown} is ambiguous in this context (should be {range} or {single}?)"
        ));
    }
    let (address, prefix) = text.split_once('/').unwrap_or_default();
    let zeros = prefix.len() > 1 && prefix.starts_with('0');
    let mapped = address.contains(':') && cidr.address.is_ipv4();
    if address.parse::<IpAddr>().is_err() || zeros || mapped {
        let range = quote(&cidr.canonical());
        warnings.push(format!("{path}: non-standard CIDR value {shown} is invalid: use {range}"));
    }
    let true_form = format!("{}/{}", cidr.address, cidr.prefix);
    if warnings.is_empty() && cidr.address.is_ipv6() && true_form != text {
        let range = quote(&true_form);
        warnings.push(format!(
            "{path}: IPv6 CIDR value {shown} should be in RFC 5952 canonical format ({range})"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_taken_as_the_original_takes_them() {
        for (text, error) in [
            ("10.0.0.0/8", None),
            ("2001:db8::/64", None),
            ("10.0.0.0", Some("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")),
            ("10.0.0.0/33", Some("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")),
            ("10.0.0.00/8", Some("must not have leading 0s in IP or prefix length")),
            ("10.0.0.0/08", Some("must not have leading 0s in IP or prefix length")),
            ("::ffff:10.0.0.0/104", Some("must not have an IPv4-mapped IPv6 address")),
            ("10.0.0.1/8", Some("must not have bits set beyond the prefix length")),
            ("0.0.0.0/0", None),
            ("::/0", None),
        ] {
            assert_eq!(legacy(text).first().map(String::as_str), error, "{text}");
        }
        assert_eq!(strict("2001:0db8::/64"), [r#"must be in canonical form ("2001:db8::/64")"#]);
        let cidr = Cidr::parse("10.0.0.0/9").expect("a range");
        assert!(cidr.contains([10, 127, 0, 1].into()) && !cidr.contains([10, 128, 0, 0].into()));
    }

    #[test]
    fn an_ambiguous_range_is_warned_of() {
        let path = Path::new("cidr");
        assert_eq!(
            warnings(&path, "10.1.0.0/8"),
            [
                r#"cidr: CIDR value "10.1.0.0/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.1.0.0/32"?)"#
            ]
        );
        assert_eq!(
            warnings(&path, "2001:0db8::/64"),
            [
                r#"cidr: IPv6 CIDR value "2001:0db8::/64" should be in RFC 5952 canonical format ("2001:db8::/64")"#
            ]
        );
        assert!(warnings(&path, "10.0.0.0/8").is_empty());
    }
}
