//! Node ports: a map of all that are taken, in one object that every server changes by compare and swap.

use std::collections::BTreeSet;

use apiclient_core::wire::Status;
use control_core::allocation::PortWish;
use control_core::allocation::port_map::{KEY, PortMap};
use control_core::allocation::ports::PortRange;
use control_core::refusal;
use control_store::{Store, Stored, WriteError};
use tokio::sync::{Mutex, Notify};

use super::{read, unwritten};
use crate::ids;

/// What the key of the map begins with, so that it has a place in the view.
pub const PREFIX: &str = "ranges/";

/// Why there is no port before the first repair has made the map.
const NO_MAP: &str = "cannot allocate resources of type serviceNodePorts at this time";

#[derive(Debug)]
pub struct Ports {
    range: PortRange,
    json: bool,
    /// Requests of this server wait for one another here, and not in conflicts.
    turn: Mutex<()>,
    /// Somebody asked for a port, and there is no map: it has been deleted.
    missing: Notify,
}

/// What to do with the map.
enum Outcome<T> {
    Write(PortMap, T),
    Leave(T),
}

impl Ports {
    pub fn new(range: PortRange, json: bool) -> Self {
        Self { range, json, turn: Mutex::new(()), missing: Notify::new() }
    }

    pub fn range(&self) -> PortRange {
        self.range
    }

    /// Those that are taken, as it is known at this moment.
    pub fn taken(&self, store: &Store) -> BTreeSet<u16> {
        let found = store.peek(KEY).and_then(|stored| PortMap::decode(stored.bytes()).ok());
        found.map(|map| map.taken).unwrap_or_default()
    }

    /// Comes back when somebody has missed the map: only the repair can make it, for services have ports.
    pub async fn missed(&self) {
        self.missing.notified().await;
    }

    /// Reserves all of these, or none; the inner error is about one of them.
    pub async fn take<'a>(
        &self,
        store: &Store,
        wishes: &'a [PortWish],
    ) -> Result<Result<Vec<u16>, (&'a PortWish, String)>, Status> {
        self.change(store, |map| {
            let mut map = match map {
                Ok(map) => map,
                Err(why) => return Outcome::Leave(Err((&wishes[0], why))),
            };
            let mut found = Vec::new();
            for wish in wishes {
                let port = match wish.wanted {
                    Some(wanted) => map.range.check(wanted, &map.taken).map(|()| wanted),
                    None => map.range.next(ids::random(), &map.taken),
                };
                match port {
                    Ok(port) => {
                        map.taken.insert(port);
                        found.push(port);
                    }
                    Err(why) => return Outcome::Leave(Err((wish, why.to_string()))),
                }
            }
            Outcome::Write(map, Ok(found))
        })
        .await
    }

    pub async fn give_back(&self, store: &Store, ports: &[u16]) -> Result<(), Status> {
        self.change(store, |map| match map {
            Ok(mut map) if ports.iter().any(|port| map.taken.contains(port)) => {
                map.taken.retain(|port| !ports.contains(port));
                Outcome::Write(map, ())
            }
            _ => Outcome::Leave(()),
        })
        .await
    }

    /// Puts another map in the place of the one that it was made from; `false`: that is not there any more.
    pub async fn put(&self, store: &Store, before: Option<&Stored>, map: &PortMap) -> Result<bool, Status> {
        let bytes = map.encode(self.json);
        match store.replace(KEY, before.map_or(0, Stored::revision), bytes, None).await {
            Ok(_) => Ok(true),
            Err(WriteError::Conflict { .. } | WriteError::Exists(_)) => Ok(false),
            Err(error) => Err(unwritten(&error)),
        }
    }

    /// Changes the map until no other server comes between.
    async fn change<T>(
        &self,
        store: &Store,
        mut decide: impl FnMut(Result<PortMap, String>) -> Outcome<T>,
    ) -> Result<T, Status> {
        let _turn = self.turn.lock().await;
        let mut current = read(store, KEY).await?;
        loop {
            let map = match &current {
                None => {
                    self.missing.notify_one();
                    Err(NO_MAP.to_owned())
                }
                Some(stored) => self.usable(stored),
            };
            let (map, done) = match decide(map) {
                Outcome::Leave(done) => return Ok(done),
                Outcome::Write(map, done) => (map, done),
            };
            let before = current.as_ref().map_or(0, Stored::revision);
            match store.replace(KEY, before, map.encode(self.json), None).await {
                Ok(_) => return Ok(done),
                Err(WriteError::Conflict { current: found }) => current = found,
                Err(error) => return Err(unwritten(&error)),
            }
        }
    }

    fn usable(&self, stored: &Stored) -> Result<PortMap, String> {
        let map = PortMap::decode(stored.bytes()).map_err(|error| error.to_string())?;
        match map.range == self.range {
            true => Ok(map),
            false => Err("the provided range does not match the current range".to_owned()),
        }
    }
}

/// The map as storage has it, for the repair.
///
/// # Errors
/// 503, and 500 for one that cannot be read.
pub async fn stored(store: &Store) -> Result<Option<(Stored, PortMap)>, Status> {
    let Some(found) = read(store, KEY).await? else { return Ok(None) };
    let map = PortMap::decode(found.bytes()).map_err(|error| refusal::internal(&error.to_string()))?;
    Ok(Some((found, map)))
}
