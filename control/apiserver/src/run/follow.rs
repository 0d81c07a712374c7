//! Keeps the indexes of authorization current, by a watch of each kind that they stand on.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use control_core::edit;
use control_store::{Change, Freshness, Stored};
use futures::future::join_all;

use crate::Server;
use crate::authorization::Authorizers;
use crate::encoding::object::decode;
use crate::registry::Served;

/// Waits before a kind is listed again.
const PAUSE: Duration = Duration::from_millis(200);

/// For ever.
pub async fn authorization(server: Arc<Server>, authorizers: Arc<Authorizers>) {
    let follows = authorizers.follows();
    join_all(follows.into_iter().map(|resource| follow(&server, &authorizers, resource))).await;
    std::future::pending::<()>().await;
}

async fn follow(server: &Server, authorizers: &Authorizers, resource: &'static str) {
    let Some(served) = server.registry().table().by_qualified(resource).cloned() else { return };
    let tell = |stored: &Stored, gone: bool| {
        let Ok(object) = decode(&served, stored) else { return };
        let text = |field| edit::text(&object, &["metadata", field]);
        let (namespace, name) = (text("namespace"), text("name"));
        authorizers.changed(resource, namespace, name, (!gone).then_some(&object));
    };
    let mut known: HashSet<String> = HashSet::new();
    loop {
        let listed = server.store().list(&served.prefix, Freshness::Any).await;
        if let Ok(snapshot) = listed {
            snapshot.iter().for_each(|stored| tell(stored, false));
            // What went while nobody watched.
            let now: HashSet<String> = snapshot.iter().map(|stored| stored.key().to_owned()).collect();
            for key in known.difference(&now) {
                let (namespace, name) = parts(&served, key);
                authorizers.changed(resource, namespace, name, None);
            }
            known = now;
            if let Ok(mut watcher) = server.store().follow(&snapshot) {
                while let Ok(event) = watcher.next().await {
                    let gone = event.change == Change::Deleted;
                    tell(&event.object, gone);
                    match gone {
                        true => known.remove(event.key()),
                        false => known.insert(event.key().to_owned()),
                    };
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn parts<'a>(served: &Served, key: &'a str) -> (&'a str, &'a str) {
    let rest = key.strip_prefix(served.prefix.as_str()).unwrap_or_default();
    rest.split_once('/').unwrap_or(("", rest))
}
