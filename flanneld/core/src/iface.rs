//! Which of the node's interfaces is the underlay, and by which address the peers reach it.
//!
//! Begin at [`choose`]. It sees what the shell observed and never asks the kernel. Source of the rules: flannel 0.28.4,
//! `main.go`, `pkg/ipmatch/match.go` and `pkg/ip/iface.go`.

mod error;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use regex::bytes::{Regex, RegexBuilder};

pub use error::IfaceError;

/// What the flags ask for, and the families that the network has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `--iface`, each a name or an address; the first that works is taken.
    pub iface: Vec<String>,
    /// `--iface-regex`, tried after all of `iface`.
    pub iface_regex: Vec<String>,
    /// `--iface-can-reach`, tried last. The shell asks the kernel for the route: [`Observed::reach`].
    pub can_reach: Option<IpAddr>,
    /// `--public-ip`: what the peers are told. Without any of the above it also chooses the interface.
    pub public_ip: Option<Ipv4Addr>,
    pub public_ipv6: Option<Ipv6Addr>,
    pub v4: bool,
    pub v6: bool,
}

/// The node as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// In the order of their indices.
    pub links: Vec<Link>,
    /// In the kernel's order.
    pub addresses: Vec<Address>,
    /// Interfaces of the IPv4 default routes, in the kernel's order: the lowest metric first.
    pub default_v4: Vec<u32>,
    pub default_v6: Vec<u32>,
    /// The kernel's route to [`Wanted::can_reach`]; absent where there is none.
    pub reach: Option<Reach>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Bytes.
    pub mtu: u32,
    pub up: bool,
    pub role: Role,
}

/// What a link is to the overlay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It may carry it.
    #[default]
    Underlay,
    /// `lo`: nothing leaves the host by it.
    Loopback,
    /// A tunnel of flannel's, of this network or another, perhaps of an earlier run.
    Tunnel,
    /// A bridge of this host's pods or containers.
    PodBridge,
}

impl Role {
    /// What a link is, by its name and its kind (as `ip -d link` calls it).
    pub fn of(name: &str, kind: &str, loopback: bool) -> Self {
        let tunnel = matches!(kind, "vxlan" | "tun" | "ipip" | "wireguard");
        match name {
            _ if loopback => Self::Loopback,
            _ if tunnel && name.starts_with("flannel") => Self::Tunnel,
            "docker0" | "cni0" if kind == "bridge" => Self::PodBridge,
            _ => Self::Underlay,
        }
    }
}

/// An address and what the kernel says of it (`IFA_F_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Of its link.
    pub index: u32,
    pub ip: IpAddr,
    pub deprecated: bool,
    pub permanent: bool,
    pub temporary: bool,
}

/// The way that the kernel would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    pub index: u32,
    pub src: Option<IpAddr>,
}

/// The interface that carries the overlay's packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    pub name: String,
    pub index: u32,
    /// Bytes, never 0.
    pub mtu: u32,
    /// flannel takes an interface that is down; so do we, and whoever asked may say so.
    pub up: bool,
    /// There if [`Wanted::v4`].
    pub v4: Option<Endpoint<Ipv4Addr>>,
    pub v6: Option<Endpoint<Ipv6Addr>>,
}

/// Our end in one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<A> {
    /// The address on the interface.
    pub iface_addr: A,
    /// The address that peers send to: `--public-ip`, else the same.
    pub ext_addr: A,
}

/// A link, and the addresses on it that the rule itself has settled.
struct Candidate<'a> {
    link: &'a Link,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// Chooses the interface. In this order: `--iface`, `--iface-regex` (each against the addresses, then against the
/// names), `--iface-can-reach`; with none of them the owner of `--public-ip` (or of `--public-ipv6`); with neither the
/// interface of the first default route.
///
/// # Errors
///
/// Each says what was looked for and what is there.
pub fn choose(wanted: &Wanted, observed: &Observed) -> Result<Underlay, IfaceError> {
    let names = wanted.iface.iter().map(|text| by_iface(text, wanted, observed));
    let regexes = wanted.iface_regex.iter().map(|pattern| by_regex(pattern, wanted, observed));
    let reach = wanted.can_reach.map(|target| by_reach(target, observed));
    let mut failures = Vec::new();
    for candidate in names.chain(regexes).chain(reach) {
        match candidate.and_then(|candidate| finish(&candidate, wanted, observed)) {
            Ok(underlay) => return Ok(underlay),
            Err(error) => failures.push(error),
        }
    }
    match failures.len() {
        0 => finish(&by_default(wanted, observed)?, wanted, observed),
        1 => Err(failures.swap_remove(0)),
        _ => Err(IfaceError::All(failures)),
    }
}

