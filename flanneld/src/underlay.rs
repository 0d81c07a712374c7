//! The interface that carries the overlay's packets: found at start, followed afterwards.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use flanneld_core::config::NetworkConfig;
use flanneld_core::iface;
use flanneld_core::overlay::Underlay;
use flanneld_core::preflight::{self, Refusal};
use host::error::HostError;
use host::netlink::{self, Netlink};

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
    let seen = Seen::look(netlink, wanted.can_reach).await.map_err(FlanneldError::Observe)?;
    let found = iface::choose(&wanted, &seen.for_choice()).map_err(FlanneldError::Interface)?;
    seen.check(options, config, &found)?;
    if !found.up {
        tracing::warn!(link = found.name, "the interface is down; nothing reaches the peers until it is up");
    }
    let local = seen.addresses.iter().map(|address| address.net.addr()).collect();
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

/// The node, as far as the choice depends on it.
struct Seen {
    links: Vec<netlink::Link>,
    addresses: Vec<netlink::Address>,
    routes: Vec<netlink::Route>,
    reach: Option<netlink::Path>,
}

impl Seen {
    async fn look(netlink: &Netlink, reach: Option<IpAddr>) -> Result<Self, HostError> {
        let (links, addresses, routes) =
            tokio::try_join!(netlink.links(), netlink.addresses(), netlink.routes())?;
        let reach = match reach {
            Some(target) => netlink.route_to(target).await?,
            None => None,
        };
        Ok(Self { links, addresses, routes, reach })
    }

    fn default_routes(&self) -> impl Iterator<Item = &netlink::Route> {
        self.routes.iter().filter(|route| route.dst.prefix_len() == 0)
    }

    /// What the core chooses from.
    fn for_choice(&self) -> iface::Observed {
        let defaults = |v4: bool| {
            let family = self.default_routes().filter(|route| route.dst.addr().is_ipv4() == v4);
            family.filter_map(|route| route.dev).collect()
        };
        let link = |link: &netlink::Link| iface::Link {
            index: link.index,
            name: link.name.clone(),
            mtu: link.mtu,
            up: link.up,
            role: iface::Role::of(&link.name, link.kind.name(), link.loopback),
        };
        let address = |address: &netlink::Address| iface::Address {
            index: address.index,
            ip: address.net.addr(),
            deprecated: address.deprecated,
            permanent: address.permanent,
            temporary: address.temporary,
        };
        iface::Observed {
            default_v4: defaults(true),
            default_v6: defaults(false),
            reach: self.reach.as_ref().map(|path| iface::Reach { index: path.dev, src: path.src }),
            links: self.links.iter().map(link).collect(),
            addresses: self.addresses.iter().map(address).collect(),
        }
    }

    /// Refuses what would cut this node off, or leave it unreachable.
    fn check(
        &self,
        options: &Options,
        config: &NetworkConfig,
        found: &iface::Underlay,
    ) -> Result<(), Refusal> {
        let below = |link: &netlink::Link| {
            // A veth's other end carries the same packets, but it is no link that this one stands on.
            let stands = !link.link_elsewhere && link.kind != netlink::LinkKind::Veth;
            link.link.filter(|_| stands)
        };
        let links: Vec<preflight::Link> = self
            .links
            .iter()
            .map(|link| preflight::Link {
                index: link.index,
                name: link.name.clone(),
                kind: link.kind.name().to_owned(),
                master: link.master,
                below: below(link),
            })
            .collect();
        let addresses: Vec<_> = self.addresses.iter().map(|address| (address.index, address.net)).collect();
        let gateways: Vec<_> = self.default_routes().map(|route| (route.via, route.dev)).collect();
        preflight::check(&preflight::Facts {
            config,
            underlay: found,
            bridge: options.bridge.as_deref(),
            links: &links,
            addresses: &addresses,
            gateways: &gateways,
            etcd: &addresses_of(&options.etcd.endpoints),
        })
    }
}

