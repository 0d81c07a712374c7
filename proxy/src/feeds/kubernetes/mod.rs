//! Objects from an API server: each kind is listed, then watched.
//!
//! Owns: access to the server ([`Access`]), one task for each kind, what is done when the server is away or has
//! forgotten where we were, and the reports about it. Nothing but the fields in use is decoded, one object at a
//! time, so that memory is bounded by what there is to know.
//! Facts: selectors as kube-proxy's (cmd/kube-proxy/app/server.go); streaming lists are KEP-3157.
//! Begin at [`start`]; one kind's life is in `reflector`. The other way go Events, by a [`Herald`].

mod access;
mod failure;
mod herald;
mod items;
mod pace;
mod reflector;
mod resource;
mod wire;

use std::sync::Arc;

use proxy_core::objects::Kind;

use super::{Feed, FeedError, Outbox};
pub use access::Access;
use access::Door;
pub use herald::{About, Herald, News};
use reflector::Reflector;
use resource::Resource;

/// Starts a task for each kind, and one for events. Needs a tokio runtime. The server may be away.
pub(super) async fn start(access: Access, node_name: &str) -> Result<Feed, FeedError> {
    let door = Arc::new(Door::open(access).await?);
    let (outbox, arrivals) = Outbox::new();
    let tasks = Kind::ALL.map(|kind| {
        let reflector = Reflector::new(Resource::of(kind, node_name), door.clone(), outbox.clone());
        tokio::spawn(reflector.run())
    });
    let (herald, telling) = herald::herald(door, node_name);
    let tasks = tasks.into_iter().chain([tokio::spawn(telling)]).collect();
    Ok(Feed { arrivals, tasks, herald })
}
