//! Which addresses and node ports a Service gets: decided here, reserved by the server.
//!
//! Owns: how the fields of addresses default to one another on one or two families ([`prepare_create`], [`prepare_update`]),
//! what is to be reserved and what to be given back ([`Plan`]), which address or port is next ([`ports`], [`addresses`]), and
//! the refusals. Never: reserves anything, or knows what others have.
//!
//! The server runs this before [`crate::lifecycle`]; it reserves what [`Plan::ports`] and [`Plan::addresses`] ask for, writes
//! it into the object by [`Plan::fill`], and gives it all back if the write fails. What the plan releases is given back after
//! the write. With `dryRun` nothing is reserved.
//!
//! An address is reserved by an IPAddress in storage ([`ip_address`]), out of a range that a ServiceCIDR names ([`ranges`]); node
//! ports by their bits in one object ([`port_map`]). What a crash left of either, [`repair`] finds.

use std::net::IpAddr;

use apiclient_core::wire::Status;
use serde_json::Value;

use self::addresses::AddressError;
use crate::at::Errors;
use crate::edit::{at, existing, items, list, restore, set, text};
use crate::field::{FieldError, Path};
use crate::kinds::core::service::{is_headless, is_type, needs_health_check, node_port, node_ports};
use crate::{names, refusal};

pub mod addresses;
pub mod families;
pub mod ip_address;
pub mod port_map;
pub mod ports;
pub mod ranges;
pub mod repair;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// As in `ipFamilies`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn parse(name: &str) -> Option<Self> {
        match name {
            "IPv4" => Some(Self::V4),
            "IPv6" => Some(Self::V6),
            _ => None,
        }
    }
}

/// An address for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressWish {
    pub family: Family,
    /// Where in `clusterIPs` it goes.
    pub place: usize,
    /// `None`: any that is free.
    pub wanted: Option<IpAddr>,
}

/// A node port for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortWish {
    /// The place in `ports` of the port that asks for it; `None` is `healthCheckNodePort`.
    pub place: Option<usize>,
    /// `None`: any that is free.
    pub wanted: Option<u16>,
    /// Ports that have the same node port without asking for it.
    pub shared_by: Vec<usize>,
}

/// What is to be reserved before a service is written, and given back after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub addresses: Vec<AddressWish>,
    pub ports: Vec<PortWish>,
    pub release_addresses: Vec<IpAddr>,
    pub release_ports: Vec<u16>,
}

/// Plans for a service that shall be created, and sets the families of its addresses. `families` are those that the cluster
/// has ranges for, the default one first.
///
/// # Errors
/// 422 with these errors.
pub fn prepare_create(service: &mut Value, families: &[Family]) -> Result<Plan, Errors> {
    let single = text(service, &["spec", "clusterIP"]).to_owned();
    if !single.is_empty()
        && list(service, &["spec", "clusterIPs"]).is_empty()
        && let Some(spec) = existing(service, "spec")
    {
        set(spec, "clusterIPs", vec![single]);
    }
    families::default(service, None, families)?;
    let mut plan = Plan { addresses: wish_addresses(service), ..Plan::default() };
    plan.ports = wish_ports(service, None);
    if needs_health_check(service) {
        plan.ports.push(health_wish(service));
    }
    Ok(plan)
}

/// Plans for a service that shall take the place of `old`: fills in what was allocated for it before, where the client
/// does not say otherwise.
///
/// # Errors
/// 422 with these errors.
pub fn prepare_update(service: &mut Value, old: &Value, families: &[Family]) -> Result<Plan, Errors> {
    keep_allocated(service, old);
    sync_addresses(service, old);
    families::default(service, Some(old), families)?;
    let mut plan = Plan::default();
    if !families::is_settled(service, Some(old)) {
        update_addresses(service, old, &mut plan);
    }
    let had = node_ports(old);
    let with_ports = |service: &Value| is_type(service, "NodePort") || is_type(service, "LoadBalancer");
    let as_ports = |ports: &std::collections::BTreeSet<i64>| -> Vec<u16> {
        ports.iter().filter_map(|port| u16::try_from(*port).ok()).collect()
    };
    if with_ports(service) {
        plan.ports = wish_ports(service, Some(&had));
        plan.release_ports = as_ports(&had.difference(&node_ports(service)).copied().collect());
    } else if with_ports(old) {
        plan.release_ports = as_ports(&had);
    }
    match (needs_health_check(old), needs_health_check(service)) {
        (false, true) => plan.ports.push(health_wish(service)),
        (true, false) => plan.release_ports.extend(health_port(old)),
        _ => {}
    }
    Ok(plan)
}

/// All that a service has, which goes when it does.
pub fn release(service: &Value) -> Plan {
    let ports = node_ports(service).into_iter().filter_map(|port| u16::try_from(port).ok());
    let health = needs_health_check(service).then(|| health_port(service)).flatten();
    Plan {
        release_addresses: owned_addresses(service),
        release_ports: ports.chain(health).collect(),
        ..Plan::default()
    }
}

