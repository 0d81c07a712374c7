use super::*;
use crate::spec::Backend;

fn text(steps: &[Step]) -> String {
    let lines: Vec<String> = steps.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_node_on_the_switch() {
    let spec = Spec { nodes: 1, pods: 1, ..Spec::named("t").unwrap() };
    let plan = Plan::of(&spec);
    assert_eq!(plan.etcd_endpoint, "http://172.30.0.1:2379");
    assert_eq!(
        text(&plan.steps),
        "\
ip netns add weft-t-hub; ip -n weft-t-hub link set lo up
ip netns exec weft-t-hub sysctl -w net.ipv6.conf.all.accept_dad=0
ip netns exec weft-t-hub sysctl -w net.ipv6.conf.default.accept_dad=0
ip -n weft-t-hub link add switch mtu 1500 up type bridge
ip -n weft-t-hub address add 172.30.0.1/24 dev switch
ip netns add weft-t-n1; ip -n weft-t-n1 link set lo up
ip netns exec weft-t-n1 sysctl -w net.ipv6.conf.all.accept_dad=0
ip netns exec weft-t-n1 sysctl -w net.ipv6.conf.default.accept_dad=0
ip netns exec weft-t-n1 sysctl -w net.ipv4.ip_forward=1
ip netns exec weft-t-n1 sysctl -w net.ipv4.ping_group_range=0 2147483647
ip netns add weft-t-n1-p1; ip -n weft-t-n1-p1 link set lo up
ip netns exec weft-t-n1-p1 sysctl -w net.ipv6.conf.all.accept_dad=0
ip netns exec weft-t-n1-p1 sysctl -w net.ipv6.conf.default.accept_dad=0
ip netns exec weft-t-n1-p1 sysctl -w net.ipv4.ping_group_range=0 2147483647
ip -n weft-t-n1 link add eth0 mtu 1500 type veth peer name n1 mtu 1500 netns weft-t-hub; \
ip -n weft-t-n1 link set eth0 up; ip -n weft-t-hub link set n1 master switch up
ip -n weft-t-n1 address add 172.30.0.11/24 dev eth0
ip -n weft-t-n1 route add default via 172.30.0.1"
    );
}

#[test]
fn two_nodes_on_one_wire_reach_etcd_by_another() {
    let spec = Spec { nodes: 2, pods: 0, topology: Topology::Direct, ..Spec::named("t").unwrap() };
    let plan = Plan::of(&spec);
    assert_eq!(plan.etcd_endpoint, "http://172.31.0.1:2379");
    let text = text(&plan.steps);
    for line in [
        "link add eth0 mtu 1500 type veth peer name eth0 mtu 1500 netns weft-t-n2;",
        "ip -n weft-t-n1 route add default via 172.30.0.12",
        "ip -n weft-t-n2 route add default via 172.30.0.11",
        "ip -n weft-t-n2 address add 172.31.0.12/24 dev eth1",
        "ip -n weft-t-hub address add 172.31.0.1/24 dev switch",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[test]
fn the_last_node_has_an_address_and_every_name_is_its_own() {
    let spec = Spec { nodes: crate::spec::MAX_NODES, pods: 1, ..Spec::named("t").unwrap() };
    let plan = Plan::of(&spec);
    assert_eq!(plan.nodes.last().unwrap().underlay.to_string(), "172.30.0.210/24");
    let made = plan.steps.iter().filter(|step| matches!(step, Step::Namespace(_)));
    let mut names: Vec<String> = made.map(ToString::to_string).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!((count, names.len()), (401, 401));
}

#[test]
fn no_link_name_is_too_long_for_the_kernel() {
    let spec =
        Spec { nodes: 200, pods: 200, ..Spec::of(crate::LabName::new("abcdefghijklmnopqrst").unwrap()) };
    let plan = Plan::of(&spec);
    let network = PodNetwork { gateway: "10.244.7.1/24".parse().unwrap(), gateway_ipv6: None, mtu: 1450 };
    let pods = plan.nodes.last().unwrap().pod_steps(&network, true).unwrap();
    for step in plan.steps.iter().chain(&pods) {
        if let Step::Veth { a, b, .. } = step {
            assert!(a.name.len() < 16 && b.name.len() < 16, "{step}");
        }
    }
}

#[test]
fn pods_live_in_the_nodes_subnet() {
    let spec = Spec { nodes: 1, pods: 1, backend: Backend::Vxlan, ipv6: true, ..Spec::named("t").unwrap() };
    let plan = Plan::of(&spec);
    assert_eq!(plan.nodes[0].underlay_ipv6.unwrap().to_string(), "fd30::11/64");
    let network = PodNetwork {
        gateway: "10.244.7.1/24".parse().unwrap(),
        gateway_ipv6: Some("fd00:244:0:9::1/64".parse().unwrap()),
        mtu: 1450,
    };
    assert_eq!(
        text(&plan.nodes[0].pod_steps(&network, true).unwrap()),
        "\
ip -n weft-t-n1 link add docker0 mtu 1450 up type bridge
ip -n weft-t-n1 address add 10.244.7.1/24 dev docker0
ip -n weft-t-n1 address add fd00:244:0:9::1/64 dev docker0
ip -n weft-t-n1-p1 link add eth0 mtu 1450 type veth peer name veth-p1 mtu 1450 netns weft-t-n1; \
ip -n weft-t-n1-p1 link set eth0 up; ip -n weft-t-n1 link set veth-p1 master docker0 up; \
bridge -n weft-t-n1 link set dev veth-p1 hairpin on
ip -n weft-t-n1-p1 address add 10.244.7.2/24 dev eth0
ip -n weft-t-n1-p1 route add default via 10.244.7.1
ip -n weft-t-n1-p1 address add fd00:244:0:9::2/64 dev eth0
ip -n weft-t-n1-p1 route add default via fd00:244:0:9::1"
    );
    let bridge_is_there = plan.nodes[0].pod_steps(&network, false).unwrap();
    assert!(matches!(bridge_is_there[0], Step::Veth { .. }));
}

#[test]
fn a_subnet_that_is_too_small_is_an_error() {
    let network = PodNetwork { gateway: "10.0.0.1/30".parse().unwrap(), gateway_ipv6: None, mtu: 1500 };
    assert!(network.addresses(1).is_ok());
    assert!(network.addresses(2).unwrap_err().to_string().contains("10.0.0.0/30"));
}
