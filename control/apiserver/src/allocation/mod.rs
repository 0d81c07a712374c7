//! Addresses and node ports of services, reserved in storage before the service is written.
//!
//! Owns: the order of a reservation and of giving it back. What a service wants, and which address is next, is
//! `control_core::allocation`'s. An address is reserved by creating its IPAddress and a port by its bit in the map of ports,
//! so that no two servers give the same one; what a crash leaves of that, the repairs find. Begin at [`Allocator::prepare`].

mod addresses;
pub(crate) mod ports;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::wire::Status;
use control_core::allocation::addresses::{AddressError, AddressRange};
use control_core::allocation::ports::PortRange;
use control_core::allocation::{self, Family, Plan};
use control_core::kind::Kind;
use control_core::{edit, refusal};
use control_store::Store;
use serde_json::Value;
use tokio::runtime::Handle;

use self::addresses::Addresses;
pub use self::ports::PREFIX as PORTS;
use self::ports::Ports;
use crate::storage::memory::Memory;

/// The families that services may have, and what reserves for them.
#[derive(Debug)]
pub struct Allocator {
    /// The preferred one first.
    families: Vec<Family>,
    ports: Arc<Ports>,
    json: bool,
}

/// A write of a service.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub kind: &'a Kind,
    pub memory: &'a Memory,
    pub now: SystemTime,
    pub dry_run: bool,
}

/// What was reserved for one service; given back when it is dropped without [`Reserved::written`].
#[derive(Debug)]
pub struct Reserved {
    held: Held,
    /// What the service gives up once it is written.
    released: Plan,
    /// By namespace and name.
    service: (String, String),
    memory: Memory,
    ports: Arc<Ports>,
}

#[derive(Debug, Default)]
struct Held {
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.ports.is_empty()
    }
}

impl Allocator {
    /// `ranges` are those of the flags, the preferred family's first; addresses come from ServiceCIDRs. `json`: write JSON to
    /// storage, and not protobuf.
    pub fn new(ranges: &[AddressRange], ports: PortRange, json: bool) -> Self {
        let families = ranges.iter().map(|range| Family::of(range.network())).collect();
        Self { families, ports: Arc::new(Ports::new(ports, json)), json }
    }

    /// Gives a service that is to be created, or to take the place of `old`, what it asks for.
    ///
    /// # Errors
    /// 422: what it wants is taken, or there is no such thing. 500: all are taken. 503: storage is away.
    pub async fn prepare(
        &self,
        asked: Asked<'_>,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<Reserved, Status> {
        let name = edit::text(service, &["metadata", "name"]).to_owned();
        let refuse = |errors: Vec<_>| refusal::invalid(asked.kind, &name, &errors);
        let mut plan = match old {
            None => allocation::prepare_create(service, &self.families),
            Some(old) => allocation::prepare_update(service, old, &self.families),
        }
        .map_err(refuse)?;
        let mut reserved = Reserved {
            held: Held::default(),
            released: Plan::default(),
            service: (edit::text(service, &["metadata", "namespace"]).to_owned(), name.clone()),
            memory: asked.memory.clone(),
            ports: Arc::clone(&self.ports),
        };
        if asked.dry_run {
            let (addresses, ports) = self.shown(asked, &plan, service).await.map_err(refuse)?;
            plan.fill(service, &addresses, &ports);
            return Ok(reserved);
        }
        let outcome = self.reserve(asked, &plan, service, &mut reserved).await;
        if let Err(refused) = outcome {
            reserved.give_back().await;
            return Err(refused);
        }
        plan.fill(service, &reserved.held.addresses, &reserved.held.ports);
        reserved.released = Plan {
            release_addresses: std::mem::take(&mut plan.release_addresses),
            release_ports: std::mem::take(&mut plan.release_ports),
            ..Plan::default()
        };
        Ok(reserved)
    }

    async fn reserve(
        &self,
        asked: Asked<'_>,
        plan: &Plan,
        service: &Value,
        reserved: &mut Reserved,
    ) -> Result<(), Status> {
        let name = reserved.service.1.clone();
        let invalid = |error| refusal::invalid(asked.kind, &name, &[error]);
        if !plan.addresses.is_empty() {
            let addresses = Addresses::new(asked.memory, self.json)?;
            for wish in &plan.addresses {
                let owner = (&*reserved.service.0, &*reserved.service.1);
                let address = match wish.wanted {
                    Some(wanted) => addresses.take(wanted, owner, asked.now).await?.map_err(|why| {
                        invalid(allocation::address_refused(service, wanted, &why.to_string()))
                    })?,
                    None => {
                        addresses.take_any(wish.family, owner, asked.now).await?.map_err(|why| match why {
                            AddressError::Full => allocation::no_address(&name),
                            why => invalid(allocation::any_address_refused(service, &why.to_string())),
                        })?
                    }
                };
                reserved.held.addresses.push(address);
            }
        }
        if !plan.ports.is_empty() {
            let taken = self.ports.take(&asked.memory.store, &plan.ports).await?;
            reserved.held.ports = taken.map_err(|(wish, why)| match (wish.place, wish.wanted) {
                (Some(place), Some(wanted)) => invalid(allocation::port_refused(place, wanted, &why)),
                _ => allocation::no_port(wish, &why),
            })?;
        }
        Ok(())
    }

