//! The repair of the map of node ports.

use apiclient_core::wire::Status;
use control_core::admission::Objects;
use control_core::allocation::repair;
use serde_json::Value;

use super::{Keeper, tell};
use crate::allocation::ports;
use crate::storage;

/// Makes the map what the services have, until no other server comes between.
///
/// # Errors
/// Storage is away, or the map cannot be read.
pub async fn repair(keeper: &mut Keeper) -> Result<(), Status> {
    let server = &keeper.server;
    let own = server.parts.services.ports();
    loop {
        // The map first: a port that is reserved after that is in the map that wins.
        let stored = ports::stored(server.store()).await?;
        let (before, map) = stored.map_or((None, None), |(before, map)| (Some(before), Some(map)));
        if map.is_none() {
            // Services are all that says which ports are taken: none of them may be missing in memory.
            server.store().latest().await.map_err(|error| storage::read_failed(&error))?;
        }
        let services = server.memory.list("services", "");
        let services = services.iter().map(|service| &**service);
        let mut leaks = keeper.leaks.clone();
        let (rebuilt, warnings) = repair::ports(services, map.as_ref(), own.range(), &mut leaks);
        if map.as_ref() == Some(&rebuilt) || own.put(server.store(), before.as_ref(), &rebuilt).await? {
            keeper.leaks = leaks;
            // A cluster's first map is missing everything.
            let first = map.is_none();
            for (service, warning) in warnings.into_iter().filter(|_| !first) {
                let service: &Value = service;
                tell(&keeper.recorders.ports, service, warning);
            }
            return Ok(());
        }
    }
}
