//! Stale UDP flows.

mod common;

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proxy_core::cases::{cluster_of, usual_options};
use proxy_core::cluster::{Cluster, Touched};
use proxy_core::conntrack::{Flow, StaleFlows};
use proxy_core::names::{Family, Protocol};
use proxy_core::options::{NodePortAddresses, Options};
use proxy_core::table::{FrontendAddress, Group, ServiceTable, TableDelta};

/// A table that was one cluster's and has become another's.
struct Turn {
    table: ServiceTable,
    delta: TableDelta,
}

fn turn(before: Cluster, after: Cluster) -> Turn {
    turn_with(before, after, &usual_options())
}

fn turn_with(before: Cluster, after: Cluster, options: &Options) -> Turn {
    let mut table = ServiceTable::build(&before, options);
    let services = before.services().chain(after.services()).map(|service| service.name.clone()).collect();
    let delta = table.rebuild(&after, options, &Touched { services, ..Touched::default() });
    Turn { table, delta }
}

impl Turn {
    /// Of these flows, `FRONT > SERVER`, those that must go.
    fn stale<'a>(&self, flows: &[&'a str]) -> Vec<&'a str> {
        self.stale_by(&StaleFlows::of(&self.delta, &self.table), flows)
    }

    fn stale_by<'a>(&self, stale_flows: &StaleFlows, flows: &[&'a str]) -> Vec<&'a str> {
        let local: Vec<IpAddr> = self.table.node.addresses.clone();
        let stale = |text: &&&str| {
            let (frontend, server) = text.split_once(" > ").unwrap();
            let client = if frontend.starts_with('[') { "[2001:db8::9]:999" } else { "203.0.113.9:999" };
            let [client, frontend, server] = [client, frontend, server].map(|text| text.parse().unwrap());
            stale_flows.stale(&Flow { client, frontend, server }, &self.table.node, |ip| local.contains(&ip))
        };
        flows.iter().filter(stale).copied().collect()
    }

    fn nothing_to_look_for(&self) -> bool {
        StaleFlows::of(&self.delta, &self.table).is_empty()
    }
}

const DNS: &str = "dns 10.96.0.10 53@30053/udp external=198.51.100.1 lb=198.51.100.2";

#[test]
fn flows_to_an_endpoint_that_is_gone_go() {
    let turn =
        turn(cluster_of(&[DNS], &["dns 10.244.1.10 10.244.2.10"]), cluster_of(&[DNS], &["dns 10.244.2.10"]));
    let gone = [
        "10.96.0.10:53 > 10.244.1.10:53",
        "198.51.100.1:53 > 10.244.1.10:53",
        "198.51.100.2:53 > 10.244.1.10:53",
        "192.168.0.1:30053 > 10.244.1.10:53",
        "172.16.0.1:30053 > 10.244.1.10:53",
    ];
    assert_eq!(turn.stale(&gone), gone);
    let kept = ["10.96.0.10:53 > 10.244.2.10:53", "192.168.0.1:30053 > 10.244.2.10:53"];
    assert!(turn.stale(&kept).is_empty());
}

#[test]
fn flows_to_other_places_stay() {
    let turn =
        turn(cluster_of(&[DNS], &["dns 10.244.1.10 10.244.2.10"]), cluster_of(&[DNS], &["dns 10.244.2.10"]));
    let others = [
        "10.96.0.10:54 > 10.96.0.10:54",
        "10.96.0.11:53 > 10.244.1.10:53",
        // The number of a node port at somebody else's address.
        "8.8.8.8:30053 > 8.8.8.8:30053",
        "10.244.2.7:30053 > 10.244.2.7:30053",
    ];
    assert!(turn.stale(&others).is_empty());
}

#[test]
fn a_node_port_is_one_only_at_the_addresses_for_node_ports() {
    let options = Options { nodeport_addresses: NodePortAddresses::Primary, ..usual_options() };
    let (before, after) =
        (cluster_of(&[DNS], &["dns 10.244.1.10"]), cluster_of(&[DNS], &["dns 10.244.2.10"]));
    let turn = turn_with(before, after, &options);
    let flows = ["192.168.0.1:30053 > 10.244.1.10:53", "172.16.0.1:30053 > 172.16.0.1:30053"];
    assert_eq!(turn.stale(&flows), flows[..1]);
}

#[test]
fn flows_to_what_still_serves_stay() {
    for state in ["terminating", "published", "published-terminating"] {
        let before = cluster_of(&[DNS], &["dns 10.244.1.10 10.244.2.10 10.244.3.10"]);
        let after = cluster_of(&[DNS], &[&format!("dns 10.244.1.10({state}) 10.244.2.10")]);
        let turn = turn(before, after);
        let flows = ["10.96.0.10:53 > 10.244.1.10:53", "10.96.0.10:53 > 10.244.3.10:53"];
        assert_eq!(turn.stale(&flows), flows[1..], "{state}");
    }
}

