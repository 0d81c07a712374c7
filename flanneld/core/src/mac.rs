//! Ethernet addresses, as flannel writes them.
//!
//! Begin at [`Mac`]. Never: draws random numbers itself; [`Mac::local`] takes them.

use std::fmt;
use std::str::FromStr;

/// A 48-bit Ethernet address. Prints as `c6:d2:32:6f:8f:44` (lower case, colons), which is how
/// flannel writes `VtepMAC`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// The text is not an Ethernet address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MAC address (six bytes in hexadecimal, such as c6:d2:32:6f:8f:44)")]
pub struct BadMac(pub String);

impl Mac {
    /// Makes a locally administered unicast address out of random bytes: in the first byte bit 0 (group) is
    /// cleared and bit 1 (local) set, as flannel does for the VTEP (`pkg/mac`).
    pub const fn local(mut random: [u8; 6]) -> Self {
        random[0] = random[0] & 0xfe | 0x02;
        Self(random)
    }

    /// The six bytes in the order of the wire.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether the address names a group (multicast or broadcast) rather than one station.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = BadMac;

    /// Reads the 48-bit forms that Go's `net.ParseMAC` reads, in either case:
    /// `00:00:5e:00:53:01`, `00-00-5e-00-53-01` and `0000.5e00.5301`.
    fn from_str(text: &str) -> Result<Self, BadMac> {
        parse(text).map(Self).ok_or_else(|| BadMac(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<[u8; 6]> {
    let (separator, digits) = match text.as_bytes().get(2)? {
        b':' => (':', 2),
        b'-' => ('-', 2),
        _ => ('.', 4),
    };
    let mut octets = [0; 6];
    let mut groups = text.split(separator);
    for chunk in octets.chunks_exact_mut(digits / 2) {
        let group = groups.next()?;
        // from_str_radix takes a sign, a MAC address has none.
        if group.len() != digits || !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        for (octet, at) in chunk.iter_mut().zip((0..digits).step_by(2)) {
            *octet = u8::from_str_radix(&group[at..at + 2], 16).ok()?;
        }
    }
    groups.next().is_none().then_some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_forms_that_go_reads() {
        let want = Mac([0, 0, 0x5e, 0, 0x53, 0xab]);
        for text in ["00:00:5e:00:53:ab", "00-00-5E-00-53-AB", "0000.5e00.53ab"] {
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        let bad = [
            "",
            "00",
            "00:00:5e:00:53",
            "00:00:5e:00:53:ab:cd",
            "00:00:5e:00:53:ag",
            "00:00:5e:00:53-ab",
            "0:00:5e:00:53:ab",
            "+0:00:5e:00:53:ab",
            "00005e0053ab",
            "00:00:5e:00:53:é",
            "é0:00",
        ];
        for text in bad {
            assert_eq!(text.parse::<Mac>(), Err(BadMac(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(octets: [u8; 6]) {
            let mac = Mac(octets);
            prop_assert_eq!(mac.to_string().parse(), Ok(mac));
        }

        #[test]
        fn a_local_address_is_unicast_and_locally_administered(random: [u8; 6]) {
            let Mac(octets) = Mac::local(random);
            prop_assert_eq!(octets[0] & 0b11, 0b10);
            prop_assert_eq!(octets[0] & 0xfc, random[0] & 0xfc);
            prop_assert_eq!(&octets[1..], &random[1..]);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,24}") {
            let _ = text.parse::<Mac>();
        }
    }
}
