//! Objects from an API server: each kind is listed, then watched.
//!
//! Owns: access to the server ([`Access`]), one task for each kind, what is done when the server is away or has
//! forgotten where we were, and the reports about it. Nothing but the fields in use is decoded, one object at a
//! time, so that memory is bounded by what there is to know.
//! Facts: selectors as kube-proxy's (cmd/kube-proxy/app/server.go); streaming lists are KEP-3157.
//! Begin at [`start`]; one kind's life is in `reflector`.

mod access;
mod failure;
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
use reflector::Reflector;
use resource::Resource;

/// Starts four tasks. Needs a tokio runtime. The server may be away.
pub(super) async fn start(access: Access, node_name: &str) -> Result<Feed, FeedError> {
    let door = Arc::new(Door::open(access).await?);
    let (outbox, arrivals) = Outbox::new();
    let tasks = Kind::ALL.map(|kind| {
        let reflector = Reflector::new(Resource::of(kind, node_name), door.clone(), outbox.clone());
        tokio::spawn(reflector.run())
    });
    Ok(Feed { arrivals, tasks: tasks.into() })
}
