//! The subnets that nodes may take.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::ConfigError;
use super::fields::{Fields, bad};
use crate::go;

/// A network cut into subnets of one size, of which those from `min` to `max` may be leased.
///
/// Built by [`super::NetworkConfig::parse`]: `network` has no host bits, `min` and `max` lie in it, are multiples of
/// the subnet size, and `min <= max`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    pub network: IpNet,
    /// Prefix length of each subnet.
    pub subnet_len: u8,
    /// The first subnet that may be leased. By default the second of the network: the first would have the
    /// network's own address in it.
    pub min: IpAddr,
    /// The last subnet that may be leased.
    pub max: IpAddr,
}

impl Pool {
    /// How many subnets may be leased. `u128::MAX` at most.
    pub fn count(&self) -> u128 {
        self.slot(self.max).saturating_add(1)
    }

    /// The subnet at a place of the pool, counted from `min`. `slot` must be below [`Pool::count`].
    pub fn subnet(&self, slot: u128) -> IpNet {
        let address = number(self.min) + (slot << self.host_bits());
        net(from_number(address, self.network), self.subnet_len)
    }

    /// Whether a node may hold this subnet: the right size, and from `min` to `max`.
    pub fn admits(&self, subnet: IpNet) -> bool {
        subnet.max_prefix_len() == self.network.max_prefix_len()
            && subnet.prefix_len() == self.subnet_len
            && subnet == subnet.trunc()
            && (self.min..=self.max).contains(&subnet.addr())
    }

    /// The places that a network covers, first and last; `None` if it covers none.
    pub(crate) fn slots(&self, taken: IpNet) -> Option<(u128, u128)> {
        if taken.max_prefix_len() != self.network.max_prefix_len() {
            return None;
        }
        let end = number(self.max) | ((1 << self.host_bits()) - 1);
        let first = number(taken.network()).max(number(self.min));
        let last = number(taken.broadcast()).min(end);
        let slot = |address: u128| (address - number(self.min)) >> self.host_bits();
        (first <= last).then(|| (slot(first), slot(last)))
    }

    fn slot(&self, address: IpAddr) -> u128 {
        (number(address) - number(self.min)) >> self.host_bits()
    }

    /// Address bits behind the subnet's prefix. Never 128: a subnet is smaller than its network.
    fn host_bits(&self) -> u8 {
        self.network.max_prefix_len() - self.subnet_len
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, subnet_len, min, max } = self;
        write!(f, "network {network} in /{subnet_len} subnets from {min} to {max}")
    }
}

/// The keys of one family, and its limits.
pub(super) struct Family {
    network: &'static str,
    len: &'static str,
    min: &'static str,
    max: &'static str,
    example: &'static str,
    bits: u8,
    /// What flannel gives a node where the network has room for it.
    usual_len: u8,
}

pub(super) const V4: Family = Family {
    network: "Network",
    len: "SubnetLen",
    min: "SubnetMin",
    max: "SubnetMax",
    example: "\"10.5.0.0/16\"",
    bits: 32,
    usual_len: 24,
};

pub(super) const V6: Family = Family {
    network: "IPv6Network",
    len: "IPv6SubnetLen",
    min: "IPv6SubnetMin",
    max: "IPv6SubnetMax",
    example: "\"fd00:5::/48\"",
    bits: 128,
    usual_len: 64,
};

/// Reads the pool of one family: flannel's `CheckNetworkConfig`, and that `min <= max`. flannel finds that out as
/// "out of subnets".
pub(super) fn read(fields: &Fields<'_>, family: &Family) -> Result<Pool, ConfigError> {
    let network = read_network(fields, family)?;
    let subnet_len = read_len(fields, family, network)?;
    let size = 1u128 << (family.bits - subnet_len);
    let second = number(network.network()) + size;
    let last = number(network.broadcast()) - (size - 1);

    let given = |key| read_bound(fields, family, key, network, size);
    let min = given(family.min)?.unwrap_or_else(|| from_number(second, network));
    let max = given(family.max)?.unwrap_or_else(|| from_number(last, network));
    if min > max {
        let legal = format!("{} ({min}) or later", family.min);
        return Err(bad(family.max, max, legal, "swap the two or leave them out"));
    }
    Ok(Pool { network, subnet_len, min, max })
}

fn read_network(fields: &Fields<'_>, family: &Family) -> Result<IpNet, ConfigError> {
    let legal = format!("a network such as {}", family.example);
    let example = format!("\"{}\":{}", family.network, family.example);
    let missing = ConfigError::Missing { key: family.network, example };
    let text = fields.text(family.network, &legal)?.ok_or_else(|| missing.clone())?;
    let wrong = || bad(family.network, format!("{text:?}"), &legal, "correct it");
    let network: IpNet = text.parse().map_err(|_| wrong())?;
    match network.trunc() {
        // flannel takes 0.0.0.0/0 for absent.
        network if number(network.addr()) == 0 && network.prefix_len() == 0 => Err(missing),
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => Err(wrong()),
        network if network.max_prefix_len() != family.bits => Err(wrong()),
        network => Ok(network),
    }
}

fn read_len(fields: &Fields<'_>, family: &Family, network: IpNet) -> Result<u8, ConfigError> {
    // A subnet has room for a tunnel and a bridge, and the network for four subnets: the first is not used.
    let (roomiest, longest) = (network.prefix_len() + 2, family.bits - 2);
    if roomiest > longest {
        let legal = format!("a prefix of /{} or shorter", longest - 2);
        return Err(bad(family.network, network, legal, "take a larger network"));
    }
    let legal = 0..=u32::from(family.bits);
    match fields.number(family.len, legal)?.unwrap_or(0) {
        0 => Ok(roomiest.max(family.usual_len)),
        len if len < roomiest.into() || len > longest.into() => {
            let legal =
                format!("{roomiest} to {longest}, so that {network} holds four subnets of four addresses");
            Err(bad(family.len, len, legal, "correct it or leave it out"))
        }
        len => Ok(len as u8),
    }
}

fn read_bound(
    fields: &Fields<'_>,
    family: &Family,
    key: &'static str,
    network: IpNet,
    size: u128,
) -> Result<Option<IpAddr>, ConfigError> {
    let legal = format!("an address of {network} that begins a subnet of {size} addresses");
    let Some(text) = fields.text(key, &legal)? else { return Ok(None) };
    let address = match network {
        IpNet::V4(_) => go::parse_ipv4(&text).map(IpAddr::from),
        IpNet::V6(_) => go::parse_ipv6(&text).map(IpAddr::from),
    };
    let wrong = |remedy: String| bad(key, format!("{text:?}"), &legal, remedy);
    match address {
        None => Err(wrong("correct it or leave it out".to_owned())),
        // flannel takes the zero address for absent.
        Some(address) if address.is_unspecified() => Ok(None),
        Some(address) if !network.contains(&address) => Err(wrong("correct it or leave it out".to_owned())),
        Some(address) if !number(address).is_multiple_of(size) => {
            let below = from_number(number(address) / size * size, network);
            Err(wrong(format!("write {below}, or change {}", family.len)))
        }
        Some(address) => Ok(Some(address)),
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// The address of the same family as `like`.
fn from_number(number: u128, like: IpNet) -> IpAddr {
    match like {
        IpNet::V4(_) => Ipv4Addr::from(number as u32).into(),
        IpNet::V6(_) => Ipv6Addr::from(number).into(),
    }
}

fn net(address: IpAddr, len: u8) -> IpNet {
    IpNet::new(address, len).expect("the prefix length of a checked pool")
}
