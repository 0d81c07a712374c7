//! Objects from an API server: each kind is listed, then watched, by a reflector of its own.
//!
//! Owns: which objects are asked for, and what is kept of them. Nothing but the fields in use is decoded, one object
//! at a time, so that memory is bounded by what there is to know.
//! Facts: selectors and role as kube-proxy's (cmd/kube-proxy/app/server.go).

use std::time::{Instant, SystemTime};

use apiclient::{
    Access, Client, Closed, Decoder, EventRecorder, Origin, Query, Reflector, Reporter, Resource, Sink,
    Update,
};
use apiclient_core::selector::{FieldSelector, LabelSelector, Requirement, Test};
use proxy_core::cluster::Change;
use proxy_core::names::ObjectName;
use proxy_core::objects::{Kind, Object};

use super::object::{Decoded, triggered};
use super::{Arrival, Event, Feed, FeedError, Outbox, Trouble};

/// As kube-proxy is called in events.
const CONTROLLER: &str = "kube-proxy";

/// Starts a task for each kind, and one for events. Needs a tokio runtime. The server may be away.
pub(super) async fn start(access: Access, node_name: &str) -> Result<Feed, FeedError> {
    // Reading credentials may take a disk's time.
    let client = tokio::task::spawn_blocking(move || Client::connect(access))
        .await
        .map_err(|_| FeedError::Ended)??;
    let (outbox, arrivals) = Outbox::new();
    let tasks = Kind::ALL.map(|kind| {
        let sink = KindSink { kind, outbox: outbox.clone() };
        let reflector = Reflector::new(client.clone(), query(kind, node_name), ObjectDecoder(kind), sink);
        tokio::spawn(reflector.run())
    });
    let reporter =
        Reporter { controller: CONTROLLER.to_owned(), instance: format!("{CONTROLLER}-{node_name}") };
    let (events, telling) = EventRecorder::new(client, reporter);
    let tasks = tasks.into_iter().chain([tokio::spawn(telling)]).collect();
    Ok(Feed { arrivals, tasks, events })
}

/// Which objects of a kind a proxy wants.
fn query(kind: Kind, node_name: &str) -> Query {
    let without = |label: &str| {
        LabelSelector::new([Requirement { key: label.to_owned(), test: Test::DoesNotExist }])
            .unwrap_or_default()
    };
    let of = |resource| Query {
        forbidden: "bind the ClusterRole system:node-proxier to them".into(),
        ..Query::new(kind.as_str(), resource)
    };
    match kind {
        Kind::Service => Query {
            labels: without("service.kubernetes.io/service-proxy-name"),
            fields: FieldSelector::default().not_equal("spec.clusterIP", "None"),
            ..of(Resource::new("", "v1", "services", true))
        },
        Kind::EndpointSlice => Query {
            labels: without("service.kubernetes.io/headless"),
            ..of(Resource::new("discovery.k8s.io", "v1", "endpointslices", true))
        },
        Kind::Node => Query {
            fields: FieldSelector::default().equal("metadata.name", node_name),
            ..of(Resource::new("", "v1", "nodes", false))
        },
        // Servers before 1.33 have no ServiceCIDRs in v1, and older roles of proxies do not name them.
        Kind::ServiceCidr => {
            Query { optional: true, ..of(Resource::new("networking.k8s.io", "v1", "servicecidrs", false)) }
        }
    }
}

struct ObjectDecoder(Kind);

/// An object, and when what made it change happened, where that is known.
struct Kept {
    object: Object,
    triggered: Option<SystemTime>,
}

impl Decoder for ObjectDecoder {
    type Object = Kept;

    fn decode(&self, json: &[u8], origin: Origin) -> apiclient::Decoded<Kept> {
        let Decoded { object, problems } = self.0.decode(json).into();
        let triggered = match (origin, self.0) {
            (Origin::Watch, Kind::EndpointSlice) => triggered(json),
            _ => None,
        };
        apiclient::Decoded { object: object.map(|object| Kept { object, triggered }), problems }
    }

    fn name(kept: &Kept) -> ObjectName {
        kept.object.name()
    }
}

/// One kind's way into the feed.
struct KindSink {
    kind: Kind,
    outbox: Outbox,
}

impl Sink<Kept> for KindSink {
    async fn send(&self, update: Update<Kept>, at: Instant) -> Result<(), Closed> {
        let change = |change, triggered| Arrival { event: Event::Change(change), at, triggered };
        let sent = match update {
            Update::Put(Kept { object, triggered }) => {
                self.outbox.arrival(change(Change::Put(object), triggered)).await
            }
            Update::Delete(name) => self.outbox.arrival(change(Change::Delete(self.kind, name), None)).await,
            Update::Replace(all) => {
                let objects = all.into_iter().map(|kept| kept.object).collect();
                match self.outbox.arrival(change(Change::Replace(self.kind, objects), None)).await {
                    Ok(()) => self.outbox.send(Event::Listed(self.kind)).await,
                    closed => closed,
                }
            }
            Update::Trouble(problem) => {
                self.outbox.trouble(Trouble { place: self.kind.as_str().to_owned(), problem }).await
            }
        };
        sent.map_err(|super::Closed| Closed)
    }

    async fn closed(&self) {
        self.outbox.0.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiclient::Ask;

    #[test]
    fn selectors_are_kube_proxys() {
        let path = |kind| {
            let Query { resource, namespace, labels, fields, .. } = query(kind, "node 1");
            resource.list_path(&namespace, Ask::Watch { since: "7", seconds: 300 }, &labels, &fields)
        };
        assert_eq!(
            path(Kind::Service),
            "/api/v1/services?watch=true&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=7\
             &labelSelector=%21service.kubernetes.io%2Fservice-proxy-name&fieldSelector=spec.clusterIP%21%3DNone"
        );
        assert!(path(Kind::EndpointSlice).ends_with("&labelSelector=%21service.kubernetes.io%2Fheadless"));
        assert!(path(Kind::Node).ends_with("&fieldSelector=metadata.name%3Dnode%201"));
        assert!(path(Kind::ServiceCidr).ends_with("resourceVersion=7"));
    }
}
