//! One client that makes and deletes Services: no two ever have the same address or node port.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::{NAMESPACE, PAUSE, Servers, Shared, items, name};

/// Services that it has at a time.
const MOST: usize = 8;

/// The address and the node port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    address: String,
    port: i64,
}

impl Given {
    fn of(service: &Value) -> Self {
        Self {
            address: service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned(),
            port: service["spec"]["ports"][0]["nodePort"].as_i64().unwrap_or(0),
        }
    }
}

fn path() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/services")
}

/// What it was given, by the Service's name, of all that are still there.
pub(super) fn run(mut servers: Servers, nth: usize, shared: &Shared) -> BTreeMap<String, Given> {
    let mut given = BTreeMap::new();
    let mut number = 0;
    while !shared.stop.load(Relaxed) {
        number += 1;
        let own = format!("s{nth}-{number}");
        let body = json!({"metadata": {"name": own}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
        let made = match servers.once("POST", &path(), &body) {
            Ok(reply) if reply.status == 201 => Some(super::json(&reply)),
            // Perhaps it was made all the same.
            _ => {
                std::thread::sleep(PAUSE);
                servers.turn();
                servers.read(&format!("{}/{own}", path()))
            }
        };
        if let Some(made) = made {
            shared.writes.fetch_add(1, Relaxed);
            given.insert(own, Given::of(&made));
        }
        if given.len() > MOST
            && let Some(oldest) = given.keys().next().cloned()
        {
            // Until it is known to be gone.
            let path = format!("{}/{oldest}", path());
            while servers.read(&path).is_some() {
                let _ = servers.once("DELETE", &path, &Value::Null);
            }
            given.remove(&oldest);
        }
        servers.turn();
    }
    given
}

/// Every Service that was acknowledged is there with what it was given, and no two have the same.
///
/// # Panics
/// One is not.
pub(super) fn check(servers: &mut Servers, given: &[BTreeMap<String, Given>]) {
    let list = servers.read("/api/v1/services").expect("a list");
    let all: BTreeMap<String, Given> =
        items(&list).map(|service| (name(service), Given::of(service))).collect();
    for (name, given) in given.iter().flatten() {
        assert_eq!(all.get(name), Some(given), "{name}");
    }
    let addresses: BTreeSet<&str> = all.values().map(|given| given.address.as_str()).collect();
    assert_eq!(addresses.len(), all.len(), "an address was given twice: {all:?}");
    let with_port: Vec<i64> = all.values().map(|given| given.port).filter(|port| *port > 0).collect();
    let ports: BTreeSet<i64> = with_port.iter().copied().collect();
    assert_eq!(ports.len(), with_port.len(), "a port was given twice: {all:?}");
}
