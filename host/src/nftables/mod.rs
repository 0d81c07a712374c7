//! nf_tables over netlink: our own encoding, no `nft` program.
//!
//! Owns: the ruleset as typed values ([`Table`], [`Rule`], [`Set`], [`expr`]), transactions ([`Batch`]), reading the ruleset back,
//! and events. Begin at [`Nftables`] and [`build`]. Every change prints itself in nft's syntax.
//! Never: decides what the rules should be, keeps state of its own, touches a table that a caller did not name.
//!
//! Only named sets are written; anonymous ones of others read back by the names that the kernel gave them.

mod batch;
pub mod build;
mod comment;
mod data;
mod decode;
mod encode;
pub mod expr;
mod family;
mod message;
mod monitor;
mod numbers;
mod object;
mod print;
mod read;
mod set;
mod show;
mod socket;
mod userdata;
mod writer;

pub use batch::{Batch, Op};
pub use data::{Data, Port, Proto, Type};
pub use decode::Counts;
pub use expr::{Expr, Verdict};
pub use family::Family;
pub use monitor::{Change, Event, Monitor};
pub use object::*;
pub use set::*;
pub use socket::Nftables;
pub use writer::Writer;

#[cfg(test)]
mod tests;
