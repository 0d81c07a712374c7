//! A service's endpoints from slices as they come: many, overlapping, moving, half written.

use proxy_core::cluster::{Change, Cluster, Touched};
use proxy_core::objects::{Kind, Object};
use proxy_core::options::Options;
use proxy_core::table::ServiceTable;
use serde_json::{Value, json};

#[derive(Default)]
struct World {
    cluster: Cluster,
    table: ServiceTable,
}

impl World {
    fn new() -> Self {
        let mut world = World::default();
        for (name, ip) in [("a", "10.96.0.1"), ("b", "10.96.0.2")] {
            world.put(json!({
                "kind": "Service", "metadata": {"namespace": "n", "name": name},
                "spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80}]},
            }));
        }
        world
    }

    fn change(&mut self, change: Change) {
        let touched = self.cluster.apply(change);
        let options = Options { node_name: "here".into(), ..Options::default() };
        self.table.rebuild(&self.cluster, &options, &touched);
        let fresh = ServiceTable::build(&self.cluster, &options);
        assert_eq!(self.table.ports, fresh.ports);
        assert!(self.table.rebuild(&self.cluster, &options, &Touched::default()).is_empty());
    }

    fn put(&mut self, object: Value) {
        let object = Object::decode(object.to_string().as_bytes()).unwrap().unwrap().object;
        self.change(Change::Put(object));
    }

    fn endpoints(&self, service: &str) -> Vec<String> {
        let port = self.table.ports.values().find(|port| &*port.name.service.name == service).unwrap();
        port.cluster.iter().map(ToString::to_string).collect()
    }
}

fn slice(name: &str, service: &str, port: u16, endpoints: Value) -> Value {
    json!({
        "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": "n", "name": name, "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints, "ports": [{"name": "http", "port": port}],
    })
}

fn pod(ip: &str, conditions: Value) -> Value {
    json!({"addresses": [ip], "conditions": conditions})
}

#[test]
fn an_endpoint_in_several_slices_is_one() {
    let mut world = World::new();
    world.put(slice("a-1", "a", 8080, json!([pod("10.1.0.1", json!({})), pod("10.1.0.2", json!({}))])));
    world.put(slice("a-2", "a", 8080, json!([pod("10.1.0.2", json!({})), pod("10.1.0.3", json!({}))])));
    assert_eq!(world.endpoints("a"), ["10.1.0.1:8080", "10.1.0.2:8080", "10.1.0.3:8080"]);
    // It moved: the slice that it left says so first, or last.
    world.put(slice("a-1", "a", 8080, json!([pod("10.1.0.1", json!({}))])));
    assert_eq!(world.endpoints("a"), ["10.1.0.1:8080", "10.1.0.2:8080", "10.1.0.3:8080"]);
    world.change(Change::Delete(Kind::EndpointSlice, proxy_core::names::ObjectName::new("n", "a-2")));
    assert_eq!(world.endpoints("a"), ["10.1.0.1:8080"]);
}

#[test]
fn of_two_pods_with_one_address_the_one_that_stays_counts_whichever_slice_comes_first() {
    let going = json!({"ready": false, "serving": true, "terminating": true});
    for (first, second) in [(json!({}), going.clone()), (going, json!({}))] {
        let mut world = World::new();
        world.put(slice("a-1", "a", 8080, json!([pod("10.1.0.1", first)])));
        world.put(slice("a-2", "a", 8080, json!([pod("10.1.0.1", second)])));
        world.put(slice("a-3", "a", 8080, json!([pod("10.1.0.2", json!({}))])));
        assert_eq!(world.endpoints("a"), ["10.1.0.1:8080", "10.1.0.2:8080"]);
    }
}

#[test]
fn of_two_slices_with_one_endpoint_the_one_on_this_node_counts() {
    use proxy_core::cases::{cluster_of, usual_options};
    use proxy_core::table::ServiceTable;
    let (here, there) = ("web 10.244.1.10(on=here)", "web 10.244.1.10(on=there)");
    for endpoints in [[here, there], [there, here]] {
        let cluster = cluster_of(&["web 10.96.0.10 80 internal-local"], &endpoints);
        let table = ServiceTable::build(&cluster, &usual_options());
        let port = table.ports.values().next().expect("a port");
        assert_eq!(port.local.len(), 1, "{endpoints:?}");
    }
    // What the other slice says of its state does not matter, as with kube-proxy.
    let endpoints = ["web 10.244.1.10(on=here,unready)", "web 10.244.1.10(on=there)"];
    let table = ServiceTable::build(&cluster_of(&["web 10.96.0.10 80"], &endpoints), &usual_options());
    assert!(!table.ports.values().next().expect("a port").any_endpoints);
}

