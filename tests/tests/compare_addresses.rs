//! Addresses and node ports of services beside the original: one etcd, served by the one and the other in turn.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use std::collections::{BTreeMap, BTreeSet};

use host::programs::Signal;
use serde_json::{Value, json};
use tests::apiserver::{Side, Which};
use tests::wait::until;

const JSON: &str = "application/json";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";
const EVENTS: &str = "/api/v1/events";

const BOTH_FAMILIES: &[&str] = &["--service-cluster-ip-range=10.96.0.0/24,fd00::/112"];

fn create(side: &Side, name: &str, mut spec: Value) -> Value {
    spec["ports"] = json!([{"port": 80}]);
    side.must("POST", SERVICES, JSON, &json!({"metadata": {"name": name}, "spec": spec}))
}

fn items(side: &Side, path: &str) -> Vec<Value> {
    let list = side.must("GET", path, JSON, &Value::Null);
    list["items"].as_array().cloned().unwrap_or_default()
}

/// Whom each address is for, by the address.
fn owners(side: &Side) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |item: &Value| (text(&item["metadata"]["name"]), text(&item["spec"]["parentRef"]["name"]));
    items(side, ADDRESSES).iter().map(of).collect()
}

fn given(services: &[Value]) -> (BTreeSet<String>, BTreeSet<u64>) {
    let addresses = services.iter().flat_map(|service| service["spec"]["clusterIPs"].as_array().cloned());
    let addresses = addresses.flatten().filter_map(|address| address.as_str().map(str::to_owned));
    let ports = services.iter().flat_map(|service| service["spec"]["ports"].as_array().cloned()).flatten();
    (addresses.collect(), ports.filter_map(|port| port["nodePort"].as_u64()).collect())
}

/// Without what differs in any two objects.
fn form(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["uid", "creationTimestamp", "resourceVersion"] {
            metadata.remove(field);
        }
        for entry in metadata.get_mut("managedFields").and_then(Value::as_array_mut).into_iter().flatten() {
            entry["time"] = Value::Null;
        }
    }
    for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = Value::Null;
    }
    object
}

/// What an allocator complained of.
#[derive(Debug)]
struct Complaint {
    /// The Event's name.
    event: String,
    /// Whom it is about.
    about: String,
    /// Its reason first.
    text: String,
}

fn complaints(side: &Side) -> Vec<Complaint> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of_allocators = |event: &&Value| {
        event["reportingComponent"].as_str().is_some_and(|name| name.ends_with("allocator-repair-controller"))
    };
    let complaint = |event: &Value| Complaint {
        event: text(&event["metadata"]["name"]),
        about: text(&event["involvedObject"]["name"]),
        text: format!("{}: {}", text(&event["reason"]), text(&event["message"])),
    };
    items(side, EVENTS).iter().filter(of_allocators).map(complaint).collect()
}

