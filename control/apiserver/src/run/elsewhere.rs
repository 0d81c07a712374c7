//! Groups that this server leaves to another one: `metrics.k8s.io`, where an APIService names a service for it.

use std::sync::Arc;
use std::time::Duration;

use control_core::edit::at;
use control_core::kinds::metrics::GROUP;
use control_store::Freshness;

use crate::Server;
use crate::encoding::object::decode;

/// The APIService of metrics-server.
const NAME: &str = "v1beta1.metrics.k8s.io";
const API_SERVICES: &str = "apiservices.apiregistration.k8s.io";

/// Waits before another look: etcd may be away.
const PAUSE: Duration = Duration::from_millis(200);

/// For ever.
pub async fn run(server: Arc<Server>) {
    server.store().ready().await;
    let table = server.registry().table();
    let (Some(served), Some(_)) = (table.by_qualified(API_SERVICES).cloned(), table.group(GROUP)) else {
        return std::future::pending().await;
    };
    drop(table);
    loop {
        if let Ok(snapshot) = server.store().list(&served.prefix, Freshness::Any).await {
            let named = snapshot.get(&format!("{}{NAME}", served.prefix));
            let service = named.and_then(|stored| decode(&served, stored).ok());
            let elsewhere = service.is_some_and(|service| at(&service, &["spec", "service"]).is_object());
            server.registry().leave(GROUP, elsewhere);
            if let Ok(mut watch) = server.store().follow(&snapshot)
                && watch.next().await.is_ok()
            {
                continue;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
