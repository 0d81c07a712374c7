//! Addresses: each one reserved by an IPAddress of its name, which only one server can create.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::wire::Status;
use control_core::admission::Objects;
use control_core::allocation::Family;
use control_core::allocation::addresses::AddressError;
use control_core::allocation::ip_address;
use control_core::allocation::ranges::{self, Ranges};
use control_core::refusal;
use control_store::{Freshness, WriteError};
use serde_json::Value;

use super::{read, unwritten};
use crate::ids;
use crate::registry::Served;
use crate::storage::memory::{Memory, shared};
use crate::storage::{self, own};

/// What the ServiceCIDRs say at this moment.
pub fn ranges(memory: &Memory) -> Ranges {
    let objects = memory.list(ranges::RESOURCE, "");
    Ranges::of(objects.iter().map(|object| &**object))
}

/// For the addresses of one service.
pub struct Addresses<'a> {
    memory: &'a Memory,
    served: Arc<Served>,
    ranges: Ranges,
    json: bool,
}

impl<'a> Addresses<'a> {
    /// # Errors
    /// 500: the kind is not served.
    pub fn new(memory: &'a Memory, json: bool) -> Result<Self, Status> {
        let served = served(memory).ok_or_else(|| refusal::internal("there are no IPAddresses"))?;
        Ok(Self { memory, served, ranges: ranges(memory), json })
    }

    /// Reserves this address; the inner error is the service's.
    pub async fn take(
        &self,
        address: IpAddr,
        owner: (&str, &str),
        now: SystemTime,
    ) -> Result<Result<IpAddr, AddressError>, Status> {
        if let Err(why) = self.ranges.check(address) {
            return Ok(Err(why));
        }
        let is_new = self.create(address, owner, now).await?;
        Ok(if is_new { Ok(address) } else { Err(AddressError::Taken) })
    }

    /// Reserves any address of a family; the inner error is the service's.
    pub async fn take_any(
        &self,
        family: Family,
        owner: (&str, &str),
        now: SystemTime,
    ) -> Result<Result<IpAddr, AddressError>, Status> {
        let start = ids::random();
        // Those that another server was quicker with.
        let mut lost = BTreeSet::new();
        // As this server knows them; before there is none, as etcd does.
        let (mut ranges, mut latest) = (self.ranges.clone(), false);
        loop {
            let store = &self.memory.store;
            let is_taken = |address: IpAddr| {
                let key = format!("{}{address}", self.served.prefix);
                lost.contains(&address) || store.peek(&key).is_some()
            };
            let known = store.peek_all(&self.served.prefix).count() + lost.len();
            let known = u64::try_from(known).unwrap_or(u64::MAX);
            let address = match ranges.next(family, start, known, &is_taken) {
                Ok(address) => address,
                Err(why) if latest => return Ok(Err(why)),
                Err(_) => {
                    let caught_up = store.list(&self.served.prefix, Freshness::Latest).await;
                    caught_up.map_err(|error| storage::read_failed(&error))?;
                    lost.clear();
                    (ranges, latest) = (self::ranges(self.memory), true);
                    continue;
                }
            };
            if self.create(address, owner, now).await? {
                return Ok(Ok(address));
            }
            lost.insert(address);
        }
    }

    /// `false`: there is one already.
    async fn create(&self, address: IpAddr, owner: (&str, &str), now: SystemTime) -> Result<bool, Status> {
        let key = self.served.key("", &address.to_string())?;
        let bytes = own::new_object(&self.served, ip_address::of(address, owner), now, self.json);
        match self.memory.store.create(&key, bytes, None).await {
            Ok(_) => Ok(true),
            Err(WriteError::Exists(_)) => Ok(false),
            Err(error) => Err(unwritten(&error)),
        }
    }
}

fn served(memory: &Memory) -> Option<Arc<Served>> {
    memory.registry.table().by_qualified(ip_address::RESOURCE).cloned()
}

/// Gives an address back, if it is this service's.
pub async fn give_back(memory: &Memory, address: IpAddr, owner: (&str, &str)) {
    let Some(served) = served(memory) else { return };
    let Ok(key) = served.key("", &address.to_string()) else { return };
    let found = match read(&memory.store, &key).await {
        Ok(Some(found)) => found,
        Ok(None) => return,
        Err(refused) => {
            tracing::warn!(error = refused.message, %address, "cannot give back an address; the repair will");
            return;
        }
    };
    let object: Option<Arc<Value>> = shared(&served, &found);
    let is_ours = object.is_some_and(|object| ip_address::service(&object) == Some(owner));
    if is_ours && let Err(error) = memory.store.remove(&key, found.revision()).await {
        tracing::warn!(%error, %address, "cannot give back an address; the repair will");
    }
}
