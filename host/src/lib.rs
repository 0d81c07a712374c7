pub mod netlink;
pub mod tun;
pub mod netns;
pub mod command;
pub mod sysctl;
pub mod nftables;
pub mod iptables;
pub mod error;
