//! `flanneld --cleanup`: removes what a stopped daemon left running on this host. Other daemons, of other networks, may
//! still run: see [`flanneld_core::cleanup`].

use flanneld_core::cleanup::{Scope, SeenKind, SeenLink};
use host::netlink::{Link, LinkKind, Netlink, Write};

use super::identity;
use crate::error::{FlanneldError, chain};
use crate::firewall;
use crate::options::Options;
use crate::udp::UdpPath;

/// Removes the udp data path (TUN, programs, maps), the VXLAN links, the routes marked as ours, and the firewall rules,
/// each as far as it belongs to the network of `--etcd-prefix` and `--subnet-file`. The lease stays in etcd until it
/// ends, so that a daemon that starts again has its subnet back; `subnet.env` stays for the same reason, and the bridge
/// because pods hang on it.
///
/// # Errors
/// The first thing that could not be removed; the others are tried all the same.
pub async fn cleanup(options: &Options) -> Result<(), FlanneldError> {
    let netlink = Netlink::connect().map_err(FlanneldError::Observe)?;
    let id = identity::network_id(options);
    let scope = Scope { id: id.clone(), networks: identity::recorded_networks(&options.subnet_file) };
    let links = look(&netlink).await?;
    let ours = || links.iter().filter(|(_, seen)| scope.owns_link(seen));

    let pins = UdpPath::remove_pins(&identity::pin_dir(options, &id)).map_err(FlanneldError::Udp);
    let tuns = ours().filter(|(_, seen)| seen.kind == SeenKind::Tun);
    let tuns: Result<Vec<()>, _> = tuns.map(|(_, seen)| UdpPath::remove_tun(&seen.name)).collect();
    let vxlans = ours().filter(|(_, seen)| matches!(seen.kind, SeenKind::Vxlan(_)));
    let vxlans: Vec<Write> = vxlans.map(|(link, _)| Write::DeleteLink(link.index)).collect();
    let others = links.iter().any(|(_, seen)| scope.is_of_another(seen));
    let tables = remove(&netlink, &scope, vxlans, others).await;
    let rules = firewall::remove(&id).map_err(FlanneldError::Firewall);
    pins.and(tuns.map(drop).map_err(FlanneldError::Udp)).and(tables).and(rules)?;
    tracing::info!("removed the data path, the tunnel links, our routes and the firewall rules");
    Ok(())
}

async fn look(netlink: &Netlink) -> Result<Vec<(Link, SeenLink)>, FlanneldError> {
    let (links, addresses) =
        tokio::try_join!(netlink.links(), netlink.addresses()).map_err(FlanneldError::Observe)?;
    let seen = links.into_iter().map(|link| {
        let of_link = addresses.iter().filter(|address| address.index == link.index);
        let seen = SeenLink {
            name: link.name.clone(),
            kind: match &link.kind {
                LinkKind::Tun(_) => SeenKind::Tun,
                LinkKind::Vxlan(vxlan) => SeenKind::Vxlan(vxlan.vni),
                _ => SeenKind::Other,
            },
            alias: link.alias.clone(),
            addresses: of_link.map(|address| address.net.addr()).collect(),
        };
        (link, seen)
    });
    Ok(seen.collect())
}

/// The routes by our protocol number, and the links.
async fn remove(
    netlink: &Netlink,
    scope: &Scope,
    links: Vec<Write>,
    others: bool,
) -> Result<(), FlanneldError> {
    let routes = netlink.routes().await.map_err(FlanneldError::Observe)?;
    let (mut writes, mut unknown) = (Vec::new(), 0);
    for route in routes {
        match scope.owns_route(&route.dst, route.protocol, others) {
            Some(true) => writes.push(Write::DeleteRoute(route)),
            Some(false) => {}
            None => unknown += 1,
        }
    }
    if unknown > 0 {
        tracing::warn!(
            routes = unknown,
            "routes of flanneld stay, for nothing tells whose they are: name the network's file with --subnet-file"
        );
    }
    writes.extend(links);
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
