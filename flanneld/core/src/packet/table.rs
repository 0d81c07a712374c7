//! Which peer holds which subnet.

use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// A peer, as the table knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Position in [`PeerTable::peers`], for counters kept beside the table.
    pub index: usize,
    /// The public address: where datagrams for its subnets go, and where they come from.
    pub address: Ipv4Addr,
}

/// The leases of all other nodes, made for look-ups: longest prefix of an inner address, and sender of a datagram.
///
/// Nested subnets are cut into ranges that do not overlap, so a look-up is one binary search
/// whatever the number of prefix lengths (tens of nanoseconds at 10,000 leases).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerTable {
    /// First address of each range, ascending. A range ends before the next one.
    starts: Vec<u32>,
    /// Who holds the range of the same position: an index into `peers`, or nobody.
    holders: Vec<Option<u32>>,
    /// Public addresses, ascending, each once.
    peers: Vec<Ipv4Addr>,
}

impl PeerTable {
    /// From subnet to public address. Host bits of a subnet are ignored. A public address may hold several subnets.
    pub fn new(leases: &BTreeMap<Ipv4Net, Ipv4Addr>) -> Self {
        let mut peers: Vec<_> = leases.values().copied().collect();
        peers.sort_unstable();
        peers.dedup();

        let mut table = Self { peers, ..Self::default() };
        // Ascending by address, then by prefix length: a net comes before those nested in it.
        let leases: BTreeMap<_, _> = leases.iter().map(|(net, peer)| (net.trunc(), *peer)).collect();
        let mut open: Vec<(u32, u32)> = Vec::new(); // last address and holder of the nets around the current one
        for (net, peer) in leases {
            let first = net.network().to_bits();
            table.close(&mut open, Some(first));
            let holder = table.peers.binary_search(&peer).map_or(0, |at| at as u32);
            table.push(first, Some(holder));
            open.push((net.broadcast().to_bits(), holder));
        }
        table.close(&mut open, None);
        table
    }

    /// Ends the nets that lie wholly before `next`; each gives way to the net around it.
    fn close(&mut self, open: &mut Vec<(u32, u32)>, next: Option<u32>) {
        while let Some((last, _)) = open.pop_if(|(last, _)| next.is_none_or(|next| *last < next)) {
            if let Some(after) = last.checked_add(1) {
                self.push(after, open.last().map(|(_, holder)| *holder));
            }
        }
    }

