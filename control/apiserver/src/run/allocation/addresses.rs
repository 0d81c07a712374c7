//! The repair of the relation between services and IPAddresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use apiclient_core::wire::Status;
use control_core::admission::Objects;
use control_core::allocation::ranges::{self, Ranges};
use control_core::allocation::repair::{self, Cluster, Repair, Verdict, Warning};
use control_core::allocation::{ip_address, owned_addresses};
use control_core::edit;
use control_store::{Change, Event, Freshness, WatchEnd, Watcher};
use http::Method;
use serde_json::{Value, json};

use super::{Keeper, cidrs, tell};
use crate::Server;
use crate::registry::Served;
use crate::run::asker::Asker;
use crate::storage::memory::{Memory, shared};
use crate::storage::read_failed;

const PATH: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const SERVICES: &str = "services";

/// How long the two halves of a write, or of a deletion, may be apart.
const SETTLES: Duration = Duration::from_secs(60);

/// What is looked at again at some time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Service(String, String),
    Address(String),
}

/// What is to be done later, and what was told.
#[derive(Debug, Default)]
pub struct Pending {
    due: BTreeMap<Subject, Instant>,
    /// What only a person can mend is told once.
    told: BTreeSet<(String, String, &'static str)>,
}

impl Pending {
    fn at(&mut self, subject: Subject, wait: Duration) {
        self.due.insert(subject, Instant::now() + wait);
    }

    fn next(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    fn take_due(&mut self, now: Instant) -> Vec<Subject> {
        let due: Vec<Subject> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(subject, _)| subject.clone()).collect();
        for subject in &due {
            self.due.remove(subject);
        }
        due
    }
}

impl Cluster for Memory {
    fn address(&self, address: IpAddr) -> Option<Arc<Value>> {
        self.get(ip_address::RESOURCE, "", &address.to_string())
    }

    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.get(SERVICES, namespace, name)
    }
}

/// Looks at everything.
///
/// # Errors
/// Storage is away, or refuses what would mend something.
pub async fn repair(keeper: &mut Keeper) -> Result<(), Status> {
    let server = Arc::clone(&keeper.server);
    // So that what was written before this moment is seen.
    server.store().get(ip_address::RESOURCE, Freshness::Latest).await.map_err(|error| read_failed(&error))?;
    let services = server.memory.list(SERVICES, "");
    keeper.pending.told.retain(|(namespace, name, _)| {
        services.iter().any(|service| named(service) == (namespace.as_str(), name.as_str()))
    });
    for service in &services {
        check_service(keeper, service).await?;
    }
    for address in server.memory.list(ip_address::RESOURCE, "") {
        check_address(keeper, &address).await?;
    }
    Ok(())
}

fn named(object: &Value) -> (&str, &str) {
    (edit::text(object, &["metadata", "namespace"]), edit::text(object, &["metadata", "name"]))
}

async fn check_service(keeper: &mut Keeper, service: &Value) -> Result<(), Status> {
    let server = Arc::clone(&keeper.server);
    let asker = Asker::new(&server);
    let ranges = Ranges::of(server.memory.list(ranges::RESOURCE, "").iter().map(|object| &**object));
    let owner = named(service);
    for repair in repair::service(service, &ranges, &server.memory) {
        match repair {
            Repair::Report(warning) => {
                let key = (owner.0.to_owned(), owner.1.to_owned(), warning.reason);
                if keeper.pending.told.insert(key) {
                    tell(&keeper.recorders.addresses, service, warning);
                }
            }
            Repair::Create(address, warning) => {
                tell(&keeper.recorders.addresses, service, warning);
                asker.create(PATH, &ip_address::of(address, owner)).await?;
            }
            Repair::Recreate(address, warning) => {
                if let Some(warning) = warning {
                    tell(&keeper.recorders.addresses, service, warning);
                }
                delete(&asker, &address.to_string(), &Value::Null).await?;
                asker.create(PATH, &ip_address::of(address, owner)).await?;
            }
        }
    }
    Ok(())
}

async fn check_address(keeper: &mut Keeper, object: &Value) -> Result<(), Status> {
    let server = Arc::clone(&keeper.server);
    match repair::address(object, &server.memory, SystemTime::now()) {
        Verdict::Keep => {}
        Verdict::Later(wait) => {
            let name = edit::text(object, &["metadata", "name"]).to_owned();
            keeper.pending.at(Subject::Address(name), wait);
        }
        Verdict::Delete(warning) => remove(keeper, &Asker::new(&server), object, warning).await?,
    }
    Ok(())
}

