//! The key of a lease: `10.12.13.0-24`, or `10.12.13.0-24&fd00:12:13::-56` with two families.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::LazyLock;

use ipnet::{Ipv4Net, Ipv6Net};
use regex::Regex;

use crate::go;

/// The subnets of one node: the last part of a lease's key in etcd.
///
/// Prints flannel's exact text. Ordered by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnets {
    pub v4: Ipv4Net,
    pub v6: Option<Ipv6Net>,
}

impl Subnets {
    /// A lease of one IPv4 subnet.
    pub const fn v4(v4: Ipv4Net) -> Self {
        Self { v4, v6: None }
    }

    /// A lease of a subnet in each family.
    pub const fn dual(v4: Ipv4Net, v6: Ipv6Net) -> Self {
        Self { v4, v6: Some(v6) }
    }

    /// Whether the addresses have no bit set behind the prefix. flannel reads a key such as `10.5.1.7-24` and then
    /// fails to route it; nobody should use one.
    pub fn is_aligned(&self) -> bool {
        self.v4 == self.v4.trunc() && self.v6.is_none_or(|v6| v6 == v6.trunc())
    }

    /// Whether the two share an address in either family.
    pub fn overlaps(&self, other: &Self) -> bool {
        let v4 = self.v4.contains(&other.v4.network()) || other.v4.contains(&self.v4.network());
        let v6 = match (self.v6, other.v6) {
            (Some(a), Some(b)) => a.contains(&b.network()) || b.contains(&a.network()),
            _ => false,
        };
        v4 || v6
    }
}

impl fmt::Display for Subnets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.v4.addr(), self.v4.prefix_len())?;
        match self.v6 {
            Some(v6) => write!(f, "&{}-{}", go::ipv6_text(v6.addr()), v6.prefix_len()),
            None => Ok(()),
        }
    }
}

/// The text is not the key of a lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the key of a lease (10.5.1.0-24, or 10.5.1.0-24&fd00:5:1::-64)")]
pub struct BadKey(pub String);

/// flannel's own expression (`pkg/subnet/subnet.go`), digits spelled out. It is not anchored at its start, so that it
/// takes a whole etcd key, and three of its dots stand for any character: the address parser behind it is what
/// refuses `10x12x13x0`.
static KEY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"([0-9]+\.[0-9]+.[0-9]+.[0-9]+)-([0-9]+)(?:&([a-f0-9:]+)-([0-9]+))?$")
        .expect("a constant expression")
});

impl FromStr for Subnets {
    type Err = BadKey;

    /// Reads what flannel reads: text in front, such as the etcd prefix, is ignored, and so are leading zeros of a
    /// prefix length. IPv4 lengths go up to 31 and IPv6 lengths up to 127, as in flannel.
    fn from_str(key: &str) -> Result<Self, BadKey> {
        parse(key).ok_or_else(|| BadKey(key.to_owned()))
    }
}

fn parse(key: &str) -> Option<Subnets> {
    let parts = KEY.captures(key)?;
    let address: Ipv4Addr = parts[1].parse().ok()?;
    let v4 = Ipv4Net::new(address, length(&parts[2], 31)?).ok()?;
    let v6 = match (parts.get(3), parts.get(4)) {
        (Some(address), Some(bits)) => {
            let address: Ipv6Addr = address.as_str().parse().ok()?;
            Some(Ipv6Net::new(address, length(bits.as_str(), 127)?).ok()?)
        }
        _ => None,
    };
    // `::/0` is how flannel says that there is no IPv6 subnet.
    Some(Subnets { v4, v6: v6.filter(|v6| *v6 != Ipv6Net::default()) })
}

