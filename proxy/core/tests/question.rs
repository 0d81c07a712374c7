//! Explanations, as a person reads them.

use proxy_core::cases::{cluster_of, usual_options};
use proxy_core::names::{Family, Protocol};
use proxy_core::options::Options;
use proxy_core::question::{Origin, Packet, explain};
use proxy_core::table::ServiceTable;

fn explained(services: &[&str], endpoints: &[&str], src: &str, dst: &str, port: u16) -> String {
    let (cluster, options): (_, Options) = (cluster_of(services, endpoints), usual_options());
    let table = ServiceTable::build(&cluster, &options);
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    let from = Origin::of(src, &table.node);
    explain(&table, &cluster, &Packet { src, dst, port, protocol: Protocol::Tcp, from }).to_string()
}

#[test]
fn a_delivery_names_service_policy_endpoints_and_the_reason_for_each_left_out() {
    let services = ["shop/web 10.96.0.10 http:80@30080 external-local affinity=60"];
    let endpoints = ["shop/web 10.244.1.10 10.244.1.11(unready) 10.244.2.10"];
    let text = explained(&services, &endpoints, "203.0.113.9", "192.168.0.1", 30080);
    let want = "\
203.0.113.9 -> 192.168.0.1:30080/tcp from outside this node: deliver
  service:    shop/web:http, node port 30080/tcp
  policy:     external traffic, Local: endpoints of this node only
  endpoints:
    10.244.1.10:80  100.0 %, on this node
  masquerade: no: the endpoint sees the client's address
  affinity:   a client keeps its endpoint for 60 s
  left out:
    10.244.1.11:80  not ready
    10.244.2.10:80  on another node, and the traffic policy is Local
";
    assert_eq!(text, want);
}

#[test]
fn a_masqueraded_delivery_says_why() {
    let (services, endpoints) = (["web 10.96.0.10 80@30080"], ["web 10.244.1.10 10.244.2.10 10.244.3.10"]);
    let text = |src, dst, port| explained(&services, &endpoints, src, dst, port);
    assert!(
        text("192.168.0.1", "10.96.0.10", 80)
            .contains("masquerade: yes: the source is not known to be a pod")
    );
    assert!(
        text("10.244.1.9", "192.168.0.1", 30080)
            .contains("masquerade: yes: the endpoint may be on another node")
    );
    assert!(text("10.244.1.10", "10.96.0.10", 80).contains("masquerade: only if the client is chosen"));
    assert!(text("10.244.1.9", "10.96.0.10", 80).contains("10.244.3.10:80  33.3 %\n"));
}

#[test]
fn refusals_and_drops_say_why() {
    let services = [
        "none 10.96.0.10 80",
        "away 10.96.0.11 80 internal-local",
        "closed 10.96.0.12 80 lb=198.51.100.2 from=192.0.2.0/24",
    ];
    let endpoints = ["away 10.244.2.10", "closed 10.244.2.10"];
    let text = |dst, port| explained(&services, &endpoints, "10.244.1.9", dst, port);
    assert!(text("10.96.0.10", 80).ends_with("refused:    no endpoint is usable anywhere\n"));
    let away = text("10.96.0.11", 80);
    assert!(away.contains("from a pod of this node: drop\n"), "{away}");
    assert!(away.contains("the policy is Local, and no endpoint of this node is usable"), "{away}");
    assert!(away.contains("10.244.2.10:80  on another node"), "{away}");
    assert!(text("198.51.100.2", 80).contains("the source is not in 192.0.2.0/24"));
    assert!(text("10.96.0.10", 81).contains("10.96.0.10 is a ClusterIP, but has no such port"));
    assert!(text("10.96.7.7", 80).contains("10.96.7.7 is in 10.96.0.0/16, but no service has it"));
    assert!(text("8.8.8.8", 80).contains("no service has this address and port"));
}

#[test]
fn the_origin_of_a_packet_is_guessed_from_its_source() {
    let table = ServiceTable::build(&cluster_of(&[], &[]), &usual_options());
    let of = |src: &str| Origin::of(src.parse().unwrap(), &table.node);
    assert_eq!(of("10.244.1.7"), Origin::Pod);
    assert_eq!(of("fd00:10:244:1::7"), Origin::Pod);
    assert_eq!(of("10.244.2.7"), Origin::Outside);
    assert_eq!(of("172.16.0.1"), Origin::Node);
    assert_eq!(of("127.0.0.1"), Origin::Node);
    assert_eq!(table.node.primary(Family::V6), Some("fd00:192:168::1".parse().unwrap()));
}
