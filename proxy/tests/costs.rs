//! What a pass costs goes with what changed: counts of writes in both modes, whatever else there is. Needs root for
//! nftables; the programs of iptables are made up.

#[path = "iptables_common/machine.rs"]
mod machine;
mod nftables_common;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use machine::Machine;
use nftables_common::{in_namespace, ip, open, open_to_all, service, sources, table};
use proxy::backends::Backend;
use proxy::backends::iptables::{IptablesBackend, Settings};
use proxy::backends::nftables::NftablesBackend;
use proxy_core::names::Family;
use proxy_core::table::*;

/// Services that have nothing to do with it. Enough for a tree in iptables mode, and for rules without comments.
const CROWD: u32 = 1_100;

const ONE: &str = "10.244.1.7:8080";
const TWO: &str = "10.244.2.3:8080";
const OTHER: &str = "10.244.3.9:8080";

fn crowd(count: u32) -> Vec<ServicePort> {
    let one = |n: u32| {
        let frontend = Ipv4Addr::from(0x0a60_2000 + n).to_string();
        service(&format!("service-{n}"), &frontend, 80, &[ONE, TWO])
    };
    (0..count).map(one).collect()
}

/// Ports of one service.
fn ports(count: u16, ends: &[&str]) -> Vec<ServicePort> {
    let one = |n: u16| named(service("wide", "10.96.0.4", 1_000 + n, ends), n);
    (0..count).map(one).collect()
}

fn named(mut port: ServicePort, n: u16) -> ServicePort {
    port.name.port = Arc::from(format!("p{n}"));
    port
}

fn delta(old: &ServiceTable, new: &ServiceTable) -> TableDelta {
    let keys: BTreeSet<_> = old.ports.keys().chain(new.ports.keys()).cloned().collect();
    let change = |key: PortKey| {
        let (old, new) = (old.ports.get(&key).cloned(), new.ports.get(&key).cloned());
        (old != new).then_some(PortChange { key, old, new })
    };
    TableDelta { ports: keys.into_iter().filter_map(change).collect(), ..TableDelta::default() }
}

/// Both modes, and the table that they have.
struct Both {
    nftables: NftablesBackend,
    iptables: IptablesBackend,
    machine: Arc<Machine>,
    table: ServiceTable,
}

impl Both {
    fn with(ports: impl IntoIterator<Item = ServicePort>) -> Self {
        let table = table(ports);
        let machine = Arc::new(Machine::default());
        let mut iptables =
            IptablesBackend::with(machine.clone(), &Family::BOTH, Settings::default()).unwrap();
        let mut nftables = open();
        iptables.sync_full(&table).unwrap();
        nftables.sync_full(&table).unwrap();
        Self { nftables, iptables, machine, table }
    }

    /// These ports are as they are here from now on. How much was written in nftables mode, and how many lines were
    /// restored in iptables mode.
    fn put(&mut self, ports: impl IntoIterator<Item = ServicePort>) -> (usize, usize) {
        let mut next = self.table.clone();
        next.ports.extend(ports.into_iter().map(|port| (port.key(), Arc::new(port))));
        self.go(next)
    }

    fn remove(&mut self, port: &ServicePort) -> (usize, usize) {
        let mut next = self.table.clone();
        next.ports.remove(&port.key());
        self.go(next)
    }

    fn go(&mut self, next: ServiceTable) -> (usize, usize) {
        let delta = delta(&self.table, &next);
        assert!(!delta.ports.is_empty());
        let (messages, lines) = (self.nftables.messages(), self.machine.lines());
        let nftables = self.nftables.sync_delta(&next, &delta).unwrap();
        let iptables = self.iptables.sync_delta(&next, &delta).unwrap();
        assert!(!nftables.full && !iptables.full, "{nftables:?} {iptables:?}");
        // Counters are read of frontends that are replaced, and whatever is read goes with what is written.
        let read = self.nftables.messages() - messages;
        assert!(read <= 30 + 4 * nftables.writes as u64, "{read} read for {} written", nftables.writes);
        self.table = next;
        (nftables.writes, self.machine.lines() - lines)
    }

