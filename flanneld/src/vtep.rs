//! The MAC addresses of our VXLAN end points: the one that peers already know, wherever one is known.

use flanneld_core::config::{Backend, NetworkConfig};
use flanneld_core::lease::{LeaseAttrs, VxlanData};
use flanneld_core::mac::Mac;
use flanneld_core::tables::LinkName;
use host::netlink::{Link, LinkKind};

/// The end points' MAC addresses, where the backend has end points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vteps {
    pub v4: Option<Mac>,
    pub v6: Option<Mac>,
}

/// Chooses each MAC: that of the link which an earlier run, or flannel, left; else the one that our lease in
/// etcd says (a reboot takes the link, but not the lease); else a new one. Peers then never send to a MAC that
/// is gone, and need no word of a restart.
pub fn choose(config: &NetworkConfig, links: &[Link], lease: Option<&LeaseAttrs>) -> Vteps {
    let Backend::Vxlan(vxlan) = &config.backend else { return Vteps::default() };
    let published =
        |data: Option<&_>| data.and_then(|data| VxlanData::parse(data).ok()).map(|data| data.vtep_mac);
    let choose = |name: Option<LinkName>, published: Option<Mac>| {
        name.and_then(|name| present(links, &name))
            .or(published)
            .unwrap_or_else(|| Mac::local(rand::random()))
    };
    Vteps {
        v4: Some(choose(
            Some(LinkName::vxlan(vxlan.vni)),
            published(lease.and_then(|lease| lease.backend_data.as_ref())),
        )),
        v6: config.v6.is_some().then(|| {
            choose(
                LinkName::vxlan_v6(vxlan.vni).ok(),
                published(lease.and_then(|lease| lease.backend_v6_data.as_ref())),
            )
        }),
    }
}

fn present(links: &[Link], name: &LinkName) -> Option<Mac> {
    links
        .iter()
        .find(|link| link.name == name.as_str() && matches!(link.kind, LinkKind::Vxlan(_)))
        .and_then(|link| link.mac)
        .map(Mac)
}
