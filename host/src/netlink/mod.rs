//! Links, addresses, routes, neighbours and FDB entries of one network namespace, over rtnetlink.
//!
//! Owns: a netlink socket and the task that serves it. Begin at [`Netlink::connect`]; look with [`Netlink::links`] and
//! its like, write with [`Netlink::apply`], and hear of changes by [`Netlink::watch`].
//! Never: decides, retries a write, or touches what it was not told to. What it observes is everybody's; which of it
//! is ours is for the caller to say.
//!
//! To miss nothing, watch first and look then. A look that the kernel marks as interrupted is taken again.

mod address;
mod bridge;
mod connection;
mod fdb;
mod link;
mod neighbour;
mod route;
mod watch;
mod write;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

pub use self::address::Address;
pub use self::fdb::FdbEntry;
pub use self::link::{IpipLink, Link, LinkChange, LinkKind, NewLink, NewLinkKind, Peer, TunLink, VxlanLink};
pub use self::neighbour::Neighbour;
pub use self::route::{MAIN_TABLE, Path, Route, RouteKind};
pub use self::watch::{Change, Watch};
pub use self::write::Write;

use self::connection::Connection;
use crate::error::HostError;
use crate::netns::Namespace;

/// An Ethernet address, first byte first.
pub type MacBytes = [u8; 6];

/// How far an address or a route reaches: `RT_SCOPE_*`. IPv6 routes are always [`Scope::Universe`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    #[default]
    Universe,
    Site,
    Link,
    Host,
    Nowhere,
    Other(u8),
}

impl From<u8> for Scope {
    fn from(value: u8) -> Self {
        match value {
            0 => Self::Universe,
            200 => Self::Site,
            253 => Self::Link,
            254 => Self::Host,
            255 => Self::Nowhere,
            other => Self::Other(other),
        }
    }
}

impl From<Scope> for u8 {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Universe => 0,
            Scope::Site => 200,
            Scope::Link => 253,
            Scope::Host => 254,
            Scope::Nowhere => 255,
            Scope::Other(other) => other,
        }
    }
}

/// The routing tables of one network namespace. Clones share a socket.
#[derive(Clone)]
pub struct Netlink {
    connection: Connection,
    home: Arc<Namespace>,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace. It is served by a thread of this module, and closed
    /// with the last clone; answers are awaited on the current tokio runtime, which must have time enabled.
    pub fn connect() -> Result<Self, HostError> {
        let home = Arc::new(Namespace::current()?);
        Ok(Self { connection: Connection::open(Arc::clone(&home))?, home })
    }

    /// As [`Netlink::connect`], in another namespace. Blocks for the start of a thread.
    pub fn connect_in(namespace: &Namespace) -> Result<Self, HostError> {
        namespace.run(Self::connect)?
    }

    /// The namespace that all of this is about.
    pub fn namespace(&self) -> &Namespace {
        &self.home
    }

    /// Every link, in the kernel's order.
    pub async fn links(&self) -> Result<Vec<Link>, HostError> {
        let answers = self.connection.dump("list", "links", link::dump_request).await?;
        Ok(answers.iter().filter_map(link::decode).collect())
    }

    /// One link, or none of that index.
    pub async fn link(&self, index: u32) -> Result<Option<Link>, HostError> {
        self.find_link(link::get_by_index(index), format!("link {index}")).await
    }

    /// One link, or none of that name.
    pub async fn link_by_name(&self, name: &str) -> Result<Option<Link>, HostError> {
        self.find_link(link::get_by_name(name), format!("link {name}")).await
    }

