//! Addresses and node ports of services, reserved while they are written.
//!
//! Owns: what is reserved at this moment and not in memory yet. What a service wants, and which address is next, is
//! `control_core::allocation`'s. What others have is read from the services themselves, so that nothing is lost by a crash.
//! Begin at [`Allocator::prepare`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use apiclient_core::wire::Status;
use control_core::admission::Objects;
use control_core::allocation::addresses::AddressRange;
use control_core::allocation::ports::PortRange;
use control_core::allocation::{self, Family, Plan};
use control_core::kind::Kind;
use control_core::kinds::core::service::node_ports;
use control_core::{edit, refusal};
use serde_json::Value;

use crate::ids;

/// How long a reservation stays after the write: until the service is in memory for certain.
const SETTLES: Duration = Duration::from_secs(10);

/// Longer than any request takes.
const LONGEST: Duration = Duration::from_secs(3_600);

/// The ranges, and what is reserved of them.
#[derive(Debug)]
pub struct Allocator {
    /// The preferred family first.
    ranges: Vec<AddressRange>,
    ports: PortRange,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    addresses: BTreeMap<IpAddr, Instant>,
    ports: BTreeMap<u16, Instant>,
}

/// What was reserved for one service; given back when it is dropped without [`Reserved::written`].
#[derive(Debug)]
pub struct Reserved<'a> {
    allocator: &'a Allocator,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
}

impl Allocator {
    pub fn new(ranges: Vec<AddressRange>, ports: PortRange) -> Self {
        Self { ranges, ports, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn families(&self) -> Vec<Family> {
        self.ranges.iter().map(|range| Family::of(range.first())).collect()
    }

    /// Gives a service that is to be created, or to take the place of `old`, what it asks for.
    ///
    /// # Errors
    /// 422: what it wants is taken, or there is no such thing.
    pub fn prepare(
        &self,
        kind: &Kind,
        objects: &dyn Objects,
        service: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<Reserved<'_>, Status> {
        let name = edit::text(service, &["metadata", "name"]).to_owned();
        let refuse = |errors: Vec<_>| refusal::invalid(kind, &name, &errors);
        let families = self.families();
        let plan = match old {
            None => allocation::prepare_create(service, &families),
            Some(old) => allocation::prepare_update(service, old, &families),
        };
        let plan = plan.map_err(refuse)?;
        let mut reserved = Reserved { allocator: self, addresses: Vec::new(), ports: Vec::new() };
        if plan.addresses.is_empty() && plan.ports.is_empty() {
            return Ok(reserved);
        }
        let (addresses, ports) = match dry_run {
            true => self.shown(&plan),
            false => {
                let own = edit::text(service, &["metadata", "uid"]).to_owned();
                let (addresses, ports) = self.reserve(objects, &plan, service, &own).map_err(refuse)?;
                (reserved.addresses, reserved.ports) = (addresses.clone(), ports.clone());
                (addresses, ports)
            }
        };
        plan.fill(service, &addresses, &ports);
        Ok(reserved)
    }

    /// What a dry run shows: nothing is reserved, and what is taken passes.
    fn shown(&self, plan: &Plan) -> (Vec<IpAddr>, Vec<u16>) {
        let addresses = plan.addresses.iter().filter_map(|wish| {
            let of_family = |range: &&AddressRange| Family::of(range.first()) == wish.family;
            wish.wanted.or_else(|| self.ranges.iter().find(of_family).map(|range| range.network()))
        });
        let ports = plan.ports.iter().map(|wish| wish.wanted.unwrap_or(self.ports.first));
        (addresses.collect(), ports.collect())
    }

    fn reserve(
        &self,
        objects: &dyn Objects,
        plan: &Plan,
        service: &Value,
        own: &str,
    ) -> Result<(Vec<IpAddr>, Vec<u16>), Vec<control_core::field::FieldError>> {
        // Held over the whole decision: two services never see the same address free.
        let mut held = self.held();
        let now = Instant::now();
        held.addresses.retain(|_, until| *until > now);
        held.ports.retain(|_, until| *until > now);
        let mut taken: BTreeSet<IpAddr> = held.addresses.keys().copied().collect();
        let mut taken_ports: BTreeSet<u16> = held.ports.keys().copied().collect();
        for other in objects.list("services", "") {
            if own.is_empty() || edit::text(&other, &["metadata", "uid"]) != own {
                taken.extend(allocation::owned_addresses(&other));
                taken_ports
                    .extend(node_ports(&other).into_iter().filter_map(|port| u16::try_from(port).ok()));
            }
        }
        let (mut addresses, mut ports) = (Vec::new(), Vec::new());
        for wish in &plan.addresses {
            let Some(range) = self.ranges.iter().find(|range| Family::of(range.first()) == wish.family)
            else {
                continue;
            };
            let found = match wish.wanted {
                Some(wanted) => range.check(wanted, &taken).map(|()| wanted),
                None => range.next(ids::random(), &taken),
            };
            let address = found.map_err(|why| {
                let wanted = wish.wanted.unwrap_or_else(|| range.network());
                vec![allocation::address_refused(service, wanted, &why.to_string())]
            })?;
            taken.insert(address);
            addresses.push(address);
        }
        for wish in &plan.ports {
            let found = match wish.wanted {
                Some(wanted) => self.ports.check(wanted, &taken_ports).map(|()| wanted),
                None => self.ports.next(ids::random(), &taken_ports),
            };
            let port = found.map_err(|why| {
                let (place, wanted) = (wish.place.unwrap_or(0), wish.wanted.unwrap_or(0));
                vec![allocation::port_refused(place, wanted, &why.to_string())]
            })?;
            taken_ports.insert(port);
            ports.push(port);
        }
        // Given back before where the write fails.
        let until = now + LONGEST;
        held.addresses.extend(addresses.iter().map(|address| (*address, until)));
        held.ports.extend(ports.iter().map(|port| (*port, until)));
        Ok((addresses, ports))
    }
}

impl Reserved<'_> {
    /// The service is in storage: from now on it holds for itself.
    pub fn written(mut self) {
        let mut held = self.allocator.held();
        let until = Instant::now() + SETTLES;
        held.addresses.extend(self.addresses.drain(..).map(|address| (address, until)));
        held.ports.extend(self.ports.drain(..).map(|port| (port, until)));
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut held = self.allocator.held();
        for address in &self.addresses {
            held.addresses.remove(address);
        }
        for port in &self.ports {
            held.ports.remove(port);
        }
    }
}
