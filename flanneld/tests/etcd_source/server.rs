//! A source of leases for one test, and what it tells.

use flanneld::leases::LeaseEvent;
use flanneld::leases::etcd::EtcdSource;
use flanneld::options::{self, Options};
use flanneld_core::acquire::{Identity, Previous};
use flanneld_core::config::NetworkConfig;
use flanneld_core::lease::{LeaseAttrs, Stored, Subnets};
use tokio::sync::mpsc;

#[path = "../../../etcd/tests/server/mod.rs"]
mod one;

pub use one::*;

pub const PREFIX: &str = "/coreos.com/network";

/// Flags as a user gives them.
pub fn flags(arguments: &[&str]) -> Options {
    let nothing: [(&str, &str); 0] = [];
    options::resolve(arguments, &nothing).unwrap()
}

/// A source at this address, with more flags.
pub fn source(url: &str, more: &[&str]) -> EtcdSource {
    let endpoints = format!("--etcd-endpoints={url}");
    let arguments: Vec<&str> = [endpoints.as_str()].iter().chain(more).copied().collect();
    let options = flags(&arguments);
    EtcdSource::new(&options.etcd, options.lease_ttl).unwrap()
}

pub fn network(json: &str) -> NetworkConfig {
    NetworkConfig::parse(json).unwrap()
}

pub fn slash16() -> NetworkConfig {
    network(r#"{"Network":"10.5.0.0/16"}"#)
}

/// Node `n`: 192.0.2.n, as udp publishes it.
pub fn node(n: u8) -> LeaseAttrs {
    LeaseAttrs::new([192, 0, 2, n].into())
}

/// The node with these attributes and nothing left of earlier runs.
pub fn who(attrs: &LeaseAttrs) -> Identity {
    Identity::new(attrs.public_ip)
}

/// The same with a subnet.env that names this subnet.
pub fn who_had(attrs: &LeaseAttrs, v4: &str) -> Identity {
    Identity { previous: Previous { v4: Some(v4.parse().unwrap()), v6: None }, ..who(attrs) }
}

pub fn subnets(name: &str) -> Subnets {
    name.parse().unwrap()
}

/// Subnets and holder of a lease that an event tells of.
pub fn told(event: &LeaseEvent) -> (Subnets, Option<LeaseAttrs>) {
    match event {
        LeaseEvent::Put(Stored { subnets, attrs, .. }) => (*subnets, attrs.clone().ok()),
        LeaseEvent::Delete(subnets) => (*subnets, None),
        other => panic!("want a change, have {other:?}"),
    }
}

pub fn key(name: &str) -> String {
    format!("{PREFIX}/subnets/{name}")
}

/// A watch in a task of its own.
pub fn watched(source: &EtcdSource) -> mpsc::Receiver<LeaseEvent> {
    let (sender, receiver) = mpsc::channel(16);
    let source = source.clone();
    tokio::spawn(async move { source.watch(sender).await });
    receiver
}

/// The next event.
pub async fn next(events: &mut mpsc::Receiver<LeaseEvent>) -> LeaseEvent {
    within(SOON, "an event", events.recv()).await.expect("the watch goes on")
}

/// The names of a snapshot's leases.
pub fn names(event: &LeaseEvent) -> Vec<String> {
    match event {
        LeaseEvent::Snapshot(leases, _) => leases.iter().map(|lease| lease.subnets.to_string()).collect(),
        other => panic!("want a snapshot, have {other:?}"),
    }
}
