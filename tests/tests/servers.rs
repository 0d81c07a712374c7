//! Several of our API servers over one etcd of three members, of which any process may be killed at any time.
//!
//! Needs etcd and etcdctl.

use host::programs::Signal;
use serde_json::{Value, json};
use tests::apiserver::fleet::{Etcd, Fleet};
use tests::apiserver::load::{Expiry, Load};
use tests::wait::until_true;

#[test]
fn nothing_is_lost_while_servers_and_members_of_etcd_are_killed_under_load() {
    let fleet = Fleet::up(3, 2, &Etcd::default(), &[]);
    let load = Load::start(fleet.clients(), Expiry::Never);
    load.goes_on();
    // One server, and the other.
    for server in 0..2 {
        fleet.stop_server(server, Signal::SIGKILL);
        load.goes_on();
        fleet.start_server(server);
        fleet.wait_for_server(server);
    }
    // The leader.
    let leader = fleet.leader();
    fleet.stop_member(leader, Signal::SIGKILL);
    load.goes_on();
    // A server while a member is away; and both at once.
    fleet.stop_server(0, Signal::SIGKILL);
    load.goes_on();
    fleet.start_member(leader);
    fleet.wait_for_member(leader);
    let leader = fleet.leader();
    fleet.stop_member(leader, Signal::SIGKILL);
    fleet.start_server(0);
    fleet.wait_for_server(0);
    fleet.stop_server(1, Signal::SIGKILL);
    load.goes_on();
    // Both servers at the same time.
    fleet.stop_server(0, Signal::SIGKILL);
    fleet.start_member(leader);
    fleet.start_server(0);
    fleet.start_server(1);
    fleet.wait_for_member(leader);
    load.goes_on();
    // The majority.
    fleet.stop_member(0, Signal::SIGKILL);
    fleet.stop_member(1, Signal::SIGKILL);
    fleet.start_member(0);
    fleet.start_member(1);
    load.goes_on();
    // One that was told to end.
    fleet.stop_server(1, Signal::SIGTERM);
    load.goes_on();
    fleet.start_server(1);
    fleet.wait_for_server(1);
    load.goes_on();
    let outcome = load.end(2);
    println!("{outcome:?}");
}

#[test]
fn a_write_is_not_refused_for_what_another_server_wrote_just_before() {
    let fleet = Fleet::up(1, 2, &Etcd::default(), &[]);
    for number in 0..40 {
        let name = format!("fresh-{number}");
        let made = fleet.ask(0, "POST", "/api/v1/namespaces", &json!({"metadata": {"name": name}}));
        assert_eq!(made.0, 201, "{}", made.1);
        let path = format!("/api/v1/namespaces/{name}/configmaps");
        let made = fleet.ask(1, "POST", &path, &json!({"metadata": {"name": "x"}}));
        assert_eq!(made.0, 201, "{}", made.1);
    }
}

/// The addresses behind the Service default/kubernetes, as Endpoints and as EndpointSlice, seen through a server.
fn masters(fleet: &Fleet, server: usize) -> [Vec<String>; 2] {
    let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (_, endpoints) =
        fleet.ask(server, "GET", "/api/v1/namespaces/default/endpoints/kubernetes", &Value::Null);
    let subsets = endpoints["subsets"].as_array().into_iter().flatten();
    let addresses = subsets.flat_map(|subset| subset["addresses"].as_array().into_iter().flatten());
    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    let (_, slice) = fleet.ask(server, "GET", path, &Value::Null);
    let slices = slice["endpoints"].as_array().into_iter().flatten();
    [
        addresses.map(|address| of(&address["ip"])).collect(),
        slices.map(|endpoint| of(&endpoint["addresses"][0])).collect(),
    ]
}

#[test]
fn the_endpoint_of_a_server_goes_when_it_ends_and_when_it_dies() {
    let fleet = Fleet::up(1, 2, &Etcd::default(), &[]);
    let (both, first) =
        (["192.0.2.1", "192.0.2.2"].map(str::to_owned).to_vec(), vec!["192.0.2.1".to_owned()]);
    let are = |server: usize, want: &[String]| masters(&fleet, server).iter().all(|found| found == want);
    until_true("both servers to be endpoints", || are(0, &both));
    // One that is told to end takes itself out.
    fleet.stop_server(1, Signal::SIGTERM);
    assert!(are(0, &first), "{:?}", masters(&fleet, 0));
    fleet.start_server(1);
    fleet.wait_for_server(1);
    until_true("both servers to be endpoints again", || are(1, &both));
    // One that dies is missed once its lease is over.
    fleet.stop_server(1, Signal::SIGKILL);
    until_true("the dead server's endpoint to go", || are(0, &first));
}
