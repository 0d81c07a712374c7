//! Stale UDP flows.

use std::net::IpAddr;

use proxy_core::cases::{cluster_of, usual_options};
use proxy_core::cluster::{Cluster, Touched};
use proxy_core::conntrack::{Flow, Suspects};
use proxy_core::options::{NodePortAddresses, Options};
use proxy_core::table::{ServiceTable, TableDelta};

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
        self.stale_by(&Suspects::of(&self.delta), flows)
    }

    fn stale_by<'a>(&self, suspects: &Suspects, flows: &[&'a str]) -> Vec<&'a str> {
        let local: Vec<IpAddr> = self.table.node.addresses.clone();
        let stale = |text: &&&str| {
            let (front, server) = text.split_once(" > ").unwrap();
            let client = if front.starts_with('[') { "[2001:db8::9]:999" } else { "203.0.113.9:999" };
            let [client, front, server] = [client, front, server].map(|text| text.parse().unwrap());
            suspects.stale(&Flow { client, front, server }, &self.table.node, |ip| local.contains(&ip))
        };
        flows.iter().filter(stale).copied().collect()
    }

    fn nothing_to_look_for(&self) -> bool {
        Suspects::of(&self.delta).is_empty()
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
    // The front that was there before is not even looked at.
    let looked_at: Vec<_> = Suspects::of(&turn.delta).destinations().unwrap().collect();
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
    let suspects = Suspects::all(&turn.table);
    assert!(suspects.destinations().is_none());
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
    assert_eq!(turn.stale_by(&suspects, &flows), flows[..4]);
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