#[test]
fn each_slice_has_its_own_ports() {
    let mut world = World::new();
    world.put(slice("a-1", "a", 8080, json!([pod("10.1.0.1", json!({}))])));
    world.put(slice("a-2", "a", 9090, json!([pod("10.1.0.1", json!({})), pod("10.1.0.2", json!({}))])));
    assert_eq!(world.endpoints("a"), ["10.1.0.1:8080", "10.1.0.1:9090", "10.1.0.2:9090"]);
    let mut other = slice("a-2", "a", 9090, json!([pod("10.1.0.2", json!({}))]));
    other["ports"] =
        json!([{"name": "metrics", "port": 9090}, {"name": "http", "port": 7070, "protocol": "UDP"}]);
    world.put(other);
    assert_eq!(world.endpoints("a"), ["10.1.0.1:8080"], "neither another name nor another protocol");
}

#[test]
fn a_slice_that_changes_its_service_takes_its_endpoints_along() {
    let mut world = World::new();
    let ends = || json!([pod("10.1.0.1", json!({}))]);
    world.put(slice("x", "a", 8080, ends()));
    assert_eq!((world.endpoints("a").len(), world.endpoints("b").len()), (1, 0));
    world.put(slice("x", "b", 8080, ends()));
    assert_eq!((world.endpoints("a").len(), world.endpoints("b").len()), (0, 1));
    let mut nobodys = slice("x", "b", 8080, ends());
    nobodys["metadata"]["labels"] = json!({});
    world.put(nobodys);
    assert_eq!((world.endpoints("a").len(), world.endpoints("b").len()), (0, 0));
    world.put(slice("x", "b", 8080, ends()));
    let mut headless = slice("x", "b", 8080, ends());
    headless["metadata"]["labels"]["service.kubernetes.io/headless"] = json!("");
    world.put(headless);
    assert!(world.endpoints("b").is_empty());
}

#[test]
fn a_slice_of_host_names_has_no_endpoints_and_loses_those_that_it_had() {
    let mut world = World::new();
    world.put(slice("x", "a", 8080, json!([pod("10.1.0.1", json!({}))])));
    assert_eq!(world.endpoints("a").len(), 1);
    let mut names = slice("x", "a", 8080, json!([pod("example.org", json!({}))]));
    names["addressType"] = json!("FQDN");
    world.put(names);
    assert!(world.endpoints("a").is_empty());
}

#[test]
fn only_the_first_address_of_an_endpoint_counts() {
    let mut world = World::new();
    world.put(slice("a-1", "a", 8080, json!([{"addresses": ["10.1.0.9", "10.1.0.1", "nowhere"]}])));
    assert_eq!(world.endpoints("a"), ["10.1.0.9:8080"]);
}

#[test]
fn conditions_that_nobody_wrote_are_ready_and_serving_and_not_terminating() {
    let used = |conditions: Value| {
        let mut world = World::new();
        world.put(slice("a-1", "a", 8080, json!([pod("10.1.0.1", conditions)])));
        world.endpoints("a").len() == 1
    };
    for conditions in [
        json!(null),
        json!({}),
        json!({"ready": null, "serving": null, "terminating": null}),
        json!({"ready": true, "serving": false}),
        // Serving while it terminates: where nothing is ready.
        json!({"ready": false, "terminating": true}),
        json!({"ready": false, "serving": true, "terminating": true}),
    ] {
        assert!(used(conditions.clone()), "{conditions}");
    }
    for conditions in [
        json!({"ready": false}),
        json!({"ready": false, "serving": true}),
        json!({"ready": false, "serving": false, "terminating": true}),
    ] {
        assert!(!used(conditions.clone()), "{conditions}");
    }
}
