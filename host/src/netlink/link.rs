//! Links: what we see of them, and how they are made and changed.

mod decode;
mod encode;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::MacBytes;
use crate::netns::Namespace;

pub(super) use self::decode::decode;
pub(super) use self::encode::{
    dump_request, encode_change, encode_hairpin, encode_index, encode_new, get_by_index, get_by_name,
};

/// A link as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub kind: LinkKind,
    /// Absent where the link has none (TUN) or one that is not of Ethernet.
    pub mac: Option<MacBytes>,
    pub mtu: u32,
    /// Somebody has switched it on (`IFF_UP`).
    pub up: bool,
    /// It can carry packets (`IFF_LOWER_UP`); a bridge without ports or a TUN that nobody holds cannot.
    pub carrier: bool,
    /// It is `lo`.
    pub loopback: bool,
    /// The bridge or the like that it is a port of.
    pub master: Option<u32>,
    /// For a veth its other end, for a VLAN and its like what it stands on; for VXLAN see [`VxlanLink::dev`].
    pub link: Option<u32>,
    /// `link` is the index of a link in another namespace.
    pub link_elsewhere: bool,
    /// Packets that wait at most.
    pub tx_queue_len: u32,
    /// A remark of whoever made it.
    pub alias: Option<String>,
}

/// What kind of link it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    Vxlan(VxlanLink),
    Bridge,
    Tun(TunLink),
    Ipip(IpipLink),
    Wireguard,
    Dummy,
    Veth,
    /// The kernel's name for another kind; empty for hardware and for `lo`.
    Other(String),
}

impl LinkKind {
    /// As `ip -d link` calls it; empty for hardware and for `lo`.
    pub fn name(&self) -> &str {
        match self {
            Self::Vxlan(_) => "vxlan",
            Self::Bridge => "bridge",
            Self::Tun(tun) if tun.tap => "tap",
            Self::Tun(_) => "tun",
            Self::Ipip(_) => "ipip",
            Self::Wireguard => "wireguard",
            Self::Dummy => "dummy",
            Self::Veth => "veth",
            Self::Other(kind) => kind,
        }
    }
}

/// The parameters of a VXLAN link, as wanted or as observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VxlanLink {
    /// 1 to 2^24-1 for us; the kernel accepts 0.
    pub vni: u32,
    /// The UDP port that it listens on and sends to. The kernel's own default is 8472.
    pub port: u16,
    /// The address of its own that it sends from.
    pub local: Option<IpAddr>,
    /// The underlay link.
    pub dev: Option<u32>,
    /// It learns MAC addresses from what it receives.
    pub learning: bool,
    /// It carries the group policy extension.
    pub gbp: bool,
    /// The group or single peer for what has no FDB entry.
    pub group: Option<IpAddr>,
}

impl VxlanLink {
    /// As flannel makes one: no learning, no group.
    pub fn new(vni: u32, port: u16) -> Self {
        Self { vni, port, local: None, dev: None, learning: false, gbp: false, group: None }
    }
}

/// The parameters of a TUN link. Made by [`crate::tun`], not here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunLink {
    /// It carries Ethernet frames: a TAP.
    pub tap: bool,
    /// Packets have a header of four bytes with flags and protocol (not `IFF_NO_PI`).
    pub packet_info: bool,
    /// Packets have a `virtio_net_hdr`.
    pub vnet_hdr: bool,
    /// It stays when nobody holds it.
    pub persistent: bool,
    pub multi_queue: bool,
}

/// The parameters of an IPv4-in-IPv4 tunnel without a peer of its own: each route names its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpipLink {
    /// The address of its own that it sends from.
    pub local: Option<Ipv4Addr>,
    /// The underlay link.
    pub dev: Option<u32>,
}

/// A link to make.
#[derive(Clone, Debug)]
pub struct NewLink {
    /// 1 to 15 bytes.
    pub name: String,
    pub kind: NewLinkKind,
    pub mtu: Option<u32>,
    /// Chosen by the kernel when absent; set in the same step as the link is made, so that nobody sees another.
    pub mac: Option<MacBytes>,
    pub up: bool,
    /// The bridge to make it a port of.
    pub master: Option<u32>,
    pub tx_queue_len: Option<u32>,
    /// Where it is to appear; here when absent. `up` and `master` then speak of that namespace.
    pub namespace: Option<Namespace>,
}

impl NewLink {
    /// A link that is down, with the kernel's defaults.
    pub fn new(name: impl Into<String>, kind: NewLinkKind) -> Self {
        Self {
            name: name.into(),
            kind,
            mtu: None,
            mac: None,
            up: false,
            master: None,
            tx_queue_len: None,
            namespace: None,
        }
    }
}

/// A kind of link that can be made.
#[derive(Clone, Debug)]
pub enum NewLinkKind {
    Vxlan(VxlanLink),
    Bridge,
    Ipip(IpipLink),
    /// Its keys and peers are set over generic netlink afterwards.
    Wireguard,
    Dummy,
    /// With its other end.
    Veth(Peer),
}

/// The other end of a veth pair to make.
#[derive(Clone, Debug)]
pub struct Peer {
    /// 1 to 15 bytes.
    pub name: String,
    pub mac: Option<MacBytes>,
    pub mtu: Option<u32>,
    /// Done in a second step, because the kernel cannot do it in the first.
    pub up: bool,
    /// Where it is to appear; where the netlink socket is when absent.
    pub namespace: Option<Namespace>,
}

impl Peer {
    /// An end that is down, in the same namespace.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), mac: None, mtu: None, up: false, namespace: None }
    }

    /// The same in another namespace.
    pub fn inside(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }
}

/// What to change of a link; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct LinkChange {
    /// A new name. Kernels before 6.4 rename only links that are down.
    pub name: Option<String>,
    pub mtu: Option<u32>,
    pub mac: Option<MacBytes>,
    pub up: Option<bool>,
    /// `Some(None)` takes it out of its bridge.
    pub master: Option<Option<u32>>,
    pub alias: Option<String>,
    pub tx_queue_len: Option<u32>,
    /// Moves it there: it loses its addresses and routes, goes down, and may get another index.
    pub namespace: Option<Namespace>,
}

impl LinkChange {
    /// Switches it on.
    pub fn up() -> Self {
        Self { up: Some(true), ..Self::default() }
    }

    /// Switches it off.
    pub fn down() -> Self {
        Self { up: Some(false), ..Self::default() }
    }
}

impl fmt::Display for LinkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(self.name.as_ref().map(|name| format!("name {name}")));
        words.extend(self.mtu.map(|mtu| format!("mtu {mtu}")));
        words.extend(self.mac.map(|mac| format!("address {}", HexMac(mac))));
        words.extend(self.up.map(|up| if up { "up".to_owned() } else { "down".to_owned() }));
        words.extend(self.master.map(|m| m.map_or("nomaster".to_owned(), |index| format!("master {index}"))));
        words.extend(self.alias.as_ref().map(|alias| format!("alias {alias:?}")));
        words.extend(self.tx_queue_len.map(|n| format!("txqueuelen {n}")));
        words.extend(self.namespace.as_ref().map(|ns| match ns.name() {
            Some(name) => format!("netns {name}"),
            None => format!("netns net:[{}]", ns.inode()),
        }));
        f.write_str(&words.join(" "))
    }
}

/// A MAC address in the usual form.
pub(super) struct HexMac(pub MacBytes);

impl fmt::Display for HexMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