#[test]
fn flows_of_a_service_without_endpoints_go() {
    for rest in ["dns", "dns 10.244.1.10(unready)", "dns 10.244.1.10(gone)"] {
        let turn = turn(cluster_of(&[DNS], &["dns 10.244.1.10"]), cluster_of(&[DNS], &[rest]));
        let flows = ["10.96.0.10:53 > 10.244.1.10:53", "192.168.0.1:30053 > 10.244.1.10:53"];
        assert_eq!(turn.stale(&flows), flows, "{rest}");
    }
}

#[test]
fn flows_of_a_deleted_service_go_and_no_others() {
    let turn = turn(cluster_of(&[DNS], &["dns 10.244.1.10"]), cluster_of(&[], &[]));
    let flows = [
        "10.96.0.10:53 > 10.244.1.10:53",
        "198.51.100.1:53 > 10.244.1.10:53",
        "192.168.0.1:30053 > 10.244.1.10:53",
        // Not of our making.
        "198.51.100.1:53 > 198.51.100.1:53",
        "192.168.0.1:30053 > 192.168.0.1:30053",
    ];
    assert_eq!(turn.stale(&flows), flows[..3]);
}

#[test]
fn flows_of_a_deleted_port_go() {
    let ports = ["dns 10.96.0.10 a:53/udp b:54/udp", "dns 10.96.0.10 a:53/udp"];
    let turn =
        turn(cluster_of(&ports[..1], &["dns 10.244.1.10"]), cluster_of(&ports[1..], &["dns 10.244.1.10"]));
    let flows = ["10.96.0.10:53 > 10.244.1.10:53", "10.96.0.10:54 > 10.244.1.10:54"];
    assert_eq!(turn.stale(&flows), flows[1..]);
}

#[test]
fn a_client_that_sent_before_the_service_was_there_gets_through() {
    let turn = turn(cluster_of(&[], &[]), cluster_of(&[DNS], &["dns 10.244.1.10"]));
    let flows = [
        "10.96.0.10:53 > 10.96.0.10:53",
        "198.51.100.2:53 > 198.51.100.2:53",
        "192.168.0.1:30053 > 192.168.0.1:30053",
    ];
    assert_eq!(turn.stale(&flows), flows);
}

#[test]
fn a_client_that_sent_before_the_address_was_there_gets_through() {
    let before = cluster_of(&["dns 10.96.0.10 53/udp"], &["dns 10.244.1.10"]);
    let turn = turn(before, cluster_of(&[DNS], &["dns 10.244.1.10"]));
    let flows = ["198.51.100.1:53 > 198.51.100.1:53", "192.168.0.1:30053 > 192.168.0.1:30053"];
    assert_eq!(turn.stale(&flows), flows);
    // The frontend that was there before is not even looked at.
    let looked_at: Vec<_> = StaleFlows::of(&turn.delta, &turn.table).destinations().unwrap().collect();
    assert_eq!(looked_at.len(), 3);
}

#[test]
fn a_client_that_sent_before_the_first_endpoint_was_there_gets_through() {
    let turn = turn(cluster_of(&[DNS], &[]), cluster_of(&[DNS], &["dns 10.244.1.10"]));
    assert_eq!(turn.stale(&["198.51.100.1:53 > 198.51.100.1:53"]).len(), 1);
}

#[test]
fn where_nothing_can_be_stale_nobody_looks() {
    let dns = || cluster_of(&[DNS], &["dns 10.244.1.10"]);
    assert!(turn(dns(), cluster_of(&[DNS], &["dns 10.244.1.10 10.244.2.10"])).nothing_to_look_for());
    assert!(turn(dns(), dns()).nothing_to_look_for());
    let policy = format!("{DNS} external-local affinity=60");
    assert!(turn(dns(), cluster_of(&[&policy], &["dns 10.244.1.10"])).nothing_to_look_for());
    let web = "web 10.96.0.11 80";
    assert!(turn(cluster_of(&[web], &["web 10.244.1.10"]), cluster_of(&[], &[])).nothing_to_look_for());
}