async fn remove(keeper: &Keeper, asker: &Asker<'_>, object: &Value, warning: Warning) -> Result<(), Status> {
    tell(&keeper.recorders.addresses, object, warning);
    let text = |field| edit::text(object, &["metadata", field]);
    let only = json!({"preconditions": {"uid": text("uid"), "resourceVersion": text("resourceVersion")}});
    match delete(asker, text("name"), &only).await {
        // It is another one by now, and will be looked at as that.
        Err(refused) if refused.is_conflict() => Ok(()),
        outcome => outcome,
    }
}

async fn delete(asker: &Asker<'_>, name: &str, options: &Value) -> Result<(), Status> {
    match asker.ask(Method::DELETE, &format!("{PATH}/{name}"), options).await {
        Err(refused) if refused.is_not_found() => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Looks where something changes, and comes back when everything is to be looked at: after `every`, or where changes were
/// missed.
pub async fn follow(keeper: &mut Keeper, every: Duration) {
    let end = Instant::now() + every;
    let server = Arc::clone(&keeper.server);
    let watched = |resource| watched(&server, resource);
    let (Some(mut services), Some(mut addresses), Some(mut ranges)) =
        (watched(SERVICES), watched(ip_address::RESOURCE), watched(ranges::RESOURCE))
    else {
        return;
    };
    loop {
        let until = keeper.pending.next().map_or(end, |due| due.min(end));
        let outcome = tokio::select! {
            event = services.1.next() => match event {
                Ok(event) => service_changed(keeper, &services.0, &event).await,
                Err(_) => return,
            },
            event = addresses.1.next() => match event {
                Ok(event) => address_changed(keeper, &addresses.0, &event).await,
                Err(_) => return,
            },
            event = ranges.1.next() => match event {
                Ok(_) => cidrs::sync(keeper, &Asker::new(&server)).await,
                Err(_) => return,
            },
            () = tokio::time::sleep_until(until.into()) => look_again(keeper).await,
        };
        if let Err(refused) = outcome {
            tracing::warn!(
                error = refused.message,
                "a repair of addresses failed; everything is looked at again"
            );
            tokio::time::sleep(super::PAUSE).await;
            return;
        }
        if Instant::now() >= end {
            return;
        }
    }
}

type Watched = (Arc<Served>, Watcher);

/// The changes of a kind from now on.
fn watched(server: &Server, resource: &str) -> Option<Watched> {
    let served = server.registry().table().by_qualified(resource).cloned()?;
    let snapshot = server.store().peek_all(&served.prefix);
    let watcher: Result<Watcher, WatchEnd> = server.store().follow(&snapshot);
    Some((served, watcher.ok()?))
}

async fn service_changed(keeper: &mut Keeper, served: &Served, event: &Event) -> Result<(), Status> {
    let Some(service) = shared(served, &event.object) else { return Ok(()) };
    if event.change != Change::Deleted {
        return check_service(keeper, &service).await;
    }
    // Who deleted it gives its addresses back; where that fails, they are found later.
    for address in owned_addresses(&service) {
        keeper.pending.at(Subject::Address(address.to_string()), SETTLES);
    }
    Ok(())
}

async fn address_changed(keeper: &mut Keeper, served: &Served, event: &Event) -> Result<(), Status> {
    let Some(object) = shared(served, &event.object) else { return Ok(()) };
    if event.change != Change::Deleted {
        return check_address(keeper, &object).await;
    }
    if let Some((namespace, name)) = ip_address::service(&object) {
        keeper.pending.at(Subject::Service(namespace.to_owned(), name.to_owned()), SETTLES);
    }
    Ok(())
}

async fn look_again(keeper: &mut Keeper) -> Result<(), Status> {
    let server = Arc::clone(&keeper.server);
    for subject in keeper.pending.take_due(Instant::now()) {
        match subject {
            Subject::Service(namespace, name) => {
                if let Some(service) = server.memory.service(&namespace, &name) {
                    check_service(keeper, &service).await?;
                }
            }
            Subject::Address(name) => {
                if let Some(object) = server.memory.get(ip_address::RESOURCE, "", &name) {
                    check_address(keeper, &object).await?;
                }
            }
        }
    }
    Ok(())
}
