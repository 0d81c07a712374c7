//! host-gw: every peer is the gateway to its own subnet. No tunnel; the peers share a link.

use std::fmt;

use super::backend::Overlay;
use super::wanted::{Ignored, Wanted};
use super::{Node, Reach, View};
use crate::config::ConfigError;
use crate::config::fields::Fields;
use crate::tables::{Route, RouteKey};

pub(super) const NAME: &str = "host-gw";

/// No options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HostGw;

pub(super) fn read(_options: &Fields<'_>, _ipv6: bool) -> Result<HostGw, ConfigError> {
    Ok(HostGw)
}

impl Overlay for HostGw {
    fn peers_are_gateways(&self) -> bool {
        true
    }

    fn lease_type(&self) -> &'static str {
        NAME
    }

    fn peer(&self, wanted: &mut Wanted, node: &Node, reach: &Reach<'_>, _: &View) -> Result<(), Ignored> {
        let route = Route::Out { dev: node.underlay.name.clone(), via: Some(reach.public), onlink: false };
        wanted.tables.routes.insert(RouteKey::new(reach.subnet), route);
        Ok(())
    }
}

impl fmt::Display for HostGw {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