    /// A neighbour comes, changes an endpoint and goes. At its cost: in iptables mode a leaf of the tree may be split.
    fn neighbour(&mut self, what: &str) {
        // Its address ends as that of the wide service does, so that they share a branch of the tree for long.
        let small = |ends: &[&str]| service("small", "10.96.48.4", 80, ends);
        let costs = [self.put([small(&[ONE])]), self.put([small(&[OTHER])]), self.remove(&small(&[OTHER]))];
        println!("{what}: a neighbour comes, changes, goes: {costs:?}");
        for ((nftables, iptables), most) in costs.into_iter().zip([120, 15, 120]) {
            assert!(nftables <= 15 && iptables <= most, "{what}: {costs:?}");
        }
    }

    /// Nothing is left to do.
    fn assert_whole(mut self) {
        assert_eq!(self.nftables.sync_full(&self.table).unwrap().writes, 0);
        assert_eq!(self.iptables.sync_full(&self.table).unwrap().writes, 0);
    }
}

#[test]
fn a_service_of_1000_ports_costs_its_ports_and_others_nothing() {
    in_namespace(|| {
        for count in [0, CROWD] {
            let mut both = Both::with(crowd(count).into_iter().chain(ports(1_000, &[ONE, TWO])));
            let one = both.put([ports(1_000, &[ONE, OTHER]).remove(500)]);
            let all = both.put(ports(1_000, &[ONE, OTHER]));
            println!("beside {count}: an endpoint of one of 1,000 ports: {one:?}, of all: {all:?}");
            assert!(one.0 <= 6 && one.1 <= 10, "{one:?}");
            // Each port: an element goes and one comes; a chain is made, and written with two or three rules.
            assert!(all.0 <= 2 * 1_000 + 6 && all.1 <= 4 * 1_000 + 10, "{all:?}");
            both.neighbour("1,000 ports");
            both.assert_whole();
        }
    });
}

#[test]
fn a_neighbour_of_1000_refused_ports_pays_nothing_for_them() {
    in_namespace(|| {
        let closed = (0..1_000).map(|n| {
            let port = named(service("closed", "10.96.0.4", 1_000 + n, &[]), n);
            open_to_all(port, FrontendKind::NodePort, FrontendAddress::NodePorts, 30_000 + n)
        });
        let mut both = Both::with(crowd(CROWD).into_iter().chain(closed));
        both.neighbour("1,000 refused ports");
        both.assert_whole();
    });
}

#[test]
fn source_ranges_cost_nothing_when_an_endpoint_changes() {
    in_namespace(|| {
        let nets: Vec<String> =
            (0..2_000u32).map(|n| format!("{}/25", Ipv4Addr::from(0x0b00_0000 + 256 * n))).collect();
        let nets: Vec<&str> = nets.iter().map(String::as_str).collect();
        let walled = |ends: &[&str], nets: &[&str]| {
            let port = service("walled", "10.96.0.4", 80, ends);
            let address = FrontendAddress::Ip(ip("203.0.113.1"));
            sources(open_to_all(port, FrontendKind::LoadBalancer, address, 80), nets)
        };
        let mut both = Both::with(crowd(CROWD).into_iter().chain([walled(&[ONE, TWO], &nets)]));
        let end = both.put([walled(&[ONE, OTHER], &nets)]);
        println!("an endpoint behind 2,000 source ranges: {end:?}");
        assert!(end.0 <= 10 && end.1 <= 10, "{end:?}");
        // Another list is written once.
        let list = both.put([walled(&[ONE, OTHER], &nets[1..])]);
        println!("one range of 2,000 goes: {list:?}");
        assert!(list.0 <= 2_000 + 20 && list.1 <= 2_000 + 20, "{list:?}");
        both.neighbour("2,000 source ranges");
        // Without endpoints what is refused is in a chain of all services.
        let closed = both.put([walled(&[], &nets)]);
        assert!(closed.0 <= 2 * 2_000 + 20 && closed.1 <= 2 * 2_000 + 20, "{closed:?}");
        both.neighbour("2,000 source ranges of refused ports");
        both.assert_whole();
    });
}

