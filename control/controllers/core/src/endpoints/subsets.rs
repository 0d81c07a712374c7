//! Subsets of Endpoints in the one form in which they can be compared: addresses of the same ports together, all in order.

use std::collections::{BTreeMap, BTreeSet};

use control_core::edit::{list, text};
use serde_json::{Value, json};

use super::{PortKey, port_key};

/// Most addresses of an Endpoints object; all others are in slices alone.
pub const MOST: usize = 1000;

/// An address and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AddressKey {
    ip: String,
    uid: String,
    ready: bool,
}

#[derive(Default)]
struct Ports {
    address: Value,
    ports: BTreeMap<PortKey, Value>,
}

/// Addresses of the same ports.
#[derive(Default)]
struct Subset {
    ports: Vec<Value>,
    ready: Vec<Value>,
    unready: Vec<Value>,
}

impl Subset {
    fn value(self) -> Value {
        let mut subset = json!({});
        let fields = [("addresses", self.ready), ("notReadyAddresses", self.unready), ("ports", self.ports)];
        for (field, values) in fields.into_iter().filter(|(_, values)| !values.is_empty()) {
            subset[field] = values.into();
        }
        subset
    }
}

/// What is said of each address, put together. An address that is ready and not ready for one port is ready.
pub fn repack(subsets: &[Value]) -> Vec<Value> {
    let mut ready: BTreeSet<(String, String, PortKey)> = BTreeSet::new();
    let mut addresses: BTreeMap<AddressKey, Ports> = BTreeMap::new();
    for (field, is_ready) in [("addresses", true), ("notReadyAddresses", false)] {
        for subset in subsets {
            let mut ports = list(subset, &["ports"]).to_vec();
            if ports.is_empty() {
                // A headless Service may have none.
                ports.push(Value::Null);
            }
            for address in list(subset, &[field]) {
                let (ip, uid) =
                    (text(address, &["ip"]).to_owned(), text(address, &["targetRef", "uid"]).to_owned());
                for port in &ports {
                    let key = if port.is_null() { Vec::new() } else { port_key(std::slice::from_ref(port)) };
                    let of_port = (ip.clone(), uid.clone(), key.clone());
                    if is_ready {
                        ready.insert(of_port);
                    } else if ready.contains(&of_port) {
                        continue;
                    }
                    let known =
                        addresses.entry(AddressKey { ip: ip.clone(), uid: uid.clone(), ready: is_ready });
                    let known = known.or_default();
                    known.address = address.clone();
                    known.ports.insert(key, port.clone());
                }
            }
        }
    }
    let mut by_ports: BTreeMap<Vec<PortKey>, Subset> = BTreeMap::new();
    for (key, Ports { address, ports }) in addresses {
        let subset = by_ports.entry(ports.keys().cloned().collect()).or_default();
        subset.ports = ports.into_values().filter(|port| !port.is_null()).collect();
        if key.ready { subset.ready.push(address) } else { subset.unready.push(address) }
    }
    by_ports.into_values().map(Subset::value).collect()
}

/// How many addresses are ready, and how many are not.
pub fn count(subsets: &[Value]) -> (usize, usize) {
    let all = |field: &str| subsets.iter().map(|subset| list(subset, &[field]).len()).sum();
    (all("addresses"), all("notReadyAddresses"))
}

/// Leaves [`MOST`] addresses, ready ones first, each subset its share. Says whether there were more.
pub fn truncate(subsets: &mut [Value]) -> bool {
    let (ready, unready) = count(subsets);
    if ready + unready <= MOST {
        return false;
    }
    let cut_ready = ready > MOST;
    let (field, total, room) =
        if cut_ready { ("addresses", ready, MOST) } else { ("notReadyAddresses", unready, MOST - ready) };
    let mut left = room;
    for subset in subsets {
        let share = (list(subset, &[field]).len() * room).div_ceil(total).min(left);
        if let Some(addresses) = subset[field].as_array_mut() {
            addresses.truncate(share);
            left -= addresses.len();
        }
        if let Some(fields) = subset.as_object_mut() {
            if cut_ready {
                fields.remove("notReadyAddresses");
            }
            fields.retain(|_, value| value.as_array().is_none_or(|values| !values.is_empty()));
        }
    }
    true
}
