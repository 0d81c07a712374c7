use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cluster::{Change, Cluster};
use crate::names::ServiceName;
use crate::objects::Kind;
use crate::options::Options;
use crate::table::ServiceTable;

const OWN: Mac = [2, 0, 0, 0, 0, 1];
const CLIENT: Mac = [2, 0, 0, 0, 0, 9];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn an_arp_request_is_answered_with_our_mac() {
    let request = hex(
        "ffffffffffff 020000000009 0806 0001 0800 06 04 0001 020000000009 c0a80909 000000000000 c000020a",
    );
    let question = Question::read(&request).expect("a question");
    assert_eq!((question.address, question.asker()), (ip("192.0.2.10"), CLIENT));
    let reply =
        "020000000009 020000000001 0806 0001 0800 06 04 0002 020000000001 c000020a 020000000009 c0a80909";
    assert_eq!(answer(&question, OWN), hex(reply));
    // Padded to the least length of a frame, as it comes from a wire.
    assert_eq!(Question::read(&[request.clone(), vec![0; 18]].concat()), Some(question));
    for (what, at, byte) in [("a reply", 21, 2), ("another protocol", 16, 9), ("another type", 13, 7)] {
        let mut other = request.clone();
        other[at] = byte;
        assert_eq!(Question::read(&other), None, "{what}");
    }
    let announcement = unasked(ip("192.0.2.10"), OWN);
    assert!(
        announcement.iter().all(|frame| Question::read(frame).is_none()),
        "nobody answers an announcement"
    );
    assert_eq!(
        announcement,
        [
            hex(
                "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 c000020a 000000000000 c000020a"
            ),
            hex(
                "ffffffffffff 020000000001 0806 0001 0800 06 04 0002 020000000001 c000020a ffffffffffff c000020a"
            ),
        ]
    );
}

/// From fe80::9 for 2001:db8::10, as Linux sends it.
const SOLICITATION: &str = "3333ff000010 020000000009 86dd 60000000 0020 3a ff \
    fe800000000000000000000000000009 ff0200000000000000000001ff000010 \
    8700 4b33 00000000 20010db8000000000000000000000010 0101 020000000009";

#[test]
fn a_neighbour_solicitation_is_answered_with_our_mac() {
    let solicitation = hex(SOLICITATION);
    let question = Question::read(&solicitation).expect("a question");
    assert_eq!((question.address, question.asker()), (ip("2001:db8::10"), CLIENT));
    let advertisement = "020000000009 020000000001 86dd 60000000 0020 3a ff \
        20010db8000000000000000000000010 fe800000000000000000000000000009 \
        8800 b986 60000000 20010db8000000000000000000000010 0201 020000000001";
    assert_eq!(answer(&question, OWN), hex(advertisement));
    for (what, at) in [("routed", 21), ("another message", 54), ("a wrong sum", 56), ("cut", 19)] {
        let mut other = solicitation.clone();
        other[at] = other[at].wrapping_sub(1);
        assert_eq!(Question::read(&other), None, "{what}");
    }
    let unasked = unasked(ip("2001:db8::10"), OWN);
    let everybody = "333300000001 020000000001 86dd 60000000 0020 3a ff \
        20010db8000000000000000000000010 ff020000000000000000000000000001 \
        8800 f90c 20000000 20010db8000000000000000000000010 0201 020000000001";
    assert_eq!(unasked, [hex(everybody)]);
    // Who asks before he takes an address hears with everybody that it is taken.
    let taking = Question { from: ip("::"), ..question };
    assert_eq!(answer(&taking, OWN), hex(everybody));
    let group: Ipv6Addr = "ff02::1:ff34:5678".parse().expect("a group");
    assert_eq!(solicited_node("2001:db8::1234:5678".parse().expect("an address")), group);
}

proptest! {
    /// Whatever comes from the network: no panic, and never an answer to an answer.
    #[test]
    fn any_frame_is_a_question_or_none(mut frame in proptest::collection::vec(any::<u8>(), 0..128), like in 0..3_u8) {
        let like = [hex(""), hex("ffffffffffff 020000000009 0806 0001 0800 06 04 0001"), hex(SOLICITATION)][usize::from(like)].clone();
        let same = like.len().min(frame.len());
        frame[..same].copy_from_slice(&like[..same]);
        if let Some(question) = Question::read(&frame) {
            prop_assert_eq!(Question::read(&answer(&question, OWN)), None);
        }
    }
}

