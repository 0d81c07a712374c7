//! The MAC addresses of our tunnel end points: the ones that peers already know, wherever they are known.

use std::collections::BTreeSet;

use flanneld_core::config::NetworkConfig;
use flanneld_core::lease::LeaseAttrs;
use flanneld_core::mac::Mac;
use flanneld_core::overlay::PerFamily;
use flanneld_core::tables::LinkName;
use host::netlink::{Link, LinkKind};

/// The end points' MAC addresses, where the backend has end points.
pub type Vteps = PerFamily<Option<Mac>>;

/// Chooses each MAC: that of the link which an earlier run, or flannel, left; else the one that our lease in
/// etcd says (a reboot takes the link, but not the lease); else a new one. Peers then never send to a MAC that
/// is gone, and need no word of a restart.
pub fn choose(config: &NetworkConfig, links: &[Link], lease: Option<&LeaseAttrs>) -> Vteps {
    let overlay = config.backend.overlay();
    let names = overlay.vteps(config.v6.is_some());
    let choose = |name: Option<LinkName>, data: Option<&_>| {
        let name = name?;
        let published = || data.and_then(|data| overlay.published_mac(data));
        Some(present(links, &name).or_else(published).unwrap_or_else(|| Mac::local(rand::random())))
    };
    Vteps {
        v4: choose(names.v4, lease.and_then(|lease| lease.backend_data.as_ref())),
        v6: choose(names.v6, lease.and_then(|lease| lease.backend_v6_data.as_ref())),
    }
}

/// The MACs of the links that an earlier run left.
pub fn present_macs(config: &NetworkConfig, links: &[Link]) -> BTreeSet<Mac> {
    let names = config.backend.overlay().vteps(config.v6.is_some());
    [names.v4, names.v6].into_iter().flatten().filter_map(|name| present(links, &name)).collect()
}

fn present(links: &[Link], name: &LinkName) -> Option<Mac> {
    links
        .iter()
        .find(|link| link.name == name.as_str() && matches!(link.kind, LinkKind::Vxlan(_)))
        .and_then(|link| link.mac)
        .map(Mac)
}