    async fn find_link(
        &self,
        request: RouteNetlinkMessage,
        object: String,
    ) -> Result<Option<Link>, HostError> {
        match self.connection.get("look up", object, request).await {
            Ok(answer) => Ok(link::decode(&answer)),
            Err(e) if e.errno() == Some(libc::ENODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes a link and says its index, in the namespace where it ends up. `EEXIST` when the name is taken.
    pub async fn create_link(&self, new: &NewLink) -> Result<u32, HostError> {
        let object = format!("link {}", new.name);
        let message = RouteNetlinkMessage::NewLink(link::encode_new(new));
        self.connection.create("create", object, message).await?;
        let there = self.in_namespace(new.namespace.as_ref())?;
        let index = there.index_of(&new.name).await?;
        if let NewLinkKind::Veth(Peer { up: true, name, namespace, .. }) = &new.kind {
            let raised = async {
                // Without a namespace of its own it appears here, wherever the first end goes.
                let beside = self.in_namespace(namespace.as_ref())?;
                beside.set_link(beside.index_of(name).await?, &LinkChange::up()).await
            };
            if let Err(e) = raised.await {
                let _ = there.delete_link(index).await;
                return Err(e);
            }
        }
        Ok(index)
    }

    fn in_namespace(&self, namespace: Option<&Namespace>) -> Result<Self, HostError> {
        match namespace {
            Some(namespace) if !namespace.is(&self.home) => Self::connect_in(namespace),
            _ => Ok(self.clone()),
        }
    }

    async fn index_of(&self, name: &str) -> Result<u32, HostError> {
        let found = self.link_by_name(name).await?;
        found
            .map(|link| link.index)
            .ok_or_else(|| HostError::kernel("look up", format!("link {name}"), libc::ENODEV))
    }

    /// Takes a link away, with all its addresses, routes and entries.
    pub async fn delete_link(&self, index: u32) -> Result<(), HostError> {
        self.write(Write::DeleteLink(index)).await
    }

    /// Changes a link. The kernel applies the parts in an order of its own and stops at the first that it refuses.
    pub async fn set_link(&self, index: u32, change: &LinkChange) -> Result<(), HostError> {
        self.write(Write::SetLink(index, change.clone())).await
    }

    /// Whether a bridge's port sends back what came in by it: a pod that meets itself by a service's address needs it
    /// where bridged packets are seen by the firewall (`bridge-nf-call-iptables`). The link is a port already.
    pub async fn set_hairpin(&self, index: u32, on: bool) -> Result<(), HostError> {
        self.write(Write::SetHairpin(index, on)).await
    }

    /// Every address of every link, IPv4 and IPv6.
    pub async fn addresses(&self) -> Result<Vec<Address>, HostError> {
        let answers = self.connection.dump("list", "addresses", address::dump_request).await?;
        Ok(answers.iter().filter_map(address::decode).collect())
    }

    /// Gives a link an address. `EEXIST` when it has it.
    pub async fn add_address(&self, address: &Address) -> Result<(), HostError> {
        self.write(Write::AddAddress(address.clone())).await
    }

    /// Takes an address from a link. `EADDRNOTAVAIL` when it has it not.
    pub async fn delete_address(&self, address: &Address) -> Result<(), HostError> {
        self.write(Write::DeleteAddress(address.clone())).await
    }

    /// Every route of the main table, IPv4 then IPv6.
    pub async fn routes(&self) -> Result<Vec<Route>, HostError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let answers = match self.connection.dump("list", "routes", || route::dump_request(family)).await {
                Ok(answers) => answers,
                // A namespace that never had a route has no main table.
                Err(e) if e.errno() == Some(libc::ENOENT) => continue,
                Err(e) => return Err(e),
            };
            routes.extend(
                answers.iter().filter_map(|a| route::decode(a, family)).filter(|r| r.table == MAIN_TABLE),
            );
        }
        Ok(routes)
    }

    /// Adds a route, or puts it in the place of the one with the same destination, metric and table, whoever made that.
    pub async fn replace_route(&self, route: &Route) -> Result<(), HostError> {
        self.write(Write::ReplaceRoute(route.clone())).await
    }

    /// Takes away the route that agrees in every part that is given (protocol 0 and metric 0 agree with any).
    /// `ESRCH` when there is none.
    pub async fn delete_route(&self, route: &Route) -> Result<(), HostError> {
        self.write(Write::DeleteRoute(route.clone())).await
    }

    /// The neighbours, IPv4 and IPv6, on one link.
    pub async fn neighbours(&self, index: u32) -> Result<Vec<Neighbour>, HostError> {
        let answers = self.connection.dump("list", "neighbours", || neighbour::dump_request(index)).await?;
        Ok(answers.iter().filter_map(neighbour::decode).filter(|n| n.index == index).collect())
    }

    /// Adds a neighbour, or replaces the one with the same IP address.
    pub async fn set_neighbour(&self, neighbour: &Neighbour) -> Result<(), HostError> {
        self.write(Write::SetNeighbour(neighbour.clone())).await
    }

    /// Takes away the neighbour with this IP address. `ENOENT` when there is none.
    pub async fn delete_neighbour(&self, neighbour: &Neighbour) -> Result<(), HostError> {
        self.write(Write::DeleteNeighbour(neighbour.clone())).await
    }

    /// Where a VXLAN link sends which MAC address. Entries without a destination (a bridge's) are left out.
    pub async fn fdb(&self, index: u32) -> Result<Vec<FdbEntry>, HostError> {
        let answers = self.connection.dump("list", "FDB entries", || fdb::dump_request(index)).await?;
        Ok(answers.iter().filter_map(fdb::decode).filter(|e| e.index == index).collect())
    }

    /// Which unicast address is behind which port of a bridge; without the host's own, and those of one VLAN only.
    pub async fn bridge_ports(&self, bridge: u32) -> Result<BTreeMap<MacBytes, u32>, HostError> {
        let answers = self.connection.dump("list", "addresses behind a bridge", bridge::dump_request).await?;
        Ok(answers.iter().filter_map(|answer| bridge::decode(answer, bridge)).collect())
    }

    /// Adds an FDB entry, or gives a MAC address another destination: it has one afterwards.
    pub async fn set_fdb(&self, entry: &FdbEntry) -> Result<(), HostError> {
        self.write(Write::SetFdb(entry.clone())).await
    }

    /// Takes away an FDB entry. `ENOENT` when there is none with this MAC address; nothing happens when it has only
    /// other destinations.
    pub async fn delete_fdb(&self, entry: &FdbEntry) -> Result<(), HostError> {
        self.write(Write::DeleteFdb(entry.clone())).await
    }

    /// The way that the kernel would send a packet to `ip` now; none when it has no route there.
    pub async fn route_to(&self, ip: IpAddr) -> Result<Option<Path>, HostError> {
        match self.connection.get("look up", format!("route to {ip}"), route::get_request(ip)).await {
            Ok(answer) => Ok(route::decode_path(&answer)),
            Err(e) if matches!(e.errno(), Some(libc::ENETUNREACH | libc::EHOSTUNREACH)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Carries out writes in order, many per system call. All are tried; the result of each is at its place.
    pub async fn apply(&self, writes: &[Write]) -> Vec<Result<(), HostError>> {
        self.connection.write(writes).await
    }

    async fn write(&self, write: Write) -> Result<(), HostError> {
        let results = self.apply(std::slice::from_ref(&write)).await;
        results.into_iter().next().unwrap_or_else(|| Err(connection::closed(write.op())))
    }

    /// Starts to listen for changes, in the same namespace; it listens before this returns. Blocks for the start of a
    /// thread.
    pub fn watch(&self) -> Result<Watch, HostError> {
        Watch::open(Arc::clone(&self.home), watch::ALL)
    }

    /// The same for changes of addresses alone, which spares whoever needs no others the storms of routes and
    /// neighbours.
    pub fn watch_addresses(&self) -> Result<Watch, HostError> {
        Watch::open(Arc::clone(&self.home), watch::ADDRESSES)
    }
}