/// A prefix length, as Go's `ParseUint` reads one of a limited number of bits.
fn length(digits: &str, most: u8) -> Option<u8> {
    match digits.trim_start_matches('0') {
        "" => Some(0),
        digits => digits.parse().ok().filter(|length| *length <= most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subnets(key: &str) -> Subnets {
        key.parse().unwrap()
    }

    #[test]
    fn reads_and_prints_the_keys_of_flannel() {
        let one = Subnets::v4("10.12.13.0/24".parse().unwrap());
        assert_eq!(subnets("10.12.13.0-24"), one);
        assert_eq!(one.to_string(), "10.12.13.0-24");

        let two = Subnets::dual("10.12.13.0/24".parse().unwrap(), "fd00:12:13::/56".parse().unwrap());
        assert_eq!(subnets("10.12.13.0-24&fd00:12:13::-56"), two);
        assert_eq!(two.to_string(), "10.12.13.0-24&fd00:12:13::-56");
    }

    /// The keys that flannel's own test holds to be invalid (`pkg/subnet/subnet_test.go`).
    #[test]
    fn refuses_the_keys_that_flannel_refuses() {
        let invalid = [
            "10",
            "10.12.13.0",
            "10.12.13-24",
            "10.12.13.300-24",
            "10.12.13.0-24hi",
            "&2001::-56",
            "10.12.13.0-24&:12:13:-56",
            "10.12.13.0-24&20011::-56",
            "10.12.13.0-24&2001-56",
            "10.12.13.0-24&2001::",
            "10.12.13.0-24&2001::-56hi",
        ];
        for key in invalid {
            assert_eq!(key.parse::<Subnets>(), Err(BadKey(key.to_owned())));
        }
    }

    /// Consequences of flannel's expression and of Go's parsers.
    #[test]
    fn is_as_strict_and_as_lenient_as_flannel() {
        assert_eq!(subnets("/coreos.com/network/subnets/10.12.13.0-24"), subnets("10.12.13.0-24"));
        assert_eq!(subnets("1.10.12.13.0-24"), subnets("10.12.13.0-24"));
        assert_eq!(subnets("10.12.13.0-024").to_string(), "10.12.13.0-24");
        assert_eq!(subnets("10.12.13.7-24").to_string(), "10.12.13.7-24");
        assert_eq!(subnets("10.12.13.0-24&::-0"), subnets("10.12.13.0-24"));
        assert_eq!(
            subnets("10.12.13.0-24&fd00:0:0:1:0:0:0:0-64").to_string(),
            "10.12.13.0-24&fd00:0:0:1::-64"
        );
        let refused = [
            "10.12.13.0-32",
            "10.12.13.0-256",
            "10.12.13.0-99999999999999999999999",
            "10.12.13.0-24&fd00::-128",
            "10.12.13.0-24&FD00::-64",
            "10.012.13.0-24",
            "10x12x13x0-24",
            "10.12x13.0-24",
            "10.12.13.0-24\n",
            "10.12.13.0-24/config",
            "",
        ];
        for key in refused {
            assert!(key.parse::<Subnets>().is_err(), "{key:?}");
        }
    }

    #[test]
    fn overlap_is_in_either_family() {
        let a = subnets("10.5.1.0-24&fd00:5:1::-64");
        assert!(a.overlaps(&subnets("10.5.0.0-16")));
        assert!(a.overlaps(&subnets("10.5.1.64-26")));
        assert!(a.overlaps(&subnets("10.5.2.0-24&fd00:5::-32")));
        assert!(!a.overlaps(&subnets("10.5.2.0-24")));
        assert!(!a.overlaps(&subnets("10.5.2.0-24&fd00:5:2::-64")));
    }

    #[test]
    fn bits_behind_the_prefix_are_noticed() {
        assert!(subnets("10.5.1.0-24&fd00:5:1::-64").is_aligned());
        assert!(!subnets("10.5.1.7-24").is_aligned());
        assert!(!subnets("10.5.1.0-24&fd00:5:1::1-64").is_aligned());
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(a: u32, len in 0u8..32, b in 1u128.., len6 in 1u8..128, dual: bool) {
            let v4 = Ipv4Net::new(a.into(), len).unwrap();
            let v6 = Ipv6Net::new(b.into(), len6).unwrap();
            // flannel prints an IPv4-mapped subnet in dotted form and then cannot read it.
            prop_assume!(v6.addr().to_ipv4_mapped().is_none());
            let want = Subnets { v4, v6: dual.then_some(v6) };
            prop_assert_eq!(want.to_string().parse(), Ok(want));
        }

        #[test]
        fn any_text_is_read_without_a_panic(key in "[0-9a-f.:&x/é-]{0,40}") {
            if let Ok(subnets) = key.parse::<Subnets>() {
                let text = subnets.to_string();
                prop_assert_eq!(text.parse(), Ok(subnets), "{}", text);
            }
        }
    }
}
