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
    assert!(text("10.96.0.10", 80).contains("refused:    no endpoint is usable anywhere\n"));
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

/// What is said beside the verdict.
fn hints(
    services: &[&str],
    endpoints: &[&str],
    packet: (&str, &str, u16, Protocol),
    options: &Options,
) -> Vec<String> {
    let cluster = cluster_of(services, endpoints);
    let table = ServiceTable::build(&cluster, options);
    let (src, dst, port, protocol) = packet;
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    let packet = Packet { src, dst, port, protocol, from: Origin::of(src, &table.node) };
    let text = explain(&table, &cluster, &packet).to_string();
    let said = text.lines().filter_map(|line| line.strip_prefix("  hint:       "));
    said.map(str::to_owned).collect()
}

#[test]
fn an_address_with_another_port_tells_the_ports_that_it_has() {
    let services = [
        "web 10.96.0.10 http:80 https:443 dns:53/udp lb=198.51.100.2",
        "api 10.96.0.11 80 external=198.51.100.2",
    ];
    let endpoints = ["web 10.244.1.10", "api 10.244.1.10"];
    let ask = |dst, port, protocol| {
        hints(&services, &endpoints, ("10.244.1.9", dst, port, protocol), &usual_options())
    };
    let web = "10.96.0.10 has 53/udp, 80/tcp, 443/tcp of default/web";
    assert_eq!(ask("10.96.0.10", 8080, Protocol::Tcp), [web]);
    assert_eq!(ask("10.96.0.10", 80, Protocol::Udp), [web]);
    assert_eq!(ask("10.96.0.10", 80, Protocol::Tcp), [""; 0]);
    assert_eq!(ask("10.96.0.99", 80, Protocol::Tcp), [""; 0]);
    let both = ask("198.51.100.2", 81, Protocol::Tcp);
    assert_eq!(both, ["198.51.100.2 has 80/tcp of default/api; 53/udp, 443/tcp of default/web"]);
}

#[test]
fn a_node_port_at_the_wrong_address_tells_where_it_is() {
    use proxy_core::options::NodePortAddresses;
    let (services, endpoints) =
        (["web 10.96.0.10 80@30080", "dns 10.96.0.11 53@30053/udp"], ["web 10.244.1.10"]);
    let within = |net: &str| Options {
        nodeport_addresses: NodePortAddresses::Cidrs(vec![net.parse().unwrap()]),
        ..usual_options()
    };
    let ask = |dst, port, options: &Options| {
        hints(&services, &endpoints, ("203.0.113.9", dst, port, Protocol::Tcp), options)
    };
    let at = "node port 30080/tcp of default/web is not served ";
    assert_eq!(
        ask("172.16.0.1", 30080, &within("192.168.0.0/16")),
        [format!("{at}at 172.16.0.1, but within 192.168.0.0/16")]
    );
    assert_eq!(
        ask("192.168.0.2", 30080, &usual_options()),
        [format!("{at}by this node at 192.168.0.2: that is node there, which serves node ports itself")]
    );
    let loopback = ask("127.0.0.1", 30080, &usual_options());
    assert!(
        loopback[0].starts_with(&format!("{at}at 127.0.0.1: loopback has node ports in iptables mode only")),
        "{loopback:?}"
    );
    assert_eq!(
        ask("192.168.0.1", 30053, &usual_options()),
        ["node port 30053/udp of default/dns is not served for tcp"]
    );
    assert_eq!(ask("192.168.0.1", 30080, &usual_options()), [""; 0]);
}

#[test]
fn a_service_without_endpoints_tells_what_is_amiss_with_its_slices() {
    use proxy_core::cluster::Change;
    use proxy_core::objects::Object;
    let slice = |family: &str, endpoints: &str, port: &str| {
        let text = format!(
            r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"{family}",
                "metadata":{{"namespace":"default","name":"web-1","labels":{{"kubernetes.io/service-name":"web"}}}},
                "endpoints":[{endpoints}],"ports":[{port}]}}"#
        );
        Object::decode(text.as_bytes()).expect("a kind in use").expect("a slice").object
    };
    let ask = |slices: Vec<Object>| {
        let mut cluster = cluster_of(&["web 10.96.0.10 http:80"], &[]);
        slices.into_iter().for_each(|slice| _ = cluster.apply(Change::Put(slice)));
        let table = ServiceTable::build(&cluster, &usual_options());
        let (src, dst) = ("10.244.1.9".parse().unwrap(), "10.96.0.10".parse().unwrap());
        let packet = Packet { src, dst, port: 80, protocol: Protocol::Tcp, from: Origin::Pod };
        let text = explain(&table, &cluster, &packet).to_string();
        text.lines().filter_map(|line| line.strip_prefix("  hint:       ")).collect::<Vec<_>>().join("\n")
    };
    let pod = r#"{"addresses":["10.244.1.10"]}"#;
    assert_eq!(ask(vec![]), "default/web has no EndpointSlice: does its selector match the labels of a pod?");
    assert_eq!(
        ask(vec![slice("IPv4", pod, r#"{"name":"htp","port":80}"#)]),
        "the slices have port `htp`, the service wants `http`"
    );
    assert_eq!(
        ask(vec![slice("IPv4", pod, r#"{"name":"htp","port":80},{"name":"metrics","port":9090}"#)]),
        "the slices have ports `htp`, `metrics`, the service wants `http`"
    );
    assert_eq!(
        ask(vec![slice("IPv4", pod, r#"{"port":80}"#)]),
        "the slices have port without a name, the service wants `http`"
    );
    assert_eq!(
        ask(vec![slice("IPv4", pod, r#"{"name":"http","port":80,"protocol":"UDP"}"#)]),
        "the slices have port `http` for udp, the service wants tcp"
    );
    assert_eq!(
        ask(vec![slice("IPv4", "", r#"{"name":"http","port":80}"#)]),
        "the EndpointSlices of default/web are empty: is a pod of it running?"
    );
    assert_eq!(
        ask(vec![slice("IPv6", r#"{"addresses":["fd00::1"]}"#, r#"{"name":"http","port":80}"#)]),
        "default/web has no EndpointSlice of IPv4: do its pods have such addresses?"
    );
}

#[test]
fn a_packet_to_an_endpoint_passes_no_service_and_that_is_said() {
    let said = hints(
        &["web 10.96.0.10 http:80>8080"],
        &["web 10.244.1.10"],
        ("10.244.1.9", "10.244.1.10", 8080, Protocol::Tcp),
        &usual_options(),
    );
    assert_eq!(
        said,
        [
            "10.244.1.10:8080 is an endpoint of default/web:http itself: on the way to a pod no service is passed"
        ]
    );
}

#[test]
fn a_ping_of_a_service_is_explained() {
    use proxy_core::question::ping;
    let cluster = cluster_of(&["web 10.96.0.10 http:80 https:443 external=198.51.100.2"], &[]);
    let table = ServiceTable::build(&cluster, &usual_options());
    let ask = |dst: &str| ping(&table, "10.244.1.9".parse().unwrap(), dst.parse().unwrap()).to_string();
    assert_eq!(
        ask("10.96.0.10"),
        "\
10.244.1.9 -> 10.96.0.10/icmp: no service takes ICMP, which has no ports
  a ClusterIP answers no ping, however well its service is: nftables mode refuses it, iptables mode leaves it to the routes
  hint:       10.96.0.10 has 80/tcp, 443/tcp of default/web; ask with one of them
"
    );
    assert!(ask("198.51.100.2").contains("it goes to whichever machine has the address"));
    assert!(ask("10.244.1.10").contains("no service has this address; ask with a port"));
}