#[test]
fn an_address_that_changes_hands_changes_its_endpoints() {
    let services =
        ["old 10.96.0.10 53/udp external=198.51.100.1", "new 10.96.0.11 53/udp external=198.51.100.1"];
    let endpoints = ["old 10.244.1.10", "new 10.244.2.10"];
    let turn = turn(cluster_of(&services[..1], &endpoints[..1]), cluster_of(&services[1..], &endpoints[1..]));
    let flows = [
        "198.51.100.1:53 > 10.244.1.10:53",
        "10.96.0.10:53 > 10.244.1.10:53",
        "198.51.100.1:53 > 10.244.2.10:53",
    ];
    assert_eq!(turn.stale(&flows), flows[..2]);
}

#[test]
fn after_a_start_everything_is_looked_at_once() {
    let turn = turn(cluster_of(&[], &[]), cluster_of(&[DNS], &["dns 10.244.1.10"]));
    let stale_flows = StaleFlows::all(&turn.table);
    assert!(stale_flows.destinations().is_none());
    let flows = [
        "10.96.0.10:53 > 10.244.9.9:53",
        "192.168.0.1:30053 > 10.244.9.9:53",
        // A service that was deleted meanwhile, by its address.
        "10.96.0.77:53 > 10.244.9.9:53",
        "[fd00:10:96::77]:53 > [fd00:10:244:1::9]:53",
        "10.96.0.10:53 > 10.244.1.10:53",
        "10.96.0.77:53 > 10.96.0.77:53",
        "8.8.8.8:53 > 8.8.8.8:53",
        "8.8.8.8:30053 > 10.244.9.9:53",
    ];
    assert_eq!(turn.stale_by(&stale_flows, &flows), flows[..4]);
}

#[test]
fn ipv6_flows_go_as_ipv4_ones_do() {
    let dns = ["dns fd00:10:96::10 53@30053/udp"];
    let (before, after) = (["dns fd00:10:244:1::10"], ["dns fd00:10:244:2::10"]);
    let turn = turn(cluster_of(&dns, &before), cluster_of(&dns, &after));
    let flows = [
        "[fd00:10:96::10]:53 > [fd00:10:244:1::10]:53",
        "[fd00:192:168::1]:30053 > [fd00:10:244:1::10]:53",
        "[fd00:10:96::10]:53 > [fd00:10:244:2::10]:53",
    ];
    assert_eq!(turn.stale(&flows), flows[..2]);
}

#[test]
fn node_ports_that_move_to_other_addresses_take_their_flows_along() {
    let dns = || cluster_of(&[DNS], &["dns 10.244.1.10"]);
    let primary = Options { nodeport_addresses: NodePortAddresses::Primary, ..usual_options() };
    let flows = [
        "172.16.0.1:30053 > 10.244.1.10:53",
        "172.16.0.1:30053 > 172.16.0.1:30053",
        "172.16.0.1:30053 > 10.9.9.9:53",
        "192.168.0.1:30053 > 10.244.1.10:53",
        "10.96.0.10:53 > 10.244.1.10:53",
    ];
    for (from, to, gone) in
        [(usual_options(), &primary, &flows[..1]), (primary.clone(), &usual_options(), &flows[1..3])]
    {
        let mut table = ServiceTable::build(&dns(), &from);
        let delta = table.rebuild(&dns(), to, &Touched::default());
        assert_eq!(Turn { table, delta }.stale(&flows), gone);
    }
}

#[test]
fn what_could_not_be_looked_for_is_not_forgotten() {
    let all = [
        cluster_of(&[DNS], &["dns 10.244.1.10"]),
        cluster_of(&[DNS], &["dns 10.244.2.10"]),
        cluster_of(&[], &[]),
    ];
    let [one, two, three] = all;
    let (mut first, second) = (turn(one, two), cluster_of(&[DNS], &["dns 10.244.2.10"]));
    let mut stale_flows = StaleFlows::of(&first.delta, &first.table);
    let services = second.services().map(|service| service.name.clone()).collect();
    let delta = first.table.rebuild(&three, &usual_options(), &Touched { services, ..Touched::default() });
    stale_flows.add(&delta, &first.table);
    stale_flows.add_all(&first.table);
    let flows = [
        "198.51.100.1:53 > 10.244.1.10:53",
        "198.51.100.1:53 > 10.244.2.10:53",
        "192.168.0.1:30053 > 10.244.1.10:53",
        "198.51.100.1:53 > 198.51.100.1:53",
    ];
    assert_eq!(first.stale_by(&stale_flows, &flows), flows[..3]);
}

/// The addresses of the node that the property is about.
const LOCAL: [[u8; 4]; 3] = [[192, 168, 0, 1], [10, 0, 0, 1], [172, 16, 0, 9]];

fn is_local(ip: IpAddr) -> bool {
    LOCAL.iter().any(|local| ip == IpAddr::from(*local))
}

/// An entry, and whether the proxy's rules made it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    flow: Flow,
    ours: bool,
}

