//! The Leases of all addresses, followed by one watch: candidates look at them often, and that costs the server nothing.
//!
//! Never: lets old news decide. A write names the version that it replaces, so that news which are late cost time at most.

use std::collections::BTreeMap;
use std::sync::Arc;

use apiclient::leader::Standing;
use apiclient::objects::{Api, Changed, Changes, Listed, News, Write, follow};
use apiclient::{Failure, Pending, Query, Resource};
use apiclient_core::leader::Record;
use proxy_core::names::ServiceName;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::AbortHandle;

const LEASES: Resource = Resource::new("coordination.k8s.io", "v1", "leases", true);

/// Who reports Events about who leads.
const COMPONENT: &str = "kube-proxy";

/// By path; `None` before the first list.
type Known = Option<BTreeMap<String, Arc<Value>>>;

/// The server, whose Leases are read from memory.
pub struct Leases {
    api: Arc<dyn Api>,
    namespace: String,
    /// Of this process.
    identity: String,
    known: watch::Sender<Known>,
    following: AbortHandle,
}

impl Leases {
    pub fn follow(api: Arc<dyn Api>, namespace: &str, node: &str) -> Arc<Self> {
        let known = watch::Sender::new(None);
        let query = Query {
            namespace: namespace.to_owned(),
            forbidden: "apply deploy/load-balancers.yaml".into(),
            ..Query::new("leases", LEASES)
        };
        let task = tokio::spawn({
            let (api, known, namespace) = (Arc::clone(&api), known.clone(), namespace.to_owned());
            async move { match follow(api, query, |news| hear(&known, &namespace, news)).await {} }
        });
        // The same for all its candidacies, and another one after a restart.
        let unique = Standing::new(namespace, "", COMPONENT).identity;
        let identity = format!("{node}_{}", unique.rsplit('_').next().unwrap_or_default());
        Arc::new(Self {
            api,
            namespace: namespace.to_owned(),
            identity,
            known,
            following: task.abort_handle(),
        })
    }

    /// A candidacy for a Service's addresses. Neither of the names has a dot in it.
    pub fn standing(&self, service: &ServiceName) -> Standing {
        let name = format!("{}.{}", service.namespace, service.name);
        Standing { identity: self.identity.clone(), ..Standing::new(&self.namespace, &name, COMPONENT) }
    }

    /// Returns when a Lease that another node held is held by nobody.
    pub async fn vacated(&self, standing: &Standing) {
        let path = LEASES.object_path(&standing.namespace, &standing.name, "");
        let mut known = self.known.subscribe();
        let holder = |known: &Known| {
            let lease = known.as_ref().and_then(|known| known.get(&path));
            lease.map(|lease| Record::of(lease).holder).unwrap_or_default()
        };
        let others =
            |known: &Known| !matches!(holder(known), holder if holder.is_empty() || holder == self.identity);
        // The sender is this very value's.
        let _ = known.wait_for(others).await;
        let _ = known.wait_for(|known| holder(known).is_empty()).await;
    }

    /// Removes a Lease that nobody holds: its Service may be gone.
    pub async fn remove(&self, standing: &Standing) {
        let path = LEASES.object_path(&standing.namespace, &standing.name, "");
        let Ok(lease) = self.api.read(&path).await else { return };
        if !Record::of(&lease).holder.is_empty() {
            return;
        }
        let (uid, version) = (&lease["metadata"]["uid"], &lease["metadata"]["resourceVersion"]);
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"uid": uid, "resourceVersion": version},
        });
        if let Err(failure) = self.api.write(&Write::Delete { path, options }).await {
            tracing::debug!(lease = standing.name, %failure, "the lease stays");
        }
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        self.following.abort();
    }
}

fn hear(known: &watch::Sender<Known>, namespace: &str, news: News) {
    let path = |lease: &Value| {
        LEASES.object_path(namespace, lease["metadata"]["name"].as_str().unwrap_or_default(), "")
    };
    match news {
        News::All(Listed { objects, .. }) => {
            let all = objects.into_iter().map(|lease| (path(&lease), lease)).collect();
            known.send_replace(Some(all));
        }
        News::Changed(Changed::Put(lease)) => {
            known.send_modify(|known| _ = known.get_or_insert_default().insert(path(&lease), lease));
        }
        News::Changed(Changed::Gone(lease)) => {
            known.send_modify(|known| _ = known.get_or_insert_default().remove(&path(&lease)));
        }
        News::Changed(Changed::Until(_)) => {}
        News::Trouble(problem) => tracing::warn!("leases of load balancers: {problem}"),
    }
}

impl Api for Leases {
    fn server(&self) -> String {
        self.api.server()
    }

    fn read<'a>(&'a self, path: &'a str) -> Pending<'a, Result<Arc<Value>, Failure>> {
        let known = self.known.borrow().as_ref().and_then(|known| known.get(path).cloned());
        // Who holds it reads it after a failure, to learn more than the news have told.
        match known.filter(|lease| Record::of(lease).holder != self.identity) {
            Some(lease) => Box::pin(async move { Ok(lease) }),
            None => self.api.read(path),
        }
    }

    fn list<'a>(&'a self, query: &'a Query, known: bool) -> Pending<'a, Result<Listed, Failure>> {
        self.api.list(query, known)
    }

    fn watch<'a>(
        &'a self,
        query: &'a Query,
        since: &'a str,
    ) -> Pending<'a, Result<Box<dyn Changes>, Failure>> {
        self.api.watch(query, since)
    }

    fn write<'a>(&'a self, write: &'a Write) -> Pending<'a, Result<Arc<Value>, Failure>> {
        self.api.write(write)
    }
}
