//! The API for the parts of this process: no connection and no encoding, and the objects of the server's memory.
//!
//! Owns: [`InProcess`], which is `apiclient`'s [`Api`] as one user. Reading is authorized as every request is, and gives the
//! values that admission and all other readers share; a write takes the whole way through all stations, for what it brings is
//! to be checked against the schema in any case.

use std::sync::Arc;
use std::time::Duration;

use apiclient::objects::{Api, Changed, Changes, Listed, Write};
use apiclient::{Client, Failure, Handler, Pending, Query};
use apiclient_core::wire::Status;
use control_core::access::{Attributes, User};
use control_core::refusal;
use control_store::{Change, Event, Freshness, Stored, Watcher};
use serde_json::Value;

use crate::encoding::object::{Selection, served_value};
use crate::registry::Served;
use crate::reply::whole;
use crate::request::info::Resource as Path;
use crate::request::options::ListOptions;
use crate::server::{Peer, Server};
use crate::storage;
use crate::storage::memory::shared;
use crate::verbs::list;

/// How often a quiet watch says how far it is.
const QUIET: Duration = Duration::from_secs(60);

/// This server, as one user. Cheap to clone.
#[derive(Clone)]
pub struct InProcess {
    server: Arc<Server>,
    user: Arc<User>,
    /// For what takes the whole way.
    client: Client,
}

impl InProcess {
    pub fn new(server: Arc<Server>, user: User) -> Self {
        let user = Arc::new(user);
        let client = client(Arc::clone(&server), Arc::clone(&user));
        Self { server, user, client }
    }

    /// The same for who needs a client: it takes the whole way, without a connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The kind, which the user may list or watch; what is selected; and what the keys begin with.
    async fn selected(&self, query: &Query, verb: &str) -> Result<Selected, Status> {
        let resource = &query.resource;
        let attributes = Attributes {
            verb: verb.to_owned(),
            group: resource.group.to_string(),
            version: resource.version.to_string(),
            resource: resource.plural.to_string(),
            namespace: query.namespace.clone(),
            fields: query.fields.clone(),
            labels: query.labels.clone(),
            ..Attributes::default()
        };
        self.server.parts.authorizer.require(&attributes, &self.user).await?;
        let table = self.server.registry().table();
        let served = table.find(&resource.group, &resource.version, &resource.plural).cloned();
        let served = served.ok_or_else(refusal::no_such_resource)?;
        let options = ListOptions {
            labels: query.labels.clone(),
            fields: query.fields.clone(),
            ..ListOptions::default()
        };
        let selection = list::selection(&served, &options)?;
        let prefix = list::watched(&served, &query.namespace, &selection);
        Ok(Selected { served, selection, prefix })
    }

    async fn listed(&self, query: &Query, known: bool) -> Result<Listed, Status> {
        let selected = self.selected(query, "list").await?;
        let freshness = if known { Freshness::Any } else { Freshness::Latest };
        let snapshot = self.server.store().list(&selected.prefix, freshness).await;
        let snapshot = snapshot.map_err(|error| storage::read_failed(&error))?;
        let admitted = snapshot.iter().filter(|stored| selected.admits(stored));
        let objects = admitted.filter_map(|stored| selected.value(stored)).collect();
        Ok(Listed { version: snapshot.revision().to_string(), objects })
    }

    async fn watched(&self, query: &Query, since: &str) -> Result<Box<dyn Changes>, Status> {
        let selected = self.selected(query, "watch").await?;
        let since = since.parse().map_err(|_| refusal::bad_request(format!("{since:?} is no version")))?;
        let watcher = self.server.store().resume(&selected.prefix, since).await;
        let watcher = watcher.map_err(storage::watch_ended)?;
        Ok(Box::new(Watched {
            selected,
            watcher,
            shut_down: Box::pin(self.server.health.shutting_down()),
            _watching: self.server.metrics.requests.watching(&Path {
                group: query.resource.group.to_string(),
                version: query.resource.version.to_string(),
                resource: query.resource.plural.to_string(),
                namespace: query.namespace.clone(),
                ..Path::default()
            }),
        }))
    }
}

/// A client whose requests take the whole way through this server, without a connection.
fn client(server: Arc<Server>, user: Arc<User>) -> Client {
    Client::over(Handler::new("of this process", move |request: apiclient::Request| {
        let (server, peer) = (Arc::clone(&server), Peer::Known(Arc::clone(&user)));
        async move { server.handle(request.map(whole), &peer).await }
    }))
}

fn refused(status: Status) -> Failure {
    Failure::Refused(Box::new(status))
}

impl Api for InProcess {
    fn server(&self) -> String {
        self.client.server()
    }

    fn read<'a>(&'a self, path: &'a str) -> Pending<'a, Result<Arc<Value>, Failure>> {
        self.client.read(path)
    }

    fn list<'a>(&'a self, query: &'a Query, known: bool) -> Pending<'a, Result<Listed, Failure>> {
        Box::pin(async move { self.listed(query, known).await.map_err(refused) })
    }

    fn watch<'a>(
        &'a self,
        query: &'a Query,
        since: &'a str,
    ) -> Pending<'a, Result<Box<dyn Changes>, Failure>> {
        Box::pin(async move { self.watched(query, since).await.map_err(refused) })
    }

    fn write<'a>(&'a self, write: &'a Write) -> Pending<'a, Result<Arc<Value>, Failure>> {
        self.client.write(write)
    }
}

/// What a query chooses.
struct Selected {
    served: Arc<Served>,
    selection: Selection,
    prefix: String,
}

impl Selected {
    fn admits(&self, stored: &Stored) -> bool {
        self.selection.admits(&self.served, stored)
    }

    /// The value that all readers share; one of its own where another version than that of storage is wanted.
    fn value(&self, stored: &Stored) -> Option<Arc<Value>> {
        let object = shared(&self.served, stored)?;
        Some(match self.served.is_stored() {
            true => object,
            false => Arc::new(served_value(&self.served, Value::clone(&object))),
        })
    }

    /// What an event is to this query.
    fn changed(&self, event: &Event) -> Option<Changed> {
        let before = event.previous.as_ref();
        let was = before.is_some_and(|before| self.admits(before));
        let is = event.change != Change::Deleted && self.admits(&event.object);
        if is {
            return self.value(&event.object).map(Changed::Put);
        }
        let gone = match event.change {
            Change::Deleted if before.is_none() => self.admits(&event.object).then(|| event.object.clone()),
            _ => before.filter(|_| was).map(|before| before.at_revision(event.revision())),
        };
        gone.and_then(|gone| self.value(&gone)).map(Changed::Gone)
    }
}

struct Watched {
    selected: Selected,
    watcher: Watcher,
    shut_down: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    _watching: crate::metrics::Watching,
}

impl Changes for Watched {
    fn next(&mut self) -> Pending<'_, Result<Option<Changed>, Failure>> {
        Box::pin(async move {
            loop {
                let event = tokio::select! {
                    event = self.watcher.next() => event.map_err(|end| refused(storage::watch_ended(end)))?,
                    () = tokio::time::sleep(QUIET) => {
                        return Ok(Some(Changed::Until(self.watcher.progress().to_string())));
                    }
                    () = &mut self.shut_down => return Ok(None),
                };
                if let Some(changed) = self.selected.changed(&event) {
                    return Ok(Some(changed));
                }
            }
        })
    }
}
