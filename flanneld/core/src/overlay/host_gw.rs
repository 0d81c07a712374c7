//! host-gw: every peer is the gateway to its own subnet. No tunnel; the peers share a link.

use super::{Node, Reach};
use crate::tables::{Route, RouteKey, Tables};

pub(super) fn peer(tables: &mut Tables, node: &Node, reach: &Reach<'_>) {
    let route = Route::Out { dev: node.underlay.name.clone(), via: Some(reach.public), onlink: false };
    tables.routes.insert(RouteKey::new(reach.subnet), route);
}
