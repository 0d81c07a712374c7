//! ICMP to an address of a service: what a person tries first, and what tells nothing.

use std::fmt;
use std::net::IpAddr;

use crate::question::near::{Hint, ports_of};
use crate::table::ServiceTable;

/// What becomes of an echo request. Prints itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub to: Target,
}

/// What has the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A service, as its ClusterIP.
    ClusterIp(Option<Hint>),
    /// A service, as another address of its own.
    Service(Hint),
    /// An endpoint of some service, or nothing that services have to do with.
    Nothing,
}

/// No service takes ICMP: it has no ports.
pub fn ping(table: &ServiceTable, src: IpAddr, dst: IpAddr) -> Ping {
    let ports = ports_of(table, dst);
    let to = match (table.is_cluster_ip(dst), ports) {
        (true, ports) => Target::ClusterIp(ports),
        (false, Some(ports)) => Target::Service(ports),
        (false, None) => Target::Nothing,
    };
    Ping { src, dst, to }
}

impl Ping {
    /// What to ask instead.
    pub fn hint(&self) -> Option<&Hint> {
        match &self.to {
            Target::ClusterIp(hint) => hint.as_ref(),
            Target::Service(hint) => Some(hint),
            Target::Nothing => None,
        }
    }
}

impl fmt::Display for Ping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} -> {}/icmp: no service takes ICMP, which has no ports", self.src, self.dst)?;
        match &self.to {
            Target::ClusterIp(ports) => {
                writeln!(
                    f,
                    "  a ClusterIP answers no ping, however well its service is: nftables mode refuses it, iptables mode \
                     leaves it to the routes"
                )?;
                ports.iter().try_for_each(|ports| writeln!(f, "  hint:       {ports}; ask with one of them"))
            }
            Target::Service(ports) => {
                writeln!(f, "  it goes to whichever machine has the address")?;
                writeln!(f, "  hint:       {ports}; ask with one of them")
            }
            Target::Nothing => {
                writeln!(f, "  no service has this address; ask with a port, such as {}:80/tcp", self.dst)
            }
        }
    }
}
