//! Why no interface could be chosen.

use std::net::IpAddr;

use super::{Observed, Role};

/// Each says what was looked for, what there is, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IfaceError {
    #[error("--iface {name}: there is no such interface; there are {there}")]
    NoLink { name: String, there: String },

    #[error(
        "{flag} {address}: no interface has this address; there are {there}{}",
        if *flag == "--iface" { "" } else { ". Behind NAT, name the interface with --iface as well" }
    )]
    NoOwner { flag: &'static str, address: IpAddr, there: String },

    #[error("--iface-regex {pattern}: {reason}")]
    BadRegex { pattern: String, reason: String },

    #[error(
        "--iface-regex {pattern}: it matches no address and no interface that could carry the overlay; there are {there}"
    )]
    NoMatch { pattern: String, there: String },

    #[error("--iface-can-reach {target}: the kernel has no route to it; correct the address or add a route")]
    NoRoute { target: IpAddr },

    #[error(
        "there is no {family} default route to tell the interface by; name it with --iface. There are {there}"
    )]
    NoDefault { family: &'static str, there: String },

    #[error(
        "IPv4 leads to interface {v4} and IPv6 to {v6}, but the overlay has one underlay; name it with --iface"
    )]
    TwoLinks { v4: String, v6: String },

    #[error("interface {name} has no usable {family} address; give it one, or name another with --iface")]
    NoAddress { name: String, family: &'static str },

    #[error("interface {name} cannot carry the overlay: {}", why(*role))]
    NoUnderlay { name: String, role: Role },

    #[error("interface {name} has an MTU of 0; name another with --iface")]
    NoMtu { name: String },

    #[error("interface {index} of the chosen route has just gone; look again")]
    Gone { index: u32 },

    #[error("no interface fits: {}", .0.iter().map(Self::to_string).collect::<Vec<_>>().join("; "))]
    All(Vec<Self>),
}

fn why(role: Role) -> &'static str {
    match role {
        Role::Underlay => "it is the wrong one",
        Role::Loopback => {
            "nothing leaves the host by the loopback interface; name the interface by which packets reach the other \
             nodes with --iface, and an address that only lo has with --public-ip"
        }
        Role::Tunnel => {
            "it is a tunnel of flannel's, whose packets would go through itself; name the interface by which packets \
             reach the other nodes with --iface"
        }
        Role::PodBridge => {
            "it is the bridge of this host's pods or containers; name the interface by which packets reach the other \
             nodes with --iface"
        }
    }
}

/// The interfaces in words.
pub(super) fn there(observed: &Observed) -> String {
    const NAMED: usize = 16;
    let mut parts: Vec<String> = Vec::new();
    for link in observed.links.iter().take(NAMED) {
        let mut notes: Vec<String> = observed.usable(link).iter().map(IpAddr::to_string).collect();
        if notes.is_empty() {
            notes.push("no usable address".to_owned());
        }
        if !link.up {
            notes.push("down".to_owned());
        }
        parts.push(format!("{} ({})", link.name, notes.join(", ")));
    }
    if observed.links.len() > NAMED {
        parts.push(format!("{} more", observed.links.len() - NAMED));
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}
