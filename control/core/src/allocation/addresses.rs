//! Addresses of services: a range, and the order in which its addresses are tried.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that services may have, as in `--service-cluster-ip-range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    network: IpAddr,
    prefix: u8,
}

/// Why an address is refused, in the original's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("provided IP is already allocated")]
    Taken,
    #[error("the provided IP ({address}) is not in the valid range. The range of valid IPs is {range}")]
    Outside { address: IpAddr, range: AddressRange },
    /// No range that is ready has the address.
    #[error("the provided network does not match the current range")]
    Elsewhere,
    #[error("range is full")]
    Full,
}

impl AddressRange {
    /// `network` without its host part; `None` where the prefix is longer than the address.
    pub fn new(network: IpAddr, prefix: u8) -> Option<Self> {
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let host = bits - u32::from(prefix.min(128)).min(bits);
        if u32::from(prefix) > bits {
            return None;
        }
        let number = number(network);
        let masked = number.checked_shr(host).unwrap_or(0).checked_shl(host).unwrap_or(0);
        Some(Self { network: address(masked, network.is_ipv4()), prefix })
    }

    /// Addresses that a service can have. The first one is the network's; the last one of IPv4 is its broadcast address.
    pub fn size(self) -> u64 {
        let bits = if self.network.is_ipv4() { 32 } else { 128 };
        let host = bits - u32::from(self.prefix);
        let all = if host >= 64 { u64::MAX } else { 1 << host };
        all.saturating_sub(if self.network.is_ipv4() { 2 } else { 1 })
    }

    /// Addresses at the start that are given away by name only as long as there are others: a sixteenth, but 16 at least
    /// and 256 at most (KEP-3070).
    pub fn reserved(self) -> u64 {
        match self.size() {
            ..=16 => 0,
            size => (size / 16).clamp(16, 256),
        }
    }

    fn place(self, address: IpAddr) -> Option<u64> {
        let same = address.is_ipv4() == self.network.is_ipv4();
        let offset = number(address).checked_sub(number(self.network))?;
        let place = u64::try_from(offset).ok()?.checked_sub(1)?;
        (same && place < self.size()).then_some(place)
    }

    fn at(self, place: u64) -> IpAddr {
        address(number(self.network).saturating_add(u128::from(place) + 1), self.network.is_ipv4())
    }

    pub fn contains(self, address: IpAddr) -> bool {
        self.place(address).is_some()
    }

    /// The address of the Service `default/kubernetes`.
    pub fn first(self) -> IpAddr {
        self.at(0)
    }

    /// The network itself: what a dry run shows.
    pub fn network(self) -> IpAddr {
        self.network
    }

    /// The next free address, looking from `start` (any number) on: behind the reserved ones first. It looks at no more
    /// than `most`; who knows how many are taken, needs one more.
    pub fn next(self, start: u64, most: u64, is_taken: &dyn Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let low = self.reserved();
        let free = |from: u64, to: u64| {
            let size = to.saturating_sub(from);
            let place = |n: u64| {
                let place = (u128::from(start % size) + u128::from(n)) % u128::from(size);
                from + u64::try_from(place).unwrap_or_default()
            };
            (0..size.min(most)).map(|n| self.at(place(n))).find(|address| !is_taken(*address))
        };
        free(low, self.size()).or_else(|| free(0, low))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn address(number: u128, v4: bool) -> IpAddr {
    match v4 {
        true => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        false => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn range(network: &str, prefix: u8) -> AddressRange {
        AddressRange::new(network.parse().expect("an address"), prefix).expect("a range")
    }

    #[test]
    fn a_range_has_neither_its_network_nor_its_broadcast_address() {
        let range = range("10.96.0.7", 28);
        let all: Vec<IpAddr> = ["10.96.0.1", "10.96.0.14"].map(|ip| ip.parse().unwrap()).into();
        assert_eq!((range.first(), range.network()), (all[0], "10.96.0.0".parse().unwrap()));
        assert!(all.iter().all(|address| range.contains(*address)));
        assert!(!range.contains("10.96.0.15".parse().unwrap()) && !range.contains("::1".parse().unwrap()));
        let outside = AddressError::Outside { address: "10.96.0.15".parse().unwrap(), range };
        assert_eq!(
            outside.to_string(),
            "the provided IP (10.96.0.15) is not in the valid range. The range of valid IPs is 10.96.0.0/28"
        );
    }

    #[test]
    fn every_address_of_a_range_is_found_once_and_reserved_ones_last() {
        let range = range("10.0.0.0", 27);
        let mut taken = BTreeSet::new();
        let mut order = Vec::new();
        while let Some(address) =
            range.next(1_000_003, taken.len() as u64 + 1, &|address| taken.contains(&address))
        {
            assert!(taken.insert(address));
            order.push(address);
        }
        assert_eq!(order.len() as u64, range.size());
        let reserved = range.at(range.reserved());
        assert!(
            order[..(range.size() - range.reserved()) as usize].iter().all(|address| *address >= reserved)
        );
    }

    #[test]
    fn large_ranges_and_odd_ones_do_no_harm() {
        let free = |_: IpAddr| false;
        assert!(range("fd00::", 64).next(u64::MAX, 1, &free).is_some());
        assert!(range("fd00::", 0).next(7, u64::MAX, &free).is_some());
        assert_eq!(range("10.0.0.0", 32).next(0, 1, &free), None);
        assert!(AddressRange::new("10.0.0.0".parse().unwrap(), 33).is_none());
    }
}
