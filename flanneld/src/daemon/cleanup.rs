//! `flanneld --cleanup`: removes what a stopped daemon left running on this host.

use flanneld_core::config::Vni;
use flanneld_core::tables::{LinkName, PROTOCOL};
use host::netlink::{LinkKind, Netlink, Write};

use crate::error::{FlanneldError, chain};
use crate::firewall;
use crate::options::Options;
use crate::udp;

/// Removes the udp data path (`flannel0`, programs, maps), the VXLAN links, the routes marked as ours, and the
/// firewall rules. The lease stays in etcd until it ends, so that a daemon that starts again has its subnet
/// back; `subnet.env` stays for the same reason, and the bridge because pods hang on it.
///
/// # Errors
/// The first thing that could not be removed; the others are tried all the same.
pub async fn cleanup(options: &Options) -> Result<(), FlanneldError> {
    let netlink = Netlink::connect().map_err(FlanneldError::Observe)?;
    let udp =
        udp::UdpPath::cleanup(LinkName::tun().as_str(), &options.bpf_pin_dir).map_err(FlanneldError::Udp);
    let links = remove_links(&netlink).await;
    let rules = firewall::remove().map_err(FlanneldError::Firewall);
    udp.and(links).and(rules)?;
    tracing::info!("removed the data path, the tunnel links, our routes and the firewall rules");
    Ok(())
}

/// VXLAN links by flannel's names, and routes by our protocol number.
async fn remove_links(netlink: &Netlink) -> Result<(), FlanneldError> {
    let (links, routes) =
        tokio::try_join!(netlink.links(), netlink.routes()).map_err(FlanneldError::Observe)?;
    let marked = routes.into_iter().filter(|route| route.protocol == PROTOCOL).map(Write::DeleteRoute);
    let tunnels = links.into_iter().filter_map(|link| match &link.kind {
        LinkKind::Vxlan(vxlan) if is_ours(&link.name, vxlan.vni) => Some(Write::DeleteLink(link.index)),
        _ => None,
    });
    let writes: Vec<Write> = marked.chain(tunnels).collect();
    let mut first = None;
    for (write, result) in writes.iter().zip(netlink.apply(&writes).await) {
        match result {
            Ok(()) => tracing::info!(%write, "removed"),
            Err(error) if error.remedy() == host::error::Remedy::Ignore => {}
            Err(error) => {
                tracing::warn!(%write, error = chain(&error), "not removed");
                first.get_or_insert(error);
            }
        }
    }
    first.map_or(Ok(()), |error| Err(FlanneldError::Observe(error)))
}

fn is_ours(name: &str, vni: u32) -> bool {
    let Ok(vni) = Vni::new(vni) else { return false };
    name == LinkName::vxlan(vni).as_str() || LinkName::vxlan_v6(vni).is_ok_and(|v6| name == v6.as_str())
}
