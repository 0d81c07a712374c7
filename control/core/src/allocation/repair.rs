//! What is wrong between Services and what is noted of their addresses and ports, and what mends it.
//!
//! Facts: upstream's `repairip.go` and `portallocator/controller/repair.go`. A crash may leave an IPAddress without its
//! Service, a port without one, or, where an older server wrote, a Service without either. What was made a moment ago is left
//! alone: its other half may still be on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::time;
use serde_json::Value;

use super::port_map::PortMap;
use super::ports::{PortError, PortRange};
use super::ranges::Ranges;
use super::{Family, health_port, ip_address, owned_addresses};
use crate::edit::{list, text};
use crate::kinds::core::service::{is_type, node_port};

/// How long a request may take between an address and its Service.
const GRACE: Duration = Duration::from_secs(60);

/// How long an address may be there that a failed update takes back.
const SETTLING: Duration = Duration::from_secs(5);

/// In how many passes a port must be found without a Service before it is given back.
const PASSES: u8 = 3;

/// What an operator is told by an Event; always a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub reason: &'static str,
    pub action: &'static str,
    pub note: String,
}

/// Objects as they are now.
pub trait Cluster {
    fn address(&self, address: IpAddr) -> Option<Arc<Value>>;
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Value>>;
}

/// What is to be done about an address of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Only its owner can mend it.
    Report(Warning),
    /// Its IPAddress is missing.
    Create(IpAddr, Warning),
    /// Its IPAddress is wrong, and is to be made again.
    Recreate(IpAddr, Option<Warning>),
}

/// What is wrong with the addresses of a Service.
pub fn service(service: &Value, ranges: &Ranges, cluster: &dyn Cluster) -> Vec<Repair> {
    let of = |address| address_of_service(service, address, ranges, cluster);
    owned_addresses(service).into_iter().filter_map(of).collect()
}

fn address_of_service(
    service: &Value,
    address: IpAddr,
    ranges: &Ranges,
    cluster: &dyn Cluster,
) -> Option<Repair> {
    let (namespace, name) = (text(service, &["metadata", "namespace"]), text(service, &["metadata", "name"]));
    let family = Family::of(address).name();
    let warning = |reason, note| Warning { reason, action: "ClusterIPAllocation", note };
    let wrong_reference = || {
        warning(
            "ClusterIPNotAllocated",
            format!(
                "the ClusterIP [{family}]: {address} for Service {namespace}/{name} has a wrong reference; repairing"
            ),
        )
    };
    if !ranges.contains(address) {
        let note = format!(
            "Cluster IP [{family}]: {address} is not within any configured Service CIDR; please recreate service"
        );
        return Some(Repair::Report(warning("ClusterIPOutOfRange", note)));
    }
    let Some(object) = cluster.address(address) else {
        let note = format!("Cluster IP [{family}]: {address} is not allocated; repairing");
        return Some(Repair::Create(address, warning("ClusterIPNotAllocated", note)));
    };
    let Some((of_namespace, of_name)) = ip_address::service(&object) else {
        return Some(Repair::Recreate(address, Some(wrong_reference())));
    };
    if (of_namespace, of_name) != (namespace, name) {
        let Some(other) = cluster.service(of_namespace, of_name) else {
            return Some(Repair::Recreate(address, Some(wrong_reference())));
        };
        // Two have it: making the object again would only move it to and fro.
        if owned_addresses(&other).contains(&address) {
            let note = format!(
                "Cluster IP [{family}]:{address} was assigned to multiple services; please recreate service"
            );
            return Some(Repair::Report(warning("ClusterIPAlreadyAllocated", note)));
        }
    }
    (!ip_address::is_labelled(&object, address)).then_some(Repair::Recreate(address, None))
}

/// What is to be done about an IPAddress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    /// To be looked at again after this time.
    Later(Duration),
    Delete(Warning),
}

