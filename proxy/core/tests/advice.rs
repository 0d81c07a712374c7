//! What is said about options and settings that send traffic another way than meant.

use proxy_core::advice::{Advice, Bridge, Calls, advise};
use proxy_core::cases::{cluster_of, usual_options};
use proxy_core::names::Family;
use proxy_core::options::{DetectLocal, NodePortAddresses, Options};
use proxy_core::table::ServiceTable;

const BOTH: &[&str] = &["web 10.96.0.10 80", "web6 fd00:10:96::10 80"];

fn ask(services: &[&str], options: &Options, bridges: Option<&[Bridge]>) -> Vec<Advice> {
    let table = ServiceTable::build(&cluster_of(services, &[]), options);
    advise(options, &table, bridges).into_iter().collect()
}

fn pods(nets: &[&str]) -> Options {
    let nets = nets.iter().map(|net| net.parse().unwrap()).collect();
    Options { detect_local: DetectLocal::ClusterCidr(nets), ..usual_options() }
}

#[test]
fn without_networks_of_pods_that_is_said() {
    assert_eq!(ask(BOTH, &usual_options(), None), []);
    let none = Options { detect_local: DetectLocal::None, ..usual_options() };
    assert_eq!(ask(BOTH, &none, None), [Advice::NoPods]);
    assert!(Advice::NoPods.to_string().contains("give --cluster-cidr"));
}

#[test]
fn networks_of_one_family_are_said_where_the_other_is_served() {
    let v4 = pods(&["10.244.0.0/16"]);
    assert_eq!(ask(BOTH, &v4, None), [Advice::NoPodsOf(Family::V6)]);
    assert_eq!(ask(&BOTH[..1], &v4, None), [], "no service needs the other");
    let mut options = usual_options();
    options.nodeport_addresses = NodePortAddresses::Cidrs(vec!["fd00::/8".parse().unwrap()]);
    assert_eq!(ask(BOTH, &options, None), [Advice::NodePortsEverywhere(Family::V4)]);
    assert_eq!(ask(&BOTH[1..], &options, None), []);
}

#[test]
fn a_bridge_of_pods_whose_packets_meet_no_rules_is_said() {
    let bridge = |ip: &str, ports, v4| Bridge {
        name: "cni0".into(),
        addresses: vec![ip.parse().unwrap(), "fd00:10:244:1::1".parse().unwrap()],
        ports,
        calls: Calls { v4, v6: true },
    };
    let ask = |bridge: Bridge| ask(BOTH, &usual_options(), Some(&[bridge]));
    assert_eq!(ask(bridge("10.244.1.1", 2, false)), [Advice::Bridge("cni0".into(), Family::V4)]);
    assert_eq!(ask(bridge("10.244.1.1", 2, true)), [], "they do meet the rules");
    assert_eq!(ask(bridge("10.244.1.1", 1, false)), [], "nobody to reach");
    assert_eq!(ask(bridge("192.168.122.1", 2, false)), [], "somebody's virtual machines");
    let said = Advice::Bridge("cni0".into(), Family::V4).to_string();
    assert!(said.contains("cni0") && said.contains("net.bridge.bridge-nf-call-iptables=1"), "{said}");
}
