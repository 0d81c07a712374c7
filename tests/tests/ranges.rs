//! What is noted of services' addresses and node ports, deleted by hand behind the back of a running server: it is made
//! again, and nothing is given twice.
//!
//! Needs etcd and etcdctl.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::apiserver::fleet::{Etcd, Fleet};
use tests::wait::until;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
/// Where the map of node ports is.
const MAP: &str = "/registry/ranges/servicenodeports";
/// Few enough that a port given twice would show.
const PORTS: usize = 8;

fn service(name: &str, kind: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]}})
}

fn port(service: &Value) -> u64 {
    service["spec"]["ports"][0]["nodePort"].as_u64().unwrap_or_else(|| panic!("no port: {service}"))
}

fn address(service: &Value) -> String {
    service["spec"]["clusterIP"].as_str().unwrap_or_else(|| panic!("no address: {service}")).to_owned()
}

#[test]
fn a_map_of_node_ports_that_was_deleted_is_made_again_from_the_services() {
    let range = format!("--service-node-port-range=30000-{}", 30_000 + PORTS - 1);
    let fleet = Fleet::up(1, 2, &Etcd::default(), &[&range]);
    let create = |server: usize, name: &str| fleet.ask(server, "POST", SERVICES, &service(name, "NodePort"));
    let mut given = BTreeSet::new();
    for nth in 0..PORTS / 2 {
        let (code, made) = create(nth % 2, &format!("before-{nth}"));
        assert_eq!(code, 201, "{made}");
        assert!(given.insert(port(&made)));
    }
    fleet.etcdctl(0, &["del", MAP]);
    // The first that asks is told to come again, at worst; then there is a map that has all that services have.
    for nth in PORTS / 2..PORTS {
        let name = format!("after-{nth}");
        let made = until("a port", || {
            let (code, made) = create(nth % 2, &name);
            assert!(code == 201 || code == 422 || code == 500 || code == 503, "{code}: {made}");
            (code == 201).then_some(made)
        });
        assert!(given.insert(port(&made)), "given twice: {made}");
    }
    let (code, full) = create(0, "one-too-many");
    assert_ne!(code, 201, "every port is taken: {full}");
    // A port that a service gives up is the only one that there is.
    let (_, before) = fleet.ask(0, "GET", &format!("{SERVICES}/before-0"), &Value::Null);
    assert_eq!(fleet.ask(0, "DELETE", &format!("{SERVICES}/before-0"), &Value::Null).0, 200);
    let (code, made) = create(1, "in-its-place");
    assert_eq!((code, port(&made)), (201, port(&before)), "{made}");
}

#[test]
fn addresses_whose_objects_were_deleted_stay_with_their_services() {
    let fleet = Fleet::up(1, 1, &Etcd::default(), &[]);
    let create = |name: &str| fleet.ask(0, "POST", SERVICES, &service(name, "ClusterIP"));
    let (code, through) = create("through-the-api");
    assert_eq!(code, 201, "{through}");
    let (code, behind) = create("behind-its-back");
    assert_eq!(code, 201, "{behind}");
    let object =
        |service: &Value| fleet.ask(0, "GET", &format!("{ADDRESSES}/{}", address(service)), &Value::Null);
    let uids = [&through, &behind].map(|service| object(service).1["metadata"]["uid"].clone());
    assert_eq!(fleet.ask(0, "DELETE", &format!("{ADDRESSES}/{}", address(&through)), &Value::Null).0, 200);
    fleet.etcdctl(0, &["del", &format!("/registry/ipaddresses/{}", address(&behind))]);
    for (service, uid) in [&through, &behind].into_iter().zip(uids) {
        let name = &service["metadata"]["name"];
        let made = until("the address's object", || {
            let (code, made) = object(service);
            (code == 200 && made["metadata"]["uid"] != uid).then_some(made)
        });
        assert_eq!(&made["spec"]["parentRef"]["name"], name, "{made}");
        let mut other = self::service("another", "ClusterIP");
        other["spec"]["clusterIP"] = address(service).into();
        let (code, refused) = fleet.ask(0, "POST", SERVICES, &other);
        assert_eq!(code, 422, "{refused}");
    }
    // And an Event tells the operator.
    let events = until("an Event", || {
        let (_, events) = fleet.ask(0, "GET", "/apis/events.k8s.io/v1/events", &Value::Null);
        events.to_string().contains("ClusterIPNotAllocated").then_some(events)
    });
    assert!(events.to_string().contains(&address(&through)), "{events}");
}
