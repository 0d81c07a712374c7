//! The interface that carries the overlay's packets: found at start, followed afterwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use flanneld_core::config::NetworkConfig;
use flanneld_core::iface;
use flanneld_core::overlay::Underlay;
use host::netlink::Netlink;

use crate::error::FlanneldError;
use crate::kernel::Observed;
use crate::options::Options;

/// The choice at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub underlay: Underlay,
    pub public_ip: Ipv4Addr,
    pub public_ipv6: Option<Ipv6Addr>,
}

/// Looks at the host once, and lets the core choose.
pub async fn choose(
    netlink: &Netlink,
    options: &Options,
    config: &NetworkConfig,
) -> Result<Chosen, FlanneldError> {
    let wanted = iface::Wanted {
        iface: options.iface.clone(),
        iface_regex: options.iface_regex.clone(),
        can_reach: options.iface_can_reach,
        public_ip: options.public_ip,
        public_ipv6: options.public_ipv6,
        v4: config.v4.is_some(),
        v6: config.v6.is_some(),
    };
    let observed = observe(netlink, wanted.can_reach).await?;
    let found = iface::choose(&wanted, &observed).map_err(FlanneldError::Interface)?;
    if !found.up {
        tracing::warn!(link = found.name, "the interface is down; nothing reaches the peers until it is up");
    }
    let local = observed.addresses.iter().map(|address| address.ip).collect();
    Ok(Chosen {
        // A lease cannot be without an IPv4 address; the configuration has been checked for it.
        public_ip: found.v4.map_or(Ipv4Addr::UNSPECIFIED, |end| end.ext_addr),
        public_ipv6: found.v6.map(|end| end.ext_addr),
        underlay: Underlay {
            name: found.name.parse()?,
            index: found.index,
            mtu: found.mtu,
            ip: found.v4.map(|end| end.iface_addr),
            ipv6: found.v6.map(|end| end.iface_addr),
            local,
        },
    })
}

async fn observe(netlink: &Netlink, reach: Option<IpAddr>) -> Result<iface::Observed, FlanneldError> {
    let look = async {
        let (links, addresses, routes) =
            tokio::try_join!(netlink.links(), netlink.addresses(), netlink.routes())?;
        let path = match reach {
            Some(target) => netlink.route_to(target).await?,
            None => None,
        };
        let defaults = |v4: bool| {
            routes
                .iter()
                .filter(|route| route.dst.prefix_len() == 0 && route.dst.addr().is_ipv4() == v4)
                .filter_map(|route| route.dev)
                .collect()
        };
        Ok(iface::Observed {
            default_v4: defaults(true),
            default_v6: defaults(false),
            reach: path.map(|path| iface::Reach { index: path.dev, src: path.src }),
            links: links
                .into_iter()
                .map(|link| iface::Link { index: link.index, name: link.name, mtu: link.mtu, up: link.up })
                .collect(),
            addresses: addresses
                .iter()
                .map(|address| iface::Address {
                    index: address.index,
                    ip: address.net.addr(),
                    deprecated: address.deprecated,
                    permanent: address.permanent,
                    temporary: address.temporary,
                })
                .collect(),
        })
    };
    look.await.map_err(FlanneldError::Observe)
}

/// Brings what may change while we run up to date: index (the interface was made again), MTU, the host's
/// addresses. False where the interface is gone. Its own address is kept while it has none: a link that is
/// down may lose it for a moment.
pub fn refresh(underlay: &mut Underlay, seen: &Observed) -> bool {
    let Some(link) = seen.links.get(&underlay.name) else { return false };
    underlay.index = link.index;
    underlay.mtu = link.mtu;
    underlay.local = seen.local();
    underlay
        .local
        .extend([underlay.ip.map(IpAddr::from), underlay.ipv6.map(IpAddr::from)].into_iter().flatten());
    true
}
