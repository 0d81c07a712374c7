//! Links: network interfaces that flanneld makes or adopts.

use std::fmt;
use std::mem::discriminant;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::config::Vni;
use crate::mac::Mac;

/// Name of a network interface: 1 to 15 bytes, no `/`, no white space, neither `.` nor `..`
/// (the kernel's `dev_valid_name`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkName(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name an interface (1 to 15 bytes, without '/', ':' and white space)")]
pub struct BadLinkName(String);

impl LinkName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A TUN of the udp backend, `flannel0` and so on as in flannel.
    pub fn tun(number: u32) -> Self {
        Self(format!("flannel{number}"))
    }

    /// The VXLAN link for IPv4, `flannel.VNI` as in flannel.
    pub fn vxlan(vni: Vni) -> Self {
        Self(format!("flannel.{vni}"))
    }

    /// The VXLAN link for IPv6, `flannel-v6.VNI` as in flannel.
    ///
    /// # Errors
    /// From VNI 100000 on the name does not fit into the kernel's 15 bytes.
    pub fn vxlan_v6(vni: Vni) -> Result<Self, BadLinkName> {
        format!("flannel-v6.{vni}").parse()
    }
}

impl FromStr for LinkName {
    type Err = BadLinkName;

    fn from_str(text: &str) -> Result<Self, BadLinkName> {
        let legal = (1..=15).contains(&text.len())
            && text != "."
            && text != ".."
            && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
        if legal { Ok(Self(text.to_owned())) } else { Err(BadLinkName(text.to_owned())) }
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A link as it should be, or as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub kind: LinkKind,
    /// `None` in a wanted link: any will do.
    pub mac: Option<Mac>,
    /// `None` in a wanted link: any will do.
    pub mtu: Option<u32>,
    pub up: bool,
    /// Whose it is: see [`crate::network_id::NetworkId::mark`]. `None` in a wanted link: any will do.
    pub alias: Option<String>,
}

/// What a link is, with the parameters that it keeps from birth to death.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    Vxlan(VxlanLink),
    /// Made by whoever opens it: the udp data path.
    Tun,
    /// An IPv4-in-IPv4 tunnel; each route names its end.
    Ipip(IpipLink),
    Wireguard,
    /// Holds an address and drops what is sent through it.
    Dummy,
    Bridge,
    /// Somebody else's kind: what stands in the way of a link of ours that has the same name.
    Other(String),
}

impl LinkKind {
    /// Two tunnels of one kind, with the same or with other parameters. Those are fixed at a link's birth: one of
    /// ours with others has to be made again.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Other(a), Self::Other(b)) => a == b,
            _ => discriminant(self) == discriminant(other),
        }
    }
}

/// A VXLAN tunnel end point (RFC 7348) in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VxlanLink {
    pub vni: Vni,
    /// UDP port of all end points. The kernel's default is 8472, not IANA's 4789.
    pub port: u16,
    /// Source address of the tunnel's packets.
    pub local: IpAddr,
    /// Index of the underlay link. An index and not a name: a link that was made again has another one,
    /// and the tunnel has to follow it.
    pub underlay: u32,
    pub learning: bool,
    /// Group Based Policy extension.
    pub gbp: bool,
}

/// An IPv4-in-IPv4 tunnel (RFC 2003) in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpipLink {
    /// Source address of the tunnel's packets.
    pub local: Ipv4Addr,
    /// Index of the underlay link, as for VXLAN.
    pub underlay: u32,
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vxlan(v) => write!(
                f,
                "vxlan id {} local {} ifindex {} dstport {}{}{}",
                v.vni,
                v.local,
                v.underlay,
                v.port,
                if v.learning { " learning" } else { "" },
                if v.gbp { " gbp" } else { "" }
            ),
            Self::Tun => f.write_str("tun"),
            Self::Ipip(ipip) => write!(f, "ipip local {} ifindex {}", ipip.local, ipip.underlay),
            Self::Wireguard => f.write_str("wireguard"),
            Self::Dummy => f.write_str("dummy"),
            Self::Bridge => f.write_str("bridge"),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(mac) = self.mac {
            write!(f, " address {mac}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        write!(f, " {}", if self.up { "up" } else { "down" })?;
        self.alias.as_ref().map_or(Ok(()), |alias| write!(f, " alias {alias:?}"))
    }
}
