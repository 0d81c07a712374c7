//! Packets and bytes of each peer, where the kernel alone carries them (vxlan, host-gw): two maps from a peer's
//! subnet to its counters. All subnets have one length, so a mask and one look-up in a hash find the counter,
//! however many peers there are. Every packet pays for it (docs/benchmarks.md), so they exist
//! only while somebody reads them: from the first scrape of `/metrics` until ten minutes after the last.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use flanneld_core::network_id::NetworkId;
use host::error::HostError;
use host::nftables::build::{self, Load};
use host::nftables::{
    Batch, Chain, ChainType, Counter, Counts, Data, Element, Family, Hook, Nftables, Op, Rule, Set, Table,
    TableId, Type, Value, priority,
};
use ipnet::Ipv4Net;

use crate::traffic::Traffic;

/// The whole table is ours: one for each network.
pub fn table(id: &NetworkId) -> TableId {
    TableId::new(Family::Ip, &id.name("weft-flanneld"))
}

/// Who is counted: subnet and public address of each peer. `length` is that of all subnets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub length: u8,
    pub peers: BTreeMap<Ipv4Net, Ipv4Addr>,
}

struct Direction {
    /// Also the chain's name, and the first part of each counter's.
    map: &'static str,
    hook: Hook,
    address: fn() -> Load,
}

const DIRECTIONS: [Direction; 2] = [
    Direction { map: "to", hook: Hook::Postrouting, address: build::ip_daddr },
    Direction { map: "from", hook: Hook::Prerouting, address: build::ip_saddr },
];

/// What makes the maps hold exactly these peers; the counts of those that stay go on.
pub fn plan(nft: &mut Nftables, table: &TableId, counted: &Counted) -> Result<Batch, HostError> {
    let mut batch = Batch::new();
    let whole = is_whole(nft, table, counted)?;
    if !whole {
        batch.fresh_table(Table::new(table).comment("packets of each peer"));
    }
    for direction in &DIRECTIONS {
        let map = Arc::new(Set::counter_map(table, direction.map, &[Type::Ipv4Addr]));
        if !whole {
            let chain =
                Chain::base(table, direction.map, ChainType::Filter, direction.hook, priority::MANGLE);
            batch.add_set(&map).add_chain(chain).add_rule(rule(table, direction, counted.length));
        }
        let have = if whole { elements(nft, &map)? } else { BTreeMap::new() };
        let want: BTreeMap<Ipv4Addr, String> = counted
            .peers
            .iter()
            .filter(|(subnet, _)| subnet.prefix_len() == counted.length)
            .map(|(subnet, peer)| (subnet.network(), format!("{}-{peer}", direction.map)))
            .collect();
        difference(&mut batch, &map, &want, &have);
    }
    Ok(batch)
}

/// What was counted, by the peer's public address. Empty without the table.
pub fn read(nft: &mut Nftables, table: &TableId) -> Result<BTreeMap<IpAddr, Traffic>, HostError> {
    let mut traffic: BTreeMap<IpAddr, Traffic> = BTreeMap::new();
    for (Counter { name, .. }, Counts { packets, bytes }) in nft.counters(table)? {
        let Some((direction, peer)) = name.split_once('-') else { continue };
        let Ok(peer) = peer.parse::<IpAddr>() else { continue };
        let entry = traffic.entry(peer).or_default();
        match direction {
            "to" => (entry.tx_packets, entry.tx_bytes) = (packets, bytes),
            _ => (entry.rx_packets, entry.rx_bytes) = (packets, bytes),
        }
    }
    Ok(traffic)
}

/// What removes the table, if it is there.
pub fn removal(nft: &mut Nftables, table: &TableId) -> Result<Batch, HostError> {
    let mut batch = Batch::new();
    if nft.tables()?.iter().any(|found| found.id == *table) {
        batch.delete_table(table);
    }
    Ok(batch)
}

fn rule(table: &TableId, direction: &Direction, length: u8) -> Rule {
    let mask = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, length).netmask();
    let subnet = Load::Bits {
        of: Box::new((direction.address)()),
        mask: Data::from(mask),
        xor: Data::from(Ipv4Addr::UNSPECIFIED),
    };
    Rule::new(table, direction.map, [build::counter_map(subnet, direction.map)])
}

/// Whether the table stands as we made it, but for its elements.
fn is_whole(nft: &mut Nftables, table: &TableId, counted: &Counted) -> Result<bool, HostError> {
    if !nft.tables()?.iter().any(|found| found.id == *table) {
        return Ok(false);
    }
    let rules = nft.all_rules(table)?;
    Ok(rules.len() == DIRECTIONS.len()
        && DIRECTIONS.iter().all(|direction| {
            let want = rule(table, direction, counted.length);
            rules.iter().any(|listed| listed.rule.chain == want.chain && listed.rule.exprs == want.exprs)
        }))
}

fn elements(nft: &mut Nftables, map: &Set) -> Result<BTreeMap<Ipv4Addr, String>, HostError> {
    let listed = nft.elements(map)?;
    Ok(listed
        .into_iter()
        .filter_map(|listed| {
            let key: [u8; 4] = listed.element.key.bytes().try_into().ok()?;
            match listed.element.value {
                Some(Value::Object(name)) => Some((key.into(), name)),
                _ => None,
            }
        })
        .collect())
}

fn difference(
    batch: &mut Batch,
    map: &Arc<Set>,
    want: &BTreeMap<Ipv4Addr, String>,
    have: &BTreeMap<Ipv4Addr, String>,
) {
    let gone: Vec<_> = have.iter().filter(|(subnet, name)| want.get(subnet) != Some(name)).collect();
    let new: Vec<_> = want.iter().filter(|(subnet, name)| have.get(subnet) != Some(name)).collect();
    let element = |(subnet, name): &(&Ipv4Addr, &String)| Element::new(**subnet).object(name);
    if !gone.is_empty() {
        batch.delete_elements(map, gone.iter().map(element).collect());
    }
    // A peer may hold two subnets: its counter goes with the last of them.
    for (_, name) in gone.iter().filter(|(_, name)| !want.values().any(|other| other == *name)) {
        batch.push(Op::DeleteCounter(map.table.clone(), (*name).clone()));
    }
    for (_, name) in &new {
        batch.add_counter(Counter::new(&map.table, name));
    }
    if !new.is_empty() {
        batch.add_elements(map, new.iter().map(element).collect());
    }
}
