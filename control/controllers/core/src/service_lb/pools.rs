//! The addresses that may be given to Services: `--load-balancer-pool`.

use std::fmt;
use std::net::IpAddr;

use control_core::allocation::Family;
use control_core::cidrs::Cidr;

/// Ranges of addresses, of one family or two. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools(Vec<Range>);

/// All addresses from the first to the last, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    first: IpAddr,
    last: IpAddr,
    /// As it was given.
    text: String,
}

/// Why a text is no pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no pool of addresses: {why}; want a network such as 192.0.2.0/24 or a range such as \
     192.0.2.10-192.0.2.20"
)]
pub struct BadPool {
    text: String,
    why: &'static str,
}

impl Pools {
    /// # Errors
    /// The first text that is neither a network nor a range of addresses of one family.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPool> {
        texts.into_iter().map(|text| Range::new(text.trim())).collect::<Result<_, _>>().map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        self.of(Family::of(address)).any(|range| (range.first..=range.last).contains(&address))
    }

    pub fn has(&self, family: Family) -> bool {
        self.of(family).next().is_some()
    }

    /// Addresses of a family, range after range, each from its first one on.
    pub fn addresses(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        self.of(family).flat_map(Range::addresses)
    }

    /// The ranges of a family, as they were given.
    pub fn texts(&self, family: Family) -> String {
        let texts: Vec<&str> = self.of(family).map(|range| range.text.as_str()).collect();
        texts.join(",")
    }

    fn of(&self, family: Family) -> impl Iterator<Item = &Range> {
        self.0.iter().filter(move |range| Family::of(range.first) == family)
    }
}

impl fmt::Display for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self.0.iter().map(|range| range.text.as_str()).collect();
        f.write_str(&texts.join(","))
    }
}

impl Range {
    fn new(text: &str) -> Result<Self, BadPool> {
        let bad = |why| BadPool { text: text.to_owned(), why };
        let (first, last) = if let Some((first, last)) = text.split_once('-') {
            let address =
                |text: &str| text.trim().parse().map_err(|_| bad("one of its ends is no IP address"));
            (address(first)?, address(last)?)
        } else if let Some(network) = Cidr::parse(text) {
            (network.first(), last(network))
        } else {
            let single = text.parse().map_err(|_| bad("it is neither of both"))?;
            (single, single)
        };
        if Family::of(first) != Family::of(last) {
            return Err(bad("its ends are of two families"));
        }
        if last < first {
            return Err(bad("its last address comes before its first"));
        }
        let nobodys = |ip: IpAddr| ip.is_unspecified() || ip.is_loopback() || ip.is_multicast();
        if nobodys(first) || nobodys(last) {
            return Err(bad("no client reaches an unspecified, loopback or multicast address"));
        }
        Ok(Self { first, last, text: text.to_owned() })
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let v4 = self.first.is_ipv4();
        (bits(self.first)..=bits(self.last)).map(move |bits| match u32::try_from(bits) {
            Ok(bits) if v4 => IpAddr::V4(bits.into()),
            _ => IpAddr::V6(bits.into()),
        })
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn last(network: Cidr) -> IpAddr {
    match network.first() {
        IpAddr::V4(first) => {
            let hosts = u32::MAX.checked_shr(network.prefix.into()).unwrap_or_default();
            IpAddr::V4((u32::from(first) | hosts).into())
        }
        IpAddr::V6(first) => {
            let hosts = u128::MAX.checked_shr(network.prefix.into()).unwrap_or_default();
            IpAddr::V6((u128::from(first) | hosts).into())
        }
    }
}