#[test]
fn a_node_port_among_1000_costs_what_it_is() {
    in_namespace(|| {
        let open = |n: u16, end: &str| {
            let frontend = Ipv4Addr::from(0x0a60_1000 + u32::from(n)).to_string();
            let port = service(&format!("open-{n}"), &frontend, 80, &[ONE, end]);
            open_to_all(port, FrontendKind::NodePort, FrontendAddress::NodePorts, 30_000 + n)
        };
        let mut both = Both::with((0..1_000).map(|n| open(n, TWO)).chain(crowd(CROWD)));
        let (end, gone, come) =
            (both.put([open(7, OTHER)]), both.remove(&open(7, OTHER)), both.put([open(7, TWO)]));
        println!("a node port of 1,000: endpoint {end:?}, goes {gone:?}, comes {come:?}");
        assert!(end.0 <= 10 && end.1 <= 15, "{end:?}");
        for (nftables, iptables) in [gone, come] {
            assert!(nftables <= 20 && iptables <= 120, "{gone:?} {come:?}");
        }
        both.neighbour("1,000 node ports");
        both.assert_whole();
    });
}

#[test]
fn external_ips_cost_their_own_service_alone() {
    in_namespace(|| {
        let open = |count: u32, ends: &[&str]| {
            let port = service("open", "10.96.0.4", 80, ends);
            (0..count).fold(port, |port, n| {
                let address = FrontendAddress::Ip(Ipv4Addr::from(0xcb00_0000 + 16 * n).into());
                open_to_all(port, FrontendKind::ExternalIp, address, 80)
            })
        };
        let mut both = Both::with(crowd(CROWD).into_iter().chain([open(500, &[ONE, TWO])]));
        let end = both.put([open(500, &[ONE, OTHER])]);
        let (come, gone) = (both.put([open(501, &[ONE, OTHER])]), both.put([open(500, &[ONE, OTHER])]));
        println!("500 external IPs: endpoint {end:?}, one comes {come:?}, goes {gone:?}");
        // nftables keeps endpoints under each frontend.
        assert!(end.0 <= 2 * 501 + 4 && end.1 <= 15, "{end:?}");
        for (nftables, iptables) in [come, gone] {
            assert!(nftables <= 10 && iptables <= 120, "{come:?} {gone:?}");
        }
        both.neighbour("500 external IPs");
        both.assert_whole();
    });
}

/// Those behind it move up.
#[test]
fn an_endpoint_from_the_middle_of_a_group_costs_at_most_the_group() {
    in_namespace(|| {
        let ends: Vec<String> = (1..=100).map(|n| format!("10.244.9.{n}:8080")).collect();
        let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
        let without = |n: usize| -> Vec<&str> {
            ends.iter().enumerate().filter(|(at, _)| *at != n).map(|(_, end)| *end).collect()
        };
        let group = |ends: &[&str]| service("group", "10.96.0.4", 80, ends);
        let mut costs = Vec::new();
        for count in [0, CROWD] {
            let mut both = Both::with(crowd(count).into_iter().chain([group(&ends)]));
            let from = |both: &mut Both, n| {
                let cost = both.put([group(&without(n))]);
                both.put([group(&ends)]);
                cost
            };
            costs.push([0, 50, 99].map(|n| from(&mut both, n).0));
            both.assert_whole();
        }
        println!("the first, the middle and the last of 100 endpoints go: {costs:?}");
        assert_eq!(costs[0], costs[1], "whatever else there is");
        let [first, middle, last] = costs[0];
        assert!(first <= 2 * 100 + 15 && middle <= 2 * 50 + 15 && last <= 20, "{costs:?}");
    });
}