/// What is wrong with an IPAddress; those of others than the allocator are not looked at.
pub fn address(object: &Value, cluster: &dyn Cluster, now: SystemTime) -> Verdict {
    if !ip_address::is_ours(object) {
        return Verdict::Keep;
    }
    let address = text(object, &["metadata", "name"]);
    let warning = |reason, note| Warning { reason, action: "IPAddressAllocation", note };
    let Some((namespace, name)) = ip_address::service(object) else {
        let note = format!(
            "IPAddress {address} appears to have been modified, not referencing a Service: cleaning up"
        );
        return Verdict::Delete(warning("IPAddressNotAllocated", note));
    };
    let created = |object: &Value| time::parse(text(object, &["metadata", "creationTimestamp"]));
    let age = created(object).and_then(|created| now.duration_since(created).ok()).unwrap_or_default();
    let wait =
        |at_least: Duration| at_least.checked_sub(age).filter(|rest| !rest.is_zero()).map(Verdict::Later);
    let Some(service) = cluster.service(namespace, name) else {
        return wait(GRACE).unwrap_or_else(|| {
            let note = format!(
                "IPAddress: {address} for Service {namespace}/{name} appears to have leaked: cleaning up"
            );
            Verdict::Delete(warning("IPAddressNotAllocated", note))
        });
    };
    if list(&service, &["spec", "clusterIPs"]).iter().any(|own| own == address) {
        return Verdict::Keep;
    }
    // One that gets its addresses by an update, or an attempt to create another of this name.
    let waits = match is_type(&service, "ExternalName") {
        true => wait(GRACE),
        false if created(object) > created(&service) => wait(SETTLING),
        false => None,
    };
    waits.unwrap_or_else(|| {
        let note =
            format!("IPAddress: {address} for Service {namespace}/{name} has a wrong reference; cleaning up");
        Verdict::Delete(warning("IPAddressWrongReference", note))
    })
}

/// Ports that were found without a Service, and in how many passes more they must be.
pub type Leaks = BTreeMap<u16, u8>;

/// The map of node ports as it should be, and what to tell of which Service. `stored` is what storage has.
pub fn ports<'a>(
    services: impl IntoIterator<Item = &'a Value>,
    stored: Option<&PortMap>,
    range: PortRange,
    leaks: &mut Leaks,
) -> (PortMap, Vec<(&'a Value, Warning)>) {
    let mut rebuilt = PortMap::new(range);
    let mut warnings = Vec::new();
    for service in services {
        for port in ports_of(service) {
            let (reason, note) = match range.check(port, &rebuilt.taken) {
                Ok(()) => {
                    rebuilt.taken.insert(port);
                    leaks.remove(&port);
                    if stored.is_some_and(|stored| stored.taken.contains(&port)) {
                        continue;
                    }
                    ("PortNotAllocated", format!("Port {port} is not allocated; repairing"))
                }
                Err(PortError::Outside(range)) => (
                    "PortOutOfRange",
                    format!("Port {port} is not within the port range {range}; please recreate service"),
                ),
                Err(_) => (
                    "PortAlreadyAllocated",
                    format!("Port {port} was assigned to multiple services; please recreate service"),
                ),
            };
            warnings.push((service, Warning { reason, action: "PortAllocation", note }));
        }
    }
    let unowned: BTreeSet<u16> =
        stored.into_iter().flat_map(|stored| stored.taken.difference(&rebuilt.taken)).copied().collect();
    leaks.retain(|port, _| unowned.contains(port));
    for port in unowned.into_iter().filter(|port| range.contains(*port)) {
        let left = leaks.entry(port).or_insert(PASSES);
        *left = left.saturating_sub(1);
        if *left > 0 {
            rebuilt.taken.insert(port);
        }
    }
    leaks.retain(|_, left| *left > 0);
    (rebuilt, warnings)
}

/// The node ports of a Service: one that several of its ports share stands once where their protocols differ.
fn ports_of(service: &Value) -> Vec<u16> {
    let mut seen: BTreeSet<(i64, &str)> = BTreeSet::new();
    let mut found = Vec::new();
    for port in list(service, &["spec", "ports"]) {
        let (number, protocol) = (node_port(port), text(port, &["protocol"]));
        let shares = seen.iter().any(|(other, _)| *other == number);
        if number != 0 && (seen.replace((number, protocol)).is_some() || !shares) {
            found.extend(u16::try_from(number).ok());
        }
    }
    let health = health_port(service).filter(|port| {
        let port = i64::from(*port);
        !seen.iter().any(|(other, _)| *other == port) || seen.contains(&(port, "TCP"))
    });
    found.extend(health);
    found
}

#[cfg(test)]
mod tests;
