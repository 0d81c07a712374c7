//! What keeps services' addresses and node ports right for as long as the server lives.
//!
//! Owns: the ServiceCIDR of the cluster's flags, and the repairs of what a crash or an older server left. A first complete
//! repair comes before the server is ready; after that changes say where to look, and every few minutes everything is
//! looked at again. What is wrong, and what mends it, `control_core::allocation::repair` decides. Begin at [`Keeper::begin`].

mod addresses;
mod cidrs;
mod ports;

use std::sync::Arc;
use std::time::Duration;

use apiclient::{Event, EventRecorder, Reference, Reporter};
use apiclient_core::wire::Status;
use control_core::allocation::repair::{Leaks, Warning};
use control_core::edit;
use serde_json::Value;

use self::addresses::Pending;
use super::asker::{self, Asker};
use crate::Server;

const CIDR_DONE: &str = "poststarthook/start-kubernetes-service-cidr-controller";
const REPAIR_DONE: &str = "poststarthook/start-service-ip-repair-controllers";

/// How often everything is looked at, as upstream does.
const EVERY: Duration = Duration::from_secs(180);

/// Waits before another attempt: etcd may be away.
const PAUSE: Duration = Duration::from_millis(500);

/// The server is not ready before these are done.
pub fn expect(server: &Server) {
    server.health().expect(CIDR_DONE);
    server.health().expect(REPAIR_DONE);
}

/// Who reports which repair, as upstream's reporters are named.
struct Recorders {
    cidrs: EventRecorder,
    addresses: EventRecorder,
    ports: EventRecorder,
}

/// Everything that is kept, by one task.
pub struct Keeper {
    server: Arc<Server>,
    /// Of the cluster's flags, the preferred family's first.
    networks: Vec<String>,
    recorders: Recorders,
    leaks: Leaks,
    pending: Pending,
    /// Of the cluster's own ServiceCIDR: what was said once.
    said: cidrs::Said,
}

impl Keeper {
    /// A keeper, and what has to run for its Events to be told.
    pub fn new(
        server: Arc<Server>,
        networks: Vec<String>,
        host: &str,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let client = asker::client(&server);
        let recorder = |controller: &str| {
            let instance = format!("{controller}-{host}");
            EventRecorder::new(client.clone(), Reporter { controller: controller.to_owned(), instance })
        };
        let (cidrs, tells_cidrs) = recorder("kubernetes-service-cidr-controller");
        let (addresses, tells_addresses) = recorder("ipallocator-repair-controller");
        let (ports, tells_ports) = recorder("portallocator-repair-controller");
        let keeper = Self {
            server,
            networks,
            recorders: Recorders { cidrs, addresses, ports },
            leaks: Leaks::new(),
            pending: Pending::default(),
            said: cidrs::Said::default(),
        };
        let telling = async move {
            tokio::join!(tells_cidrs, tells_addresses, tells_ports);
        };
        (keeper, telling)
    }

    /// Makes the cluster's ServiceCIDR, and repairs everything once: until it succeeds.
    pub async fn begin(&mut self) {
        let server = Arc::clone(&self.server);
        while let Err(refused) = cidrs::sync(self, &Asker::new(&server)).await {
            tracing::warn!(
                error = refused.message,
                "cannot make the ServiceCIDR of this cluster, and tries again"
            );
            tokio::time::sleep(PAUSE).await;
        }
        server.health().done(CIDR_DONE);
        while let Err(refused) = self.repair().await {
            tracing::warn!(
                error = refused.message,
                "cannot repair addresses and node ports, and tries again"
            );
            tokio::time::sleep(PAUSE).await;
        }
        server.health().done(REPAIR_DONE);
    }

    /// For ever.
    pub async fn keep(mut self) {
        let server = Arc::clone(&self.server);
        loop {
            tokio::select! {
                () = addresses::follow(&mut self, EVERY) => {}
                () = server.parts.services.ports().missed() => {
                    tracing::warn!("the map of node ports is gone, and is made again from the services");
                }
            }
            if let Err(refused) = self.repair().await {
                tracing::warn!(
                    error = refused.message,
                    "cannot repair addresses and node ports, and tries again"
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn repair(&mut self) -> Result<(), Status> {
        addresses::repair(self).await?;
        ports::repair(self).await
    }
}

/// Tells an operator, in the log and by an Event.
fn tell(recorder: &EventRecorder, regarding: &Value, warning: Warning) {
    let metadata = |field| edit::text(regarding, &["metadata", field]).to_owned();
    let (namespace, name) = (metadata("namespace"), metadata("name"));
    tracing::warn!(namespace, name, reason = warning.reason, "{}", warning.note);
    recorder.emit(Event {
        regarding: Reference {
            api_version: edit::text(regarding, &["apiVersion"]).to_owned().into(),
            kind: edit::text(regarding, &["kind"]).to_owned().into(),
            namespace,
            name,
            uid: metadata("uid"),
        },
        reason: warning.reason.into(),
        action: warning.action.into(),
        note: warning.note,
        warning: true,
    });
}