/// `--iface`: an address on some interface, or a name.
fn by_iface<'a>(text: &str, wanted: &Wanted, observed: &'a Observed) -> Result<Candidate<'a>, IfaceError> {
    match text.parse::<IpAddr>() {
        Ok(ip) => by_owner(ip, "--iface", wanted, observed),
        Err(_) => {
            let link = observed.links.iter().find(|link| link.name == text);
            let missing = || IfaceError::NoLink { name: text.to_owned(), there: error::there(observed) };
            Ok(Candidate { link: link.ok_or_else(missing)?, v4: None, v6: None })
        }
    }
}

fn by_owner<'a>(
    ip: IpAddr,
    flag: &'static str,
    wanted: &Wanted,
    observed: &'a Observed,
) -> Result<Candidate<'a>, IfaceError> {
    let link = observed.owner(ip).ok_or_else(|| IfaceError::NoOwner {
        flag,
        address: ip,
        there: error::there(observed),
    })?;
    Ok(match ip {
        IpAddr::V4(v4) => {
            let v6 = wanted.public_ipv6.filter(|v6| observed.has(link, (*v6).into()));
            Candidate { link, v4: Some(v4), v6 }
        }
        IpAddr::V6(v6) => Candidate { link, v4: None, v6: Some(v6) },
    })
}

/// `--iface-regex`. With two families flannel wants both an IPv4 and an IPv6 address to match; where that and the names
/// give nothing, one address will do here.
fn by_regex<'a>(pattern: &str, wanted: &Wanted, observed: &'a Observed) -> Result<Candidate<'a>, IfaceError> {
    // Go's \d, \w and (?i) know ASCII only, and so do interface names and addresses.
    let regex = RegexBuilder::new(pattern)
        .unicode(false)
        .build()
        .map_err(|error| IfaceError::BadRegex { pattern: pattern.to_owned(), reason: error.to_string() })?;
    // A pattern for the nodes' network may match the pods' as well: what an earlier run left is no candidate.
    let candidates = || observed.links.iter().filter(|link| link.role == Role::Underlay);
    let by_address = |enough: fn(bool, bool) -> bool| {
        candidates().find_map(|link| {
            let v4 = wanted.v4.then(|| observed.matching_v4(link, &regex)).flatten();
            let v6 = wanted.v6.then(|| observed.matching_v6(link, &regex)).flatten();
            let (has_v4, has_v6) = (v4.is_some() || !wanted.v4, v6.is_some() || !wanted.v6);
            enough(has_v4, has_v6).then_some(Candidate { link, v4, v6 })
        })
    };
    let by_name = || {
        let link = candidates().find(|link| regex.is_match(link.name.as_bytes()))?;
        Some(Candidate { link, v4: None, v6: None })
    };
    let in_one_family =
        || by_address(|v4, v6| v4 || v6).filter(|found| found.v4.is_some() || found.v6.is_some());
    by_address(|v4, v6| v4 && v6)
        .or_else(by_name)
        .or_else(in_one_family)
        .ok_or_else(|| IfaceError::NoMatch { pattern: pattern.to_owned(), there: error::there(observed) })
}

fn by_reach(target: IpAddr, observed: &Observed) -> Result<Candidate<'_>, IfaceError> {
    let reach = observed.reach.ok_or(IfaceError::NoRoute { target })?;
    let link = observed.link(reach.index)?;
    Ok(match reach.src {
        Some(IpAddr::V4(src)) => Candidate { link, v4: Some(src), v6: None },
        Some(IpAddr::V6(src)) => Candidate { link, v4: None, v6: Some(src) },
        None => Candidate { link, v4: None, v6: None },
    })
}

/// What is taken when no flag names an interface.
fn by_default<'a>(wanted: &Wanted, observed: &'a Observed) -> Result<Candidate<'a>, IfaceError> {
    let public_ip = wanted.public_ip.filter(|_| wanted.v4);
    let public_ipv6 = wanted.public_ipv6.filter(|_| wanted.v6);
    let owner = |ip, flag| by_owner(ip, flag, wanted, observed);
    let first = |routes: &[u32], family| {
        let index =
            *routes.first().ok_or_else(|| IfaceError::NoDefault { family, there: error::there(observed) })?;
        let link = observed.link(index)?;
        Ok(Candidate { link, v4: None, v6: None })
    };
    let v4 = || first(&observed.default_v4, "IPv4");
    let v6 = || first(&observed.default_v6, "IPv6");
    match (public_ip, public_ipv6) {
        (Some(ip), Some(ip6)) => same(owner(ip.into(), "--public-ip")?, owner(ip6.into(), "--public-ipv6")?),
        (Some(ip), None) => owner(ip.into(), "--public-ip"),
        (None, Some(ip6)) => owner(ip6.into(), "--public-ipv6"),
        (None, None) if wanted.v4 && wanted.v6 => same(v4()?, v6()?),
        (None, None) if wanted.v6 => v6(),
        (None, None) => v4(),
    }
}