/// The addresses that a service holds.
pub fn owned_addresses(service: &Value) -> Vec<IpAddr> {
    if is_type(service, "ExternalName") || is_headless(service) {
        return Vec::new();
    }
    let addresses = list(service, &["spec", "clusterIPs"]).iter().filter_map(Value::as_str);
    addresses.filter_map(names::sloppy_ip).collect()
}

fn health_port(service: &Value) -> Option<u16> {
    let port = at(service, &["spec", "healthCheckNodePort"]).as_i64();
    port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

fn health_wish(service: &Value) -> PortWish {
    PortWish { place: None, wanted: health_port(service), shared_by: Vec::new() }
}

/// One address for each family.
fn wish_addresses(service: &Value) -> Vec<AddressWish> {
    if is_type(service, "ExternalName") || is_headless(service) {
        return Vec::new();
    }
    let given = list(service, &["spec", "clusterIPs"]);
    let of = |(place, family): (usize, &Value)| {
        let wanted = given.get(place).and_then(Value::as_str).and_then(names::sloppy_ip);
        Some(AddressWish { family: Family::parse(family.as_str()?)?, place, wanted })
    };
    list(service, &["spec", "ipFamilies"]).iter().enumerate().filter_map(of).collect()
}

fn update_addresses(service: &Value, old: &Value, plan: &mut Plan) {
    if is_type(old, "ExternalName") {
        plan.addresses = wish_addresses(service);
        return;
    }
    if list(old, &["spec", "clusterIPs"]).first().is_some_and(|first| first == "None") {
        return;
    }
    let had = owned_addresses(old);
    if is_type(service, "ExternalName") {
        plan.release_addresses = had;
        return;
    }
    let count = |service: &Value| list(service, &["spec", "ipFamilies"]).len();
    match (count(old), count(service)) {
        (1, 2) => {
            plan.addresses = wish_addresses(service).into_iter().filter(|wish| wish.place == 1).collect()
        }
        (2, 1) => plan.release_addresses = had.into_iter().skip(1).collect(),
        _ => {}
    }
}

/// Node ports that are not the service's yet. At creation (`had` is `None`) ports of one number share theirs, where only
/// their protocols differ.
fn wish_ports(service: &Value, had: Option<&std::collections::BTreeSet<i64>>) -> Vec<PortWish> {
    let allocates = is_type(service, "NodePort")
        || (is_type(service, "LoadBalancer")
            && at(service, &["spec", "allocateLoadBalancerNodePorts"]) == true);
    if !is_type(service, "NodePort") && !is_type(service, "LoadBalancer") {
        return Vec::new();
    }
    let ports = list(service, &["spec", "ports"]);
    let number = |port: &Value| at(port, &["port"]).as_i64().unwrap_or_default();
    let created = had.is_none();
    let mut wishes: Vec<(i64, PortWish)> = Vec::new();
    for (place, port) in ports.iter().enumerate() {
        let own = node_port(port);
        if own == 0 && !allocates {
            continue;
        }
        // At creation a port may have what another one of its number asks for.
        let asked = match own {
            0 if created => ports
                .iter()
                .filter(|other| number(other) == number(port))
                .map(node_port)
                .find(|port| *port != 0),
            0 => None,
            own => Some(own),
        };
        let same = wishes.iter_mut().find(|(of, wish)| match asked {
            Some(asked) => wish.wanted.map(i64::from) == Some(asked) && (!created || *of == number(port)),
            None => created && *of == number(port),
        });
        match (asked, same) {
            (_, Some((_, wish))) => wish.shared_by.push(place),
            (Some(asked), None) if had.is_some_and(|had| had.contains(&asked)) => {}
            (asked, None) => {
                let wanted = asked.and_then(|port| u16::try_from(port).ok());
                wishes.push((number(port), PortWish { place: Some(place), wanted, shared_by: Vec::new() }));
            }
        }
    }
    wishes.into_iter().map(|(_, wish)| wish).collect()
}

/// What the old object had stays, where the new one says nothing.
fn keep_allocated(service: &mut Value, old: &Value) {
    let both = |is: &dyn Fn(&Value) -> bool, new: &Value| is(old) && is(new);
    let with_ports = |service: &Value| {
        is_type(service, "NodePort")
            || (is_type(service, "LoadBalancer")
                && at(service, &["spec", "allocateLoadBalancerNodePorts"]) != false)
    };
    let addresses = both(&|service| !is_type(service, "ExternalName"), service);
    let ports = both(&with_ports, service);
    let health = both(&needs_health_check, service);
    let used: Vec<i64> = node_ports(old).intersection(&node_ports(service)).copied().collect();
    let before = at(old, &["spec"]);
    let Some(spec) = existing(service, "spec") else {
        return;
    };
    if addresses {
        if text(spec, &["clusterIP"]).is_empty() {
            restore(spec, before, "clusterIP");
        }
        if list(spec, &["clusterIPs"]).is_empty() && !list(before, &["clusterIPs"]).is_empty() {
            restore(spec, before, "clusterIPs");
        }
    }
    if ports {
        for port in items(spec, "ports").filter(|port| node_port(port) == 0) {
            let name = text(port, &["name"]).to_owned();
            let found = list(before, &["ports"]).iter().rfind(|port| text(port, &["name"]) == name);
            let had = found.map_or(0, node_port);
            if had != 0 && !used.contains(&had) {
                set(port, "nodePort", had);
            }
        }
    }
    if health && at(spec, &["healthCheckNodePort"]).as_i64().unwrap_or_default() == 0 {
        restore(spec, before, "healthCheckNodePort");
    }
}

/// A client that knows only `clusterIP` means `clusterIPs` too.
fn sync_addresses(service: &mut Value, old: &Value) {
    let before = at(old, &["spec"]);
    let Some(spec) = existing(service, "spec") else {
        return;
    };
    let one = |spec: &Value| text(spec, &["clusterIP"]).to_owned();
    let all = |spec: &Value| list(spec, &["clusterIPs"]).to_vec();
    if !all(before).is_empty() && all(spec).is_empty() && one(before) == one(spec) {
        restore(spec, before, "clusterIPs");
    }
    if one(before) != one(spec) && all(before) == all(spec) {
        if one(spec).is_empty() {
            crate::edit::remove(spec, "clusterIPs");
        } else {
            let only = one(spec);
            set(spec, "clusterIPs", vec![only]);
        }
    }
}

impl Plan {
    /// Writes what was reserved into the service, in the order of [`Plan::addresses`] and [`Plan::ports`].
    pub fn fill(&self, service: &mut Value, addresses: &[IpAddr], ports: &[u16]) {
        let Some(spec) = existing(service, "spec") else {
            return;
        };
        if !self.addresses.is_empty() {
            let mut all = list(spec, &["clusterIPs"]).to_vec();
            for (wish, address) in self.addresses.iter().zip(addresses) {
                let text = match (wish.wanted, all.get(wish.place)) {
                    // As it was written.
                    (Some(_), Some(given)) => given.clone(),
                    _ => address.to_string().into(),
                };
                if wish.place < all.len() {
                    all[wish.place] = text;
                } else {
                    all.push(text);
                }
            }
            if let Some(first) = all.first() {
                set(spec, "clusterIP", first.clone());
            }
            set(spec, "clusterIPs", all);
        }
        for (wish, port) in self.ports.iter().zip(ports) {
            let Some(place) = wish.place else {
                // What is no port stays as it is, for the validation to refuse.
                if matches!(at(spec, &["healthCheckNodePort"]).as_i64(), None | Some(0)) {
                    set(spec, "healthCheckNodePort", *port);
                }
                continue;
            };
            for (n, own) in items(spec, "ports").enumerate() {
                if n == place || wish.shared_by.contains(&n) {
                    set(own, "nodePort", *port);
                }
            }
        }
    }
}

/// The refusal of an address that was asked for; `why` is one of [`addresses`].
pub fn address_refused(service: &Value, wanted: IpAddr, why: &str) -> FieldError {
    let path = Path::new("spec").child("clusterIPs");
    let detail = format!("failed to allocate IP {wanted}: {why}");
    FieldError::invalid(&path, at(service, &["spec", "clusterIPs"]), &detail)
}

/// The refusal of an address where any would do.
pub fn any_address_refused(service: &Value, why: &str) -> FieldError {
    let path = Path::new("spec").child("clusterIPs");
    FieldError::invalid(&path, at(service, &["spec", "clusterIPs"]), &format!("failed to allocate IP: {why}"))
}

/// Every address is taken.
pub fn no_address(name: &str) -> Status {
    let why = AddressError::Full;
    refusal::internal(&format!("failed to allocate a serviceIP for Service \"{name}\": {why}"))
}

/// A node port cannot be had, for a reason that is not the service's.
pub fn no_port(wish: &PortWish, why: &str) -> Status {
    refusal::internal(&match (wish.place, wish.wanted) {
        (Some(_), _) => format!("failed to allocate a nodePort: {why}"),
        (None, None) => format!("failed to allocate a HealthCheck NodePort 0: {why}"),
        (None, Some(wanted)) => format!("failed to allocate requested HealthCheck NodePort {wanted}: {why}"),
    })
}

/// The refusal of a port that was asked for by the port at `place`; `why` is one of [`ports`].
pub fn port_refused(place: usize, wanted: u16, why: &str) -> FieldError {
    let path = Path::new("spec").child("ports").index(place).child("nodePort");
    FieldError::invalid(&path, &wanted.into(), why)
}

#[cfg(test)]
mod tests;
