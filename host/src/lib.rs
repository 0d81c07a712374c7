//! All that touches the kernel for the other packages: the only user of netlink crates.
//!
//! Every module observes and applies; none decides. Links are named by index and MAC addresses are six bytes: names,
//! ownership and plans belong to the cores, which this package does not know.
//!
//! - [`netlink`]: links, addresses, routes, neighbours, FDB entries, and word of their changes
//! - [`nftables`], [`iptables`]: firewall rules
//! - [`conntrack`]: tracked connections
//! - [`contention`]: other programs that undo what is repaired
//! - [`ipset`]: named sets that rules of iptables match
//! - [`generic`]: generic netlink, whose families have names
//! - [`tun`]: TUN devices
//! - [`netns`]: network namespaces, and commands inside them
//! - [`inotify`]: changes in a directory
//! - [`sysctl`]: settings below `/proc/sys`
//! - [`command`]: external commands with a time limit
//! - [`packets`]: frames of an Ethernet interface
//! - [`programs`]: daemons and commands inside a namespace, with logs and pid files
//! - [`sockets`]: socket options that no crate has
//! - [`error`]: what went wrong, and what to do about it

pub mod command;
pub mod conntrack;
pub mod contention;
pub mod error;
pub mod generic;
pub mod inotify;
pub mod ipset;
pub mod iptables;
pub mod limits;
pub mod netlink;
pub mod netns;
pub mod nftables;
pub mod packets;
pub mod programs;
pub mod sockets;
pub mod sysctl;
pub mod tun;
mod wire;

pub use error::{HostError, Remedy};