/// What serves a destination today: plainly, by a look at every frontend.
fn serving(table: &ServiceTable, frontend: SocketAddr) -> Option<Group> {
    let family = Family::of(frontend.ip());
    let find = |address: FrontendAddress| {
        let udp =
            table.ports.values().filter(|port| port.family == family && port.protocol() == Protocol::Udp);
        let found = udp.filter(|port| {
            port.frontends
                .iter()
                .any(|frontend_of| frontend_of.address == address && frontend_of.port == frontend.port())
        });
        found.map(|port| port.serving.clone()).next()
    };
    let here = is_local(frontend.ip()) && table.node.family(family).node_ports.covers(frontend.ip());
    find(FrontendAddress::Ip(frontend.ip())).or_else(|| find(FrontendAddress::NodePorts).filter(|_| here))
}

/// Where clients send, frontends or not.
fn destination() -> impl Strategy<Value = SocketAddr> {
    let ip = select(vec![
        "10.96.0.1",
        "10.96.0.2",
        "10.96.0.3",
        "fd00::3",
        "198.51.100.1",
        "198.51.100.2",
        "198.51.100.3",
        "192.168.0.1",
        "10.0.0.1",
        "172.16.0.9",
        "8.8.8.8",
    ]);
    (ip, select(vec![53, 30080, 30081])).prop_map(|(ip, port)| SocketAddr::new(ip.parse().unwrap(), port))
}

/// How an entry comes about when a packet for this destination comes now.
fn entry(table: &ServiceTable, frontend: SocketAddr, pick: Index, foreign: bool) -> Option<Entry> {
    let client = "203.0.113.9:999".parse().unwrap();
    let ours = serving(table, frontend);
    let server = match &ours {
        // Refused: no entry.
        Some(group) if group.is_empty() => return None,
        Some(group) => {
            let endpoint = pick.get(group);
            SocketAddr::new(endpoint.ip, endpoint.port)
        }
        // Somebody else's translation.
        None if foreign => SocketAddr::new(IpAddr::from([10, 77, 0, 1]), 99),
        None => frontend,
    };
    Some(Entry { flow: Flow { client, frontend, server }, ours: ours.is_some() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// After a change, and whatever was put off before it, an entry is there still if and only if it is one that a
    /// packet today could make, policies, hints and affinity apart: its destination is a frontend, and its server a serving
    /// endpoint of the frontend's service port; or its destination is no frontend, and the entry not of the proxy's making.
    #[test]
    fn after_any_changes_the_flows_left_are_those_that_packets_of_today_could_make(
        steps in proptest::collection::vec(
            (
                proptest::collection::vec(common::change(), 1..4),
                common::options(),
                proptest::collection::vec((destination(), any::<Index>(), any::<bool>()), 0..6),
                // Whether the pass fails, so that its flows wait.
                proptest::bool::weighted(0.2),
            ),
            1..16,
        )
    ) {
        let (mut cluster, mut table) = (Cluster::default(), ServiceTable::default());
        let (mut entries, mut waiting) = (Vec::<Entry>::new(), StaleFlows::default());
        // What the kernel's rules say: those of the last pass that did not fail.
        let mut rules = table.clone();
        for (changes, options, packets, fails) in steps {
            entries.extend(packets.into_iter().filter_map(|(frontend, pick, foreign)| entry(&rules, frontend, pick, foreign)));
            let mut touched = Touched::default();
            changes.into_iter().for_each(|change| touched.merge(cluster.apply(change)));
            let delta = table.rebuild(&cluster, &options, &touched);
            waiting.add(&delta, &table);
            if fails {
                continue;
            }
            rules = table.clone();
            let stale_flows = std::mem::take(&mut waiting);
            let before = entries.clone();
            entries.retain(|entry| !stale_flows.stale(&entry.flow, &table.node, is_local));
            for Entry { flow, ours } in before {
                let survives = entries.iter().any(|entry| entry.flow == flow);
                let right = match serving(&table, flow.frontend) {
                    Some(group) if group.is_empty() && flow.frontend == flow.server => continue,
                    Some(group) => group.iter().any(|end| SocketAddr::new(end.ip, end.port) == flow.server),
                    None => !ours,
                };
                prop_assert_eq!(survives, right, "{:?}", flow);
                if !survives && let Some(destinations) = stale_flows.destinations() {
                    let asked = destinations.collect::<Vec<_>>();
                    let family = Family::of(flow.frontend.ip());
                    let at = |address| asked.contains(&(family, address, flow.frontend.port()));
                    prop_assert!(at(FrontendAddress::Ip(flow.frontend.ip())) || at(FrontendAddress::NodePorts));
                }
            }
        }
    }
}