/// Of the endpoints (`http://10.0.0.1:2379`, or without a scheme) those that are named by address. Names may change.
pub fn addresses_of(endpoints: &[String]) -> Vec<IpAddr> {
    let address = |endpoint: &String| {
        let place = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, place)| place);
        let place = place.split('/').next()?;
        let host = place.parse::<SocketAddr>().map(|address| address.ip());
        host.or_else(|_| place.trim_matches(['[', ']']).parse()).ok()
    };
    endpoints.iter().filter_map(address).collect()
}

/// How the underlay stands at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Fine,
    Gone,
    /// Somebody has switched it off.
    Down,
    /// An address that peers send to, or that our packets leave with, is this host's no more.
    Unaddressed(IpAddr),
}

/// Brings what may change while we run up to date: index (the interface was made again), MTU, the host's addresses.
pub fn refresh(underlay: &mut Underlay, seen: &Observed) -> Standing {
    let Some(link) = seen.links.get(&underlay.name) else { return Standing::Gone };
    underlay.index = link.index;
    underlay.mtu = link.mtu;
    underlay.local = seen.local();
    let own = [underlay.ip.map(IpAddr::from), underlay.ipv6.map(IpAddr::from)];
    let lost = own.into_iter().flatten().find(|ip| !underlay.local.contains(ip));
    // The tunnel stays as it is until another address takes the place: it may be back in a moment.
    underlay.local.extend(own.into_iter().flatten());
    match lost {
        _ if !link.up => Standing::Down,
        Some(ip) => Standing::Unaddressed(ip),
        None => Standing::Fine,
    }
}

/// Another address is believed when it has stayed for so long: a renewed DHCP lease takes the old one away for a moment.
const SETTLING: Duration = Duration::from_secs(2);

/// What would be chosen if flanneld started now.
pub struct Successor {
    options: Options,
    config: NetworkConfig,
    /// The choice of the last looks, and since when.
    candidate: Option<(Chosen, Instant)>,
}

impl Successor {
    pub fn new(options: &Options, config: &NetworkConfig) -> Self {
        Self { options: options.clone(), config: config.clone(), candidate: None }
    }

    /// Nothing has to take the place any more.
    pub fn forget(&mut self) {
        self.candidate = None;
    }

    /// Looks for what takes the place of the address that was lost. Once it has settled, that is the answer; before,
    /// a description of what there is.
    pub async fn find(&mut self, netlink: &Netlink) -> Result<Chosen, String> {
        let now = Instant::now();
        match choose(netlink, &self.options, &self.config).await {
            Ok(chosen) => {
                let since = match &self.candidate {
                    Some((before, since)) if same_place(before, &chosen) => *since,
                    _ => now,
                };
                self.candidate = Some((chosen.clone(), since));
                if now.duration_since(since) >= SETTLING {
                    return Ok(chosen);
                }
                Err(format!("{} with {} takes its place if it stays", chosen.underlay.name, chosen.public_ip))
            }
            Err(error) => {
                self.candidate = None;
                Err(format!("nothing can take its place: {}", error.chain()))
            }
        }
    }
}

fn same_place(one: &Chosen, other: &Chosen) -> bool {
    let place = |chosen: &Chosen| {
        let Underlay { name, ip, ipv6, .. } = &chosen.underlay;
        (name.clone(), *ip, *ipv6, chosen.public_ip, chosen.public_ipv6)
    };
    place(one) == place(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_by_address_are_told_from_names() {
        let endpoints = [
            "http://10.0.0.1:2379",
            "https://[2001:db8::1]:2379/",
            "10.0.0.2:2379",
            "http://10.0.0.3",
            "https://etcd-0:2379",
        ];
        let found = addresses_of(&endpoints.map(str::to_owned));
        let want: Vec<IpAddr> =
            ["10.0.0.1", "2001:db8::1", "10.0.0.2", "10.0.0.3"].map(|ip| ip.parse().unwrap()).into();
        assert_eq!(found, want);
    }
}