    /// What a dry run shows: nothing is reserved, and an address that is taken passes.
    async fn shown(
        &self,
        asked: Asked<'_>,
        plan: &Plan,
        service: &Value,
    ) -> Result<(Vec<IpAddr>, Vec<u16>), Vec<control_core::field::FieldError>> {
        let ranges = addresses::ranges(asked.memory);
        let mut shown = Vec::new();
        for wish in &plan.addresses {
            if let Some(wanted) = wish.wanted {
                ranges
                    .check_dry(wanted)
                    .map_err(|why| vec![allocation::address_refused(service, wanted, &why.to_string())])?;
            }
            shown.extend(wish.wanted.or_else(|| ranges.network(wish.family)));
        }
        let taken = self.ports.taken(&asked.memory.store);
        let ports = allocation::ports::dry(&plan.ports, &taken).map_err(|(place, wanted, why)| {
            vec![allocation::port_refused(place, wanted, &why.to_string())]
        })?;
        Ok((shown, ports))
    }

    /// Gives back all that a service had which is no more.
    pub async fn release(&self, memory: &Memory, service: &Value) {
        let plan = allocation::release(service);
        let owner =
            (edit::text(service, &["metadata", "namespace"]), edit::text(service, &["metadata", "name"]));
        release(memory, &self.ports, owner, &plan.release_addresses, &plan.release_ports).await;
    }

    /// Where node ports are noted, for their repair.
    /// Node ports that are taken, and that there are, as it is known at this moment.
    pub fn node_ports(&self, store: &Store) -> (usize, usize) {
        let range = self.ports.range();
        let all = usize::from(range.last.saturating_sub(range.first)) + 1;
        (self.ports.taken(store).len(), all)
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }
}

/// What cannot be given back now stays reserved, until the repairs find it.
async fn release(
    memory: &Memory,
    ports: &Ports,
    owner: (&str, &str),
    addresses: &[IpAddr],
    released: &[u16],
) {
    for address in addresses {
        addresses::give_back(memory, *address, owner).await;
    }
    if !released.is_empty()
        && let Err(refused) = ports.give_back(&memory.store, released).await
    {
        tracing::warn!(error = refused.message, ports = ?released, "cannot give back node ports; the repair will");
    }
}

impl Reserved {
    /// The service is in storage: it keeps what was reserved, and what it gave up is free.
    pub async fn written(mut self) {
        self.held = Held::default();
        let plan = std::mem::take(&mut self.released);
        let owner = (&*self.service.0, &*self.service.1);
        release(&self.memory, &self.ports, owner, &plan.release_addresses, &plan.release_ports).await;
    }

    /// The service is not written: what was reserved for it is free again.
    pub async fn give_back(mut self) {
        let held = std::mem::take(&mut self.held);
        let owner = (&*self.service.0, &*self.service.1);
        release(&self.memory, &self.ports, owner, &held.addresses, &held.ports).await;
    }
}

impl Drop for Reserved {
    /// The request ended in its midst.
    fn drop(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let (held, service) = (std::mem::take(&mut self.held), std::mem::take(&mut self.service));
        let (memory, ports) = (self.memory.clone(), Arc::clone(&self.ports));
        runtime.spawn(async move {
            release(&memory, &ports, (&service.0, &service.1), &held.addresses, &held.ports).await;
        });
    }
}

/// The answer to a reservation that storage did not take.
fn unwritten(error: &control_store::WriteError) -> Status {
    match error {
        control_store::WriteError::Unknown { reason, .. } => refusal::timeout(reason, 0),
        other => refusal::unavailable(other.to_string()),
    }
}

/// What storage has of a key, as the last write of this server left it or later.
async fn read(store: &Store, key: &str) -> Result<Option<control_store::Stored>, Status> {
    let found = store.get(key, control_store::Freshness::Any).await;
    found.map_err(|error| crate::storage::read_failed(&error))
}
