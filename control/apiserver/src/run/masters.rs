//! The Service `default/kubernetes`, by which pods reach the API, and its endpoint for each server that lives.
//!
//! Owns: this server's note under `masterleases/`, which etcd deletes when it is not renewed, and the objects that follow
//! from all servers' notes. The original keeps the same notes, so both kinds of servers can stand side by side.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use apiclient_core::wire::Status;
use control_schema::{builtin, codec};
use control_store::{Freshness, WriteError};
use http::Method;
use serde_json::{Value, json};

use super::asker::Asker;
use crate::Server;

/// What the keys of the notes begin with.
pub const NOTES: &str = "masterleases/";

/// How long a server's note outlives it, and how often it is renewed.
const TTL: Duration = Duration::from_secs(15);
const EVERY: Duration = Duration::from_secs(10);

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const NAME: &str = "kubernetes";

/// Where this server is reached, and the first address of the network of services.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub server: SocketAddr,
    pub service: IpAddr,
}

/// For ever.
pub async fn keep(server: Arc<Server>, place: Place) {
    let asker = Asker::new(&server);
    loop {
        if let Err(refused) = pass(&server, &asker, place).await {
            tracing::warn!(
                error = refused.message,
                "cannot keep the endpoints of the Service default/kubernetes, and tries again"
            );
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Takes this server out of the endpoints: it is about to end.
pub async fn leave(server: &Arc<Server>, place: Place) {
    let asker = Asker::new(server);
    let key = format!("{NOTES}{}", place.server.ip());
    let note = server.store().get(&key, Freshness::Latest).await.ok().flatten();
    if let Some(note) = note {
        let _ = server.store().remove(&key, note.revision()).await;
        if let Ok(others) = living(server).await {
            let _ = settle(&asker, place, &others).await;
        }
    }
}

async fn pass(server: &Arc<Server>, asker: &Asker<'_>, place: Place) -> Result<(), Status> {
    if asker.get(&format!("{SERVICES}/{NAME}")).await?.is_none() {
        asker.create(SERVICES, &service(place)).await?;
    }
    note(server, place.server.ip()).await?;
    settle(asker, place, &living(server).await?).await
}

/// Renews this server's note: an `Endpoints` with its address, as the original writes it.
async fn note(server: &Server, own: IpAddr) -> Result<(), Status> {
    let note = json!({"subsets": [{"addresses": [{"ip": own.to_string()}]}]});
    let schema = builtin::kind("v1", "Endpoints");
    let bytes =
        schema.map(|schema| codec::protobuf::encode(&schema, "v1", "Endpoints", &note)).unwrap_or_default();
    let key = format!("{NOTES}{own}");
    let unavailable = |why: String| control_core::refusal::unavailable(why);
    let held =
        server.store().get(&key, Freshness::Latest).await.map_err(|error| unavailable(error.to_string()))?;
    let revision = held.map_or(0, |held| held.revision());
    match server.store().replace(&key, revision, bytes, Some(TTL)).await {
        // It ended between both questions, or another server has our address: the next pass sees.
        Ok(_) | Err(WriteError::Conflict { .. }) => Ok(()),
        Err(error) => Err(unavailable(error.to_string())),
    }
}

/// The addresses of all servers that renew their notes, in order.
async fn living(server: &Server) -> Result<Vec<IpAddr>, Status> {
    let notes = server.store().list(NOTES, Freshness::Latest).await;
    let notes = notes.map_err(|error| control_core::refusal::unavailable(error.to_string()))?;
    let mut all: Vec<IpAddr> =
        notes.iter().filter_map(|note| note.key().strip_prefix(NOTES)?.parse().ok()).collect();
    all.sort_unstable();
    Ok(all)
}

/// Makes Endpoints and EndpointSlice what the living servers are.
async fn settle(asker: &Asker<'_>, place: Place, living: &[IpAddr]) -> Result<(), Status> {
    let port = place.server.port();
    let parts = [
        (ENDPOINTS, endpoints(living, port), &["subsets"][..]),
        (SLICES, slice(living, port), &["endpoints", "ports"]),
    ];
    for (collection, wanted, fields) in parts {
        let path = format!("{collection}/{NAME}");
        match asker.get(&path).await? {
            None => asker.create(collection, &wanted).await?,
            Some(held) if fields.iter().all(|field| held[field] == wanted[field]) => {}
            Some(held) => {
                let mut new = wanted;
                new["metadata"]["resourceVersion"] = held["metadata"]["resourceVersion"].clone();
                match asker.ask(Method::PUT, &path, &new).await {
                    // Another server was quicker.
                    Err(refused) if refused.is_conflict() => {}
                    outcome => drop(outcome?),
                }
            }
        }
    }
    Ok(())
}

fn service(place: Place) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": NAME, "namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP", "clusterIP": place.service.to_string(), "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": place.server.port()}],
        },
    })
}

fn endpoints(living: &[IpAddr], port: u16) -> Value {
    let addresses: Vec<Value> = living.iter().map(|ip| json!({"ip": ip.to_string()})).collect();
    let ports = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
    let subsets =
        if living.is_empty() { Value::Null } else { json!([{"addresses": addresses, "ports": ports}]) };
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        // The slice is made here, and not by a controller that mirrors.
        "metadata": {"name": NAME, "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": subsets,
    })
}

fn slice(living: &[IpAddr], port: u16) -> Value {
    let endpoint = |ip: &IpAddr| json!({"addresses": [ip.to_string()], "conditions": {"ready": true}});
    let family = if living.iter().all(IpAddr::is_ipv4) { "IPv4" } else { "IPv6" };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": NAME, "namespace": "default", "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": family,
        "endpoints": living.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoints_are_those_of_the_servers_that_live() {
        let living: Vec<IpAddr> = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().expect("an address")).into();
        let found = endpoints(&living, 6443);
        assert_eq!(
            found["subsets"],
            json!([{"addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}],
                "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]}])
        );
        assert_eq!(
            slice(&living, 6443)["endpoints"][1],
            json!({"addresses": ["192.0.2.2"], "conditions": {"ready": true}})
        );
        assert_eq!(endpoints(&[], 6443)["subsets"], Value::Null);
    }
}