/// There is one underlay: both families have to agree on it.
fn same<'a>(v4: Candidate<'a>, v6: Candidate<'a>) -> Result<Candidate<'a>, IfaceError> {
    if v4.link.index == v6.link.index {
        Ok(Candidate { v6: v6.v6, ..v4 })
    } else {
        Err(IfaceError::TwoLinks { v4: v4.link.name.clone(), v6: v6.link.name.clone() })
    }
}

/// Fills in the addresses that the rule left open.
fn finish(candidate: &Candidate<'_>, wanted: &Wanted, observed: &Observed) -> Result<Underlay, IfaceError> {
    let link = candidate.link;
    if link.role != Role::Underlay {
        return Err(IfaceError::NoUnderlay { name: link.name.clone(), role: link.role });
    }
    let none = |family| IfaceError::NoAddress { name: link.name.clone(), family };
    let v4 = wanted.v4.then(|| {
        let iface_addr = candidate.v4.or_else(|| observed.v4(link).next()).ok_or_else(|| none("IPv4"))?;
        Ok(Endpoint { iface_addr, ext_addr: wanted.public_ip.unwrap_or(iface_addr) })
    });
    let v6 = wanted.v6.then(|| {
        let iface_addr = candidate.v6.or_else(|| observed.v6(link).next()).ok_or_else(|| none("IPv6"))?;
        Ok(Endpoint { iface_addr, ext_addr: wanted.public_ipv6.unwrap_or(iface_addr) })
    });
    let (v4, v6) = (v4.transpose()?, v6.transpose()?);
    if link.mtu == 0 {
        return Err(IfaceError::NoMtu { name: link.name.clone() });
    }
    Ok(Underlay { name: link.name.clone(), index: link.index, mtu: link.mtu, up: link.up, v4, v6 })
}

impl Observed {
    fn link(&self, index: u32) -> Result<&Link, IfaceError> {
        self.links.iter().find(|link| link.index == index).ok_or(IfaceError::Gone { index })
    }

    /// The first interface that has this very address, whatever its flags.
    fn owner(&self, ip: IpAddr) -> Option<&Link> {
        self.links.iter().find(|link| self.has(link, ip))
    }

    fn has(&self, link: &Link, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.index == link.index && address.ip == ip)
    }

    /// The usable addresses of a link, the best one first: not deprecated; global before link-local; then those that a
    /// person assigned; then those that last. Otherwise the kernel's order.
    fn usable(&self, link: &Link) -> Vec<IpAddr> {
        let on_link = self.addresses.iter().filter(|address| address.index == link.index);
        let mut usable: Vec<&Address> =
            on_link.filter(|address| !address.deprecated && is_unicast(address.ip)).collect();
        usable.sort_by_key(|address| (is_link_local(address.ip), !address.permanent, address.temporary));
        usable.into_iter().map(|address| address.ip).collect()
    }

    fn v4(&self, link: &Link) -> impl Iterator<Item = Ipv4Addr> {
        self.usable(link).into_iter().filter_map(|ip| match ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        })
    }

    fn v6(&self, link: &Link) -> impl Iterator<Item = Ipv6Addr> {
        self.usable(link).into_iter().filter_map(|ip| match ip {
            IpAddr::V6(ip) => Some(ip),
            IpAddr::V4(_) => None,
        })
    }

    fn matching_v4(&self, link: &Link, regex: &Regex) -> Option<Ipv4Addr> {
        self.v4(link).find(|ip| regex.is_match(ip.to_string().as_bytes()))
    }

    fn matching_v6(&self, link: &Link, regex: &Regex) -> Option<Ipv6Addr> {
        self.v6(link).find(|ip| regex.is_match(ip.to_string().as_bytes()))
    }
}

/// Go's `IsGlobalUnicast() || IsLinkLocalUnicast()`.
fn is_unicast(ip: IpAddr) -> bool {
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || broadcast)
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
