//! The list of backends, and what each of them says for itself.
//!
//! A backend is one module: its options with their JSON keys, its name, what it publishes in the lease, its links,
//! what it takes from the MTU, and the tables that it wants for the node and for each peer. A new one is a module
//! that implements [`Overlay`], and a line in the list below.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;

use super::wanted::{Ignored, Wanted};
use super::{Node, PerFamily, Reach, View, alloc, host_gw, udp, vxlan};
use crate::config::ConfigError;
use crate::config::fields::Fields;
use crate::lease::RawJson;
use crate::mac::Mac;
use crate::tables::{BadLinkName, LinkName};

/// What a backend decides. The defaults are those of a backend without links of its own (host-gw).
pub trait Overlay: fmt::Display {
    /// The `BackendType` of the lease: empty where flannel publishes none.
    fn lease_type(&self) -> &'static str;

    /// Whether peers whose lease names another backend are left out.
    fn needs_same_type(&self) -> bool {
        true
    }

    /// The links that carry the overlay; `tun` is the name of a TUN, where there is one. Nobody else has a reason to configure them.
    ///
    /// # Errors
    /// A link cannot be named.
    fn links(&self, _v6: bool, _tun: &LinkName) -> Result<BTreeSet<LinkName>, BadLinkName> {
        Ok(BTreeSet::new())
    }

    /// The links whose MAC peers need to know, by the family of the underlay.
    fn vteps(&self, _v6: bool) -> PerFamily<Option<LinkName>> {
        PerFamily::default()
    }

    /// `BackendData` (or `BackendV6Data`) of a node whose link has this MAC.
    fn data(&self, _mac: Option<Mac>) -> Option<RawJson> {
        None
    }

    /// The MAC that a lease tells of, the reverse of [`Overlay::data`].
    fn published_mac(&self, _data: &RawJson) -> Option<Mac> {
        None
    }

    /// The longest packet that a pod can send over an underlay of this MTU.
    fn mtus(&self, underlay: u32) -> PerFamily<u32> {
        PerFamily { v4: underlay, v6: underlay }
    }

    /// The MTU of the underlay that the configuration demands; absent where the interface's own counts.
    fn underlay_mtu(&self) -> Option<u32> {
        None
    }

    /// Whether peers route to the public address as to a neighbour, so that it has to be on the interface.
    fn peers_are_gateways(&self) -> bool {
        false
    }

    /// Whether the plan depends on which peers share a link with us ([`View::direct`]).
    fn asks_direct(&self) -> bool {
        false
    }

    /// Whether a node answers at the first address of its subnet, through the overlay.
    fn answers_inside(&self) -> bool {
        false
    }

    /// Whether the kernel forwards the pods' packets, so that it can also count them.
    fn carried_by_kernel(&self) -> bool {
        true
    }

    /// Adds what this node wants without regard to its peers.
    ///
    /// # Errors
    /// A link cannot be named.
    fn node(
        &self,
        _wanted: &mut Wanted,
        _networks: PerFamily<Option<IpNet>>,
        _node: &Node,
    ) -> Result<(), BadLinkName> {
        Ok(())
    }

    /// Adds what one family of one peer needs.
    ///
    /// # Errors
    /// The lease is of no use.
    fn peer(&self, wanted: &mut Wanted, node: &Node, reach: &Reach<'_>, view: &View) -> Result<(), Ignored>;
}

macro_rules! backends {
    ($($module:ident::$variant:ident),+ $(,)?) => {
        /// A backend and its options.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Backend {
            $($variant($module::$variant)),+
        }

        impl Backend {
            /// The names of all backends, as flannel spells them.
            pub const NAMES: &'static [&'static str] = &[$($module::NAME),+];

            /// Reads the options of the backend called `name`; `None` where there is no such backend.
            pub(crate) fn read(
                name: &str,
                options: &Fields<'_>,
                ipv6: bool,
            ) -> Option<Result<Self, ConfigError>> {
                match name {
                    $($module::NAME => Some($module::read(options, ipv6).map(Self::$variant)),)+
                    _ => None,
                }
            }

            /// As flannel spells it. The lease of a udp or alloc node has no `BackendType` nevertheless.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $module::NAME),+
                }
            }

            /// What it decides.
            pub fn overlay(&self) -> &dyn Overlay {
                match self {
                    $(Self::$variant(options) => options),+
                }
            }
        }
    };
}

// The list.
backends! {
    udp::Udp,
    vxlan::Vxlan,
    host_gw::HostGw,
    alloc::Alloc,
}

impl Backend {
    /// The backend of a network configuration that names none.
    pub(crate) const UNNAMED: &'static str = udp::NAME;
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        self.overlay().fmt(f)
    }
}