#[test]
fn addresses_and_ports_stay_with_their_services_when_servers_are_swapped() {
    let mut side = Side::new(Which::Ours, BOTH_FAMILIES);
    side.start();
    let dual = json!({"ipFamilyPolicy": "RequireDualStack"});
    let mut forms = Vec::new();
    let mut excused = BTreeSet::new();
    for which in [Which::Ours, Which::Original, Which::Ours] {
        if side.which != which {
            side.replace_by(which);
        }
        let known = items(&side, SERVICES);
        let (addresses, ports) = given(&known);
        for nth in 0..10 {
            let name = format!("s{}-{nth}", known.len());
            let spec = if nth % 2 == 0 { json!({"type": "NodePort"}) } else { dual.clone() };
            let (new_addresses, new_ports) = given(&[create(&side, &name, spec)]);
            assert!(addresses.is_disjoint(&new_addresses), "{which:?} gave one of {new_addresses:?} twice");
            assert!(ports.is_disjoint(&new_ports), "{which:?} gave one of {new_ports:?} twice");
        }
        // Who goes takes its addresses along, whoever gave them.
        if let Some(gone) = known.iter().find(|service| service["metadata"]["name"] != "kubernetes") {
            let name = gone["metadata"]["name"].as_str().expect("a name");
            side.must("DELETE", &format!("{SERVICES}/{name}"), JSON, &Value::Null);
            let (addresses, ports) = given(std::slice::from_ref(gone));
            let left = owners(&side);
            assert!(
                addresses.iter().all(|address| !left.contains_key(address)),
                "{which:?} keeps {addresses:?}"
            );
            if let Some(port) = ports.first() {
                let spec = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
                let object = json!({"metadata": {"name": format!("{name}-again")}, "spec": spec});
                side.must("POST", SERVICES, JSON, &object);
            }
        }
        let all = items(&side, SERVICES);
        let expected: BTreeMap<String, String> = all
            .iter()
            .flat_map(|service| {
                let name = service["metadata"]["name"].as_str().expect("a name").to_owned();
                given(std::slice::from_ref(service)).0.into_iter().map(move |address| (address, name.clone()))
            })
            .collect();
        assert_eq!(owners(&side), expected, "{which:?}");
        let told = complaints(&side);
        // The original may see a new service before the address that it has just given to it, and complain of itself.
        if which == Which::Original {
            let own = |name: &str| known.iter().all(|service| service["metadata"]["name"] != name);
            let of_itself =
                told.iter().filter(|one| own(&one.about) && one.text.starts_with("ClusterIPNotAllocated"));
            excused.extend(of_itself.map(|one| one.event.clone()));
        }
        let told: Vec<_> = told.iter().filter(|one| !excused.contains(&one.event)).collect();
        assert!(told.is_empty(), "{which:?}: {told:?}");
        // What each makes of an address has one form. The first ones of a range are given by name only.
        let nth = 2 + forms.len();
        let one = create(&side, &format!("form-{nth}"), json!({"clusterIP": format!("10.96.0.{nth}")}));
        let path = format!("{ADDRESSES}/{}", one["spec"]["clusterIP"].as_str().expect("an address"));
        let mut made = form(side.must("GET", &path, JSON, &Value::Null));
        made["metadata"]["name"] = Value::Null;
        made["spec"]["parentRef"]["name"] = Value::Null;
        forms.push(made);
    }
    assert_eq!(forms[0], forms[1], "ours and the original's");
}

#[test]
fn the_first_range_has_the_form_that_the_original_gives_it() {
    let ranges = [Which::Original, Which::Ours].map(|which| {
        let side = Side::new(which, BOTH_FAMILIES);
        side.start();
        form(side.must("GET", &format!("{RANGES}/kubernetes"), JSON, &Value::Null))
    });
    assert_eq!(ranges[0], ranges[1]);
}

#[test]
fn what_a_crash_left_of_addresses_is_mended_by_the_next_start() {
    let side = Side::new(Which::Ours, &["--service-cluster-ip-range=10.96.0.0/24"]);
    side.start();
    let service = create(&side, "a", json!({"type": "NodePort"}));
    let address = service["spec"]["clusterIP"].as_str().expect("an address").to_owned();
    // Nobody is there to mend it, and to take what is told of that along.
    side.stop(Signal::SIGKILL);
    let key = |address: &str| format!("/registry/ipaddresses/{address}");
    let deleted = side.etcd().etcdctl(["del", &key(&address)]).and_then(|output| output.ok());
    assert_eq!(deleted.expect("etcd").trim(), "1", "{address}");
    let wrong = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": "10.96.0.77", "uid": "7ac51bd1-26b6-4b0c-a2f5-3a6b9a5cf5b1",
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4",
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
        "spec": {"parentRef": {"resource": "gateways", "name": "x"}}});
    side.etcd().put(&key("10.96.0.77"), &wrong.to_string()).expect("etcd");
    side.start();
    let found = owners(&side);
    assert_eq!(found.get(&address).map(String::as_str), Some("a"));
    assert!(!found.contains_key("10.96.0.77"), "{found:?}");
    until("an Event tells of the repair", || {
        let all = complaints(&side);
        let tells = |reason: &str| all.iter().any(|one| one.text.starts_with(reason));
        (tells("ClusterIPNotAllocated") && tells("IPAddressNotAllocated")).then_some(())
    });
}
