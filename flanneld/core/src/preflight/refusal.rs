//! Why a start is refused.

use std::net::IpAddr;

use ipnet::IpNet;

/// Each says what was asked for, what it would do, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "--bridge {bridge}: it is the interface that carries the overlay's packets, and would get the pods' smaller \
         MTU and their address; name a bridge of its own, which flanneld makes"
    )]
    BridgeIsUnderlay { bridge: String },

    #[error(
        "--bridge {bridge}: the packets of interface {underlay}, which carries the overlay, pass through it, and it \
         would get the pods' smaller MTU and their address; name a bridge of its own, which flanneld makes"
    )]
    BridgeCarriesUnderlay { bridge: String, underlay: String },

    #[error(
        "--bridge {bridge}: this host's default route leaves by it, and it would get the pods' smaller MTU and their \
         address; name a bridge of its own, which flanneld makes"
    )]
    BridgeHasDefaultRoute { bridge: String },

    #[error("--bridge {bridge}: that is the overlay's own tunnel; name another, like docker0")]
    BridgeIsTunnel { bridge: String },

    #[error(
        "--bridge {bridge}: it is a port of {master}, so an address on it reaches no pod; take it out of {master}, \
         or name a bridge of its own"
    )]
    BridgeIsPort { bridge: String, master: String },

    #[error(
        "--bridge {bridge}: interface {bridge} exists and is a {kind}, not a bridge: delete or rename it, or name \
         another"
    )]
    NoBridge { bridge: String, kind: String },

    #[error(
        "{flag} {address}: peers cannot send to it, because {what}; give the address by which the other nodes reach \
         this one"
    )]
    PublicAddress { flag: &'static str, address: IpAddr, what: &'static str },

    #[error(
        "with backend {backend} the other nodes route to {public} as to a neighbour, but interface {underlay} has \
         {own} and not that address (NAT?); leave --public-ip out, or use backend vxlan, which passes NAT"
    )]
    NoGateway { backend: &'static str, public: IpAddr, underlay: String, own: IpAddr },

    #[error(
        "{what}, {address}, lies among the subnets that nodes lease from {network}: the lease of a node would take \
         it away. Choose another Network, or leave its subnet out with SubnetMin and SubnetMax"
    )]
    InsideNetwork { network: IpNet, what: &'static str, address: IpAddr },

    #[error(
        "Backend.MTU is {mtu}, but interface {underlay} carries packets of at most {carries} bytes; lower Backend.MTU \
         or leave it out, or raise the interface's"
    )]
    Mtu { mtu: u32, underlay: String, carries: u32 },
}