#[test]
fn an_address_is_announced_five_times_from_when_it_is_held() {
    let mut schedule = Schedule::default();
    let held = BTreeSet::from([ip("192.0.2.1"), ip("2001:db8::1")]);
    let times = |schedule: &mut Schedule, from: u64, held: &BTreeSet<IpAddr>| -> usize {
        (0..100).map(|tick| schedule.due(Duration::from_millis(from + tick * 100), held).len()).sum()
    };
    assert_eq!(schedule.due(Duration::ZERO, &held).len(), 2);
    assert!(schedule.due(Duration::from_millis(1_000), &held).is_empty(), "nobody would believe it yet");
    assert_eq!(schedule.due(Duration::from_millis(1_100), &held).len(), 2);
    assert_eq!(times(&mut schedule, 1_200, &held), 6);
    assert_eq!(times(&mut schedule, 60_000, &held), 0);
    assert!(schedule.due(Duration::from_secs(90), &BTreeSet::new()).is_empty());
    assert_eq!(times(&mut schedule, 100_000, &held), 10, "it begins again");
}

/// A node `n1` that sees a Service of this policy and class, with an endpoint on this node.
struct Seen {
    cluster: Cluster,
    table: ServiceTable,
    candidates: Candidates,
}

impl Seen {
    fn put(&mut self, kind: Kind, object: &serde_json::Value) -> bool {
        let decoded = kind.decode(object.to_string().as_bytes()).expect("an object").object;
        let touched = self.cluster.apply(Change::Put(decoded));
        self.rebuild(&touched)
    }

    fn rebuild(&mut self, touched: &crate::cluster::Touched) -> bool {
        let options = Options { node_name: "n1".into(), ..Options::default() };
        let delta = self.table.rebuild(&self.cluster, &options, touched);
        self.candidates.follow(&delta)
    }

    fn service(&mut self, policy: &str, class: &str) -> bool {
        self.put(
            Kind::Service,
            &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "d", "name": "web"},
                "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
                    "externalTrafficPolicy": policy, "loadBalancerClass": class,
                    "ports": [{"name": "a", "port": 80, "protocol": "TCP"}, {"name": "b", "port": 81, "protocol": "TCP"}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}),
        )
    }

    fn endpoint(&mut self, node: &str) -> bool {
        self.put(
            Kind::EndpointSlice,
            &json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"namespace": "d", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4", "ports": [{"name": "a", "port": 8080, "protocol": "TCP"}],
                "endpoints": [{"addresses": ["10.244.0.5"], "nodeName": node, "conditions": {"ready": true}}]}),
        )
    }

    fn has(&self) -> bool {
        let wanted = BTreeMap::from([(ServiceName::new("d", "web"), BTreeSet::from([ip("192.0.2.1")]))]);
        let services = self.candidates.services();
        assert!(services.is_empty() || services == wanted, "{services:?}");
        !services.is_empty()
    }
}

#[test]
fn a_node_is_a_candidate_where_clients_find_an_endpoint_by_way_of_it() {
    let mut seen = Seen {
        cluster: Cluster::default(),
        table: ServiceTable::default(),
        candidates: Candidates::default(),
    };
    assert!(!seen.service("Cluster", "") && !seen.has(), "nothing is behind it");
    assert!(seen.endpoint("n2") && seen.has());
    assert!(seen.service("Local", "") && !seen.has(), "the endpoint is elsewhere");
    assert!(seen.endpoint("n1") && seen.has());
    assert!(seen.service("Local", "example.org/cloud") && !seen.has(), "somebody else announces it");
    assert!(seen.service("Local", "weft.dev/pool") && seen.has());
    assert!(!seen.service("Local", "weft.dev/pool"), "nothing has changed");
    let touched = seen.cluster.apply(Change::Delete(Kind::Service, ServiceName::new("d", "web")));
    assert!(seen.rebuild(&touched) && !seen.has());
}
