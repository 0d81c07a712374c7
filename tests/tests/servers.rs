//! Several of our API servers over one etcd of three members, of which any process may be killed at any time.
//!
//! Needs etcd and etcdctl.

use std::path::PathBuf;

use host::programs::Signal;
use tests::apiserver::fleet::Fleet;
use tests::apiserver::load::{Expiry, Load};

fn etcd() -> PathBuf {
    PathBuf::from("etcd")
}

#[test]
fn nothing_is_lost_while_servers_and_members_of_etcd_are_killed_under_load() {
    let fleet = Fleet::up(3, 2, etcd(), &[]);
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