    /// Begins a range; one that began at the same address is replaced.
    fn push(&mut self, start: u32, holder: Option<u32>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.holders.pop();
        }
        self.starts.push(start);
        self.holders.push(holder);
    }

    /// The peer that holds the longest prefix of `address`.
    pub fn route(&self, address: Ipv4Addr) -> Option<Peer> {
        let after = self.starts.partition_point(|start| *start <= address.to_bits());
        let index = (*self.holders.get(after.checked_sub(1)?)?)? as usize;
        Some(Peer { index, address: *self.peers.get(index)? })
    }

    /// The peer whose public address is `address`.
    pub fn sender(&self, address: Ipv4Addr) -> Option<Peer> {
        self.peers.binary_search(&address).ok().map(|index| Peer { index, address })
    }

    /// True if an answer to `source` would go to `peer`: the test of the inner source of what `peer` sent.
    pub fn holds(&self, peer: Peer, source: Ipv4Addr) -> bool {
        self.route(source) == Some(peer)
    }

    /// The public addresses, ascending.
    pub fn peers(&self) -> &[Ipv4Addr] {
        &self.peers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leases(list: &[(&str, &str)]) -> BTreeMap<Ipv4Net, Ipv4Addr> {
        list.iter().map(|(net, peer)| (net.parse().unwrap(), peer.parse().unwrap())).collect()
    }

    fn routed(table: &PeerTable, address: &str) -> Option<String> {
        table.route(address.parse().unwrap()).map(|peer| peer.address.to_string())
    }

    #[test]
    fn longest_prefix_wins() {
        let table = PeerTable::new(&leases(&[
            ("10.5.0.0/16", "192.0.2.1"),
            ("10.5.1.0/24", "192.0.2.2"),
            ("10.5.1.255/32", "192.0.2.3"),
            ("10.5.255.0/24", "192.0.2.2"),
        ]));
        let is = |address: &str, peer: Option<&str>| {
            assert_eq!(routed(&table, address).as_deref(), peer, "{address}")
        };
        is("10.4.255.255", None);
        is("10.5.0.0", Some("192.0.2.1"));
        is("10.5.1.0", Some("192.0.2.2"));
        is("10.5.1.254", Some("192.0.2.2"));
        is("10.5.1.255", Some("192.0.2.3"));
        is("10.5.2.0", Some("192.0.2.1"));
        is("10.5.255.255", Some("192.0.2.2"));
        is("10.6.0.0", None);
    }

    #[test]
    fn the_ends_of_the_address_space() {
        let table =
            PeerTable::new(&leases(&[("0.0.0.0/0", "192.0.2.1"), ("255.255.255.255/32", "192.0.2.2")]));
        assert_eq!(routed(&table, "0.0.0.0").as_deref(), Some("192.0.2.1"));
        assert_eq!(routed(&table, "255.255.255.254").as_deref(), Some("192.0.2.1"));
        assert_eq!(routed(&table, "255.255.255.255").as_deref(), Some("192.0.2.2"));
        assert_eq!(PeerTable::default().route(Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn one_address_may_hold_several_subnets() {
        let table = PeerTable::new(&leases(&[
            ("10.5.1.0/24", "192.0.2.1"),
            ("10.5.3.0/24", "192.0.2.1"),
            ("10.5.2.0/24", "192.0.2.2"),
        ]));
        assert_eq!(table.peers().len(), 2);
        let peer = table.sender("192.0.2.1".parse().unwrap()).unwrap();
        assert!(table.holds(peer, "10.5.1.9".parse().unwrap()));
        assert!(table.holds(peer, "10.5.3.9".parse().unwrap()));
        assert!(!table.holds(peer, "10.5.2.9".parse().unwrap()));
        assert!(!table.holds(peer, "10.5.4.9".parse().unwrap()));
        assert_eq!(table.sender("192.0.2.3".parse().unwrap()), None);
    }

    #[test]
    fn ten_thousand_leases() {
        let leases: BTreeMap<Ipv4Net, Ipv4Addr> = (0..10_000u32)
            .map(|i| {
                (
                    Ipv4Net::new_assert(Ipv4Addr::from_bits(0x0a00_0000 + (i << 8)), 24),
                    Ipv4Addr::from_bits(0xc0a8_0000 + i),
                )
            })
            .collect();
        let table = PeerTable::new(&leases);
        for i in 0..10_000u32 {
            let address = Ipv4Addr::from_bits(0x0a00_0000 + (i << 8) + (i & 0xff));
            let want = Ipv4Addr::from_bits(0xc0a8_0000 + i);
            assert_eq!(table.route(address).map(|peer| peer.address), Some(want));
        }
    }

    /// Few addresses and all prefix lengths, so that nesting, adjacency and duplicates are common.
    fn nets() -> impl Strategy<Value = BTreeMap<Ipv4Net, Ipv4Addr>> {
        let address = prop_oneof![0u32..64, 0xffff_ffc0u32..=u32::MAX];
        let net = (address, prop_oneof![Just(0u8), 24u8..=32])
            .prop_map(|(address, len)| Ipv4Net::new_assert(Ipv4Addr::from_bits(address), len));
        proptest::collection::btree_map(net, (1u32..6).prop_map(Ipv4Addr::from_bits), 0..24)
    }

    proptest! {
        #[test]
        fn agrees_with_looking_at_every_lease(leases in nets(), address in prop_oneof![0u32..300, 0xffff_fe00u32..=u32::MAX]) {
            let table = PeerTable::new(&leases);
            let address = Ipv4Addr::from_bits(address);
            // Of two spellings of one net, the later in the map counts.
            let naive = leases
                .iter()
                .filter(|(net, _)| net.contains(&address))
                .max_by_key(|(net, _)| (net.prefix_len(), net.addr()))
                .map(|(_, peer)| *peer);
            prop_assert_eq!(table.route(address).map(|peer| peer.address), naive);
            for peer in (0..8).map(Ipv4Addr::from_bits) {
                let known = leases.values().any(|holder| *holder == peer);
                prop_assert_eq!(table.sender(peer).is_some(), known);
                if let Some(sender) = table.sender(peer) {
                    prop_assert_eq!(table.peers()[sender.index], peer);
                    prop_assert_eq!(table.holds(sender, address), naive == Some(peer));
                }
            }
        }
    }
}
